"""What an online training of a loop is paid by: the reward model that the round has trained, or a judge of the recipe."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from factory.inference.budget import BudgetReached
from factory.loops.budgets import LIMITS, MOST_TOKENS, is_loops, limits_of, smaller
from factory.loops.configurations import reward_in
from factory.loops.payers import judge_that_asks
from factory.loops.plan import Step
from factory.loops.reading import Loop, trainer_of
from factory.loops.rounds import Done, models_of, trained_model, with_models
from factory.loops.working import Working
from factory.recipes.recipe import Recipe
from schemas.errors import FactoryError
from schemas.settings import differing
from stores.lake import Lake


@contextmanager
def paying(working: Working, step: Step, done: Done, role: str | None) -> Iterator[tuple[Path | None, list[str]]]:
    """The reward model's folder, or configurations that hold the judge; both are empty if the trainer's own says it all.

    Raises:
        BudgetReached: the block's training has ended so; here the limits are named.
        FactoryError: there is no such model, or the budget that a file of the trainer's gives is spent.
    """
    lake, loop, left = working.lake, working.loop, working.tokens_left(step, done)
    if role is None:
        with _paid_by_file(loop, step, left) as configs:
            yield None, configs
    elif role in loop.settings.train:
        yield _reward_model(lake, step, done, role), []
    else:
        own = loop.recipe.budget
        most = smaller(left, own.max_tokens)
        more = {MOST_TOKENS: most} if most is not None else {}
        recipe = with_models(loop, lake, {role: models_of(loop, done, step.round)[role]}, more)
        with _configured(judge_settings(recipe, role)) as config:
            try:
                yield None, [config]
            except BudgetReached as reached:
                raise BudgetReached(str(reached), limits_of(own, left)) from reached


@contextmanager
def _configured(reward: dict[str, Any]) -> Iterator[str]:
    """A configuration of the online trainer's with this reward."""
    with tempfile.TemporaryDirectory(prefix="factory-reward-") as folder:
        file = Path(folder) / "judge.yaml"
        file.write_text(yaml.safe_dump({"online": {"reward": reward}}), "utf-8")
        yield str(file)


@contextmanager
def _paid_by_file(loop: Loop, step: Step, left: int | None) -> Iterator[list[str]]:
    """Configurations that hold the judge of a trainer's file to what is left of the loop's budget; none: there is no need."""
    training = loop.settings.train[str(step.role)] if step.round else None
    reward = reward_in(training.configs) if training is not None and trainer_of(training) == "online" else {}
    budget = dict((reward.get("recipe") or {}).get("budget") or {})
    own = budget.get("max_tokens")
    bounded = bool(reward.get("recipe")) and is_loops(left, own)
    try:
        if bounded:
            recipe = {**reward["recipe"], "budget": {**budget, "max_tokens": left}}
            with _configured({**reward, "recipe": recipe}) as config:
                yield [config]
        else:
            yield []
    except BudgetReached as reached:
        if bounded and not any(budget.get(name) for name in LIMITS if name != "max_tokens"):
            raise BudgetReached(str(reached), MOST_TOKENS) from reached
        others = f", or budget.max_tokens of loop {loop.loop_id}" if bounded else ""
        raise FactoryError(
            f"{reached}: raise it in the file of train.{step.role}.config{others}, then repeat the command"
        ) from None


def _reward_model(lake: Lake, step: Step, done: Done, role: str) -> Path:
    trained = done[Step(step.round, "train", role)]
    if trained.model_id is None:
        raise FactoryError(
            f"round {step.round}: {step.role} cannot be trained, for the training of its reward model {role} gave no model "
            f"({trained.note}): change train.{role}.config"
        )
    return trained_model(lake, trained.model_id).folder


def judge_settings(recipe: Recipe, role: str) -> dict[str, Any]:
    """The online trainer's `reward`: the recipe's judge that asks this role's model, as its runs have it.

    Raises:
        FactoryError: the recipe has no such judge.
    """
    entry = judge_that_asks(recipe, role, f"recipe {recipe.name}")
    templates = {in_run: recipe.template_texts[in_run] for _, in_run, _ in entry.templates()}
    judge = {
        "stage": entry.plain(msgspec.to_builtins(entry.settings)),
        "models": {one: msgspec.to_builtins(recipe.models[one]) for one in entry.settings.roles()},
        "template_texts": templates,
        "budget": differing(recipe.budget),
    }
    return {"kind": "judge", "recipe": judge}
