"""The run loop: prompts flow through the stages, and their rows into the lake.

Prompts do not wait for one another: while one is searched, the next is sampled, and a bounded window of them is
under way. What is left to do is a query, so a run that was stopped goes on from the lake and the journal.
"""

import asyncio
import heapq
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from factory.inference.budget import BudgetReached, Spending
from factory.inference.connect import connect
from factory.inference.endpoints import Endpoint, Listeners, SetAside
from factory.inference.journal import Journal, Reply, journal_file
from factory.inference.replies import Failure
from factory.inference.settings import ModelSettings
from factory.monitor.telemetry import Through, exporting
from factory.prompts.sources import read_prompts
from factory.recipes.recipe import JudgeSettings, Recipe
from factory.runs.pending import load_work, work_left
from factory.runs.progress import Progress
from factory.runs.specification import Order, described
from factory.runs.writer import FLUSH_EVERY_S, Writer
from factory.stages import STAGES
from factory.work.context import Context, Later, Postponed, Work
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Call, Run, RunPrompt, Tree
from stores.lake import Lake
from stores.locks import run_lock

Item = TypeVar("Item")

IMPORT_BATCH = 2_000
FULL_BYTES = 1_000_000
WORK_BATCH = 1024
"""Prompts whose rows are read at once."""
WINDOW = 64
"""Prompts on their way at once where no server sets the pace."""
FILES_WORTH_MERGING = 16
"""of one table; fewer are read as fast as one"""


Answering = Callable[[Lake, Run, Order, pa.Table, Progress, Path], None]
"""Takes prompts through the stages, as `answer_prompts` does, wherever it does so."""


def answer_here(
    lake: Lake, run: Run, order: Order, left: pa.Table, progress: Progress, journal_at: Path, later: Later | None = None
) -> None:
    """Answers all prompts in this process."""
    asyncio.run(answer_prompts(lake, run, order, left, progress, journal_at, later))


def run_order(
    order: Order,
    where: str,
    progress: Progress,
    *,
    journal_at: Path | None = None,
    answering: Answering = answer_here,
    later: Later | None = None,
) -> str:
    """Runs a recipe on the lake at `where`, or goes on with it if it was begun before; returns the run's id.

    Args:
        journal_at: the journal's file, if it is not that of the lake.
        answering: who takes the prompts through the stages: this process, or a cluster (`ray_executor`).
        later: where requests go that are not sent now; the run is then stopped, not finished, while something is left.
    Raises:
        BudgetReached: the run has spent what it may; it can go on with more.
        FactoryError: anything else that a person has to mend; what was answered until then is kept.
        KeyboardInterrupt: stopped by Ctrl-C; kept likewise.
    """
    with Lake.open(where, create=True) as lake:
        return run_on(lake, order, progress, journal_at=journal_at, answering=answering, later=later)


def run_on(
    lake: Lake,
    order: Order,
    progress: Progress,
    *,
    journal_at: Path | None = None,
    answering: Answering = answer_here,
    later: Later | None = None,
) -> str:
    """`run_order` on a lake that is open."""
    with run_lock(lake.place), disk_faults(lake):
        run = described(order)
        progress.run_id = run.run_id
        attempts = lake.query("SELECT count(DISTINCT attempt) AS n FROM runs WHERE run_id = $id", {"id": run.run_id})
        run = replace(run, attempt=attempts.column(0)[0].as_py())
        _take_prompts(lake, run, order, progress)
        lake.append([run], message=f"run {run.run_id}: started", details={"run_id": run.run_id})
        try:
            with disk_faults(lake):
                recipe = order.recipe if later is None else later.recipe
                left = _what_is_left(lake, run, recipe, progress)
                if left.num_rows:
                    answering = answering if later is None else partial(answer_here, later=later)
                    answering(lake, run, order, left, progress, journal_at or journal_file(lake.place))
        except KeyboardInterrupt:
            _note_end(lake, run, "stopped", "stopped by Ctrl-C")
            raise
        except BudgetReached as reached:
            _note_end(lake, run, "stopped", str(reached))
            raise BudgetReached(
                f"{reached}: go on with `factory resume {run.run_id} -o {reached.limit}=…`, nothing answered is lost",
                reached.limit,
            ) from None
        except FactoryError as error:
            with suppress(FactoryError, duckdb.Error):  # where the lake itself is at fault, the first error counts
                _note_end(lake, run, "failed", str(error))
            raise
        if later is not None and (left := work_left(lake, run.run_id, order.recipe).num_rows):
            _note_end(lake, run, "stopped", f"{left} prompts wait for a batch to be answered, or for the search")
            return run.run_id
        _note_end(lake, run, "finished", None)
        if lake.most_files() >= FILES_WORTH_MERGING:
            progress.phase = "compacting"
            lake.compact()
    return run.run_id


