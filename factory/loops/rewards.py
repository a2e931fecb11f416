"""What an online training of a loop is paid by: the reward model that the round has trained, or a judge of the recipe."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from factory.inference.budget import BudgetReached
from factory.loops.payers import judge_that_asks
from factory.loops.plan import Step
from factory.loops.rounds import Done, models_of, trained_model, with_models
from factory.loops.working import Working
from factory.recipes.recipe import Recipe
from schemas.errors import FactoryError
from schemas.settings import differing
from stores.lake import Lake

LIMITS = ("max_requests", "max_tokens", "max_cost", "max_hours")


@contextmanager
def paying(working: Working, step: Step, done: Done, role: str | None) -> Iterator[tuple[Path | None, list[str]]]:
    """The reward model's folder, or configurations that hold the judge; both are empty if the trainer's own says it all.

    Raises:
        BudgetReached: the block's training has ended so; here the limits are named.
        FactoryError: there is no such model, or the budget that a file of the trainer's gives is spent.
    """
    lake, loop = working.lake, working.loop
    if role is None:
        try:
            yield None, []
        except BudgetReached as reached:
            raise FactoryError(
                f"{reached}: raise it in the file of train.{step.role}.config, then repeat the command"
            ) from None
    elif role in loop.settings.train:
        yield _reward_model(lake, step, done, role), []
    else:
        left = working.tokens_left(step, done)
        more = {"budget.max_tokens": left} if left is not None else {}
        recipe = with_models(loop, lake, {role: models_of(loop, done, step.round)[role]}, more)
        with tempfile.TemporaryDirectory(prefix="factory-reward-") as folder:
            file = Path(folder) / "judge.yaml"
            file.write_text(yaml.safe_dump({"online": {"reward": judge_settings(recipe, role)}}), "utf-8")
            try:
                yield None, [str(file)]
            except BudgetReached as reached:
                limits = [f"budget.{name}=…" for name in LIMITS if getattr(recipe.budget, name) is not None]
                raise BudgetReached(str(reached), " -o ".join(limits)) from reached


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
