"""Both trainers on a real lake with a tiny real model: two layers and a tokenizer made here, no network."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.ids import model_id, sha256_text, weights_sha256
from schemas.tables import Model
from stores.lake import Lake
from tests.training.tiny import (
    CHAT_TEMPLATE,
    CONFIG,
    ROOT,
    SETS,
    captured,
    needs_torch,
    start,
    training_run,
    weights,
    write_gguf,
)


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_training_moves_the_weights_and_leaves_a_complete_model(
    request: pytest.FixtureRequest, place: SimpleNamespace, objective: str
) -> None:
    output = request.getfixturevalue(objective)
    files = {file.name for file in output.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    before, after = weights(place.folder / "tiny"), weights(output)
    assert before.keys() == after.keys()
    assert all(not before[name].equal(after[name]) for name in before)


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_a_training_leaves_a_row_that_says_how_it_went(
    request: pytest.FixtureRequest, place: SimpleNamespace, objective: str
) -> None:
    run = training_run(place, request.getfixturevalue(objective))
    metrics = json.loads(run.metrics)
    steps = 2 * math.ceil(metrics["examples"] / 4)
    assert len(run.loss_curve) == steps
    assert run.loss_curve[-1] < run.loss_curve[0]
    assert json.loads(run.configuration)["learning_rate"] == 1e-3
    assert (run.objective, run.seed) == (objective, 7)
    assert run.package_versions["trl"]
    assert run.weights_sha256 != run.base_weights_sha256
    with Lake.open(place.lake) as lake:
        (model,) = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    assert model.revision == run.weights_sha256
    assert (run.base_model, run.output) == ("tiny", objective)
    assert model.name == f"{objective}@{run.weights_sha256[:12]}" and model.origin == f"vllm:{model.name}"
    card = (request.getfixturevalue(objective) / "README.md").read_text("utf-8")
    assert str(place.folder) not in f"{run} {model} {card}"
    assert not list(place.folder.glob(".*.part"))


@needs_torch
def test_dpo_raises_the_margin_of_held_out_pairs(place: SimpleNamespace, dpo: Path) -> None:
    metrics = json.loads(training_run(place, dpo).metrics)
    assert metrics["held_out"] == place.pairs.held_out.num_rows
    assert metrics["after"]["margin"] > metrics["before"]["margin"]
    assert metrics["before"]["reward_accuracy"] == 0
    assert metrics["after"]["reward_accuracy"] > 0.5


@needs_torch
def test_rft_lowers_the_loss_of_held_out_completions(place: SimpleNamespace, rft: Path) -> None:
    metrics = json.loads(training_run(place, rft).metrics)
    assert metrics["after"]["loss"] < metrics["before"]["loss"]


@needs_torch
def test_the_card_names_the_set_the_weights_and_the_figures(place: SimpleNamespace, dpo: Path) -> None:
    card, run = (dpo / "README.md").read_text(), training_run(place, dpo)
    figure = json.loads(run.metrics)["after"]["margin"]
    for part in ("spar_dpo@1", place.pairs.row.fingerprint, run.weights_sha256, f"{figure:.4f}"):
        assert part in card
    assert str(place.folder) not in card


@needs_torch
def test_dpo_s_first_loss_is_log_two_and_a_tenth_of_the_chosen_answers_own(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace
) -> None:
    from trainers.log_probs import answer_log_probs

    job, trainer = captured(monkeypatch, place, "dpo")
    pairs = job.examples.tokens
    trainer.args.gradient_accumulation_steps = len(pairs)
    trainer.args.max_steps = 1
    scores = answer_log_probs(trainer, pairs)
    own = [-chosen / len(pair.answers[0]) for pair, (chosen, _) in zip(pairs, scores, strict=True)]
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2) + 0.1 * sum(own) / len(own), rel=1e-3)


@needs_torch
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(place: SimpleNamespace, dpo: Path) -> None:
    first = training_run(place, dpo)
    assert start(place, "dpo", place.folder / "again") == 0
    again = training_run(place, place.folder / "again")
    assert (again.weights_sha256, again.loss_curve) == (first.weights_sha256, first.loss_curve)
    assert start(place, "dpo", place.folder / "other", seed=8) == 0
    assert training_run(place, place.folder / "other").weights_sha256 != first.weights_sha256


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft", pytest.param("sppo", marks=pytest.mark.heavy)])
def test_lora_keeps_its_adapters_and_merges_them_into_a_complete_model(
    place: SimpleNamespace, tmp_path: Path, objective: str
) -> None:
    lora = CONFIG.replace("  epochs", "  lora: {rank: 4, alpha: 8}\n  epochs")
    (tmp_path / "lora.yaml").write_text(lora)
    output = tmp_path / "lora"
    assert start(place, objective, output, config=tmp_path / "lora.yaml") == 0
    assert (output / "adapter" / "adapter_model.safetensors").is_file()
    before, after = weights(place.folder / "tiny"), weights(output)
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {name for name in before if "_proj" in name}


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_the_settings_for_7b_models_train_in_bfloat16_and_keep_float32_weights(
    place: SimpleNamespace, tmp_path: Path, objective: str
) -> None:
    (tmp_path / "once.yaml").write_text("rft: {epochs: 1}")  # of five
    config = {"dpo": None, "rft": tmp_path / "once.yaml"}[objective]
    assert start(place, objective, tmp_path / "out", config=config) == 0
    before, after = weights(place.folder / "tiny"), weights(tmp_path / "out")
    assert {str(value.dtype) for value in after.values()} == {"torch.float32"}
    assert any(not before[name].equal(after[name]) for name in before)


@needs_torch
def test_a_gguf_file_is_trained_with_its_own_tokenizer_and_template(place: SimpleNamespace, tmp_path: Path) -> None:
    write_gguf(place.folder / "tiny", tmp_path / "tiny.gguf")
    assert start(place, "rft", tmp_path / "out", model=tmp_path / "tiny.gguf") == 0
    trained = weights(tmp_path / "out")
    assert trained.keys() == weights(place.folder / "tiny").keys()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    run = training_run(place, tmp_path / "out")
    assert run.chat_template_hash == sha256_text(CHAT_TEMPLATE)
    assert run.start_model_id == model_id("tiny", weights_sha256([tmp_path / "tiny.gguf"]))
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


@needs_torch
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.mkdir(), "the folder holds no model"),
        (lambda folder: None, "neither a folder nor a .gguf file"),
    ],
)
def test_a_model_that_is_not_there_is_refused(
    place: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Any,
    words: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    make(tmp_path / "model")
    assert start(place, "dpo", tmp_path / "out", model=tmp_path / "model") == 1
    assert words in capsys.readouterr().err


@needs_torch
@pytest.mark.parametrize(
    "objective", ["dpo", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("sppo", "reward"))]
)
def test_two_processes_of_accelerate_launch_write_one_model_and_one_row(
    place: SimpleNamespace, tmp_path: Path, objective: str
) -> None:
    output = place.folder / f"launched-{objective}"
    (tmp_path / "saving.yaml").write_text(CONFIG.replace("  epochs: 2", "  epochs: 2\n  save_every: 2"))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["-m", f"trainers.{objective}", "--lake", str(place.lake), "--set", SETS[objective]]
    command += ["--model", str(place.folder / "tiny"), "--config", str(tmp_path / "saving.yaml")]
    done = subprocess.run([*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training run: ") == 1
    assert training_run(place, output).hardware.startswith("2 x CPU")
    assert not weights(output)["model.norm.weight"].equal(weights(place.folder / "tiny")["model.norm.weight"])
