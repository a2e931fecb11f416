"""A worker of a run on a Ray cluster: a process that answers blocks of prompts, and commits their rows itself.

It keeps its endpoints, its journal and its connection to the lake as long as the run goes on. One that dies is started
again by Ray and given its blocks again; it then asks the lake what of them is left.
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
from factory.runs.loop import at_work, disk_faults
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
"""of workers in one run, after which it ends: Ray would start them again for ever"""
SEEN = ("done", "trees", "accepted", "requests", "tokens", "from_journal")
"""of `Progress`, for who watches"""
SPENT = ("requests", "tokens", "cost")
"""of `Spending`, for the budget"""
TELLING = pa.schema([("set_aside", pa.list_(pa.string())), ("error", pa.string()), ("limit", pa.string())])


@dataclass(frozen=True, slots=True)
class Task:
    """What every worker is to do."""

    where: str
    run: Run
    spec: RunSpecification
    workers: int


class Tally:
    """What the workers have done and spent: an actor, so that the budget is one for all of them."""

    def __init__(self) -> None:
        self._earlier: dict[str, Counter[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._begun = 0
        self._started_s = time.monotonic()

    def begin(self, machine: str, earlier: Counter[str]) -> int:
        """Takes what a machine's journal knows of earlier starts; gives how many workers have begun in this one."""
        # The first that begins on a machine: the others find there what it has written since.
        self._earlier.setdefault(machine, earlier)
        self._begun += 1
        return self._begun

    def report(self, worker: str, counts: Counter[str]) -> tuple[Counter[str], float]:
        """Takes a worker's counts, all since it began; gives those of all, and the seconds since the start."""
        self._counts[worker] = counts
        return self.total()

    def total(self) -> tuple[Counter[str], float]:
        total: Counter[str] = Counter()
        for counts in (*self._earlier.values(), *self._counts.values()):
            total.update(counts)
        return total, time.monotonic() - self._started_s


class Worker:
    """One process of the cluster. Ray Data makes it, and calls it with one block of prompts after another."""

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
        """Answers a block of prompts (prompt_id, position); gives one row of what the driver has to be told."""
        try:
            if self._stopped is None:
                await self._answer_block(block)
        except FactoryError as fault:
            # Not raised: Ray would wrap it, and what is under way in other workers would not be taken in.
            self._stopped = self._stopped or fault  # what ended it first is what the user is told
        finally:
            await self._report()
        set_aside, self._progress.set_aside = self._progress.set_aside, []
        error = None if self._stopped is None else str(self._stopped)
        limit = self._stopped.limit if isinstance(self._stopped, BudgetReached) else None
        return pa.Table.from_pylist([{"set_aside": set_aside, "error": error, "limit": limit}], TELLING)

    async def _answer_block(self, block: pa.Table) -> None:
        async with self._opening:
            if self._answer is None:
                self._answer = await self._opened()
        pending = block
        if ray.get_runtime_context().was_current_actor_reconstructed:
            # The worker before this one may have done some of it.
            lacking = await asyncio.to_thread(
                pending_prompts, self._lake, self._task.run.run_id, self._task.spec.recipe
            )
            pending = lacking.join(block.select(["prompt_id"]), "prompt_id", join_type="inner").sort_by("position")
            self._progress.done += block.num_rows - pending.num_rows
        with disk_faults(self._lake):
            await self._answer(pending)

    async def _opened(self) -> Any:
        """Opens all that stays open until the process ends, and the servers that it starts end with it."""
        task = self._task
        if version("preference-factory") != task.run.code_version:
            raise FactoryError(
                f"a worker has version {version('preference-factory')} of preference-factory, this run was started "
                f"with {task.run.code_version}: install the same on all machines of the cluster"
            )
        self._lake = self._open.enter_context(Lake.open(task.where))
        journal = self._open.enter_context(closing(Journal(journal_file(self._lake.place))))
        earlier = Spending(task.spec.recipe.models, task.spec.recipe.budget)
        earlier.add_earlier(journal.spent(task.run.run_id))
        paid = Counter({f"spent {name}": getattr(earlier, name) for name in SPENT})
        begun = await self._tally.begin.remote(f"{platform.node()} {journal.file}", paid)
        if begun > task.workers + DEATHS:
            raise FactoryError(
                f"{DEATHS} workers have died, and the last was to begin again on {platform.node()}: see what ends them "
                "(too little memory, mostly; Ray's log tells), then go on with `factory resume`"
            )
        await self._report()
        # The more workers, the rarer their commits: the catalog takes one at a time.
        flush_every_s = FLUSH_EVERY_S * task.workers
        session = RunSession(self._lake, task.run, task.spec, self._progress, flush_every_s=flush_every_s, begun=True)
        answer = await self._open.enter_async_context(at_work(session, journal, self._spending))
        self._reports = asyncio.create_task(self._report_for_ever())
        return answer

    async def _report_for_ever(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(REPORT_EVERY_S)

    async def _report(self) -> None:
        """Tells what this worker has done, and takes over what the others have spent."""
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
