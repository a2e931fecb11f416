"""Writes the prompts that a run takes, before any model is asked."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from factory.prompts.sources import read_prompts
from factory.recipes.recipe import AnswerSettings, Recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from factory.verifier.never import why_never
from factory.work.judging import JudgeSettings
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.sql import sql

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
    given = spec.recipe.answers
    prompts = (
        read_prompts(source, spec.seed) if given is None else _answered_prompts(lake, spec.recipe, given, progress)
    )
    if spec.sample is not None:
        prompts = iter(heapq.nsmallest(spec.sample, prompts, key=lambda prompt: prompt.prompt_id))
    rows: list[Any] = []
    read = refused = 0
    first_refused = ""
    never = _Impossible()
    verifier, others = _judges(spec.recipe)
    # A benchmark keeps them: they count as not followed, as in everybody's figures.
    leaves_out = verifier and run.purpose == "data"
    for chunk in _chunks(enumerate(prompts), IMPORT_BATCH):
        if rows and not refused:
            lake.append(rows, message=f"run {run.run_id}: prompts", details={"run_id": run.run_id})
        rows = []
        for position, prompt in chunk:
            if leaves_out and never.has(position, prompt):
                continue
            read += 1
            try:
                check_prompt(spec.recipe, prompt)
            except ValueError as error:  # the rest is read to say how many there are
                refused += 1
                first_refused = first_refused or f"prompt {position + 1} of {source.source} {error}"
                continue
            taken = RunPrompt(
                run_prompt_id=content_id("run_prompt", run.run_id, prompt.prompt_id),
                run_id=run.run_id,
                prompt_id=prompt.prompt_id,
                position=position,
                evolved=False,
            )
            rows += [prompt, taken]
    if refused:
        of_all = f"; {refused:,} of {read:,} prompts cannot be used" if read > 1 else ""
        raise FactoryError(f"{first_refused}{of_all}")
    if never.prompts:
        progress.notes.append(f"left out: {never.sentence(source.source)}")
    if not read:
        if never.prompts:
            raise FactoryError(f"no prompt is left: {never.sentence(source.source)}")
        of_what = "" if source.language is None else f" in language {source.language!r}"
        raise FactoryError(f"{source.source} has no prompts{of_what}: give a source with at least one")
    lake.append([*rows, run], message=f"run {run.run_id}: started", details={"run_id": run.run_id})
    taken_of = "FROM run_prompts JOIN prompts USING (prompt_id) WHERE run_id = $run_id AND NOT evolved"
    counts = lake.query(
        f"SELECT count(*) AS prompts, count(*) FILTER (len(constraints) = 0) AS unchecked {taken_of}",
        {"run_id": run.run_id},
    )
    (found,) = counts.to_pylist()
    if found["prompts"] < read:
        progress.notes.append(f"{read:,} rows are {found['prompts']:,} prompts: equal prompts are taken once")
    if verifier and others and found["unchecked"]:
        progress.notes.append(
            f"{found['unchecked']:,} of {found['prompts']:,} prompts have no constraints that the verifier can check: only "
            f"{others} can judge them"
        )


def _answered_prompts(lake: Lake, recipe: Recipe, given: AnswerSettings, progress: Progress) -> Iterator[Prompt]:
    """The prompts of another run's answers, in its order, without those whose answers no judge of the recipe can judge.

    Raises:
        FactoryError: no such run, or it has no such answers.
    """
    asked = {"run_id": given.run, "kinds": list(given.kinds)}
    order = lake.query(sql("answered_prompts"), asked).column(0).to_pylist()
    if not order:
        raise FactoryError(
            f"answers.run: lake {lake.place.where} has no {' or '.join(given.kinds)} answers of a run {given.run!r}: "
            "`factory status` lists the runs"
        )
    found = {p.prompt_id: p for p in lake.read(Prompt, "prompt_id IN (SELECT unnest($ids))", {"ids": order})}
    judges = [e.settings for e in recipe.entries("judge") if isinstance(e.settings, JudgeSettings)]
    prompts = [found[id] for id in order]
    judged = [p for p in prompts if not judges or any(judge.can_judge(p) for judge in judges)]
    if not judged:
        raise FactoryError(
            f"answers.run: none of the {len(prompts):,} prompts of run {given.run} has constraints that the verifier can check: "
            "let a model judge them"
        )
    if left := len(prompts) - len(judged):
        progress.notes.append(
            f"{left:,} of {len(prompts):,} prompts have no constraints, so their answers are not judged"
        )
    first = recipe.prompts.skip
    last = None if recipe.prompts.limit is None else first + recipe.prompts.limit
    yield from judged[first:last]


@dataclass(slots=True)
class _Impossible:
    """Prompts with a constraint that no answer meets: judged by the verifier, they would be refined in vain."""

    prompts: int = 0
    first: str = ""

    def has(self, position: int, prompt: Prompt) -> bool:
        found = next((f"{c.id} ({why})" for c in prompt.constraints if (why := why_never(c))), None)
        if found is not None:
            self.first = self.first or f"prompt {position + 1} asks for {found}"
            self.prompts += 1
        return found is not None

    def sentence(self, source: str) -> str:
        has = "prompt of {} has" if self.prompts == 1 else "prompts of {} have"
        return f"{self.prompts:,} {has.format(source)} a constraint that no answer can meet: {self.first}"


def _judges(recipe: Recipe) -> tuple[bool, str]:
    """Whether the verifier judges, and the names of the judges that do not need constraints."""
    judges = recipe.entries("judge")
    of_verifier = [entry for entry in judges if getattr(entry.settings, "kind", None) == "verifier"]
    return bool(of_verifier), " and ".join(entry.judge_name for entry in judges if entry not in of_verifier)


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
