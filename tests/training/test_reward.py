"""Reward models: the loss against its formula in float64, prompts kept whole, and a model that others can load."""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.tables import Model
from stores.lake import Lake
from tests.training.tiny import CONFIG, captured, needs_torch, start, training_run, weights

PAIRS = [  # prompt, chosen, rejected: three answers of one prompt in all their pairs, and one pair of another
    ("a", "x", "y"),
    ("a", "x", "z"),
    ("b", "x", "z"),
    ("a", "y", "z"),
]


def examples(**numbers: list[float]) -> Any:
    """PAIRS as a trainer has them: a token of the prompt, then one of the answer."""
    from trainers.examples import Examples, Tokens

    rows = [
        {"prompt": [{"role": "user", "content": prompt}]} | {name: values[at] for name, values in numbers.items()}
        for at, (prompt, *_) in enumerate(PAIRS)
    ]
    tokens = [Tokens([ord(prompt)], [[ord(chosen)], [ord(rejected)]]) for prompt, chosen, rejected in PAIRS]
    return Examples(rows, tokens, 0)


def loss_of(batch: list[dict[str, Any]], reward: dict[tuple[str, str], float]) -> tuple[float, int]:
    """The trainer's loss of a batch under a model with these rewards, and how many answers the model was asked for."""
    import torch

    from trainers.reward_model import PromptwiseTrainer, collated

    made = collated(batch, pad_token_id=0)

    def model(input_ids: Any, attention_mask: Any, use_cache: bool) -> Any:
        asked = [tuple(map(chr, ids)) for ids in input_ids.tolist()]
        return SimpleNamespace(logits=torch.tensor([[reward[each]] for each in asked]))

    trainer = object.__new__(PromptwiseTrainer)
    trainer._metrics = {"train": defaultdict(list)}
    return float(trainer.compute_loss(model, made)), len(made["input_ids"])


def drawn(seed: int) -> tuple[dict[tuple[str, str], float], np.random.Generator]:
    draw = np.random.default_rng(seed)
    return {(prompt, answer): draw.normal() for prompt in "ab" for answer in "xyz"}, draw


def differences(reward: dict[tuple[str, str], float]) -> np.ndarray[Any, Any]:
    return np.array([reward[prompt, chosen] - reward[prompt, rejected] for prompt, chosen, rejected in PAIRS])


def cross_entropy(d: Any, p: Any) -> Any:
    return p * np.logaddexp(0, -d) + (1 - p) * np.logaddexp(0, d)


@needs_torch
def test_the_loss_is_the_mean_over_prompts_of_the_mean_over_their_pairs() -> None:
    from trainers.reward_model import elements

    for seed in range(3):
        reward, draw = drawn(seed)
        margin, p = draw.uniform(0, 2, 4), draw.uniform(0, 1, 4)
        for numbers, expected in (
            ({}, cross_entropy(differences(reward), 1)),
            ({"margin": margin.tolist()}, cross_entropy(differences(reward) - margin, 1)),
            ({"probability": p.tolist()}, cross_entropy(differences(reward), p)),
        ):
            whole = elements(examples(**numbers), by_prompt=True)
            assert [len(each["chosen_ids"]) for each in whole] == [3, 1]
            found, answers = loss_of(whole, reward)
            assert found == pytest.approx((expected[[0, 1, 3]].mean() + expected[2]) / 2, abs=1e-6)
            assert answers == 5  # x, y and z of one prompt, x and z of the other
            alone, _ = loss_of(elements(examples(**numbers), by_prompt=False), reward)
            assert alone == pytest.approx(expected.mean(), abs=1e-6)


@needs_torch
def test_held_out_figures_are_of_the_same_loss() -> None:
    from trainers.reward_model import reward_figures

    reward, draw = drawn(7)
    p = draw.uniform(0, 1, 4)
    now = [[reward[prompt, chosen], reward[prompt, rejected]] for prompt, chosen, rejected in PAIRS]
    d, losses = differences(reward), cross_entropy(differences(reward), p)
    found = reward_figures(examples(probability=p.tolist()).rows, True, now)
    assert found == {
        "reward_margin": pytest.approx(d.mean()),
        "preferred": (d > 0).mean(),
        "preference_loss": pytest.approx((losses[[0, 1, 3]].mean() + losses[2]) / 2),
    }


