"""The files of an export have the form that each trainer documents, every row is there or told, and its text is unchanged."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml

from factory.exporting.formats import FORMATS
from stores.lake import Lake
from stores.training_sets import build_training_set, read_training_set
from tests.exports import exported, lines
from tests.exports import sets as sets

SAMPLES = json.loads((Path(__file__).parent / "data" / "export_samples.json").read_text("utf-8"))
NAMES = {"preference": "spar_dpo@1", "prompt_completion": "spar_rft@1"}
ONE = "1 row"


def shape(value: Any) -> Any:
    """A value's keys and kinds; of a list, its first items'; the words that a format fixes stay."""
    if isinstance(value, dict):
        return {key: item if key in ("role", "rank", "training") else shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def rows(lake: Path, name: str) -> tuple[list[Any], list[Any]]:
    with Lake.open(lake) as opened:
        built = read_training_set(opened, name)
    return built.train.to_pylist(), built.held_out.to_pylist()


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("to", ["llamafactory", "axolotl", "openrlhf", "nemo-rl"])
def test_a_row_has_the_documented_form(sets: Path, tmp_path: Path, to: str, kind: str) -> None:
    exported(sets, NAMES[kind], to, tmp_path / "out")
    sample = SAMPLES[f"{to} {kind}"]
    assert sample["documented"]
    plain = [row for row in lines(tmp_path / "out" / "train.jsonl") if len(next(iter(row.values()))) <= 2]
    assert shape(sample["row"]) in [shape(row) for row in plain]
    assert {tuple(row) for row in lines(tmp_path / "out" / "train.jsonl")} == {tuple(sample["row"])}


@pytest.mark.parametrize("kind", NAMES)
def test_nemo_rl_s_configuration_has_the_documented_form(sets: Path, tmp_path: Path, kind: str) -> None:
    exported(sets, NAMES[kind], "nemo-rl", tmp_path / "out")
    made = yaml.safe_load((tmp_path / "out" / "nemo_rl.yaml").read_text("utf-8"))
    assert shape(made) == shape(SAMPLES[f"nemo-rl {kind} config"]["row"])
    assert made["data"]["default"] == SAMPLES[f"nemo-rl {kind} config"]["row"]["data"]["default"]


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.parametrize("to", FORMATS)
def test_no_row_is_dropped_without_a_word(sets: Path, tmp_path: Path, to: str, name: str) -> None:
    made = exported(sets, name, to, tmp_path / "out")
    train, held_out = rows(sets, name)
    for form in made.forms:
        left_out = sum(count for gap, count in form.lost.items() if gap.left_out)
        assert sum(form.rows.values()) + left_out == len(train) + len(held_out)
    page = (tmp_path / "out" / "EXPORT.md").read_text("utf-8")
    assert all(f"- {said}\n" in page for said in made.sentences())
    assert ("What the files do not hold" in page) == bool(made.sentences())


@pytest.mark.parametrize("to", ["llamafactory", "axolotl", "nemo-rl"])
def test_texts_come_through_unchanged(sets: Path, tmp_path: Path, to: str) -> None:
    exported(sets, "spar_dpo@1", to, tmp_path / "out")
    train, _ = rows(sets, "spar_dpo@1")
    for row, read in zip(train, lines(tmp_path / "out" / "train.jsonl"), strict=True):
        sides = (
            [side["completion"][0] for side in read["completions"]]
            if to == "nemo-rl"
            else [read["chosen"], read["rejected"]]
        )
        assert (read["context"] if to == "nemo-rl" else read["messages"], *sides) == (
            row["prompt"],
            row["chosen"][0],
            row["rejected"][0],
        )


@pytest.mark.parametrize("kind", NAMES)
def test_trl_s_files_hold_the_conversations_alone(sets: Path, tmp_path: Path, kind: str) -> None:
    exported(sets, NAMES[kind], "trl", tmp_path / "out")
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))  # EXPORT.md is no data file
    columns = ["prompt", "chosen", "rejected"] if kind == "preference" else ["prompt", "completion"]
    for split, side in zip(("train", "test"), rows(sets, NAMES[kind]), strict=True):
        assert read[split].to_list() == [{name: row[name] for name in columns} for row in side]


@pytest.mark.parametrize("name", NAMES.values())
def test_plain_files_hold_every_column(sets: Path, tmp_path: Path, name: str) -> None:
    for to in ("jsonl", "parquet", "csv"):
        exported(sets, name, to, tmp_path / to)
    for split, side in zip(("train", "test"), rows(sets, name), strict=True):
        assert lines(tmp_path / "jsonl" / f"{split}.jsonl") == side
        assert pq.read_table(tmp_path / "parquet" / f"{split}.parquet").to_pylist() == side
        with (tmp_path / "csv" / f"{split}.csv").open(encoding="utf-8", newline="") as opened:
            cells = list(csv.DictReader(opened))
        assert [json.loads(row["prompt"]) for row in cells] == [row["prompt"] for row in side]
        assert [row["prompt_id"] for row in cells] == [row["prompt_id"] for row in side]


def said(lake: Path, name: str, to: str, folder: Path) -> list[str]:
    return exported(lake, name, to, folder).sentences()


def test_ties_and_values_are_told(sets: Path, tmp_path: Path) -> None:
    for to in ("trl", "llamafactory", "axolotl", "openrlhf", "nemo-rl"):
        told = said(sets, "spar_dpo@1", to, tmp_path / to)
        assert any(": 6 rows with a value of each side" in each for each in told)
        assert any(
            f": {ONE} with equal values of both sides, or equal sides (ties): it takes each chosen side" in each
            for each in told
        )
        assert len(told) == 2  # system turns and several turns are held
    assert [said(sets, "spar_dpo@1", to, tmp_path / to) for to in ("jsonl", "csv", "parquet")] == [[], [], []]


def test_verl_s_pairs_have_neither_system_turns_nor_several(sets: Path, tmp_path: Path) -> None:
    made = exported(sets, "spar_dpo@1", "verl", tmp_path / "out")
    told = " ".join(made.sentences())
    assert f"verl (pairs of texts): {ONE} with a system turn left out" in told
    assert f"verl (pairs of texts): {ONE} with a prompt of several turns left out" in told
    pairs = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert {"Name a bird.", "Name a stone."} < {row["prompt"] for row in pairs} and len(pairs) == 3
    asked = pq.read_table(tmp_path / "out" / "rl_train.parquet").to_pylist()
    train, _ = rows(sets, "spar_dpo@1")
    assert [row["prompt"] for row in asked] == [row["prompt"] for row in train]
    assert [row["reward_model"]["ground_truth"] for row in asked] == [row["chosen"][0]["content"] for row in train]
    assert [row["extra_info"] for row in asked] == [{"split": "train", "index": at} for at in range(len(train))]


def test_earlier_answers_are_masked_or_told(sets: Path, tmp_path: Path) -> None:
    for to in ("verl", "nemo-rl"):
        assert any(
            "6 rows with earlier answers in the prompt" in each for each in said(sets, "spar_rft@1", to, tmp_path / to)
        )
    assert [said(sets, "spar_rft@1", to, tmp_path / to) for to in ("trl", "llamafactory", "axolotl", "openrlhf")] == [
        []
    ] * 4
    assert yaml.safe_load((tmp_path / "llamafactory" / "llamafactory.yaml").read_text("utf-8"))["mask_history"] is True
    for row in lines(tmp_path / "axolotl" / "train.jsonl"):
        assert [turn["training"] for turn in row["messages"]] == [False] * (len(row["messages"]) - 1) + [True]


def test_odd_conversations_are_left_out_where_a_trainer_would_drop_or_change_them(sets: Path, tmp_path: Path) -> None:
    left = {
        to: lines(exported(sets, "odd@1", to, tmp_path / to).folder / "train.jsonl")
        for to in ("llamafactory", "axolotl", "nemo-rl", "openrlhf")
    }
    assert {to: len(made) for to, made in left.items()} == {
        "llamafactory": 1,
        "axolotl": 2,
        "nemo-rl": 3,
        "openrlhf": 4,
    }
    told = " ".join(said(sets, "odd@1", "llamafactory", tmp_path / "again"))
    assert f"{ONE} with an answer of several turns left out: it learns one turn" in told
    assert f"{ONE} with another role than system, user and assistant" in told
    assert f"{ONE} with a prompt in which user and assistant do not take turns left out: it skips them" in told
    assert f"{ONE} with white space at the end of an answer: it cuts it off" in " ".join(
        said(sets, "odd@1", "axolotl", tmp_path / "more")
    )


def test_equal_sides_are_told_as_a_tie(sets: Path, tmp_path: Path) -> None:
    assert said(sets, "odd@1", "trl", tmp_path / "out") == [
        f"TRL: {ONE} with equal values of both sides, or equal sides (ties): it takes each chosen side as the better one"
    ]


FORMULA = """-- formula.sql
-- In: $run_ids VARCHAR[].
-- Out: preference; ordered by note.
SELECT 'train' AS split, messages AS prompt, [assistant_turn('=1+1')] AS chosen, [assistant_turn('b')] AS rejected, note
FROM (SELECT unnest(['=HYPERLINK("http://evil.example")', 'a\r@b', '', NULL, '"quoted", and' || chr(10) || 'broken']) AS note), prompts
WHERE len($run_ids) > 0 AND prompt_id = 'plain'
ORDER BY note
"""


def test_cells_that_a_spreadsheet_would_compute_are_told_and_kept(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets, tmp_path / "lake")
    (tmp_path / "formula.sql").write_text(FORMULA.replace("\r", "' || chr(13) || '"))
    with Lake.open(tmp_path / "lake") as lake:
        built = build_training_set(lake, str(tmp_path / "formula.sql"), {}, ["run"])
    assert said(tmp_path / "lake", "formula", "csv", tmp_path / "out") == [
        f"CSV: {ONE} with an empty text: it is read as NULL",
        f"CSV: {ONE} with a cell that begins as a formula does: a spreadsheet would compute it",
    ]
    with (tmp_path / "out" / "train.csv").open(encoding="utf-8", newline="") as opened:
        notes = [row["note"] for row in csv.DictReader(opened)]
    assert notes == [note or "" for note in built.train.column("note").to_pylist()]
