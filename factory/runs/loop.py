"""The run loop: prompts flow through the stages, and their rows into the lake.

Prompts do not wait for one another: while one is searched, the next is sampled, within a bounded window. A query finds
the pending prompts, so a stopped run continues from the lake and the journal.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from factory.inference.budget import BudgetReached, Spending
from factory.inference.endpoints import SetAside
from factory.inference.journal import Journal
from factory.inference.trust import trust
from factory.runs.ending import end_noted
from factory.runs.pending import all_prompts, load_work, pending_prompts
from factory.runs.places import remember, without_paths, without_places
from factory.runs.probing import check_logprobs
from factory.runs.progress import Progress
from factory.runs.readable import Readable, check_readable
from factory.runs.same_models import check_templates
from factory.runs.session import (
    Deferral,
    Execute,
    Observe,
    RunSession,
    Through,
    Working,
    connected,
    contexts_of,
    counting,
)
from factory.runs.specification import RunSpecification, own_pairings, run_of, sources_of
from factory.runs.taking import take_prompts
from factory.runs.writer import Writer, write_pairs
from factory.work.asker import Asker, RequestDeferred
from factory.work.context import Work
from factory.work.stage import stage_of
from factory.work.textless import check_all
from schemas import signals
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Run
from stores.checksums import keep_checksums
from stores.faults import has_no_room
from stores.lake import Lake
from stores.locks import run_lock
from stores.maintenance import compact, most_files
from stores.pairing import unpaired
from stores.sql import sql

WORK_BATCH = 1024
"""Prompts whose rows are read in one query."""
WINDOW = 64
"""Prompts in progress at once if no server sets the pace."""
FILES_WORTH_MERGING = 16
"""per table; fewer are read as fast as one"""


def execute_here(session: RunSession, pending: pa.Table) -> None:
    """Takes all prompts through the stages in this process."""

    async def answer() -> None:
        with signals.cancelled_by_signals():
            await _answer_prompts(session, pending)

    asyncio.run(answer())


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run is carried out; the defaults are those of `factory run`."""

    execute: Execute = execute_here
    """what runs the stages: this process, or a cluster (`ray_executor`)"""
    journal_at: Path | None = None
    """the journal's file, if not the lake's"""
    deferral: Deferral | None = None
    """takes requests instead of a model; the run ends as stopped, not finished, while prompts are pending"""
    observe: Observe = lambda progress: nullcontext()
    retry_set_aside: bool = False
    """ask again what an earlier attempt set aside"""
    asks: bool = True
    """false: its models are never asked, so that nothing is said about trusting them"""


def run_recipe(spec: RunSpecification, where: str, progress: Progress, execution: Execution = Execution()) -> str:
    """Runs a recipe on the lake at `where`, or continues the run; returns its id.

    Raises:
        BudgetReached: the run has spent its budget; it can continue with a larger one.
        FactoryError: anything else that a person has to fix; answers so far are kept.
        KeyboardInterrupt: stopped by Ctrl-C, SIGTERM or SIGHUP; answers so far are kept.
    """
    with Lake.open(where, create=True) as lake:
        return run_on(lake, spec, progress, execution)


def run_on(lake: Lake, spec: RunSpecification, progress: Progress, execution: Execution = Execution()) -> str:
    """`run_recipe` on an open lake."""
    with run_lock(lake.place), disk_faults(lake), signals.in_order():
        run = run_of(spec)
        remember(run.run_id, without_places(spec.recipe.as_json())[1])
        if execution.asks:
            trust(spec.recipe.models, sources_of(spec.recipe))
        progress.run_id = run.run_id
        progress.searches = tuple(entry.name for entry in spec.recipe.entries("search"))
        attempts = lake.query("SELECT count(DISTINCT attempt) AS n FROM runs WHERE run_id = $id", {"id": run.run_id})
        run = replace(run, attempt=attempts.column(0)[0].as_py(), status="running", reason=None)
        run = replace(run, run_event_id=content_id("run_event", run.run_id, run.attempt, "running"))
        for pairing in own_pairings(spec.recipe):
            unpaired(lake, run.run_id, pairing, [])  # one that fails is reported before anything is paid for
        if execution.retry_set_aside:
            lake.remove(
                sql("forget_set_aside"),
                {"run_id": run.run_id},
                message=f"run {run.run_id}: what was set aside is asked again",
                details={"run_id": run.run_id},
            )
        _take_prompts(lake, run, spec, progress)
        session = RunSession(
            lake,
            run,
            spec,
            progress,
            execution.journal_at,
            execution.deferral,
            execution.observe,
            begun=run.attempt > 0,
        )
        try:
            with end_noted(partial(_note_end, lake, run)), signals.in_order(), disk_faults(lake):
                _take_through(session, execution.execute)
                if session.deferral is None:
                    check_readable(lake, run.run_id, spec.recipe)
        except BudgetReached as reached:
            raise BudgetReached(
                f"{reached}: continue with `factory resume {run.run_id} -o {reached.override}`, no answer is lost",
                reached.limit,
            ) from None
        if session.deferral is not None and (left := pending_prompts(lake, run.run_id, spec.recipe).num_rows):
            _note_end(lake, run, "stopped", f"{left} prompts wait for a batch to be answered, or for the search")
            return run.run_id
        _note_end(lake, run, "finished", None)
        if most_files(lake) >= FILES_WORTH_MERGING:
            progress.phase = "compacting"
            compact(lake)
            keep_checksums(lake)
    return run.run_id


