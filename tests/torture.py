"""python -m tests.torture --points 100

Disturbs runs at random points and resumes them: `kill -9` of the run (while it starts, asks, commits, compacts), a
disk that is full, a machine that sleeps, an endpoint and a database that die. After each the tables must equal those
of an undisturbed run, with no id twice, and no more requests paid twice than were in flight when it happened.
Each point has its seed, which is printed: `--seed 17 --points 1` repeats it.
"""

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stores.attach import place
from tests.runs import answer, assert_ids_unique, assert_same_tables, run_spar, spar_overrides, tables
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint
from tests.servers import PostgresServer, postgres_server

PROMPTS = 10
SLOTS = 8


@dataclass(frozen=True)
class Calm:
    """An undisturbed run."""

    tables: dict[str, list[dict[str, Any]]]
    needed: int
    """requests"""


def undisturbed(folder: Path) -> Calm:
    with running_endpoint(answer, slots=SLOTS) as endpoint:
        run_spar(folder / "undisturbed", endpoint.url, prompts=PROMPTS)
        return Calm(tables(folder / "undisturbed"), endpoint.stats().received)


@dataclass
class Scene:
    """A run to disturb."""

    endpoint: ScriptedEndpoint
    lake: str
    rng: random.Random
    needed: int
    """requests of the undisturbed run"""
    database: PostgresServer | None
    lost: int = 0
    """requests that were in flight when something was done to the run"""

    def start(self, **popen: object) -> subprocess.Popen[str]:
        settings = spar_overrides(
            self.endpoint.url, PROMPTS, models__actor__concurrency=SLOTS, models__refiner__concurrency=SLOTS
        )
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        command = [sys.executable, "-m", "factory.cli.main", "run", "spar", "--lake", self.lake, *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **popen)  # type: ignore[call-overload, no-any-return]

    def wait_for_a_point(self, process: subprocess.Popen[str]) -> None:
        """Waits until a random moment of the run: one in eight while it starts, one in eight when all is answered."""
        point = self.rng.random() * 1.28 - 0.14
        if point < 0:
            time.sleep(self.rng.random() * 1.5)
            return
        until = self.endpoint.stats().received + min(point, 1) * self.needed
        while process.poll() is None and self.endpoint.stats().received < until:
            time.sleep(0.002)
        if point > 1:
            time.sleep(self.rng.random() * 0.6)

    def note_what_is_lost(self) -> None:
        # What the client waits for, answered by now or not: as many as it may have in flight, or as were ever asked.
        self.lost += min(SLOTS, self.endpoint.stats().received)


def kill(scene: Scene) -> None:
    """kill -9 of the run, once or twice."""
    for _ in range(scene.rng.choice((1, 1, 2))):
        process = scene.start()
        scene.wait_for_a_point(process)
        process.kill()
        scene.note_what_is_lost()
        process.communicate()


def sleep(scene: Scene) -> None:
    """The machine sleeps and wakes; the endpoint has cut the connections meanwhile, as one would after an hour."""
    process = scene.start()
    scene.wait_for_a_point(process)
    process.send_signal(signal.SIGSTOP)
    scene.note_what_is_lost()
    scene.endpoint.kill()
    time.sleep(scene.rng.random())
    scene.endpoint.start()
    process.send_signal(signal.SIGCONT)
    said = process.communicate()[1]
    assert process.returncode == 0, said


def full_disk(scene: Scene) -> None:
    """No file may grow beyond some size."""
    size = scene.rng.randint(20_000, 600_000)
    process = scene.start(preexec_fn=_limited_to(size))
    said = process.communicate()[1]
    scene.note_what_is_lost()  # those that arrived when there was no room to record them
    assert process.returncode in (0, 1) and "Traceback" not in said, said


def endpoint_dies(scene: Scene) -> None:
    """The endpoint disappears for a moment."""
    process = scene.start()
    scene.wait_for_a_point(process)
    scene.note_what_is_lost()
    scene.endpoint.kill()
    time.sleep(scene.rng.random())
    scene.endpoint.start()
    said = process.communicate()[1]
    assert "Traceback" not in said, said


def database_dies(scene: Scene) -> None:
    """PostgreSQL is killed and started again."""
    assert scene.database is not None
    process = scene.start()
    scene.wait_for_a_point(process)
    scene.note_what_is_lost()
    scene.database.kill()
    time.sleep(scene.rng.random())
    scene.database.start()
    said = process.communicate()[1]
    assert process.returncode in (0, 1) and "Traceback" not in said, said


def _limited_to(size_bytes: int) -> Callable[[], None]:
    limit = (size_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)


DISTURBANCES = {kill: 60, sleep: 12, full_disk: 10, endpoint_dies: 10, database_dies: 8}
"""and how often of a hundred"""


def disturb(
    seed: int, disturbance: Callable[[Scene], None], folder: Path, calm: Calm, database: PostgresServer | None
) -> str:
    """One disturbed run and its checks; returns how it went."""
    rng = random.Random(seed)
    with running_endpoint(answer, slots=SLOTS, latency_ms=30) as endpoint:
        on_server = disturbance is database_dies and database is not None
        lake = (
            f"postgresql://{database.address}?data_path={folder / 'data'}&metadata_schema=torture_{seed}"
            if on_server
            else str(folder / "lake")
        )  # type: ignore[union-attr]
        scene = Scene(endpoint, lake, rng, calm.needed, database)
        disturbance(scene)
        disturbed_s = time.monotonic()
        process = scene.start()
        said = process.communicate()[1]
        assert process.returncode == 0, said
        resumed_s = time.monotonic() - disturbed_s
        twice = endpoint.stats().repeated_answers
    assert twice <= scene.lost, f"{twice} requests paid twice, {scene.lost} in flight"
    assert_same_tables(calm.tables, tables(lake))
    assert_ids_unique(lake)
    if place(lake).folder is None:
        from factory.inference.journal import journal_file

        journal_file(place(lake)).unlink()
    return f"{twice} paid twice of {scene.lost} in flight, {calm.needed} needed; went on in {resumed_s:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first point; the next ones count on")
    options = parser.parse_args()
    failed: list[int] = []
    held: Counter[str] = Counter()
    started_s = time.monotonic()
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        calm = undisturbed(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        for seed in range(options.seed, options.seed + options.points):
            (disturbance,) = random.Random(f"which {seed}").choices(list(DISTURBANCES), list(DISTURBANCES.values()))
            with tempfile.TemporaryDirectory() as folder:
                try:
                    outcome = disturb(seed, disturbance, Path(folder), calm, database)
                    held[disturbance.__name__] += 1
                except AssertionError as error:
                    outcome = f"FAILED: {error}"
                    failed.append(seed)
            print(f"{seed:>4} {disturbance.__name__:<14} {outcome}", flush=True)
    print(
        f"{sum(held.values())} of {options.points} points held ({dict(held)}) in {time.monotonic() - started_s:.0f} s"
    )
    if failed:
        sys.exit(f"failed: seeds {failed}")


if __name__ == "__main__":
    main()
