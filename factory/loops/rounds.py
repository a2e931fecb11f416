"""What a round works with: each role's model so far, and its recipe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.loops.budgets import MOST_TOKENS, smaller
from factory.loops.plan import Step
from factory.loops.reading import Loop
from factory.recipes.reading import recipe_of
from factory.recipes.recipe import Recipe
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.tables import LoopStep, Model, TrainingRun
from stores.lake import Lake

Done = Mapping[Step, LoopStep]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that the loop has made."""

    model: Model
    folder: Path


def trained_model(lake: Lake, model_id: str) -> Trained:
    """The model with its folder.

    Raises:
        FactoryError: the folder is not there.
    """
    [model] = lake.read(Model, "model_id = $id", {"id": model_id})
    [run] = lake.read(TrainingRun, "training_run_id = $id", {"id": model.training_run_id})
    output = str(run.output)
    if Path(output).name != output:  # of a lake from somebody else, which may name any place
        raise FactoryError(
            f"training run {run.training_run_id} names {output!r} as its model's folder, which is no folder's name"
        )
    folder = models_folder(lake) / output
    if not folder.is_dir():
        raise FactoryError(
            f"the folder of model {model.name} is not at {folder}: put it back there, or fork the loop from an earlier round"
        )
    return Trained(model, folder)


def models_folder(lake: Lake) -> Path:
    """Where a loop's models lie: in the lake's folder, or in the current one for a lake on a server."""
    return (lake.place.folder or Path()) / "models"


def output_name(loop_id: str, step: Step) -> str:
    """The last name of the folder that a training writes."""
    return f"{loop_id}-round{step.round}-{step.role}"


def model_after(loop: Loop, done: Done, number: int, role: str) -> str | None:
    """The id of the model that a role has after a round; None: the one that the loop began with.

    A round's model counts if it was kept; that of round 0 is the fine-tuned one.
    """
    role = loop.follows.get(role, role)
    for earlier in range(number, 0, -1):
        row = done.get(Step(earlier, "keep", role))
        if row is not None and row.note is None:
            return row.model_id
    started = done.get(Step(0, "train", role))
    return started.model_id if started is not None else None


def first_model(loop: Loop, done: Done, role: str) -> str | None:
    """The id of the model that a role has before the first round; None: the recipe's."""
    return model_after(loop, done, 0, role)


def models_of(loop: Loop, done: Done, number: int) -> dict[str, str | None]:
    """The ids of the models that make a round's data, by role; None: the one that the loop began with."""
    before = 0 if loop.settings.generate_with == "first" else number - 1
    return {role: model_after(loop, done, before, role) for role in loop.recipe.roles()}


def served_by(recipe: Recipe, role: str, trained: Trained) -> dict[str, Any]:
    """The recipe's keys that let a role answer with a trained model."""
    settings = recipe.models[role]
    if settings.vllm is not None:
        return {f"models.{role}.vllm.model": str(trained.folder)}
    if settings.embedded is not None:
        return {f"models.{role}.endpoint": [f"embedded:{trained.folder}"], f"models.{role}.name": None}
    if settings.reward_folder is not None:
        return {f"models.{role}.endpoint": [f"reward:{trained.folder}"], f"models.{role}.name": None}
    return {f"models.{role}.name": trained.model.name, f"models.{role}.revision": trained.model.revision}


def with_models(loop: Loop, lake: Lake, chosen: Mapping[str, str | None], more: Mapping[str, Any]) -> Recipe:
    """The loop's recipe with a model for each role (None: the one it began with) and other keys set."""
    overrides = dict(more)
    for role, model_id in chosen.items():
        if model_id is not None:
            overrides |= served_by(loop.recipe, role, trained_model(lake, model_id))
    return recipe_of(json.loads(loop.recipe.as_json()), f"loop {loop.loop_id}", overrides)


def round_specification(loop: Loop, lake: Lake, done: Done, number: int, left: int | None) -> RunSpecification:
    """A round's run.

    Fresh prompts are the next ones of a file; of the bundled tasks, which each seed gives other constraints, all again.

    Args:
        left: tokens that are left of the loop's budget; None: there is no limit.
    """
    settings = loop.settings
    prompts = settings.prompts
    most = smaller(left, loop.recipe.budget.max_tokens)
    more: dict[str, Any] = {MOST_TOKENS: most} if most is not None else {}
    if prompts.each_round is not None:
        more["prompts.limit"] = prompts.each_round
        if not prompts.same and not _draws(loop):
            more["prompts.skip"] = loop.recipe.prompts.skip + (number - 1) * prompts.each_round
    parent = done.get(Step(number - 1, "run"))
    return RunSpecification(
        with_models(loop, lake, models_of(loop, done, number), more),
        seed=round_seed(loop, number),
        iteration=number - 1,
        parent_run_id=parent.run_id if parent else None,
    )


def round_seed(loop: Loop, number: int) -> int:
    """The seed of a round's run."""
    settings = loop.settings
    return settings.seed if settings.prompts.same and _draws(loop) else settings.seed + number - 1


def _draws(loop: Loop) -> bool:
    """Whether a seed makes prompts of its own."""
    return loop.recipe.prompts.source == "bundled"


def runs_of_data(loop: Loop, done: Done, number: int) -> list[str]:
    """The runs that a round's training sets are built from."""
    rows = [done[Step(earlier, "run")] for earlier in range(first_of_data(loop, number), number + 1)]
    return [str(row.run_id) for row in rows]


def first_of_data(loop: Loop, number: int) -> int:
    """The first of the rounds that a round's training sets are built from."""
    return {"this": number, "last_two": max(1, number - 1), "all": 1}[loop.settings.data]
