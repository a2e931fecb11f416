"""Training sets: exactly the right rows, pinned, with every prompt always in the same split."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.templates.rendering import load_template, render
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.tables import Call, Judgement, Node, Pair, Prompt, Response, Run, TrainingSet, Tree
from stores.lake import Lake
from stores.training_sets import (
    TrainingSetRows,
    build_training_set,
    find_training_set,
    fingerprint_of,
    known_training_sets,
    read_training_set,
    training_set_sql,
    write_parquet,
)
from tests.rows import asked, row, scores, votes

ALL = {"held_out": 0}
TEMPLATES = {name: load_template(name) for name in ("judge", "refine")}


def prompts(*numbers: object) -> list[Prompt]:
    return [row(Prompt, f"p{n}", messages=asked(f"question {n}")) for n in numbers]


def answer(id: str, prompt: str, text: str | None = None, kind: str = "sampled") -> Response:
    return row(Response, id, run_id="run", prompt_id=prompt, kind=kind, text=text or f"text {id}")


def pair(id: str, prompt: str, chosen: str, rejected: str, **given: Any) -> Pair:
    filled = {"source": "refined_over_failed", "chosen_value": 1.0, "similarity": 0.5, **given}
    return row(
        Pair,
        id,
        **{
            "run_id": "run",
            "prompt_id": prompt,
            "chosen_response_id": chosen,
            "rejected_response_id": rejected,
            **filled,
        },
    )


RUN = row(Run, "event", run_id="run", templates=TEMPLATES, recipe="{}")


def build(lake: Lake, name: str, rows: Iterable[Any] = (), run: Run = RUN, **given: Any) -> TrainingSetRows:
    lake.append([run, *rows], message="by hand")
    return build_training_set(lake, name, {**ALL, **given}, ["run"])


def column(built: TrainingSetRows, name: str) -> list[Any]:
    values: list[Any] = built.train.column(name).to_pylist()
    return values


def said(turns: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


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


# spar_rft


def tree(number: int, verdicts: dict[str, str], accepted: str | None = None, prompt: str | None = None) -> list[Any]:
    """A tree whose nodes are named by their path (r, ra, rab): the parent is the path without its last letter."""
    prompt = prompt or f"p{number}"
    made: list[Any] = [
        row(Tree, f"t{number}", run_id="run", prompt_id=prompt, root_response_id=f"{number}r",
            outcome="accepted" if accepted else "exhausted", accepted_node_id=accepted and f"{number}{accepted}"),
    ]  # fmt: skip
    for path, cast in verdicts.items():
        id, parent = f"{number}{path}", f"{number}{path[:-1]}" if len(path) > 1 else None
        made += [
            answer(id, prompt, kind="refined" if parent else "sampled"),
            row(Node, id, tree_id=f"t{number}", run_id="run", prompt_id=prompt, parent_node_id=parent,
                depth=len(path) - 1, response_id=id, judged_response_id=id, state="open",
                critique_judgement_id=f"{parent}/0" if parent else None, output=f"output {id}" if parent else None),
            *votes(id, cast, prompt_id=prompt),
        ]  # fmt: skip
    return made


def by_class(built: TrainingSetRows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, id in zip(column(built, "class"), column(built, "id"), strict=True):
        found.setdefault(name, []).append(id)
    return found


def test_spar_rft_gives_four_turns_for_every_step_of_an_accepted_path(lake: Lake) -> None:
    nodes = {"r": "nnn", "ra": "nnn", "rb": "nnn", "raa": "yyy", "rab": "nnn"}
    built = build(lake, "spar_rft", [*prompts(1, 2), *tree(1, nodes, "raa"), *tree(2, {"r": "nnn", "ra": "nnn"})])
    assert by_class(built) == {"refinement": ["1ra", "1raa"]}
    _, last = built.train.to_pylist()
    assert said(last["prompt"]) == [
        ("user", render(TEMPLATES["judge"], "question 1", "text 1ra")),
        ("assistant", "1ra/0 says no"),
        ("user", render(TEMPLATES["refine"], "question 1", "text 1ra")),
    ]
    assert said(last["completion"]) == [("assistant", "output 1raa")]
    assert (last["prompt_id"], last["tree_id"], built.row.format) == ("p1", "t1", "prompt_completion")


def test_spar_rft_finds_the_critique_of_an_answer_that_was_judged_as_its_equal(lake: Lake) -> None:
    rows = tree(1, {"r": "nnn", "ra": "nnn", "rb": "", "rba": "yyy"}, "rba")
    equal = {
        "response_id": {"1rb": {"text": "text 1ra"}},
        "node_id": {"1rb": {"judged_response_id": "1ra"}, "1rba": {"critique_judgement_id": "1ra/0"}},
    }
    rows = [replace(made, **equal.get(key := fields(made)[0].name, {}).get(getattr(made, key), {})) for made in rows]
    built = build(lake, "spar_rft", [*prompts(1), *rows])
    assert by_class(built) == {"refinement": ["1rb", "1rba"]}
    assert said(built.train.to_pylist()[1]["prompt"])[1] == ("assistant", "1ra/0 says no")


def test_spar_rft_takes_one_critique_of_each_kind_a_tree_where_votes_disagreed(lake: Lake) -> None:
    nodes = {
        "r": "nny",
        "ra": "nyy",
        "rb": "yyn",
        "rc": "ynn",
        "rd": "nyn",
        "re": "yy",
        "rf": "nn",
        "rg": "yn",
        "rh": "uyyn",
    }
    built = build(lake, "spar_rft", [*prompts(1), *tree(1, nodes)])
    # The root is a sampled answer: its critique is a judgement of its own class.
    assert by_class(built) == {
        "negative critique": ["1rc/1"],
        "negative judgement": ["1r/0"],
        "positive critique": ["1ra/1"],
    }
    negative, *_ = built.train.to_pylist()
    assert said(negative["prompt"]) == [("user", render(TEMPLATES["judge"], "question 1", "text 1rc"))]
    assert said(negative["completion"]) == [("assistant", "1rc/1 says no")]


def test_spar_rft_takes_judgements_of_sampled_answers_where_votes_disagreed(lake: Lake) -> None:
    rows = [*prompts(1), *(answer(id, "p1") for id in "abcdef")]
    cast = {"a": "yyn", "b": "nny", "c": "yyy", "d": "nnn", "e": "yn", "f": "unyuy"}
    rows += [vote for id, said in cast.items() for vote in votes(id, said)]
    rows += votes("c", "n", judge="verifier")
    assert by_class(build(lake, "spar_rft", rows)) == {
        "negative judgement": ["b/0"],
        "positive judgement": ["a/0", "f/2"],
    }


def test_spar_rft_teaches_the_json_that_a_verdict_was_asked_for_in(lake: Lake) -> None:
    rows = tree(1, {"r": "nnn", "ra": "yny"}, "ra")
    rows = [replace(made, call_id="c") if isinstance(made, Judgement) else made for made in rows]
    asked_for_json = row(
        Call, "c", run_id="run", template="judge", parameters='{"response_format":{"type":"json_schema"}}'
    )
    built = build(lake, "spar_rft", [*prompts(1), *rows, asked_for_json])
    judged, refined = built.train.to_pylist()
    assert said(judged["completion"]) == [("assistant", '{"critique":"1ra/0 says yes","verdict":"yes"}')]
    assert said(refined["prompt"])[1] == ("assistant", "1r/0 says no")
    assert said(refined["completion"]) == [("assistant", "output 1ra")]


def test_spar_rft_asks_with_the_templates_that_were_used(lake: Lake) -> None:
    texts = {
        "judge": "not this one",
        "strict": "Strictly: {prompt} {response}",
        "refine": "nor this",
        "mend": "Mend it.",
    }
    rows = tree(1, {"r": "nnn", "ra": "yny"}, "ra")
    of_judgement = {"template_hash": sha256_text(texts["strict"]), "judge": "strict"}
    rows = [replace(made, **of_judgement) if isinstance(made, Judgement) else made for made in rows]
    rows = [replace(made, call_id="c") if isinstance(made, Node) and made.depth else made for made in rows]
    refining = row(Call, "c", run_id="run", template="mend")
    built = build(lake, "spar_rft", [*prompts(1), *rows, refining], replace(RUN, templates=texts))
    judged, refined = built.train.to_pylist()
    assert said(judged["prompt"]) == [("user", "Strictly: question 1 text 1ra")]
    assert [content for _, content in said(refined["prompt"])] == [
        "Strictly: question 1 text 1r",
        "1r/0 says no",
        "Mend it.",
    ]


def test_spar_rft_keeps_one_judgement_of_equal_answers_to_a_prompt(lake: Lake) -> None:
    rows: list[Any] = [*prompts(1, 2), answer("a", "p1", "same"), answer("b", "p1", "same"), answer("c", "p2", "same")]
    rows += [*votes("a", "yyn"), *votes("b", "nny"), *votes("c", "yyn", prompt_id="p2")]
    assert by_class(build(lake, "spar_rft", rows)) == {"negative judgement": ["b/0"], "positive judgement": ["c/0"]}


def test_spar_rft_keeps_to_each_class_cap(lake: Lake) -> None:
    rows: list[Any] = [*prompts(*range(1, 7))]
    for number in range(1, 7):
        rows += tree(number, {"r": "nny" if number % 2 else "nn", "ra": "nyy", "rb": "nny", "rc": "yyy"}, "rc")
        rows += [answer(f"s{number}", f"p{number}"), *votes(f"s{number}", "yyn", prompt_id=f"p{number}")]
    caps = {
        "refinements": 4,
        "positive_critiques": 3,
        "negative_critiques": 2,
        "positive_judgements": 5,
        "negative_judgements": 1,
    }
    built = build(lake, "spar_rft", rows, **caps)
    assert Counter(column(built, "class")) == {
        name.removesuffix("s").replace("_", " "): cap for name, cap in caps.items()
    }
    assert by_class(built)["refinement"] == ["1rc", "2rc", "3rc", "4rc"]


# Splits and order


def many(count: int) -> list[Any]:
    rows: list[Any] = prompts(*range(count))
    for n in range(count):
        rows += tree(n, {"r": "nny", "ra": "nyy"}, "ra")
        rows += [answer(f"s{n}", f"p{n}"), pair(f"t{n}", f"p{n}", f"{n}ra", f"{n}r")]
        rows += [
            pair(f"{source}{n}", f"p{n}", f"s{n}", f"{n}r", source=source)
            for source in ("passing_over_failing", "best_over_worst")
        ]
        rows += votes(f"s{n}", "yyy", prompt_id=f"p{n}")
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
    lake.compact()
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
    lake.compact()
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
    with pytest.raises(FactoryError, match=r"no training set spar_dpo@3: it has none; `factory build spar_dpo`"):
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