@contextmanager
def disk_faults(lake: Lake) -> Iterator[None]:
    """A full or failing disk as one sentence: SQLite calls it an input/output error as often as it says 'full'."""
    try:
        yield
    except duckdb.Error as error:
        if type(error) not in (duckdb.Error, duckdb.IOException):
            raise  # a query that is wrong, and the like: no fault of the disk's
        folder = lake.place.folder
        full = folder is not None and shutil.disk_usage(folder).free < FULL_BYTES
        fault = "its disk is full" if full else " ".join(str(error).split())
        raise FactoryError(
            f"lake {lake.place.where} cannot be written ({fault}): nothing written before is lost, free some space or "
            "mend the disk, then go on with `factory resume`"
        ) from error


def _take_prompts(lake: Lake, run: Run, order: Order, progress: Progress) -> None:
    """Writes down the prompts that the run takes. A stream: the source is never held as a whole."""
    progress.phase = "reading prompts"
    judge = order.recipe.stages.get("judge")
    needs_constraints = isinstance(judge, JudgeSettings) and judge.by == "verifier"
    prompts = read_prompts(order.recipe.prompts, order.seed)
    if order.sample is not None:
        prompts = iter(heapq.nsmallest(order.sample, prompts, key=lambda prompt: prompt.prompt_id))
    for chunk in _chunks(enumerate(prompts), IMPORT_BATCH):
        rows: list[Any] = []
        for position, prompt in chunk:
            if needs_constraints and not prompt.constraints:
                raise FactoryError(
                    f"prompt {position + 1} of {order.recipe.prompts.source} has no verifiable constraints, so a "
                    "program cannot judge it: set stages.judge.by to votes or both"
                )
            taken = content_id("run_prompt", run.run_id, prompt.prompt_id)
            rows += [
                prompt,
                RunPrompt(
                    run_prompt_id=taken, run_id=run.run_id, prompt_id=prompt.prompt_id, position=position, evolved=False
                ),
            ]
        lake.append(rows, message=f"run {run.run_id}: prompts", details={"run_id": run.run_id})
    count = lake.query("SELECT count(*) AS n FROM run_prompts WHERE run_id = $id AND NOT evolved", {"id": run.run_id})
    progress.prompts = count.column(0)[0].as_py()
    if progress.prompts == 0:
        asked = order.recipe.prompts
        of_what = "" if asked.language is None else f" in language {asked.language!r}"
        raise FactoryError(f"{asked.source} holds no prompts{of_what}: give a source with at least one")


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _note_end(lake: Lake, run: Run, status: str, reason: str | None) -> None:
    ended = replace(
        run,
        run_event_id=content_id("run_event", run.run_id, run.attempt, status),
        status=status,
        reason=reason,
        ended_at=datetime.now(UTC),
    )
    lake.append([ended], message=f"run {run.run_id}: {status}", details={"run_id": run.run_id})


def _what_is_left(lake: Lake, run: Run, recipe: Recipe, progress: Progress) -> pa.Table:
    left = work_left(lake, run.run_id, recipe)
    progress.done = progress.prompts - left.num_rows
    searched = lake.query(
        "SELECT count(*), count(*) FILTER (outcome = 'accepted') FROM trees WHERE run_id = $id", {"id": run.run_id}
    )
    progress.trees, progress.accepted = (column[0].as_py() for column in searched.columns)
    progress.accepted_before = progress.accepted
    return left


async def answer_prompts(
    lake: Lake, run: Run, order: Order, left: pa.Table, progress: Progress, journal_at: Path, later: Later | None = None
) -> None:
    """Takes some prompts of a run through its stages; what they still lack is there at the end.

    Args:
        left: prompt_id and position, as of `work_left`.
        later: where requests go that are not sent now.
    Raises:
        BudgetReached, FactoryError: as `run_order`.
    """
    with closing(Journal(journal_at)) as journal:
        spending = Spending(order.recipe.models, order.recipe.budget)
        spending.add_earlier(journal.spent(run.run_id))
        begun = run.attempt > 0
        async with at_work(lake, run, order, progress, journal, spending, later=later, begun=begun) as answer:
            await answer(left)