@needs_torch
def test_one_pair_a_prompt_gives_trl_s_own_loss(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    import torch
    from trl import RewardTrainer
    from trl.trainer.reward_trainer import DataCollatorForPreference

    _, trainer = captured(monkeypatch, place, "reward", set="margins@1")
    batch = [trainer.train_dataset[at] for at in range(6)]
    ours = trainer.compute_loss(trainer.model, trainer.data_collator(batch))
    flat = [{name: values[0] for name, values in each.items() if name != "probability"} for each in batch]
    theirs = RewardTrainer.compute_loss(
        trainer, trainer.model, DataCollatorForPreference(trainer.processing_class.pad_token_id)(flat)
    )
    assert len({each["margin"] for each in flat}) == 6
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@needs_torch
def test_the_first_loss_is_the_mean_over_prompts(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    from trainers.reward_model import answer_rewards, reward_figures

    job, trainer = captured(monkeypatch, place, "reward", set="margins@1")
    rewards = answer_rewards(trainer, job.examples.tokens)
    trainer.args.gradient_accumulation_steps = len(rewards)
    trainer.args.max_steps = 1
    trainer.train()
    expected = reward_figures(job.examples.rows, True, rewards)["preference_loss"]
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-4)


@needs_torch
def test_a_reward_model_is_a_classifier_that_others_can_load_and_use(place: SimpleNamespace, reward: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    files = {file.name for file in reward.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    run = training_run(place, reward)
    metrics = json.loads(run.metrics)
    assert metrics["after"]["preference_loss"] < metrics["before"]["preference_loss"]
    assert (run.objective, run.reference_model_id, len(run.loss_curve)) == ("reward", None, 10)
    card = (reward / "README.md").read_text("utf-8")
    assert "pipeline_tag: text-classification" in card and "reward modelling" in card
    with Lake.open(place.lake) as lake:
        (model,) = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    assert model.revision == run.weights_sha256

    classifier = AutoModelForSequenceClassification.from_pretrained(reward)
    tokenizer = AutoTokenizer.from_pretrained(reward)
    assert classifier.config.num_labels == 1
    means = []
    for side in ("chosen", "rejected"):
        rewards = []
        for row in place.pairs.held_out.to_pylist():
            text = tokenizer.apply_chat_template(row["prompt"] + row[side], return_tensors="pt", return_dict=True)
            with torch.no_grad():
                rewards.append(float(classifier(**text).logits[0, 0]))
        means.append(np.mean(rewards))
    assert means[0] - means[1] == pytest.approx(metrics["after"]["reward_margin"], abs=1e-5)


@needs_torch
def test_the_seed_decides_the_new_head_too(place: SimpleNamespace, reward: Path, tmp_path: Path) -> None:
    assert start(place, "reward", tmp_path / "again") == 0
    assert weights(tmp_path / "again").keys() == weights(reward).keys()
    assert training_run(place, tmp_path / "again").weights_sha256 == training_run(place, reward).weights_sha256


@needs_torch
def test_what_is_no_start_is_refused(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    two = shutil.copytree(place.folder / "tiny", tmp_path / "two")
    config = LlamaConfig.from_pretrained(two, num_labels=2)
    LlamaForSequenceClassification(config).to(torch.float32).save_pretrained(two)
    assert start(place, "reward", tmp_path / "out", model=two) == 1
    assert "two is a classifier with 2 outputs, and a reward is one number" in capsys.readouterr().err
    assert start(place, "dpo", tmp_path / "out", model=two) == 1
    assert "two is a classifier, such as a reward model: give a language model" in capsys.readouterr().err


@needs_torch
def test_lora_trains_the_head_as_well(place: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "lora.yaml").write_text(CONFIG.replace("  epochs: 2", "  lora: {rank: 4, alpha: 8}\n  epochs: 1"))
    assert start(place, "reward", tmp_path / "lora", config=tmp_path / "lora.yaml") == 0
    assert (tmp_path / "lora" / "adapter" / "adapter_model.safetensors").is_file()
    before, after = weights(place.folder / "tiny"), weights(tmp_path / "lora")
    moved = {name for name in after if name not in before or not before[name].equal(after[name])}
    assert moved == {name for name in after if "_proj" in name or name == "score.weight"}
