"""A training done again, from its lake, and from a lock file with the published rows alone: the same weights."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from factory.reruns.lock import lock_of
from factory.reruns.lock_file import Lock, read_lock, write_lock
from schemas.tables import Rerun, TrainingRun
from stores.lake import Lake
from stores.training_sets import read_training_set, write_parquet
from tests.command_line import told
from tests.rows import row
from tests.training.tiny import ROOT, needs_torch, training_run

DIFFERENT = 4


def reruns(place: SimpleNamespace) -> list[Rerun]:
    with Lake.open(place.lake) as lake:
        return sorted(lake.read(Rerun), key=lambda row: row.started_at)


@needs_torch
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.heavy)])
def test_a_training_done_again_gives_the_same_weights_and_no_second_training_run(
    place: SimpleNamespace, dpo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], times: int
) -> None:
    run = training_run(place, dpo)
    with Lake.open(place.lake) as lake:
        before = lake.counts()
    outputs = [tmp_path / f"again {number}" for number in range(times)]
    for output in outputs:
        words = ("rerun", run.training_run_id[:9], "--lake", place.lake, "--model", place.folder / "tiny")
        code, said, _ = told(capfd, *words, "--output", output)
        assert code == 0, said
        assert f"fingerprint {place.pairs.row.fingerprint[:12]}" in said
        assert "packages, threads and processor are as they were" in said
        assert f"loss curve: identical, {len(run.loss_curve)} steps" in said
        assert f"weights: identical, SHA-256 {run.weights_sha256}" in said
        assert said.rstrip().endswith("identical")
    assert {(each / "model.safetensors").read_bytes() for each in (dpo, *outputs)} == {
        (dpo / "model.safetensors").read_bytes()
    }
    with Lake.open(place.lake) as lake:
        after = lake.counts()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"reruns": times}
    kept = reruns(place)[-1]
    assert (kept.training_run_id, kept.run_id, kept.outcome) == (run.training_run_id, None, "identical")
    assert (kept.data_identical, kept.loss_difference, kept.weights_identical) == (True, 0.0, True)
    assert (kept.weights_sha256, kept.weights_difference, kept.environment) == (run.weights_sha256, 0.0, "{}")


@needs_torch
def test_a_fresh_machine_trains_it_again_from_a_lock_file_and_the_published_rows(
    place: SimpleNamespace, dpo: Path, tmp_path: Path
) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    with Lake.open(place.lake) as lake:
        write_lock(lock_of(lake, training_run(place, dpo).training_run_id), machine / "model.lock.yaml")
        write_parquet(read_training_set(lake, "spar_dpo@1"), machine / "dataset")
    shutil.copytree(place.folder / "tiny", machine / "start")
    command = [
        sys.executable,
        "-P",
        "-m",
        "factory.cli",
        "rerun",
        "model.lock.yaml",
        "--data",
        "dataset",
        "--model",
        "start",
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(machine), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=machine, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"weights: identical, SHA-256 {training_run(place, dpo).weights_sha256}" in done.stdout
    assert not (machine / "lake").exists()


@needs_torch
def test_what_differs_is_told_with_its_size_and_its_cause(
    place: SimpleNamespace, dpo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = training_run(place, dpo)
    with Lake.open(place.lake) as lake:
        lock = lock_of(lake, run.training_run_id)
    other = with_training(lock, seed=8, package_versions={**run.package_versions, "trl": "0.1"})
    write_lock(other, tmp_path / "other.lock.yaml")
    words = ("rerun", tmp_path / "other.lock.yaml", "--lake", place.lake, "--model", place.folder / "tiny")
    code, said, _ = told(capfd, *words, "--original", dpo)
    assert code == DIFFERENT
    assert "other than then: trl 0.1 then" in said
    assert "loss curve: different, by at most" in said and "weights: the largest difference is" in said
    assert "different: not the same machine: trl 0.1 then" in said
    kept = reruns(place)[-1]
    assert (kept.outcome, kept.weights_identical) == ("different", False)
    assert kept.loss_difference and kept.weights_difference and kept.weights_sha256 != run.weights_sha256
    assert json.loads(kept.environment)["trl"][0] == "0.1"


def with_training(lock: Lock, **changes: object) -> Lock:
    """The lock with other values in its training."""
    assert lock.training is not None
    return msgspec.structs.replace(lock, training=msgspec.structs.replace(lock.training, **changes))


def by_hand(training_set_id: str) -> TrainingRun:
    filled = {"objective": "dpo", "status": "finished", "base_weights_sha256": "0" * 64}
    return row(TrainingRun, "b" * 32, training_set_id=training_set_id, configuration="{}", metrics="{}", **filled)


@needs_torch
def test_another_start_or_a_used_output_is_refused_before_it_trains(
    place: SimpleNamespace, dpo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = training_run(place, dpo)
    words = ("rerun", run.training_run_id, "--lake", place.lake)
    code, _, errors = told(capfd, *words, "--model", dpo)
    assert code == 1 and "and the training began with" in errors
    code, _, errors = told(capfd, *words, "--model", place.folder / "tiny", "--output", dpo)
    assert code == 1 and "is not empty" in errors
    code, _, errors = told(capfd, *words)
    assert code == 1 and "is not known here" in errors and "--model" in errors
    kept = reruns(place)[-1]
    assert kept.outcome == "failed" and str(place.folder) not in str(kept)


def test_rows_that_have_changed_are_named_and_nothing_is_trained(
    place: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place.lake, tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        lake.append([by_hand("changed")], message="by hand")
        built = read_training_set(lake, "spar_dpo@1")
        second = built.train.slice(1)
        write_parquet(dataclasses.replace(built, train=second), tmp_path / "lake" / "training_sets" / "spar_dpo@2")
    code, said, _ = told(capfd, "rerun", "bbb", "--lake", tmp_path / "lake")
    first = built.train.column("pair_id")[1].as_py()
    assert code == DIFFERENT
    assert f"data: different, the first is train, row 1 ({first})" in said and "nothing was trained" in said
    with Lake.open(tmp_path / "lake") as lake:
        [kept] = lake.read(Rerun, "training_run_id = $id", {"id": "b" * 32})
    assert (kept.outcome, kept.data_identical) == ("failed", False)
    assert kept.first_difference is not None and kept.first_difference.startswith("train, row 1")


def test_the_lock_command_writes_the_file(
    place: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "set.lock.yaml"
    code, said, _ = told(capfd, "lock", "spar_dpo@1", "-o", file, "--lake", place.lake)
    assert code == 0 and place.pairs.row.fingerprint[:12] in said
    assert read_lock(file).training_set.fingerprint == place.pairs.row.fingerprint
    code, said, _ = told(capfd, "rerun", file, "--lake", place.lake)
    assert code == 0 and said.rstrip().endswith("identical")


def test_a_set_whose_snapshot_was_expired_by_others_is_told_in_a_sentence(
    place: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place.lake, tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        lake.append([by_hand(place.pairs.row.training_set_id)], message="by hand")
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{place.pairs.row.snapshot}])")
    code, _, errors = told(capfd, "rerun", "bbb", "--lake", tmp_path / "lake")
    assert code == 1 and f"has no snapshot {place.pairs.row.snapshot}" in " ".join(errors.split())
    assert errors.count("\n") == 1
    with Lake.open(tmp_path / "lake") as lake:
        [kept] = lake.read(Rerun, "training_run_id = $id", {"id": "b" * 32})
    assert (kept.outcome, kept.data_identical, kept.weights_identical) == ("failed", None, None)
    assert kept.reason is not None and "has no snapshot" in kept.reason
