"""Loops whose actor is trained online: by the reward model that the round has trained, or by a judge of the recipe."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.inference.budget import BudgetReached
from factory.inference.settings import ModelSettings
from factory.loops.plan import Step
from factory.loops.reading import load_loop
from factory.loops.training import train
from factory.monitor.rounds import figures_of, rounds_of
from schemas.errors import FactoryError
from schemas.ids import online_run_id
from schemas.settings import read_settings
from schemas.tables import Call, LoopStep, Model, Run
from stores.lake import Lake
from tests.loops import Trainer, option, run, trainer
from tests.methods import by_length
from tests.rows import row
from tests.scripted_endpoint import running_endpoint

__all__ = ["trainer"]

PAID = {
    "stage": "reward",
    "role": "judge",
    "model_id": "judge",
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "error": None,
}


MINE = "Mark this from 1 (useless) to 10.\n[Response]\n{response}\n[End of response]"
CHECKLIST = {"train.actor.set": "prompts", "train.actor.trainer": "online", "train.actor.reward": "judge"}


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
    """Reads the configurations that are there only while a training runs, and pays as an online trainer does."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Any] = []

    def __call__(self, command: Sequence[str], lake: Lake, *others: Any) -> Any:
        self.last = Path(command[len(command) - 1])
        self.read.append(yaml.safe_load(self.last.read_text("utf-8")))
        run, model = super().__call__(command, lake, *others)
        run_id, models = online_run_id(run.training_run_id), {"judge": {"prompt_price": 2, "completion_price": 4}}
        online = row(
            Run, run_id, run_id=run_id, purpose="training", status="finished", recipe=json.dumps({"models": models})
        )
        paid = [row(Call, f"{run_id} {i}", run_id=run_id, **PAID, from_journal=i == 3) for i in range(4)]
        lake.append([online, row(Model, "judge", name="mock"), *paid], message="answers and rewards")
        return run, model


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, trainer: Trainer) -> Iterator[Reading]:
    made = Reading()
    monkeypatch.setattr("factory.loops.steps.train", made)
    with running_endpoint(by_length) as endpoint:
        made.serving = endpoint
        yield made


def test_the_actor_is_paid_by_a_judge_where_nothing_is_trained_to_pay_it(reading: Reading, tmp_path: Path) -> None:
    assert reading.serving is not None
    url = reading.serving.url
    mine = tmp_path / "mine.txt"
    mine.write_text(MINE, "utf-8")
    more = {"stages.judge.n": 2, "stages.judge.temperature": 0.5, "stages.judge.max_tokens": 3}
    more |= {"templates.score": str(mine), "models.judge.revision": "v1", "models.judge.concurrency": 2}
    more |= {"stages.judge.logprobs": True, "models.judge.prompt_price": 2, "models.judge.completion_price": 4}
    loop = load_loop("rlaif_direct", {**served(url, "actor", "judge"), **all_of("actor"), **more})
    run(tmp_path / "lake", loop)
    [read] = reading.read
    reward = read["online"]["reward"]
    stage, [model] = reward["recipe"]["stage"], reward["recipe"]["models"].values()
    assert reward["kind"] == "judge" and list(reward["recipe"]["models"]) == ["judge"]
    assert {name: stage[name] for name in ("stage", "kind", "model", "scale", "n", "temperature", "max_tokens")} == {
        "stage": "judge",
        "kind": "score",
        "model": "judge",
        "scale": "ten",
        "n": 2,
        "temperature": 0.5,
        "max_tokens": 3,
    }
    assert read_settings(ModelSettings, model, "judge") == loop.recipe.models["judge"]
    assert (model["endpoint"], model["revision"], model["prompt_price"]) == ([url], "v1", 2)
    assert reward["recipe"]["template_texts"] == {"score": MINE}
    assert reward["recipe"]["budget"] == {}
    [command] = reading.commands
    assert [command[at + 1] for at, word in enumerate(command) if word == "--config"] == [
        "rlaif_direct",
        "small-cpu",
        str(reading.last),
    ]
    assert not reading.last.exists()


def test_what_an_online_training_paid_counts_in_the_loop_s_budget_and_is_shown(
    reading: Reading, tmp_path: Path
) -> None:
    assert reading.serving is not None
    url = reading.serving.url
    prices = {"prompt_price": 2, "completion_price": 4}
    priced = {f"models.{role}.{name}": price for role in ("actor", "judge") for name, price in prices.items()}
    changes = {**served(url, "actor", "judge"), **all_of("actor"), **priced, "rounds": 2}
    changes |= {"stages.judge.logprobs": True, "budget.max_tokens": 10_000}
    loop = load_loop("rlaif_direct", changes)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        rows = {Step(one.round, one.step, one.role): one for one in lake.read(LoopStep)}
        spent = {
            number: sum((call.prompt_tokens or 0) + (call.completion_tokens or 0) for call in calls)
            for number in (1, 2)
            if (calls := lake.read(Call, "run_id = $id", {"id": rows[Step(number, "run")].run_id}))
        }
        first, second = (row for row in rounds_of(lake, loop.loop_id) if row["round"])
        shown = dict(figures_of([first, second]))
    online = 3 * 110  # one of the four was read from the journal
    left = [read["online"]["reward"]["recipe"]["budget"] for read in reading.read]
    assert left == [{"max_tokens": 10_000 - spent[1]}, {"max_tokens": 10_000 - spent[1] - online - spent[2]}]
    assert [one["tokens"] for one in (first, second)] == [spent[1] + online, spent[2] + online]
    assert first["requests"] == 3 + 3 + 3  # answers, their judgements, rewards
    assert first["cost"] > 3 * (100 * 2 + 10 * 4) / 1e6
    assert shown["tokens paid"] == [f"{one['tokens']:,}" for one in (first, second)]
    trained = rows[Step(1, "train", "actor")]
    assert trained.run_id == online_run_id(str(trained.training_run_id))


def test_a_judge_that_has_spent_the_budget_stops_the_loop_and_not_for_good(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, tmp_path: Path
) -> None:
    def spent(command: Sequence[str], *others: Any) -> Any:
        return train([sys.executable, "-c", "raise SystemExit(5)"], *others)

    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        monkeypatch.setattr("factory.loops.steps.train", spent)
        changes = {**served(endpoint.url, "actor", "judge"), **all_of("actor"), "stages.judge.logprobs": True}
        loop = load_loop("rlaif_direct", {**changes, "budget.max_tokens": 10_000})
        with pytest.raises(BudgetReached, match=r"`factory resume rlaif_direct-loop-\w+ -o budget.max_tokens=…`"):
            run(tmp_path / "lake", loop)


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        (
            "rlaif_direct",
            {"stages.judge.model": "actor"},
            "judge cannot pay, as no stage `judge` asks judge: add the stage",
        ),
        (
            "rlaif_direct",
            {"train.actor.reward": "actor"},
            "actor is trained itself, and pays only as a reward model that",
        ),
        ("rlaif_direct", {"train.actor.reward": "juge"}, "has no role 'juge': did you mean 'judge'"),
        ("checklist", CHECKLIST, "judge cannot pay, as judge checklist needs what another stage makes"),
    ],
)
def test_a_role_that_cannot_pay_is_refused_before_anything_is_paid_for(
    recipe: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FactoryError, match=f"train.actor.reward: .*{words}"):
        load_loop(recipe, changes)
