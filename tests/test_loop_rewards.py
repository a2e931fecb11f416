"""Loops whose actor is trained online: by the reward model that the round has trained, or by a judge of the recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.loops.reading import load_loop
from schemas.errors import FactoryError
from tests.loops import Trainer, option, run, trainer
from tests.methods import by_length
from tests.scripted_endpoint import running_endpoint

__all__ = ["trainer"]


def served(url: str, *roles: str) -> dict[str, Any]:
    models = {f"models.{role}.{key}": value for role in roles for key, value in (("endpoint", url), ("name", "mock"))}
    return {**models, "prompts.each_round": 3, "rounds": 1, "train.actor.config": "small-cpu"}  # steps of 2 prompts


def all_of(*roles: str) -> dict[str, Any]:
    return {f"train.{role}.parameters": {"held_out": 0} for role in roles}


def test_the_actor_is_paid_by_the_reward_model_of_its_round(trainer: Trainer, tmp_path: Path) -> None:
    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        changes = {**served(endpoint.url, "actor", "judge", "reward"), "stages.compare.reasons": True}
        loop = load_loop("rlaif", {**changes, "stages.compare.max_tokens": 64, **all_of("reward", "actor")})
        run(tmp_path / "lake", loop)
    of_reward, of_actor = trainer.commands
    assert "trainers.reward" in of_reward and "trainers.online" in of_actor
    assert option(of_actor, "--reward") == option(of_reward, "--output")
    assert option(of_reward, "--reward") is None and option(of_actor, "--set") == "prompts@1"
    assert option(of_actor, "--config") == "rlaif"


def test_a_reward_model_that_diverged_pays_nobody(trainer: Trainer, tmp_path: Path) -> None:
    trainer.diverges = lambda command: "trainers.reward" in command
    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        changes = {**served(endpoint.url, "actor", "judge", "reward"), "stages.compare.reasons": True}
        loop = load_loop("rlaif", {**changes, "stages.compare.max_tokens": 64, **all_of("reward", "actor")})
        with pytest.raises(FactoryError, match=r"its reward model reward gave no model \(diverged: the loss is not"):
            run(tmp_path / "lake", loop)


class Reading(Trainer):
    """Reads the configuration that is there only while a training runs."""

    def __call__(self, command: Sequence[str], *others: Any) -> Any:
        self.last = Path(command[len(command) - 1])
        self.read = yaml.safe_load(self.last.read_text("utf-8"))
        return super().__call__(command, *others)


def test_the_actor_is_paid_by_a_judge_where_nothing_is_trained_to_pay_it(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, tmp_path: Path
) -> None:
    reading = Reading()
    monkeypatch.setattr("factory.loops.steps.train", reading)
    with running_endpoint(by_length) as endpoint:
        reading.serving = endpoint
        loop = load_loop("rlaif_direct", {**served(endpoint.url, "actor", "judge"), **all_of("actor")})
        run(tmp_path / "lake", loop)
        url = endpoint.url
    judge = {"kind": "judge", "endpoint": url, "model": "mock", "api_key_env": "OPENAI_API_KEY"}
    assert reading.read == {"online": {"reward": judge}}
    [command] = reading.commands
    assert [command[at + 1] for at, word in enumerate(command) if word == "--config"] == [
        "rlaif_direct",
        "small-cpu",
        str(reading.last),
    ]
    assert not reading.last.exists()
