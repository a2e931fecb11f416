"""A worker of a run on a Ray cluster: a process that answers blocks of prompts and commits the rows itself.

It keeps its endpoints, journal and lake connection open for the whole run. If it dies, Ray restarts it with the same
blocks, and it asks the lake which of their prompts are pending.
"""

import asyncio
import platform
import time
import uuid
from collections import Counter
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import ray

from factory.inference.budget import BudgetReached, Spending
from factory.inference.journal import Journal, journal_file
from factory.runs.loop import answering, disk_faults
from factory.runs.pending import pending_prompts
from factory.runs.progress import Progress
from factory.runs.session import RunSession
from factory.runs.specification import RunSpecification
from factory.runs.writer import FLUSH_EVERY_S
from schemas.errors import FactoryError
from schemas.tables import Run
from stores.lake import Lake

REPORT_EVERY_S = 1.0
DEATHS = 20
"""of workers, after which the run ends: Ray would restart them forever"""
SEEN = ("done", "trees", "accepted", "requests", "tokens", "from_journal")
"""of `Progress`, to display"""
SPENT = ("requests", "tokens", "cost", "untold", "untold_cost")
"""of `Spending`, for the budget"""
TELLING = pa.schema([("set_aside", pa.list_(pa.string())), ("error", pa.string()), ("limit", pa.string())])


@dataclass(frozen=True, slots=True)
class Task:
    """The task that all workers share."""

    where: str
    run: Run
    spec: RunSpecification
    workers: int


class Tally:
    """What all workers have done and spent: an actor, so that they share one budget."""

    def __init__(self) -> None:
        self._earlier: dict[str, Counter[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._begun = 0
        self._cause: tuple[str, str | None] | None = None
        self._started_s = time.monotonic()

    def begin(self, machine: str, earlier: Counter[str]) -> int:
        """Takes a machine's spending from earlier attempts; returns how many workers have begun in this one."""
        # Only the first worker on a machine counts: the others' journals include what it has spent since.
        self._earlier.setdefault(machine, earlier)
        self._begun += 1
        return self._begun

    def report(self, worker: str, counts: Counter[str]) -> tuple[Counter[str], float]:
        """Takes a worker's counts since it began; returns the total of all workers, and the seconds since the start."""
        self._counts[worker] = counts
        return self.total()

    def end(self, error: str, limit: str | None) -> None:
        """Takes what ends a worker, and so the run: its sentence, and the budget's key if that is reached."""
        self._cause = self._cause or (error, limit)

    def cause(self) -> tuple[str, str | None] | None:
        """What ended the first of the workers that ended."""
        return self._cause

    def total(self) -> tuple[Counter[str], float]:
        total: Counter[str] = Counter()
        for counts in (*self._earlier.values(), *self._counts.values()):
            total.update(counts)
        return total, time.monotonic() - self._started_s


class Worker:
    """One process of the cluster. Ray Data creates it and calls it with blocks of prompts."""

    def __init__(self, task: Task, tally: Any) -> None:
        self._task = task
        self._tally = tally
        self._name = uuid.uuid4().hex
        self._progress = Progress()
        self._spending = Spending(task.spec.recipe.models, task.spec.recipe.budget)
        self._of_others: Counter[str] = Counter()
        self._opening, self._reporting = asyncio.Lock(), asyncio.Lock()
        self._open = AsyncExitStack()
        self._answer: Any = None
        self._stopped: FactoryError | None = None

    async def __call__(self, block: pa.Table) -> pa.Table:
        """Answers a block of prompts (prompt_id, position); returns one row, a report to the driver."""
        try:
            if self._stopped is None:
                await self._answer_block(block)
        except FactoryError as fault:
            # Not raised: Ray would wrap it, and drop what is in flight in other workers.
            self._end(fault)
        finally:
            await self._report()
        set_aside, self._progress.set_aside = self._progress.set_aside, []
        error = None if self._stopped is None else str(self._stopped)
        limit = self._stopped.limit if isinstance(self._stopped, BudgetReached) else None
        return pa.Table.from_pylist([{"set_aside": set_aside, "error": error, "limit": limit}], TELLING)

    def _end(self, cause: BaseException) -> None:
        """Notes what ended this worker, and tells the driver at once: it takes a while to write the last rows."""
        if self._stopped is None and isinstance(cause, FactoryError):
            self._stopped = cause
            self._tally.end.remote(str(cause), cause.limit if isinstance(cause, BudgetReached) else None)

    async def _answer_block(self, block: pa.Table) -> None:
        async with self._opening:
            if self._stopped is not None:
                return  # another block could not open either
            if self._answer is None:
                self._answer = await self._opened()
        pending = block
        if ray.get_runtime_context().was_current_actor_reconstructed:
            # This worker's predecessor may have done some of it.
            lacking = await asyncio.to_thread(
                pending_prompts, self._lake, self._task.run.run_id, self._task.spec.recipe
            )
            pending = lacking.join(block.select(["prompt_id"]), "prompt_id", join_type="inner").sort_by("position")
            self._progress.done += block.num_rows - pending.num_rows
        with disk_faults(self._lake):
            await self._answer(pending)

    async def _opened(self) -> Any:
        """Opens what stays open until the process ends; servers started here end with it."""
        task = self._task
        if version("preference-factory") != task.run.code_version:
            raise FactoryError(
                f"a worker has preference-factory {version('preference-factory')}, but this run was started "
                f"with {task.run.code_version}: install the same version on all machines of the cluster"
            )
        self._lake = self._open.enter_context(Lake.open(task.where))
        journal = self._open.enter_context(closing(Journal(journal_file(self._lake.place))))
        earlier = Spending(task.spec.recipe.models, task.spec.recipe.budget)
        earlier.add_earlier(journal.spent(task.run.run_id))
        paid = Counter({f"spent {name}": getattr(earlier, name) for name in SPENT})
        begun = await self._tally.begin.remote(f"{platform.node()} {journal.file}", paid)
        if begun > task.workers + DEATHS:
            raise FactoryError(
                f"{DEATHS} workers have died, the last on {platform.node()}: find the cause in Ray's log "
                "(usually too little memory), then continue with `factory resume`"
            )
        await self._report()
        # The more workers, the fewer commits each: the catalog takes one at a time.
        flush_every_s = FLUSH_EVERY_S * task.workers
        session = RunSession(
            self._lake,
            task.run,
            task.spec,
            self._progress,
            flush_every_s=flush_every_s,
            on_cause=self._end,
            begun=True,
        )
        answer = await self._open.enter_async_context(answering(session, journal, self._spending))
        self._reports = asyncio.create_task(self._keep_reporting())
        return answer

    async def _keep_reporting(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(REPORT_EVERY_S)

    async def _report(self) -> None:
        """Reports what this worker has done, and takes in what the others have spent."""
        async with self._reporting:
            progress, spending, others = self._progress, self._spending, self._of_others
            mine: Counter[str] = Counter({f"error {kind}": count for kind, count in progress.errors.items()})
            for name in SEEN:
                mine[name] = getattr(progress, name)
            for name in SPENT:
                mine[f"spent {name}"] = getattr(spending, name) - others[name]
            total, elapsed_s = await self._tally.report.remote(self._name, mine)
            for name in SPENT:
                theirs = total[f"spent {name}"] - mine[f"spent {name}"]
                setattr(spending, name, getattr(spending, name) + theirs - others[name])
                others[name] = theirs
            spending.started_s = time.monotonic() - elapsed_s
