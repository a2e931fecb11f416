"""Training sets: exactly the right rows, pinned, with every prompt always in the same split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.tables import ChecklistItem, MetaJudgement, RunPrompt, TrainingSet
from stores.lake import Lake
from stores.maintenance import compact
from stores.training_sets import (
    build_training_set,
    find_training_set,
    fingerprint_of,
    known_training_sets,
    read_training_set,
    training_set_sql,
    write_parquet,
)
from tests.rows import row, scores, votes
from tests.sets import RUN, TEMPLATES, answer, build, column, pair, prompts, said, tree

# spar_dpo and independent_dpo


def test_spar_dpo_gives_refined_over_failed_as_a_conversation(lake: Lake) -> None:
    built = build(
        lake, "spar_dpo", [*prompts(1), answer("good", "p1"), answer("bad", "p1"), pair("x", "p1", "good", "bad")]
    )
    (found,) = built.train.to_pylist()
    assert said(found["prompt"]) == [("user", "question 1")]
    assert said(found["chosen"]) == [("assistant", "text good")]
    assert said(found["rejected"]) == [("assistant", "text bad")]
    assert (found["class"], found["pair_id"], found["prompt_id"], found["run_id"]) == ("refined", "x", "p1", "run")
    assert (built.row.format, built.row.train_rows, built.row.held_out_rows) == ("preference", 1, 0)


def test_spar_dpo_keeps_the_most_valued_pair_of_a_prompt_and_the_least_id_of_equals(lake: Lake) -> None:
    rows = [*prompts(1, 2), *(answer(id, "p1") for id in "abcd"), *(answer(id, "p2") for id in "efg")]
    pairs = [
        pair("1", "p1", "a", "d", chosen_value=0.6),
        pair("3", "p1", "b", "d", chosen_value=0.8),
        pair("2", "p1", "c", "d", chosen_value=0.8),
        pair("5", "p2", "e", "g"),
        pair("4", "p2", "f", "g"),
    ]
    assert column(build(lake, "spar_dpo", rows + pairs), "pair_id") == ["2", "4"]


def test_spar_dpo_leaves_out_low_values_low_similarity_equal_texts_controls_and_other_runs(lake: Lake) -> None:
    rows = [*prompts(*range(7)), *(answer(f"{side}{n}", f"p{n}") for n in range(6) for side in "wl")]
    rows += [answer("w6", "p6", "same"), answer("l6", "p6", "same")]
    pairs = [
        pair("at the threshold", "p0", "w0", "l0", chosen_value=0.5),
        pair("above it", "p1", "w1", "l1", chosen_value=0.51),
        pair("unlike", "p2", "w2", "l2", similarity=0.29),
        pair("like enough", "p3", "w3", "l3", similarity=0.3),
        pair("control", "p4", "w4", "l4", source="passing_over_failing"),
        pair("other run", "p5", "w5", "l5", run_id="other"),
        pair("equal", "p6", "w6", "l6"),
    ]
    assert column(build(lake, "spar_dpo", rows + pairs, min_similarity="0.3"), "pair_id") == ["above it", "like enough"]
    assert column(build(lake, "spar_dpo", min_value=0.4), "pair_id") == [
        "above it", "at the threshold", "like enough", "unlike",
    ]  # fmt: skip


def test_independent_dpo_gives_the_control_pairs_one_a_prompt(lake: Lake) -> None:
    rows = [*prompts(1, 2), *(answer(id, "p1") for id in "ab"), *(answer(id, "p2") for id in "cd")]
    control = {"source": "passing_over_failing", "chosen_value": None}
    pairs = [
        pair("2", "p1", "a", "b", **control),
        pair("1", "p1", "b", "a", **control),
        pair("tree", "p1", "a", "b"),
        pair("3", "p2", "c", "d", source="passing_over_failing", similarity=0.1),
    ]
    built = build(lake, "independent_dpo", rows + pairs)
    assert column(built, "pair_id") == ["1", "3"] and set(column(built, "class")) == {"sampled"}
    assert column(build(lake, "independent_dpo", min_similarity=0.2), "pair_id") == ["1"]


# best_over_worst and best_of_n_sft


def test_best_over_worst_gives_that_pairings_pairs(lake: Lake) -> None:
    rows = [*prompts(1, 2), *(answer(id, "p1") for id in "ab"), *(answer(id, "p2", "same") for id in "cd")]
    best = {"source": "best_over_worst"}
    pairs = [pair("1", "p1", "a", "b", **best), pair("2", "p2", "c", "d", **best), pair("3", "p1", "b", "a")]
    (found,) = build(lake, "best_over_worst", rows + pairs).train.to_pylist()
    assert (found["pair_id"], said(found["chosen"]), found["class"]) == ("1", [("assistant", "text a")], "sampled")


def test_best_of_n_sft_gives_the_best_answer_of_each_prompt_unless_it_failed(lake: Lake) -> None:
    rows: list[Any] = [
        *prompts(*range(1, 6)),
        *(answer(id, f"p{id[0]}") for id in ("1a", "1b", "1c", "2a", "3a", "4a", "5a")),
    ]
    for id, points in {"1a": 7, "1b": 9, "1c": 9, "2a": 3}.items():
        rows += scores(id, points, prompt_id=f"p{id[0]}", pass_points=5)
    rows += [*scores("3a", 3, prompt_id="p3"), *votes("4a", "yyn", prompt_id="p4"), *votes("5a", "y", decides=False)]
    built = build(lake, "best_of_n_sft", rows)
    assert column(built, "response_id") == ["1b", "3a", "4a"] and built.row.format == "prompt_completion"
    first, *_ = built.train.to_pylist()
    assert said(first["prompt"]) == [("user", "question 1")] and said(first["completion"]) == [("assistant", "text 1b")]
    assert column(build(lake, "best_of_n_sft", only_passing=0), "response_id") == ["1b", "2a", "3a", "4a"]


# Splits and order


def many(count: int) -> list[Any]:
    rows: list[Any] = [replace(each, reference="given") for each in prompts(*range(count))]
    for n in range(count):
        rows.append(row(RunPrompt, f"taken {n}", run_id="run", prompt_id=f"p{n}"))
        rows += tree(n, {"r": "nny", "ra": "nyy"}, "ra")
        rows += [answer(f"s{n}", f"p{n}"), pair(f"t{n}", f"p{n}", f"{n}ra", f"{n}r")]
        rows += [
            pair(f"{source}{n}", f"p{n}", f"s{n}", f"{n}r", source=source)
            for source in (
                *(
                    "passing_over_failing",
                    "best_over_worst",
                    "imported",
                    "anchored",
                    "stronger_over_weaker",
                    "all_ordered",
                ),
                *("preferred", "reference_over_sampled", "shortest_over_longest"),
            )
        ]
        rows += votes(f"s{n}", "yyy", prompt_id=f"p{n}", template_hash=sha256_text(TEMPLATES["judge"]))
        item = {"kind": "checklist", "item_id": f"item {n}", "decides": False, "prompt_id": f"p{n}"}
        rows += [*scores(f"s{n}", 9, judge="items", **item), *scores(f"{n}r", 2, judge="items", **item)]
        rows.append(row(ChecklistItem, f"item {n}", run_id="run", prompt_id=f"p{n}", text="Is it short?", weight=1.0))
        meta = {"run_id": "run", "prompt_id": f"p{n}", "response_id": f"s{n}", "stage": "meta_judge"}
        for order, (first, second), probability in ((0, "01", 0.9), (1, "10", 0.1)):
            sides = {"first_judgement_id": f"s{n}/{first}", "second_judgement_id": f"s{n}/{second}"}
            rows.append(row(MetaJudgement, f"meta {n} {order}", probability=probability, **sides, **meta))
    return rows


def test_a_prompt_is_on_the_same_side_in_every_training_set(lake: Lake) -> None:
    lake.append([RUN, *many(60)], message="by hand")
    sides: dict[str, set[str]] = {}
    for name in known_training_sets():
        built = build_training_set(lake, name, {"held_out": 0.3}, ["run"])
        assert built.train.num_rows == built.row.train_rows and built.held_out.num_rows == built.row.held_out_rows > 0
        for side, rows in (("train", built.train), ("held out", built.held_out)):
            for id in rows.column("prompt_id").to_pylist():
                sides.setdefault(id, set()).add(side)
    assert len(sides) == 60 and all(len(both) == 1 for both in sides.values())
    assert 8 < sum(both == {"held out"} for both in sides.values()) < 28


def test_the_same_rows_give_the_same_set_whatever_order_they_came_in(lake: Lake, tmp_path: Path) -> None:
    rows = many(20)
    with Lake.open(tmp_path / "backwards", create=True) as backwards:
        for name in known_training_sets():
            forth = build(lake, name, rows)
            back = build(backwards, name, reversed(rows))
            assert back.train == forth.train and back.row.fingerprint == forth.row.fingerprint


def test_compaction_does_not_change_a_set(lake: Lake) -> None:
    rows = many(20)
    for half in (rows[::2], rows[1::2]):
        lake.append(half, message="half")
    before = {name: build(lake, name).row for name in known_training_sets()}
    compact(lake)
    assert {name: build(lake, name).row for name in known_training_sets()} == before


# Versions and pins


def test_equal_rows_keep_their_version_and_other_rows_get_the_next(lake: Lake) -> None:
    first = build(lake, "spar_dpo", many(4))
    assert build(lake, "spar_dpo").row == first.row
    assert build(lake, "spar_dpo", min_value=0.2).row == first.row
    second = build(lake, "spar_dpo", many(6))
    assert (first.row.version, second.row.version) == (1, 2)
    assert find_training_set(lake, "spar_dpo") == second.row and find_training_set(lake, "spar_dpo@1") == first.row
    assert lake.read(TrainingSet) == sorted([first.row, second.row], key=lambda r: r.training_set_id)


def test_what_is_added_later_does_not_change_a_built_set(lake: Lake) -> None:
    built = build(lake, "spar_rft", many(4), held_out=0.3)
    lake.append(many(12), message="later")
    compact(lake)
    again = read_training_set(lake, "spar_rft@1")
    assert again.train == built.train and again.held_out == built.held_out


def test_a_view_that_changes_does_not_change_a_built_set(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(lake, "spar_dpo", many(4))
    changed = built.row.views.replace("{'role': 'assistant', 'content': text}", "{'role': 'model', 'content': text}")
    assert changed != built.row.views
    monkeypatch.setattr("stores.lake.views", lambda: changed)
    with Lake.open(lake.place.where) as later:
        assert later.query("SELECT assistant_turn('x').role AS role").to_pylist() == [{"role": "model"}]
        assert read_training_set(later, "spar_dpo@1").train == built.train


def test_rows_that_were_tampered_with_are_refused(lake: Lake) -> None:
    built = build(lake, "spar_dpo", many(4))
    changed = replace(built.row, sql=built.row.sql.replace("'refined'", "'better'"))
    lake.connection.execute("UPDATE training_sets SET sql = $1", [changed.sql])
    with pytest.raises(FactoryError, match=r"spar_dpo@1 has fingerprint \w{12}, but \w{12} was built"):
        read_training_set(lake, "spar_dpo@1")


@given(st.permutations(range(4)), st.integers(0, 3), st.text(max_size=3))
def test_a_fingerprint_depends_on_every_row_and_their_order(order: list[int], which: int, text: str) -> None:
    rows = [{"id": str(n), "turns": asked_plainly(f"text {n}"), "value": n / 3} for n in range(4)]
    changed = [dict(rows[n]) for n in order]
    changed[which]["turns"] = asked_plainly(text)
    same = fingerprint_of(pa.Table.from_pylist(changed)) == fingerprint_of(pa.Table.from_pylist(rows))
    assert same == (changed == rows)


def asked_plainly(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_parquet_files_are_what_datasets_reads(lake: Lake, tmp_path: Path) -> None:
    import datasets

    built = build(lake, "spar_dpo", many(30), held_out=0.3)
    files = {file.stem: str(file) for file in write_parquet(built, tmp_path / "out")}
    read = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert read["train"].to_list() == built.train.to_pylist()
    assert read["test"].to_list() == built.held_out.to_pylist()


# Refusals and the user's own


def test_an_unknown_parameter_names_the_nearest(lake: Lake) -> None:
    with pytest.raises(
        FactoryError, match="unknown parameter 'min_valu' of the training set: did you mean 'min_value'"
    ):
        build(lake, "spar_dpo", min_valu=1)
    with pytest.raises(FactoryError, match="'zzz' of the training set: it takes min_value, min_similarity, held_out"):
        build(lake, "spar_dpo", zzz=1)


def test_a_parameter_must_be_a_number(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="refinements of the training set must be a number, got 'many'"):
        build(lake, "spar_rft", refinements="many")


def test_an_unknown_training_set_names_the_nearest(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="no training set 'spar_dp': did you mean 'spar_dpo'"):
        build(lake, "spar_dp")
    with pytest.raises(FactoryError, match=r"no training set spar_dpo@3: `factory build spar_dpo` makes one"):
        read_training_set(lake, "spar_dpo@3")


@pytest.mark.parametrize("name", known_training_sets())
def test_a_set_without_rows_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(FactoryError, match=f"{name} has no rows in run: see `factory status`"):
        build(lake, name)


def test_a_query_of_ones_own_is_built_and_read_again(lake: Lake, tmp_path: Path) -> None:
    own = tmp_path / "mine.sql"
    own.write_text(training_set_sql("spar_dpo").replace("'refined'", "'mine'"), "utf-8")
    built = build(lake, str(own), many(3))
    own.unlink()
    assert read_training_set(lake, "mine").train == built.train and set(column(built, "class")) == {"mine"}


def test_a_query_that_does_not_say_what_comes_out_is_refused(lake: Lake, tmp_path: Path) -> None:
    own = tmp_path / "mine.sql"
    own.write_text(
        "SELECT 'train' AS split, run_id FROM runs WHERE list_contains($run_ids, run_id) ORDER BY ALL", "utf-8"
    )
    lake.append([RUN], message="by hand")
    with pytest.raises(FactoryError, match="header must declare its output format"):
        build_training_set(lake, str(own), {}, ["run"])
