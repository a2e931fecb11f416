"""A training that was killed goes on from its checkpoint, to the same weights; nobody else's is ever continued."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.tables import Model, TrainingRun
from stores.lake import Lake
from tests.training.tiny import ROOT, SETS, needs_torch, start, training_run

LONG = """
dpo: &shared
  learning_rate: 1e-3
  epochs: 6
  batch_size: 4
  max_tokens: 128
  precision: float32
  gradient_checkpointing: false
  save_every: {every}
  {more}
rft: *shared
sppo: *shared
reward: *shared
"""
DROPOUT = "lora: {rank: 4, alpha: 8, dropout: 0.2}"


def config(folder: Path, every: int, more: str = "") -> Path:
    file = folder / f"every-{every}.yaml"
    file.write_text(LONG.replace("{every}", str(every)).replace("{more}", more))
    return file


def command(place: SimpleNamespace, objective: str, output: Path, file: Path) -> list[str]:
    words = [sys.executable, "-m", f"trainers.{objective}", "--lake", place.lake, "--config", file, "--output", output]
    words += ["--set", SETS.get(objective, "completions@1")]
    words += ["--model", place.folder / "tiny", "--seed", "7"]
    return list(map(str, words))


def kill_at(step: int, words: list[str], part: Path) -> list[str]:
    """Starts a training and kills it when it has the checkpoint of that step or a later one; returns its checkpoints."""
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if any(int(each.name[5:]) >= step for each in part.glob("checkpoints/step-*")):
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.002)
    assert process.returncode == -signal.SIGKILL
    return [each.name for each in part.glob("checkpoints/step-*")]


@needs_torch
@pytest.mark.parametrize(
    ("objective", "more", "kills"),
    [
        ("dpo", "", (7,)),
        pytest.param("dpo", "", (3, 11), marks=pytest.mark.heavy),
        pytest.param("rft", DROPOUT, (7,), marks=pytest.mark.heavy),
        pytest.param("sppo", "optimizer: rmsprop", (7,), marks=pytest.mark.heavy),
        pytest.param("reward", "", (7,), marks=pytest.mark.heavy),
    ],
)
def test_a_killed_training_ends_with_the_weights_and_losses_of_one_left_alone(
    place: SimpleNamespace,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    objective: str,
    more: str,
    kills: tuple[int, ...],
) -> None:
    quiet, saving = config(tmp_path, 0, more), config(tmp_path, 1, more)
    name = f"killed-{objective}"
    assert start(place, objective, tmp_path / f"alone-{objective}", config=quiet) == 0
    part = tmp_path / f".{name}.part"
    words = command(place, objective, tmp_path / name, saving)
    for step in kills:
        # One is kept, and a kill may come before the one before it is removed.
        assert 1 <= len(kill_at(step, words, part)) <= 2
    begun = json.loads((part / "asked.json").read_text())["started_at"]
    capfd.readouterr()
    assert start(place, objective, tmp_path / name, config=saving) == 0
    assert "going on from step " in capfd.readouterr().out
    alone, killed = (training_run(place, tmp_path / each) for each in (f"alone-{objective}", name))
    assert killed.weights_sha256 == alone.weights_sha256
    assert killed.loss_curve == alone.loss_curve and len(killed.loss_curve) == 30
    assert killed.metrics == alone.metrics
    assert killed.started_at.isoformat() == begun
    assert not part.exists()
    assert not list((tmp_path / name).rglob("*.p[tk]*")) and not list((tmp_path / name).rglob("*.bin"))


@pytest.fixture
def stopped(place: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Starts a training in this process that fails at its fourth step, with a checkpoint of the third."""
    from trainers.training import Progress

    def stop(objective: str = "dpo", more: str = "", **options: Any) -> int:
        file = config(tmp_path, 1, more)

        def fail(self: Any, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if state.global_step == 4:
                raise SystemExit(9)

        with monkeypatch.context() as patched, pytest.raises(SystemExit):
            patched.setattr(Progress, "on_log", fail)
            start(place, objective, tmp_path / "out", config=file, **options)
        return 9

    return stop


@needs_torch
def test_a_stopped_training_with_dropout_ends_with_the_adapters_of_one_left_alone(
    place: SimpleNamespace, tmp_path: Path, stopped: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(place, "rft", tmp_path / "alone-rft", config=config(tmp_path, 0, DROPOUT)) == 0
    stopped("rft", DROPOUT)
    capsys.readouterr()
    assert start(place, "rft", tmp_path / "out", config=tmp_path / "every-1.yaml") == 0
    assert "going on from step 3," in capsys.readouterr().out
    alone, stopped_run = (training_run(place, tmp_path / each) for each in ("alone-rft", "out"))
    assert stopped_run.weights_sha256 == alone.weights_sha256
    assert stopped_run.loss_curve == alone.loss_curve and len(stopped_run.loss_curve) == 30


@needs_torch
def test_another_training_never_goes_on_from_it(
    place: SimpleNamespace, tmp_path: Path, stopped: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    stopped()
    part = tmp_path / ".out.part"
    assert [each.name for each in (part / "checkpoints").iterdir()] == ["step-3"]
    assert not list(part.rglob("training_args.bin"))
    capsys.readouterr()
    kept = {file: file.read_bytes() for file in part.rglob("*") if file.is_file()}
    assert start(place, "dpo", tmp_path / "out", config=tmp_path / "every-1.yaml", seed=8) == 1
    said = capsys.readouterr().err
    assert "holds the checkpoints of another training that has not ended (seed 7)" in said and said.count("\n") == 1
    assert {file: file.read_bytes() for file in part.rglob("*") if file.is_file()} == kept


@needs_torch
def test_a_checkpoint_that_is_not_whole_is_not_used(
    place: SimpleNamespace, tmp_path: Path, stopped: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    stopped()
    part = tmp_path / ".out.part"
    half = shutil.copytree(part / "checkpoints" / "step-3", part / "saving" / "checkpoint-5")
    (half / "optimizer.pt").write_bytes(b"half")
    assert start(place, "dpo", tmp_path / "out", config=config(tmp_path, 0)) == 0
    assert "going on from step 3," in capsys.readouterr().out
    assert not part.exists()


@needs_torch
def test_a_part_without_checkpoints_stands_in_nobody_s_way(place: SimpleNamespace, tmp_path: Path) -> None:
    part = tmp_path / ".new.part"
    (part / "model").mkdir(parents=True)
    (part / "model" / "model.safetensors").write_bytes(b"half a model")
    (part / "asked.json").write_text('{"wanted": {"seed": 3}, "started_at": "2026-01-01T00:00:00+00:00"}')
    assert start(place, "rft", tmp_path / "new") == 0
    assert training_run(place, tmp_path / "new").started_at.isoformat() > "2026-01-02"


@needs_torch
def test_two_processes_do_not_train_the_same_model_at_once(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    (tmp_path / ".out.part").mkdir()
    with (tmp_path / ".out.part" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert start(place, "dpo", tmp_path / "out") == 1
    assert "another process is training" in capsys.readouterr().err


@needs_torch
def test_a_full_disk_while_saving_is_one_sentence_and_the_training_goes_on_when_there_is_room(
    place: SimpleNamespace, tmp_path: Path
) -> None:
    words = command(place, "dpo", tmp_path / "out", config(tmp_path, 2))
    # The weights fit, the optimizer's state does not: as on a disk that fills up.
    limit = (250_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        words,
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: a checkpoint cannot be written to ") and done.stderr.count("\n") == 1
    assert "free some space" in done.stderr
    assert start(place, "dpo", tmp_path / "out", config=tmp_path / "every-2.yaml") == 0


@needs_torch
def test_an_output_that_cannot_be_written_is_told_before_training(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert start(place, "dpo", tmp_path / "file" / "out") == 1
    said = capsys.readouterr().err
    assert "a training cannot be written to " in said and said.count("\n") == 1


@needs_torch
def test_killed_before_its_rows_were_written_only_the_rows_are(
    place: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import trainers.record

    def fail(*given: Any) -> int:
        raise SystemExit(9)

    output = tmp_path / "unrecorded"
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(trainers.record, "_add_rows", fail)
        start(place, "dpo", output)
    assert (output / "training.json").is_file() and (tmp_path / ".unrecorded.part").is_dir()
    assert (
        str(tmp_path) not in (output / "training.json").read_text()
        and str(place.folder) not in (output / "training.json").read_text()
    )
    files = {file: file.stat().st_mtime_ns for file in output.iterdir()}
    monkeypatch.setattr("trainers.training.train_and_record", fail)
    for words in ("trained before, and recorded only now: ", "trained before: "):
        assert start(place, "dpo", output) == 0
        assert words in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in output.iterdir()} == files
    assert not (tmp_path / ".unrecorded.part").exists()
    run = training_run(place, output)
    with Lake.open(place.lake) as lake:
        (model,) = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
        assert lake.read(TrainingRun, "training_run_id = $id", {"id": run.training_run_id}) == [run]
    assert model.revision == run.weights_sha256


@needs_torch
def test_a_finished_model_is_neither_trained_again_nor_written_over(
    place: SimpleNamespace, dpo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(place, "dpo", dpo) == 0
    assert f"trained before: {dpo}" in capsys.readouterr().out
    assert start(place, "dpo", dpo, seed=8) == 1
    assert "trained otherwise (seed 7)" in capsys.readouterr().err
    copy = shutil.copytree(dpo, tmp_path / "dpo")
    (copy / "model.safetensors").write_bytes(b"others")
    assert start(place, "dpo", copy) == 1
    assert "its weights are not those that its training.json names" in capsys.readouterr().err
    (copy / "training.json").write_text("{}")
    assert start(place, "dpo", copy) == 1
    assert "is not empty" in capsys.readouterr().err
