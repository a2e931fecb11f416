"""The run loop on a Ray cluster: workers (`ray_worker`) process blocks of prompts and commit the rows themselves.

The driver holds the lake's run lock, writes the prompts and queries which are pending, as on one machine.
"""

import math
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from factory.inference.budget import BudgetReached
from factory.recipes.recipe import Recipe
from factory.runs.pending import pending_prompts
from factory.runs.progress import Progress
from factory.runs.session import Execute, RunSession
from schemas import signals
from schemas.errors import FactoryError

# Ray reads this on import; its usage statistics are on by default.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray Data's log is noise in a terminal; set this to see it.
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
try:
    import ray
    import ray.data

    from factory.runs.ray_worker import REPORT_EVERY_S, SEEN, Tally, Task, Worker
except ModuleNotFoundError as error:
    if error.name != "ray":
        raise
    raise FactoryError("--executor ray needs Ray: pip install 'preference-factory[ray]'") from error

CONNECT_S = 10.0
BLOCK_PROMPTS = 256
"""at most: a dead worker's blocks are checked again, and work is balanced by the block"""
BLOCKS_A_WORKER = 4
"""at least, given enough prompts: a fast worker takes blocks that a slow one has not begun"""
BLOCKS_AT_ONCE = 2
"""per worker: while the last trees of one block grow, the next block keeps the endpoint full"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray cluster of a run."""

    workers: int = 2
    address: str | None = None
    """of a running cluster; None: start one on this machine for this run"""
    gpus: float = 0
    """per worker, visible to its own server (embedded, vLLM)"""


def execute_on(cluster: Cluster) -> Execute:
    """Runs the stages on a cluster: the `execute` of an `Execution`."""

    def execute(session: RunSession, pending: pa.Table) -> None:
        lake, progress, recipe = session.lake, session.progress, session.recipe
        if lake.place.folder is not None:
            raise FactoryError(
                f"--executor ray needs a lake that all workers can reach, and {lake.place.where} is a folder: give one "
                "in PostgreSQL, as in --lake 'postgresql://me@host/db?data_path=s3://bucket/data/'"
            )
        task = Task(lake.place.where, session.run, session.spec, cluster.workers)
        progress.phase = "starting workers"
        try:
            with _connected_to(cluster):
                tally = ray.remote(num_cpus=0)(Tally).remote()
                with _shown(tally, recipe, progress):
                    # Repeats only if workers died at the wrong moment.
                    while pending.num_rows:
                        _answer_all(task, tally, cluster, pending, progress)
                        before, pending = pending, pending_prompts(lake, session.run.run_id, recipe)
                        if pending.equals(before):
                            break
        except ray.exceptions.RayTaskError:
            raise  # a bug in this program: workers report all other errors themselves
        except ray.exceptions.RayError as error:
            raise FactoryError(
                f"the Ray cluster failed ({' '.join(str(error).split())[:300]}): no answer is lost, fix it, "
                "then continue with `factory resume`"
            ) from error

    return execute


@contextmanager
def _connected_to(cluster: Cluster) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    settings: dict[str, Any] = {"address": cluster.address}
    if cluster.address is None:
        # Workers wait for models, not for cores: any number fits on any machine.
        settings = {"address": "local", "num_cpus": cluster.workers, "include_dashboard": False}
    try:
        if cluster.address is not None and cluster.address != "auto":
            # Ray itself would retry for about ten minutes.
            url = urlsplit(f"//{cluster.address.rpartition('//')[2]}")
            socket.create_connection((url.hostname or "", url.port or 0), CONNECT_S).close()
        ray.init(log_to_driver=False, logging_level="ERROR", **settings)
        signals.listen_again()
    except (OSError, ValueError) as error:
        raise FactoryError(
            f"no Ray cluster answers at {cluster.address}: start one with `ray start --head`, give its address as "
            "HOST:PORT, or leave out --ray-address to start one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _answer_all(task: Task, tally: Any, cluster: Cluster, pending: pa.Table, progress: Progress) -> None:
    ray.data.DataContext.get_current().enable_progress_bars = False
    size = min(BLOCK_PROMPTS, math.ceil(pending.num_rows / (cluster.workers * BLOCKS_A_WORKER)))
    blocks = [pending.slice(first, size) for first in range(0, pending.num_rows, size)]
    told = ray.data.from_arrow(blocks).map_batches(
        Worker,
        fn_constructor_args=(task, tally),
        batch_size=size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=cluster.workers,
            max_concurrent_calls_per_actor=BLOCKS_AT_ONCE,
            max_tasks_in_flight_per_actor=BLOCKS_AT_ONCE,
        ),
        num_gpus=cluster.gpus,
    )
    progress.phase = "running"
    ended = False
    for batch in told.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            progress.set_aside += row["set_aside"]
            if row["error"] and not row["limit"]:
                raise _cause(tally)
            ended |= row["limit"] is not None  # let the other blocks finish: what is in flight is paid for
    if ended:
        raise _cause(tally)


def _cause(tally: Any) -> FactoryError:
    """What ended the first worker: the others, and how soon each reports, may be its consequence."""
    error, limit = ray.get(tally.cause.remote())
    return FactoryError(error) if limit is None else BudgetReached(error, limit)


@contextmanager
def _shown(tally: Any, recipe: Recipe, progress: Progress) -> Iterator[None]:
    """Keeps the driver's counters in step with the workers'."""
    ended = threading.Event()
    start = replace(progress)

    def show() -> None:
        try:
            total, _ = ray.get(tally.total.remote())
        except ray.exceptions.RayError:
            return  # the main thread reports a failed cluster
        for name in SEEN:
            setattr(progress, name, getattr(start, name) + total[name])
        progress.done = min(progress.done, progress.prompts)
        progress.errors = Counter({k.removeprefix("error "): n for k, n in total.items() if k.startswith("error ")})
        if any(model.prompt_price is not None for model in recipe.models.values()):
            progress.cost = total["spent cost"]

    def follow() -> None:
        while not ended.wait(REPORT_EVERY_S):
            show()

    follower = threading.Thread(target=follow, name="tally", daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        show()
