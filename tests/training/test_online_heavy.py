"""Online trainings that are killed, launched in two processes, or start from other kinds of models."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.tables import Judgement, Response, Run
from stores.lake import Lake
from tests.training.online import make_place, run_online, write_settings
from tests.training.test_checkpoints import kill_at
from tests.training.tiny import ROOT, needs_torch, training_run, weights, write_gguf

pytestmark = [needs_torch, pytest.mark.heavy]


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return make_place(tmp_path_factory.mktemp("online-heavy"))


def words(place: SimpleNamespace, output: Path, config: Path) -> list[str]:
    given = ["--lake", place.lake, "--set", "prompts@1", "--model", place.folder / "tiny", "--config", config]
    return list(map(str, [*given, "--output", output, "--seed", 7, "--reward", place.folder / "tiny-reward"]))


def rows(place: SimpleNamespace, output: Path) -> tuple[Any, list[Response], list[Judgement], list[Run]]:
    run = training_run(place, output)
    given = {"r": f"online-{run.training_run_id[:10]}"}
    with Lake.open(place.lake) as lake:
        responses, judgements = lake.read(Response, "run_id = $r", given), lake.read(Judgement, "run_id = $r", given)
        return run, responses, judgements, lake.read(Run, "run_id = $r", given)


def said(responses: list[Response], judgements: list[Judgement]) -> list[tuple[Any, ...]]:
    """What was answered and paid, whatever the run."""
    points = {one.response_id: one.points for one in judgements}
    return sorted((r.stage, r.prompt_id, r.choice_index, r.text, points[r.response_id]) for r in responses)


def test_a_killed_training_ends_with_the_same_weights_and_writes_each_answer_once(online: SimpleNamespace) -> None:
    alone, killed = online.folder / "alone", online.folder / "killed"
    config = write_settings(online.folder, epochs=6, save_every=1)
    assert run_online(online, alone, config, reward=online.folder / "tiny-reward") == 0
    command = [sys.executable, "-m", "trainers.online", *words(online, killed, config)]
    for step in (3, 8):
        kill_at(step, command, online.folder / ".killed.part")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on from step " in done.stdout
    one, responses, judgements, _ = rows(online, alone)
    other, responses_again, judgements_again, runs = rows(online, killed)
    assert other.weights_sha256 == one.weights_sha256 and other.loss_curve == one.loss_curve
    assert other.metrics == one.metrics and len(one.loss_curve) == 12
    assert len({r.response_id for r in responses_again}) == len(responses_again) == 12 * 4 + 4
    assert said(responses_again, judgements_again) == said(responses, judgements)
    assert sorted(run.status for run in runs) == ["finished", "running"]


def test_two_processes_write_every_answer_of_both_once(online: SimpleNamespace) -> None:
    output = online.folder / "launched"
    config = write_settings(online.folder, reward="{kind: verifier}")
    config.write_text(config.read_text().replace("micro_batch_size: 4", "micro_batch_size: 2"))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    given = [
        word for word in words(online, output, config) if word not in ("--reward", str(online.folder / "tiny-reward"))
    ]
    done = subprocess.run([*command, "-m", "trainers.online", *given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training run: ") == 1
    _, responses, judgements, _ = rows(online, output)
    stages = [response.stage for response in responses]
    assert {stage: stages.count(stage) for stage in ("step 1", "step 2")} == {"step 1": 4, "step 2": 4}
    assert {one.response_id for one in judgements} == {one.response_id for one in responses}
    assert len({(r.stage, r.prompt_id, r.choice_index) for r in responses if "step" in (r.stage or "")}) == 8


def test_a_gguf_file_and_another_reference_are_trained(online: SimpleNamespace, tmp_path: Path) -> None:
    write_gguf(online.folder / "tiny", tmp_path / "tiny.gguf")
    reward, config = online.folder / "tiny-reward", write_settings(tmp_path)
    shutil.copytree(online.folder / "tiny", tmp_path / "other")
    output = online.folder / "of-gguf"
    assert run_online(online, output, config, reward=reward, model=tmp_path / "tiny.gguf") == 0
    other = online.folder / "of-other"
    assert run_online(online, other, config, reward=reward, reference=tmp_path / "other") == 0
    # The same weights in another file: the same answers at the same pay.
    (of_gguf, *told), (of_other, *told_other) = rows(online, output), rows(online, other)
    assert said(told[0], told[1]) == said(told_other[0], told_other[1])
    assert weights(output).keys() == weights(other).keys()
    assert of_gguf.reference_model_id == of_gguf.start_model_id
    assert of_other.reference_model_id != of_other.start_model_id


def test_lora_is_trained_and_merged_and_takes_no_other_reference(
    online: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward, config = online.folder / "tiny-reward", write_settings(tmp_path, lora="{rank: 4, alpha: 8}")
    output = online.folder / "lora"
    assert run_online(online, output, config, reward=reward) == 0
    assert (output / "adapter" / "adapter_model.safetensors").is_file()
    shutil.copytree(online.folder / "tiny", tmp_path / "other")
    capsys.readouterr()
    assert run_online(online, tmp_path / "out", config, reward=reward, reference=tmp_path / "other") == 1
    assert "--reference cannot be another model with lora" in capsys.readouterr().err
