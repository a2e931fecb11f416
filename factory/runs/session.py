"""A run in this process: its lake, models, counters, and how it is executed."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from factory.inference.budget import BudgetReached, Spending
from factory.inference.connect import connect
from factory.inference.endpoints import Endpoint, Listeners
from factory.inference.failures import Failure
from factory.inference.journal import Journal, Reply, journal_file
from factory.inference.settings import ModelSettings
from factory.recipes.recipe import Entry, Recipe, bound_templates, judge_of, judges_given
from factory.runs.progress import Progress
from factory.runs.readable import Readable
from factory.runs.specification import RunSpecification
from factory.runs.writer import FLUSH_EVERY_S, Writer
from factory.work.asker import Asker, Defer
from factory.work.context import Context, Work
from factory.work.stage import stage_of
from schemas.errors import FactoryError
from schemas.tables import Call, Run, Tree
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Deferral:
    """For a run that sends nothing: requests that the journal cannot answer are deferred."""

    recipe: Recipe
    """the specification's, with only the stages that can be deferred"""
    endpoints: dict[str, Endpoint]
    defer: Defer


@dataclass(frozen=True, slots=True)
class Tracing:
    """Wraps a run's requests and prompts to trace them (`factory/monitor/telemetry.py`)."""

    of_asker: Callable[[Asker], Asker]
    of_prompts: Callable[["Through"], "Through"]


Observe = Callable[[Progress], AbstractContextManager[Tracing | None]]
"""Observes a run while the context is open."""


@dataclass(slots=True)
class RunSession:
    """What the parts of a run share."""

    lake: Lake
    run: Run
    spec: RunSpecification
    progress: Progress
    journal_at: Path | None = None
    """the journal's file, if not the lake's"""
    deferral: Deferral | None = None
    """None: requests are sent"""
    observe: Observe = lambda progress: nullcontext()
    flush_every_s: float = FLUSH_EVERY_S
    on_cause: Callable[[BaseException], None] = lambda cause: None
    """receives what ends the run, as soon as it is known"""
    begun: bool = False
    """whether some prompts may already be answered; if not, answers are not looked up"""

    @property
    def recipe(self) -> Recipe:
        """The stages that this process takes prompts through."""
        return self.spec.recipe if self.deferral is None else self.deferral.recipe

    def open_journal(self) -> Journal:
        return Journal(self.journal_at or journal_file(self.lake.place))

    def new_spending(self) -> Spending:
        return Spending(self.spec.recipe.models, self.spec.recipe.budget)


@dataclass(slots=True)
class Working:
    """A session whose models are connected."""

    session: RunSession
    stages: list[tuple[Entry, Context]]
    asker: Asker
    writer: Writer
    cause: BaseException | None = None
    """what came first of all that ends the run; everything later may follow from it"""

    def end(self, cause: BaseException) -> None:
        """Notes what ends the run, and lets no further request go out."""
        if self.cause is not None:
            return
        self.cause = cause
        self.session.on_cause(cause)
        if not isinstance(cause, BudgetReached):  # then requests in flight may still be repeated
            for endpoint in self.asker.endpoints.values():
                endpoint.stop(str(cause) if isinstance(cause, FactoryError) else "the run has ended")


Through = Callable[[Working, Work], Coroutine[Any, Any, str]]
"""Takes a prompt through the stages; returns its outcome."""


@asynccontextmanager
async def connected(session: RunSession, spending: Spending) -> AsyncIterator[dict[str, Endpoint]]:
    """Every model that a stage asks, by role; models with the same settings are connected once."""
    if session.deferral is not None:
        yield session.deferral.endpoints
        return
    progress, recipe = session.progress, session.recipe
    priced = any(model.prompt_price is not None for model in recipe.models.values())

    def add_up() -> None:
        progress.cost = spending.cost if priced and not spending.untold_cost else None

    def count(reply: Reply) -> None:
        progress.requests += 1
        progress.tokens += reply.completion_tokens or 0
        progress.untold += reply.completion_tokens is None
        add_up()

    def fail(failure: Failure) -> None:
        progress.errors[failure.kind] += 1

    listeners = Listeners(count, fail, partial(setattr, progress, "phase"), progress.notes.append)
    endpoints: dict[str, Endpoint] = {}
    by_settings: dict[ModelSettings, Endpoint] = {}
    asked = {recipe.models[role] for role in recipe.roles()}
    here = sum(model.embedded is not None or model.reward_folder is not None for model in asked)
    async with AsyncExitStack() as stack:
        # Adapters first: their base models answer from the same servers.
        for role in sorted(recipe.roles(), key=lambda role: recipe.models[role].without_adapter is None):
            settings = recipe.models[role]
            if settings not in by_settings:
                endpoint = _beside(by_settings, role, settings)
                if endpoint is None:
                    endpoint = await stack.enter_async_context(connect(role, settings, listeners, here))
                by_settings[settings] = endpoint
            endpoints[role] = by_settings[settings]
        progress.endpoints = list(by_settings.values())
        add_up()  # includes what earlier attempts paid
        try:
            yield endpoints
        finally:
            add_up()  # a reply is counted just before its cost is


def _beside(known: Mapping[ModelSettings, Endpoint], role: str, settings: ModelSettings) -> Endpoint | None:
    """The same model where a server already has it beside an adapter."""
    for other, endpoint in known.items():
        without = other.without_adapter
        if endpoint.base is None or without is None or without.deciding() != settings.deciding():
            continue
        if msgspec.structs.replace(without, endpoint=settings.endpoint) == settings:
            return replace(endpoint.base, role=role)
    return None


def contexts_of(session: RunSession, asker: Asker) -> list[tuple[Entry, Context]]:
    """The stages of a run's recipe, each with its context.

    Raises:
        FactoryError: a stage cannot work on this lake.
    """
    recipe, templates = session.recipe, session.run.templates
    return [
        (
            entry,
            Context(
                entry.name,
                asker,
                bound_templates(entry, templates),
                [judge_of(judge, templates) for judge in judges_given(recipe, entry)],
                _prepared(session, entry),
            ),
        )
        for entry in recipe.stages
    ]


def _prepared(session: RunSession, entry: Entry) -> Any:
    prepare = getattr(stage_of(entry.stage), "prepare", None)
    if prepare is None:
        return None
    progress = session.progress
    before, progress.phase = progress.phase, f"preparing {entry.name}"
    prepared = prepare(session.lake, session.run.run_id, entry.settings)
    progress.phase = before
    if (note := getattr(prepared, "note", None)) is not None:
        progress.notes.append(f"{entry.name}: {note}")
    return prepared


def counting(writer: Writer, progress: Progress, readable: Readable) -> Callable[[Iterable[Any]], None]:
    """Passes rows to the writer, and counts those that `Progress` shows and those that could not be read."""

    def emit(rows: Iterable[Any]) -> None:
        rows = list(rows)
        for row in rows:
            if isinstance(row, Tree):
                progress.trees += 1
                progress.accepted += row.outcome == "accepted"
            elif isinstance(row, Call):
                progress.from_journal += row.from_journal
        writer.emit(rows)
        readable.add(rows)

    return emit


Execute = Callable[[RunSession, pa.Table], None]
"""Takes pending prompts (prompt_id and position) through the stages."""