@asynccontextmanager
async def at_work(
    lake: Lake,
    run: Run,
    order: Order,
    progress: Progress,
    journal: Journal,
    spending: Spending,
    flush_every_s: float = FLUSH_EVERY_S,
    later: Later | None = None,
    begun: bool = True,
) -> AsyncIterator[Callable[[pa.Table], Awaitable[None]]]:
    """Connects a run's models and gives what takes prompts through its stages, as `answer_prompts` does.

    It may be called again and again, and again while it is at it; when it returns, the rows are in the lake.

    Args:
        begun: as of `load_work`.
    """
    progress.phase = "starting models"
    writer = Writer(lake, run.run_id, flush_every_s)
    recipe = order.recipe if later is None else later.recipe
    connected = _connected(recipe, progress, spending) if later is None else nullcontext(later.endpoints)
    with exporting(progress) as tracing:
        async with connected as endpoints:
            lake.append([e.model for e in endpoints.values()], message=f"run {run.run_id}: models")
            emit = _watched(writer, progress)
            context = Context(
                run.run_id, recipe, run.templates, run.seed, endpoints, journal, emit, spending, order.fresh, later
            )
            through: Through = _through_stages
            if tracing is not None:
                context, through = tracing.of_calls(context), tracing.of_prompts(_through_stages)
            writing = asyncio.create_task(writer.run())

            async def answer(left: pa.Table) -> None:
                try:
                    await _flow(
                        partial(load_work, lake, run.run_id, begun=begun), context, left, progress, writing, through
                    )
                finally:
                    await writer.flush()

            progress.phase = "running"
            try:
                yield answer
            finally:
                progress.phase = "writing the last rows"
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                await writer.flush()


@asynccontextmanager
async def _connected(recipe: Recipe, progress: Progress, spending: Spending) -> AsyncIterator[dict[str, Endpoint]]:
    """Every model that a stage asks, each endpoint once."""
    priced = any(model.prompt_price is not None for model in recipe.models.values())

    def add_up() -> None:
        progress.cost = spending.cost if priced else None

    def count(reply: Reply) -> None:
        progress.requests += 1
        progress.tokens += reply.completion_tokens or 0
        add_up()

    def fail(failure: Failure) -> None:
        progress.errors[failure.kind] += 1

    listeners = Listeners(count, fail, partial(setattr, progress, "phase"))
    endpoints: dict[str, Endpoint] = {}
    by_settings: dict[ModelSettings, Endpoint] = {}
    async with AsyncExitStack() as stack:
        for stage in recipe.stages.values():
            if isinstance(stage, JudgeSettings) and stage.by == "verifier":
                continue
            settings = recipe.models[stage.model]
            if settings not in by_settings:
                by_settings[settings] = await stack.enter_async_context(connect(stage.model, settings, listeners))
            endpoints[stage.model] = by_settings[settings]
        progress.endpoints = list(by_settings.values())
        add_up()  # what earlier starts paid
        try:
            yield endpoints
        finally:
            add_up()  # a reply is counted a moment before it is paid


async def _flow(
    load: Callable[[pa.Table], list[Work]],
    context: Context,
    left: pa.Table,
    progress: Progress,
    writing: asyncio.Task[None],
    through: Through,
) -> None:
    """Keeps a window of prompts on their way until none is left; the first fault that is not a prompt's ends it."""
    going: set[asyncio.Task[Any]] = set()
    # Enough that no slot ever waits for a prompt, few enough that memory does not grow with their number.
    window = 2 * sum(endpoint.most for endpoint in progress.endpoints) or WINDOW
    try:
        for first in range(0, left.num_rows, WORK_BATCH):
            batch = await asyncio.to_thread(load, left.slice(first, WORK_BATCH))
            for work in batch:
                while len(going) >= window:
                    going = await _one_less(going, writing)
                going.add(asyncio.create_task(through(context, work, progress)))
                progress.open = len(going)
        while going:
            going = await _one_less(going, writing)
            progress.open = len(going)
    except BudgetReached:
        progress.phase = "taking in what is under way"
        await context.settle()
        raise
    except BaseException:
        # A task that nobody waits for any more would be given the place of one that is cancelled.
        for endpoint in context.endpoints.values():
            endpoint.stop("the run has ended")
        raise
    finally:
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)


async def _one_less(going: set[asyncio.Task[Any]], writing: asyncio.Task[None]) -> set[asyncio.Task[Any]]:
    done, rest = await asyncio.wait({*going, writing}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # raises what ended it
    return {task for task in rest if task is not writing}


async def _through_stages(context: Context, work: Work, progress: Progress) -> str:
    """Returns what became of the prompt."""
    current: Work | None = work
    outcome = "done"
    try:
        for name, settings in context.recipe.stages.items():
            assert current is not None
            progress.at_stage[name] += 1
            try:
                current = await STAGES[name](context, current, settings)
            finally:
                progress.at_stage[name] -= 1
            if current is None:
                break
    except SetAside as error:
        progress.set_aside.append(f"prompt {work.position + 1} ({work.prompt.prompt_id}): {error}")
        outcome = "set aside"
    except Postponed:
        return "postponed"
    progress.done += 1
    return outcome


def _watched(writer: Writer, progress: Progress) -> Callable[[Iterable[Any]], None]:
    def emit(rows: Iterable[Any]) -> None:
        rows = list(rows)
        for row in rows:
            if isinstance(row, Tree):
                progress.trees += 1
                progress.accepted += row.outcome == "accepted"
            elif isinstance(row, Call):
                progress.from_journal += row.from_journal
        writer.emit(rows)

    return emit
