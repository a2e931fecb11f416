"""Writes the prompts that a run takes, before any model is asked."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from factory.prompts.sources import read_prompts
from factory.recipes.recipe import Recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from factory.work.judging import JudgeSettings
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Prompt, Run, RunPrompt
from stores.lake import Lake

Item = TypeVar("Item")

IMPORT_BATCH = 2_000


def take_prompts(lake: Lake, run: Run, spec: RunSpecification, progress: Progress) -> None:
    """Writes the run's prompts and, with the last of them, the start of the run.

    Streams: the source is never in memory as a whole.

    Raises:
        FactoryError: there are no prompts, or a stage cannot use one.
    """
    progress.phase = "reading prompts"
    source = spec.recipe.prompts
    prompts = read_prompts(source, spec.seed)
    if spec.sample is not None:
        prompts = iter(heapq.nsmallest(spec.sample, prompts, key=lambda prompt: prompt.prompt_id))
    rows: list[Any] = []
    for chunk in _chunks(enumerate(prompts), IMPORT_BATCH):
        if rows:
            lake.append(rows, message=f"run {run.run_id}: prompts", details={"run_id": run.run_id})
        rows = []
        for position, prompt in chunk:
            try:
                check_prompt(spec.recipe, prompt)
            except ValueError as error:
                raise FactoryError(f"prompt {position + 1} of {source.source} {error}") from None
            taken = RunPrompt(
                run_prompt_id=content_id("run_prompt", run.run_id, prompt.prompt_id),
                run_id=run.run_id,
                prompt_id=prompt.prompt_id,
                position=position,
                evolved=False,
            )
            rows += [prompt, taken]
    if not rows:
        of_what = "" if source.language is None else f" in language {source.language!r}"
        raise FactoryError(f"{source.source} has no prompts{of_what}: give a source with at least one")
    lake.append([*rows, run], message=f"run {run.run_id}: started", details={"run_id": run.run_id})


def check_prompt(recipe: Recipe, prompt: Prompt) -> None:
    """Rejects a prompt that a stage cannot use.

    Raises:
        ValueError: why, and how to fix it.
    """
    for entry in recipe.stages:
        entry.settings.check_prompt(prompt)
    judges = [e.settings for e in recipe.entries("judge") if isinstance(e.settings, JudgeSettings)]
    if judges and not any(judge.can_judge(prompt) for judge in judges):
        raise ValueError(
            "has no verifiable constraints, so the verifier cannot judge it: add constraints, or let a model judge it "
            "too (--judge both, or votes)"
        )


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