def _take_prompts(lake: Lake, run: Run, spec: RunSpecification, progress: Progress) -> None:
    try:
        with signals.in_order():
            take_prompts(lake, run, spec, progress)
    except KeyboardInterrupt:
        started = lake.query("SELECT run_id FROM runs WHERE run_id = $id", {"id": run.run_id})
        if not started.num_rows:
            progress.run_id = ""  # there is nothing to resume
        raise


def _take_through(session: RunSession, execute: Execute) -> None:
    lake, progress = session.lake, session.progress
    pending = taken = all_prompts(lake, session.run.run_id)
    progress.prompts = taken.num_rows
    if session.begun:
        pending = pending_prompts(lake, session.run.run_id, session.recipe)
        searched = lake.query(
            "SELECT count(*), count(*) FILTER (outcome = 'accepted') FROM trees WHERE run_id = $id",
            {"id": session.run.run_id},
        )
        progress.trees, progress.accepted = (column[0].as_py() for column in searched.columns)
        progress.accepted_before = progress.accepted
    progress.done = progress.prompts - pending.num_rows
    if pending.num_rows:
        (execute if session.deferral is None else execute_here)(session, pending)
    if session.deferral is None and (session.begun or execute is not execute_here):
        # An earlier attempt may have died after writing a prompt's rows but before its pairs.
        write_pairs(lake, session.run.run_id, session.spec.recipe.pairings(), None)
    if session.deferral is None:
        check_all(lake, session.run.run_id)


@contextmanager
def disk_faults(lake: Lake) -> Iterator[None]:
    """Reports a full or failing disk in one sentence: SQLite often calls a full disk an input/output error."""
    try:
        yield
    except duckdb.Error as error:
        if type(error) not in (duckdb.Error, duckdb.IOException):
            raise  # not the disk's fault: a wrong query, for example
        folder = lake.place.folder
        full = folder is not None and has_no_room(folder)
        fault = "its disk is full" if full else " ".join(str(error).split())
        raise FactoryError(
            f"lake {lake.place.where} cannot be written ({fault}): nothing written before is lost, free some space or "
            "fix the disk, then continue with `factory resume`"
        ) from error


def _note_end(lake: Lake, run: Run, status: str, reason: str | None) -> None:
    ended = replace(
        run,
        run_event_id=content_id("run_event", run.run_id, run.attempt, status),
        status=status,
        reason=None if reason is None else without_paths(reason),
        ended_at=datetime.now(UTC),
    )
    lake.append([ended], message=f"run {run.run_id}: {status}", details={"run_id": run.run_id})
    keep_checksums(lake)


async def _answer_prompts(session: RunSession, pending: pa.Table) -> None:
    with closing(session.open_journal()) as journal:
        spending = session.new_spending()
        spending.add_earlier(journal.spent(session.run.run_id))
        async with answering(session, journal, spending) as answer:
            await answer(pending)


