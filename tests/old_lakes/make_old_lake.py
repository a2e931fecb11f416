"""Makes a small lake with the code of an old commit, and packs it as test data.

    cd THE/OLD/CHECKOUT && PYTHONPATH=. python PATH/TO/make_old_lake.py OUT.tar.gz

In the lake: a run that is finished; spar_dpo and spar_rft pinned at a snapshot before the next run; a run (seed 1) that
was stopped half-way and can be resumed; independent_dpo pinned at the end. Beside the archive, OUT.json says what is in it.
It takes the code from the current folder, of schema version 1 to 6; where that has no budgets, the run is stopped as by
Ctrl-C.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TrainingSet
from stores.lake import Lake
from stores.training_sets import build_training_set, read_training_set
from tests.runs import answer, spar_overrides
from tests.scripted_endpoint import Request, running_endpoint

try:
    from factory.recipes.reading import load_recipe
    from factory.runs.loop import run_recipe as run_order
    from factory.runs.progress import Progress
    from factory.runs.specification import RunSpecification as Order
except ImportError:  # of schema version 1 or 2
    from factory.recipe import load_recipe  # type: ignore[import-not-found, no-redef]
    from factory.run import run_order  # type: ignore[import-not-found, no-redef]

    try:
        from factory.orders import Order  # type: ignore[import-not-found, no-redef]
        from factory.progress import Progress  # type: ignore[import-not-found, no-redef]
    except ImportError:
        from factory.run import Order, Progress  # type: ignore[no-redef]

HAS_BUDGETS = (Path.cwd() / "factory" / "budget.py").exists() or (
    Path.cwd() / "factory" / "inference" / "budget.py"
).exists()
PORT = 18432  # the address is in the rows
PROMPTS = 4
STOP_AFTER = 38
"""Requests of the second run: all its prompts are answered and judged then, and some have no tree yet."""
HELD_OUT = 0.25


def order(seed: int, url: str, **more: Any) -> Any:
    # One request at a time, so that prompts are done one after another and a stopped run has some of each kind.
    settings = {"models.actor.concurrency": 1, "models.refiner.concurrency": 1} if seed else {}
    return Order(load_recipe("spar", {**spar_overrides(url, PROMPTS), **settings, **more}), seed)


def stop_half_way(lake: Path, url: str, count: list[int]) -> None:
    """The second run, by budget or, in code that has none, by the signal that Ctrl-C sends."""
    try:
        if HAS_BUDGETS:
            run_order(order(1, url, **{"budget.max_requests": STOP_AFTER}), str(lake), Progress())
        else:
            count[0] = STOP_AFTER
            run_order(order(1, url), str(lake), Progress())
    except (FactoryError, KeyboardInterrupt) as stopped:
        print(f"stopped: {type(stopped).__name__} {stopped}")
        return
    raise AssertionError("the second run was not stopped")


def fold_in(folder: Path) -> None:
    """No write-ahead logs and no locks: each database is one file."""
    for name in ("catalog.sqlite", "journal.sqlite"):
        with closing(sqlite3.connect(folder / name)) as database:
            assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        for ending in ("-wal", "-shm"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def pack(folder: Path, out: Path) -> None:
    with tarfile.open(out, "w:gz", compresslevel=9) as archive:
        for name in ("catalog.sqlite", "data", "journal.sqlite"):
            archive.add(folder / name, f"lake/{name}", filter=_nobody)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def described(folder: Path) -> dict[str, Any]:
    with Lake.open(folder) as lake:
        runs = lake.query("SELECT run_id, status, reason, seed FROM current_runs ORDER BY started_at").to_pylist()
        progress = lake.query("SELECT * FROM run_progress ORDER BY run_id").to_pylist()
        pinned = sorted(lake.read(TrainingSet), key=lambda row: (row.name, row.version))
        rows_at = {}
        for row in pinned:
            with Lake.open(folder, at=row.snapshot) as then:
                rows_at[row.snapshot] = then.counts()
        return {
            "schema_version": SCHEMA_VERSION,
            "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip(),
            "runs": runs,
            "run_progress": progress,
            "newest_snapshot": lake.latest_snapshot(),
            "rows": lake.counts(),
            "rows_at_pinned_snapshots": rows_at,
            "training_sets": [
                {
                    "name": row.name,
                    "version": row.version,
                    "snapshot": row.snapshot,
                    "fingerprint": row.fingerprint,
                    "parameters": json.loads(row.parameters),
                    "train_rows": row.train_rows,
                    "held_out_rows": row.held_out_rows,
                }
                for row in pinned
            ],
        }


def main() -> None:
    out = Path(sys.argv[1]).absolute()
    count = [0]  # requests until a signal; 0: none

    def script(request: Request) -> Any:
        if count[0]:
            count[0] -= 1
            if count[0] == 0:
                os.kill(os.getpid(), signal.SIGINT)
        return answer(request)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "lake"
        with running_endpoint(script, port=PORT, latency_ms=20) as endpoint:
            first = run_order(order(0, endpoint.url), str(folder), Progress())
            with Lake.open(folder) as lake:
                for name in ("spar_dpo", "spar_rft"):
                    build_training_set(lake, name, {"held_out": str(HELD_OUT)}, [first])
            stop_half_way(folder, endpoint.url, count)
        with Lake.open(folder) as lake:
            runs = lake.query("SELECT run_id FROM current_runs ORDER BY started_at").column(0).to_pylist()
            build_training_set(lake, "independent_dpo", {"held_out": str(HELD_OUT)}, runs)
        found = described(folder)
        fold_in(folder)
        pack(folder, out)

    # Read again from another folder, with this commit's code.
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(out) as archive:
            archive.extractall(temporary, filter="data")
        with Lake.open(Path(temporary) / "lake") as lake:
            for row in found["training_sets"]:
                again = read_training_set(lake, f"{row['name']}@{row['version']}")
                assert again.row.fingerprint == row["fingerprint"] and again.train.num_rows == row["train_rows"]
    about = out.with_name(out.name.removesuffix(".tar.gz") + ".json")
    about.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    print(out, out.stat().st_size, "bytes;", json.dumps(found["run_progress"]))


if __name__ == "__main__":
    main()
