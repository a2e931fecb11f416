"""Lock files: what decides a set or a model in one file, read as a stranger's text."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from factory.reruns.data import rows_of_lock
from factory.reruns.lock import lock_of, stretches_of
from factory.reruns.lock_file import lock_of_text, lock_text, read_lock, write_lock
from factory.reruns.published import published_rows
from schemas.errors import FactoryError
from schemas.tables import Call, Model, TrainingRun
from stores.lake import Lake
from stores.training_sets import fingerprint_of, read_training_set, write_parquet
from tests.rows import row
from tests.sets import RUN, answer, build, pair, prompts

MODEL = row(Model, "m", name="tiny", origin="http://localhost", revision="r1")


@pytest.fixture
def filled(lake: Lake) -> Lake:
    rows = [answer(f"{side} {n}", f"p{n}") for n in range(6) for side in ("good", "bad")]
    pairs = [pair(f"pair {n}", f"p{n}", f"good {n}", f"bad {n}") for n in range(6)]
    call = row(Call, "c", run_id="run", model_id="m")
    run = dataclasses.replace(RUN, parameters="{}")
    build(lake, "spar_dpo", [*prompts(*range(6)), *rows, *pairs, MODEL, call], run, held_out=0.5)
    return lake


def training(lake: Lake, **given: Any) -> TrainingRun:
    [set_id] = lake.query("SELECT training_set_id FROM training_sets").column(0).to_pylist()
    filled = {
        "training_set_id": set_id,
        "objective": "dpo",
        "status": "finished",
        "base_model": "tiny",
        "base_weights_sha256": "0" * 64,
        "start_model_id": "m",
        "reference_model_id": "m",
        "configuration": json.dumps({"learning_rate": 2e-07, "lora": None}),
        "package_versions": {"python": "3.11.9", "torch": "2.13.0"},
        "loss_curve": [0.7, 1e-05],
        "metrics": "{}",
        "output": "out",
        "weights_sha256": "1" * 64,
    }
    return row(TrainingRun, given.pop("id", "a" * 32), **{**filled, **given})


def test_a_set_s_lock_holds_what_decides_it_and_is_read_back(filled: Lake, tmp_path: Path) -> None:
    lock = lock_of(filled, "spar_dpo@1")
    write_lock(lock, file := tmp_path / "set.lock.yaml")
    assert read_lock(file) == lock
    assert lock.training is None and [model.name for model in lock.models] == ["tiny"]
    assert lock.training_set.stretches == [lock.training_set.train_rows, lock.training_set.held_out_rows]
    assert lock.training_set.columns[0] == "split"
    assert [run.run_id for run in lock.runs] == ["run"] and lock.runs[0].templates
    text = file.read_text()
    assert "\n    -- spar_dpo.sql" in text and str(tmp_path) not in text  # SQL as it is read
    assert lock.packages["duckdb"] and f"duckdb=={lock.packages['duckdb']}" in lock.container


def test_a_model_s_lock_holds_its_training(filled: Lake) -> None:
    made = row(Model, "made", name="out@111", training_run_id="a" * 32)
    filled.append([training(filled), made], message="by hand")
    for name in ("out", "out@111", "a" * 32, "aaaa", "made"):
        lock = lock_of(filled, name)
        assert lock.training is not None and lock.training.training_run_id == "a" * 32
        assert lock_of_text(lock_text(lock, "x")) == lock
    assert lock.training.start is not None and lock.training.start.revision == "r1"
    assert lock.training.reference is None and lock.training.configuration["learning_rate"] == 2e-07
    assert "torch==2.13.0" in lock.container and "python:3.11-slim" in lock.container
    assert "'./preference-factory[train]'" in lock.container and "preference-factory==" not in lock.container


def test_an_unknown_name_is_told_with_the_nearest(filled: Lake) -> None:
    with pytest.raises(FactoryError, match=r"has nothing called 'spar_dop@1': did you mean 'spar_dpo@1'\?"):
        lock_of(filled, "spar_dop@1")
    filled.append([row(Model, f"m{n}", name=f"tiny{n}", training_run_id="x") for n in range(30)], message="by hand")
    with pytest.raises(FactoryError, match=r"has nothing called 'tni': the nearest are (\w+, ){2}\w+$"):
        lock_of(filled, "tni")
    with pytest.raises(FactoryError, match=r"has nothing called '☃': `factory sql 'FROM models'` lists what it has"):
        lock_of(filled, "☃")


def test_two_trainings_that_begin_alike_are_told(filled: Lake) -> None:
    filled.append([training(filled), training(filled, id="a" * 31 + "b")], message="by hand")
    with pytest.raises(FactoryError, match="could be trainings"):
        lock_of(filled, "aaa")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("format: 1\n", "format: 2\n"), "cannot be used"),
        (lambda text: text + "more: 1\n", "unknown field `more`"),
        (lambda text: text.replace("train_rows: ", "train_rows: -"), "cannot be used"),
        (lambda text: text.replace("  name: spar_dpo", "  name: &a spar_dpo") + "x: *a\n", "has an alias"),
        (lambda text: text.replace("  name: spar_dpo", "  name: !!python/object:os.system spar_dpo"), "cannot be used"),
        (lambda text: text.replace("fingerprint: ", "fingerprint: x"), "cannot be used"),
        (lambda text: text.replace("  stretches: [", "  stretches: [1, "), "cannot be used|do not add up"),
        (lambda text: "[" * 100_000, "cannot be used"),
        (lambda text: "", "cannot be used"),
        (lambda text: "\0", "cannot be used"),
    ],
)
def test_a_text_that_is_no_lock_file_is_refused_in_a_sentence(filled: Lake, change: Any, words: str) -> None:
    text = lock_text(lock_of(filled, "spar_dpo"), "x")
    assert change(text) != text
    with pytest.raises(FactoryError, match=words) as refused:
        lock_of_text(change(text))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_a_file_that_is_not_there_or_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FactoryError, match="there is no lock file"):
        read_lock(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(FactoryError, match="not UTF-8"):
        read_lock(tmp_path / "binary.yaml")
    monkeypatch.setattr("factory.reruns.lock_file.MOST_BYTES", 1)
    with pytest.raises(FactoryError, match="more than 1 bytes"):
        read_lock(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("split", "lengths"),
    [([], [0]), (["train"] * 2, [2]), (["held_out"], [0, 1]), (["train", "held_out", "held_out", "train"], [1, 2, 1])],
)
def test_stretches_give_the_order_of_the_splits(split: list[str], lengths: list[int]) -> None:
    assert stretches_of(pa.chunked_array([pa.array(split, pa.string())])) == lengths


def test_a_lake_that_does_not_know_the_set_is_asked_with_the_lock_s_query(filled: Lake) -> None:
    locked = lock_of(filled, "spar_dpo@1").training_set
    filled.connection.execute("DELETE FROM lake.training_sets")
    elsewhere = msgspec.structs.replace(locked, snapshot=999)  # of the lake that it was written from
    for each in (locked, elsewhere):
        rows = rows_of_lock(filled, each)
        assert fingerprint_of(rows) == locked.fingerprint and rows.num_rows == 6


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT content AS prompt FROM read_text('/etc/hostname')", "may not call read_text"),
        ("DELETE FROM lake.pairs", "only one read-only query"),
        ("SELECT 1 AS prompt", "with the fingerprint"),
    ],
)
def test_a_stranger_s_query_may_only_read_the_lake(filled: Lake, sql: str, words: str) -> None:
    locked = lock_of(filled, "spar_dpo@1").training_set
    filled.connection.execute("DELETE FROM lake.training_sets")
    with pytest.raises(FactoryError, match=words):
        rows_of_lock(filled, msgspec.structs.replace(locked, sql=sql))
    assert filled.counts()["pairs"] == 6


def test_a_published_dataset_that_is_another_is_refused(filled: Lake, tmp_path: Path) -> None:
    locked = lock_of(filled, "spar_dpo@1").training_set
    with pytest.raises(FactoryError, match="holds no Parquet files"):
        published_rows(str(tmp_path), locked)
    built = read_training_set(filled, "spar_dpo@1")
    write_parquet(built, tmp_path / "set")
    assert fingerprint_of(published_rows(str(tmp_path), locked)) == locked.fingerprint
    swapped = dataclasses.replace(built, train=built.train.take(list(reversed(range(built.train.num_rows)))))
    write_parquet(swapped, tmp_path / "set")
    with pytest.raises(FactoryError, match="holds no rows with the fingerprint"):
        published_rows(str(tmp_path), locked)
    (tmp_path / "set" / "train.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(FactoryError, match="cannot be read"):
        published_rows(str(tmp_path), locked)