@asynccontextmanager
async def answering(
    session: RunSession, journal: Journal, spending: Spending
) -> AsyncIterator[Callable[[pa.Table], Awaitable[None]]]:
    """Connects a run's models; yields a function that takes pending prompts (prompt_id, position) through the stages.

    The function may be called repeatedly and concurrently; when it returns, the rows are in the lake.

    Raises:
        BudgetReached, FactoryError: see `run_recipe`.
    """
    lake, progress, spec = session.lake, session.progress, session.spec
    progress.phase = "starting models"
    with session.observe(progress) as tracing:
        async with connected(session, spending) as endpoints:
            if session.deferral is None:
                await check_logprobs(spec.recipe, endpoints)
            check_templates(lake, (endpoint.model for endpoint in endpoints.values()))
            writer = Writer(lake, session.run.run_id, spec.recipe.pairings(), session.flush_every_s)
            defer = session.deferral.defer if session.deferral else None
            writer.emit(endpoint.model for endpoint in endpoints.values())  # with the first rows that name them
            readable = Readable(spec.recipe, progress.notes)
            if session.begun:
                readable.add_earlier(lake, session.run.run_id)
            emit = counting(writer, progress, readable)
            asker = Asker(session.run.run_id, session.run.seed, endpoints, journal, spending, emit, spec.fresh, defer)
            through: Through = run_stages
            if tracing is not None:
                asker, through = tracing.of_asker(asker), tracing.of_prompts(run_stages)
            stages = contexts_of(session, asker)
            working = Working(session, stages, asker, writer)
            writing = asyncio.create_task(writer.run())

            async def answer(pending: pa.Table) -> None:
                try:
                    await _schedule(working, pending, writing, through)
                    await writer.flush()
                except BaseException as error:
                    working.end(error)
                    with suppress(FactoryError, duckdb.Error, OSError):  # they must not hide the cause
                        await writer.flush()
                    raise

            progress.phase = "running"
            try:
                yield answer
            finally:
                progress.phase = "writing the last rows"
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                with suppress(FactoryError, duckdb.Error, OSError) if working.cause else nullcontext():
                    await writer.flush()


async def _schedule(working: Working, pending: pa.Table, writing: asyncio.Task[None], through: Through) -> None:
    """Keeps a window of prompts in progress until none is pending.

    Raises:
        BudgetReached, FactoryError: of all the errors that no prompt causes, the one that came first.
    """
    session, progress = working.session, working.session.progress
    load = partial(load_work, session.lake, session.run.run_id, recipe=session.recipe, begun=session.begun)
    tasks: set[asyncio.Task[Any]] = set()
    # Large enough that no slot waits for a prompt, bounded so that memory does not grow with the number of prompts.
    window = 2 * sum(endpoint.most for endpoint in progress.endpoints) or WINDOW
    try:
        for first in range(0, pending.num_rows, WORK_BATCH):
            batch = await asyncio.to_thread(load, pending.slice(first, WORK_BATCH))
            for work in batch:
                while len(tasks) >= window:
                    tasks = await _wait_for_one(tasks, writing)
                tasks.add(asyncio.create_task(through(working, work)))
                progress.open = len(tasks)
        while tasks:
            tasks = await _wait_for_one(tasks, writing)
            progress.open = len(tasks)
    except BaseException as error:
        # Otherwise a cancelled task's slot would go to a task that nobody awaits.
        working.end(error)
        assert working.cause is not None
        if isinstance(working.cause, BudgetReached):
            progress.phase = "waiting for answers in flight"
            await working.asker.settle()
        if working.cause is error:
            raise
        raise working.cause from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for_one(tasks: set[asyncio.Task[Any]], writing: asyncio.Task[None]) -> set[asyncio.Task[Any]]:
    done, rest = await asyncio.wait({*tasks, writing}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # raises what ended it
    return {task for task in rest if task is not writing}


async def run_stages(working: Working, work: Work) -> str:
    """Takes a prompt through the stages; returns its outcome: done, set aside or deferred."""
    progress = working.session.progress
    current: Work | None = work
    outcome = "done"
    try:
        for entry, context in working.stages:
            assert current is not None
            progress.at_stage[entry.name] += 1
            try:
                current = await stage_of(entry.stage).run(context, current, entry.settings)
            finally:
                progress.at_stage[entry.name] -= 1
            if current is None:
                break
    except SetAside as error:
        # Noted below, as is what a judge or a search has given up.
        working.asker.set_aside.setdefault((current or work).prompt.prompt_id, str(error))
    except RequestDeferred:
        return "deferred"
    except FactoryError as error:
        working.end(error)  # here, where it happens: others may follow from it before anybody awaits this task
        raise
    reasons = working.asker.set_aside
    prompt_ids = dict.fromkeys((work.prompt.prompt_id, (current or work).prompt.prompt_id))
    working.asker.emit_rest(prompt_ids)
    for prompt_id in prompt_ids:
        if (reason := reasons.get(prompt_id)) is not None:
            progress.set_aside.append(f"prompt {work.position + 1} ({prompt_id}): {reason}")
            outcome = "set aside"
    progress.done += 1
    working.writer.complete((current or work).prompt.prompt_id)
    return outcome
