"""`factory verify` on a lake that was damaged on purpose: what is wrong is named with its table, and what depends on it."""

import dataclasses
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from factory.evaluation.figures import Figure
from factory.evaluation.rows import Measured, has_own_id, row_of
from schemas.ids import content_id, model_id, prompt_id
from schemas.tables import Evaluation, Message, Model, Pair, Prompt, Response, Review, Run, TrainingSet
from stores.checksums import data_files
from stores.consistency import check_rows, check_sets
from stores.lake import Lake
from tests.command_line import told
from tests.rows import row
from tests.whole_lakes import copied as copied
from tests.whole_lakes import whole as whole


def file_of(folder: Path, table: str) -> Path:
    return max((folder / "data" / "main" / table).glob("*.parquet"), key=lambda file: file.stat().st_size)


def flip(folder: Path) -> None:
    file = file_of(folder, "responses")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(folder: Path) -> None:
    file = file_of(folder, "judgements")
    file.write_bytes(file.read_bytes()[:-9])


def change_catalog(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE ducklake_data_file SET record_count = record_count + 1")


def by_sql(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with Lake.open(folder) as lake:
            for statement in text.split(";"):
                lake.connection.execute(statement)

    return change


FIRST = "(SELECT min({0}) FROM lake.{1})"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit": (flip, r"data/|responses/.*differs from what was written: .* of responses"),
    "a missing file": (lambda folder: file_of(folder, "nodes").unlink(), r"nodes/.* is missing: .* rows of nodes"),
    "a file cut short": (cut, r"judgements/.* of its .* bytes: .* of judgements"),
    "a changed catalog": (change_catalog, r"catalog\.sqlite differs from what was written"),
    "a changed prompt": (
        by_sql("UPDATE lake.prompts SET reference = 'other' WHERE prompt_id = " + FIRST.format("prompt_id", "prompts")),
        r"prompts \w{32} its id is not the hash of what it stands for",
    ),
    "a row twice": (
        by_sql("INSERT INTO lake.pairs FROM lake.pairs LIMIT 1"),
        r"pairs \w{32} is there more than once",
    ),
    "a parent of another tree": (
        by_sql("UPDATE lake.nodes SET parent_node_id = 'elsewhere' WHERE depth = 1"),
        r"rows of nodes: each has a parent that is not in its tree",
    ),
    "a cycle": (
        by_sql(
            "UPDATE lake.nodes AS n SET parent_node_id = c.child FROM (SELECT parent_node_id AS parent, min(node_id) AS child "
            "FROM lake.nodes WHERE depth = 1 GROUP BY ALL LIMIT 1) AS c WHERE n.node_id = c.parent"
        ),
        r"trees \w{32} has 0 roots",
    ),
    "a pair without its answer": (
        by_sql("DELETE FROM lake.responses WHERE response_id = (SELECT min(chosen_response_id) FROM lake.pairs)"),
        r"pairs \w{32} has a chosen response that is not there",
    ),
    "a tree that counts others": (
        by_sql("UPDATE lake.trees SET nodes_expanded = nodes_expanded + 1"),
        r"rows of trees: each counts other nodes than it has",
    ),
    "a call that is gone": (
        by_sql("DELETE FROM lake.calls WHERE call_id = (SELECT min(call_id) FROM lake.responses)"),
        r"names a call that is not there",
    ),
    "another fingerprint": (
        by_sql("UPDATE lake.training_sets SET fingerprint = repeat('0', 64) WHERE name = 'spar_dpo'"),
        r"spar_dpo@1 cannot be read as it was built: .*fingerprint",
    ),
    "a run of another seed": (
        by_sql("UPDATE lake.runs SET seed = 7"),
        r"rows of runs: each its id is not the hash",
    ),
    "a training of another seed": (
        by_sql("UPDATE lake.training_runs SET seed = 1"),
        r"training_runs \w{32} its id is not the hash",
    ),
}


def test_a_lake_as_it_was_written_is_whole(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, errors = told(capsys, "verify", whole)
    assert (code, errors) == (0, "")
    assert "0 faults in rows, trees, pairs and pinned sets" in said and f"lake {whole} is whole" in said


@pytest.mark.parametrize(("damage", "line"), DAMAGES.values(), ids=DAMAGES)
def test_each_damage_is_named_with_its_table_and_what_depends_on_it(
    copied: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], line: str
) -> None:
    damage(copied)
    code, said, errors = told(capsys, "verify", "--lake", copied)
    assert code == 1 and "from a backup" in " ".join(errors.split()), said + errors
    assert re.search(line, said), said
    if damage is not change_catalog:
        assert re.search(r"depends on it: training set spar_dpo@1, training \w{32}, model trained@111", said), said


def test_quick_looks_at_files_alone(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    DAMAGES["a row twice"][0](copied)
    code, said, _ = told(capsys, "verify", copied, "--quick")
    assert code == 0 and "is whole" in said and "faults in rows" not in said


def test_ids_of_texts_with_control_characters_are_right_though_sql_writes_them_otherwise(lake: Lake) -> None:
    messages = [Message("user", 'a "quoted" \x01\x1f line\n\\ and \u2028 é 🙂 /')]
    odd = row(Prompt, prompt_id(messages, [], "r\x0b", None), messages=messages, reference="r\x0b")
    lake.append([odd], message="by hand")
    assert check_rows(lake, lambda words: None) == []
    lake.append([dataclasses.replace(odd, prompt_id="f" * 32)], message="by hand")
    [fault] = check_rows(lake, lambda words: None)
    assert (fault.table, fault.ids) == ("prompts", ("f" * 32,))


@pytest.mark.parametrize("depends_on", [{}, {"seen_kinds": ["a", "b"]}, {"other_run_id": "r2", "test": {"exact": 1}}])
def test_the_ids_of_evaluations_are_derived_as_they_are_made_and_were_before(depends_on: dict[str, Any]) -> None:
    measured = Measured(run_id="r", model_id="m", role=None, benchmark="ifeval", prompts_hash="p", seed=0,
                        settings={"sampling": {"n": 1}}, depends_on=depends_on)  # fmt: skip
    made = row_of(measured, "instruction_loose", Figure(0.5, 0.4, 0.6, 9))
    assert has_own_id(made) and not has_own_id(dataclasses.replace(made, metric="prompt_loose"))
    assert not has_own_id(dataclasses.replace(made, settings="[]"))
    earlier = ("r", "m", None, "ifeval", "instruction_loose", *([depends_on] if depends_on else []))
    assert has_own_id(dataclasses.replace(made, evaluation_id=content_id("evaluation", *earlier)))


def test_a_run_or_evaluation_of_another_id_is_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lake.open(copied) as lake:
        [model, *_] = lake.read(Model)
        [run, *_] = lake.read(Run)
        odd = row(Evaluation, "e" * 32, run_id=run.run_id, model_id=model.model_id, settings="{}")
        lake.append([odd], message="by hand")
        lake.connection.execute("UPDATE lake.runs SET parameters = replace(parameters, '\"limit\":6', '\"limit\":7')")
    code, said, _ = told(capsys, "verify", copied)
    assert code == 1 and f"evaluations {'e' * 32} its id is not the hash of what it stands for" in said
    assert "rows of runs: each its id is not the hash" in said


@pytest.mark.parametrize("text", ["a better answer", "odd \x1b \x0b text"])
def test_what_a_reviewer_has_edited_is_derived_too(copied: Path, text: str) -> None:
    with Lake.open(copied) as lake:
        pair, *_ = lake.read(Pair, "source = 'refined_over_failed'")
        edited = content_id("response", pair.run_id, "edited", pair.chosen_response_id, text)
        of_run = {"run_id": pair.run_id, "prompt_id": pair.prompt_id}
        answer = row(Response, edited, kind="edited", text=text, **of_run)
        pair_id = content_id("pair", pair.run_id, pair.source, edited, pair.rejected_response_id)
        better = dataclasses.replace(pair, pair_id=pair_id, chosen_response_id=edited)
        reviews = [
            row(Review, content_id("review", pair.pair_id, "ann", times), pair_id=pair.pair_id, reviewer="ann",
                edited_response_id=edited, edited_pair_id=pair_id, **of_run)
            for times in (1, 0)
        ]  # fmt: skip
        lake.append([answer, better, *reviews], message="edited")
        assert check_rows(lake, lambda words: None) == []
        lake.append([row(Review, "e" * 32, pair_id=pair.pair_id, reviewer="ann", **of_run)], message="by hand")
        assert [(fault.table, fault.ids) for fault in check_rows(lake, lambda words: None)] == [
            ("reviews", ("e" * 32,))
        ]


def test_a_set_whose_snapshot_was_expired_by_others_is_told(copied: Path) -> None:
    with Lake.open(copied) as lake:
        [first, *_] = sorted(lake.read(TrainingSet), key=lambda one: one.snapshot)
        lake.append([row(Model, model_id("a", None), name="a")], message="later")
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{first.snapshot}])")
    with Lake.open(copied) as lake:
        faults = check_sets(lake, lambda words: None)
    assert {fault.ids[0] for fault in faults} >= {first.training_set_id}
    assert any(f"has no snapshot {first.snapshot}" in fault.fault for fault in faults)


def test_files_carry_the_snapshots_that_need_them(copied: Path) -> None:
    with Lake.open(copied) as lake:
        lake.connection.execute("DELETE FROM lake.pairs")
        gone = [file for file in data_files(lake) if file.table_name == "pairs"]
        newest = lake.latest_snapshot()
    assert gone and all(not file.current and file.begin_snapshot < newest == file.end_snapshot for file in gone)


@pytest.mark.parametrize("kept", [True, False], ids=["with checksums", "without"])
def test_a_lake_that_may_only_be_read_is_verified(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if not kept:
        with Lake.open(copied) as lake:
            lake.connection.execute("DROP TABLE __ducklake_metadata_lake.factory_checksums")
    allowed = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: allowed(path, mode) and not (mode == os.W_OK and copied in [path, *Path(path).parents]),
    )
    code, said, errors = told(capsys, "verify", copied)
    assert code == 0 and f"lake {copied} is whole" in said, said + errors
