"""python -m tests.damages --damages 1000

Damages a copy of a lake, one way at a time, and reads it: bytes flipped, files cut, emptied, removed, exchanged or
replaced, rows of the catalog or the journal changed. Each command must end in time, with success or one sentence, and
never with a traceback; and where the rows read differ from the undamaged ones, an error or `factory verify` must say so.
Each damage has its seed, which is printed: `--seed 17 --damages 1` repeats it.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.cli.main import main as command_line
from schemas.errors import FactoryError
from schemas.tables import TABLES
from stores.lake import Lake
from stores.training_sets import build_training_set

PROMPTS = 6
TIME_LIMIT_S = 90.0
"""for all commands on one damaged lake; undamaged, they take a few seconds"""
COMMANDS = (
    ("status",),
    ("snapshots",),
    ("sql", "SELECT count(*) FROM responses"),
    ("build", "spar_dpo"),
    ("verify",),
)


def make_lake(folder: str) -> None:
    """A finished run, two pinned sets, and checksums of every file."""
    from tests.runs import answer, run_spar
    from tests.scripted_endpoint import running_endpoint

    with running_endpoint(answer) as endpoint:
        run_id, _ = run_spar(Path(folder), endpoint.url, prompts=PROMPTS)
    with Lake.open(folder) as lake:
        for name in ("spar_dpo", "spar_rft"):
            build_training_set(lake, name, {}, [run_id])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        command_line(["verify", "--lake", folder])  # keeps the checksums of all files
    for name in ("catalog.sqlite", "journal.sqlite"):
        with closing(sqlite3.connect(Path(folder) / name)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# The damages: each changes the lake in `folder` and says what it did.

Damage = Callable[[Path, random.Random], str]


def _file(folder: Path, rng: random.Random) -> Path:
    """Any file; the catalog and the journal as often as all data files together."""
    data = sorted((folder / "data").rglob("*.parquet"))
    return rng.choice([rng.choice(data), folder / "catalog.sqlite", rng.choice(data), folder / "journal.sqlite"])


def flip(folder: Path, rng: random.Random) -> str:
    file = _file(folder, rng)
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    for place in range(at, min(len(content), at + rng.choice((1, 1, 4, 64)))):
        content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return f"{file.name} from byte {at}"


def cut(folder: Path, rng: random.Random) -> str:
    file = _file(folder, rng)
    size = rng.choice((0, rng.randrange(file.stat().st_size)))
    os.truncate(file, size)
    return f"{file.name} to {size} bytes"


def remove(folder: Path, rng: random.Random) -> str:
    file = _file(folder, rng)
    file.unlink()
    return file.name


def exchange(folder: Path, rng: random.Random) -> str:
    one, other = _file(folder, rng), _file(folder, rng)
    mine, its = one.read_bytes(), other.read_bytes()
    one.write_bytes(its)
    other.write_bytes(mine)
    return f"{one.name} and {other.name}"


def replace(folder: Path, rng: random.Random) -> str:
    file = _file(folder, rng)
    size = file.stat().st_size
    file.write_bytes(rng.choice((rng.randbytes(size), b"\0" * size, b"not a database\n" * 20)))
    return file.name


def become_something_else(folder: Path, rng: random.Random) -> str:
    file = _file(folder, rng)
    file.unlink()
    if rng.random() < 0.5:
        file.mkdir()
        return f"{file.name} is a folder"
    file.symlink_to("nowhere")
    return f"{file.name} is a link to nothing"


def _odd_value(rng: random.Random) -> Any:
    return rng.choice(
        (None, -1, 0, 2**62, 1e300, "", "x", "'; DROP TABLE runs; --", b"\xff\xfe", "\x1b[31m", "[" * 5000)
    )


def change_row(database: Path, prefix: str, rng: random.Random) -> str:
    with closing(sqlite3.connect(database, isolation_level=None)) as opened:
        tables = [
            name
            for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if name.startswith(prefix) and opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        ]
        table = rng.choice(tables)
        columns = [row[1] for row in opened.execute(f'PRAGMA table_info("{table}")')]
        column = rng.choice(columns)
        (row,) = opened.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        one = f"(SELECT {columns[0]} FROM {table} LIMIT 1 OFFSET {rng.randrange(row)})"
        if rng.random() < 0.3:
            opened.execute(f'DELETE FROM "{table}" WHERE {columns[0]} = {one}')
            return f"a row of {table} deleted"
        value = _odd_value(rng)
        with contextlib.suppress(sqlite3.IntegrityError):  # the table refuses some values
            opened.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE {columns[0]} = {one}', [value])
        return f"{table}.{column} = {str(value)[:30]!r}"


def change_catalog(folder: Path, rng: random.Random) -> str:
    return change_row(folder / "catalog.sqlite", "ducklake_", rng)


def change_journal(folder: Path, rng: random.Random) -> str:
    return change_row(folder / "journal.sqlite", "", rng)


DAMAGES: dict[Damage, int] = {
    flip: 40,
    cut: 10,
    remove: 8,
    exchange: 8,
    replace: 8,
    become_something_else: 4,
    change_catalog: 16,
    change_journal: 6,
}
"""and how often of a hundred"""


@dataclass
class Seen:
    """What the commands on one lake did."""

    rows: dict[str, str] = field(default_factory=dict)
    """a digest of each table"""
    told: list[str] = field(default_factory=list)
    """errors, a sentence each"""
    faults: list[str] = field(default_factory=list)
    """what must not happen"""


def look(folder: str) -> Seen:
    """The commands on a lake, and the rows of every table."""
    seen = Seen()
    _guard("rows", lambda: _read_rows(folder, seen), seen)
    for words in COMMANDS:
        _guard(words[0], lambda words=words: command_line([*words, "--lake", folder]), seen)
    return seen


def _read_rows(folder: str, seen: Seen) -> None:
    with Lake.open(folder) as lake:
        for table in TABLES:
            rows = lake.query(f"SELECT * FROM {table} ORDER BY ALL").to_pylist()
            seen.rows[table] = hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()


def _guard(name: str, action: Callable[[], None], seen: Seen) -> None:
    """Notes the sentence with which a command ends, and what must not happen."""
    out, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            action()
    except SystemExit as end:
        code = end.code
    except FactoryError as error:
        seen.told.append(f"{name}: {error}")
        return
    except BaseException:
        seen.faults.append(f"{name}: {traceback.format_exc()}")
        return
    said = errors.getvalue()
    if "Traceback" in said or (code and "error: " not in said):
        seen.faults.append(f"{name}: {said.strip() or f'exit code {code}'}")
    elif code:
        seen.told.append(f"{name}: {said.strip()}")


def judge(seen: Seen, right: dict[str, str]) -> list[str]:
    """What must not happen: also rows that changed though nothing said so."""
    changed = [name for name, digest in seen.rows.items() if digest != right[name]]
    if changed and not seen.told:
        return [*seen.faults, f"silently changed: {', '.join(changed)}"]
    return seen.faults


# Each lake is looked at in a process of its own: it can hang or crash.


def _look_and_send(folder: str, answer: Any) -> None:
    answer.send(look(folder))


def looked_at(folder: Path, context: Any) -> Seen:
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_look_and_send, args=(str(folder), its))
    process.start()
    its.close()
    try:
        if not ours.poll(TIME_LIMIT_S):
            return Seen(faults=[f"hung: not done after {TIME_LIMIT_S:.0f} s"])
        return ours.recv()  # type: ignore[no-any-return]
    except EOFError:
        process.join(10)
        return Seen(faults=[f"crashed: exit code {process.exitcode}"])
    finally:
        process.kill()
        process.join()


def try_one(
    seed: int, undamaged: Path, right: dict[str, str], context: Any, within: Path | None
) -> tuple[int, str, str, list[str], bool]:
    rng = random.Random(seed)
    (damage,) = rng.choices(list(DAMAGES), list(DAMAGES.values()))
    with tempfile.TemporaryDirectory(dir=within) as temporary:
        folder = Path(temporary) / "lake"
        shutil.copytree(undamaged, folder)
        what = damage(folder, rng)
        seen = looked_at(folder, context)
    changed = any(digest != right[name] for name, digest in seen.rows.items())
    return seed, damage.__name__, what, judge(seen, right), bool(seen.told) or changed


def run_damages(
    count: int, first_seed: int = 0, show: Callable[[str], None] = print, within: Path | None = None
) -> tuple[Counter[str], list[int]]:
    """Tries damages; returns how many of each kind were noticed or harmless, and the seeds that failed.

    Args:
        within: the folder for the lakes; None: the system's for temporary files.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["factory.cli.main", "stores.lake", "stores.training_sets", "factory.monitor.verify"]
    )
    held: Counter[str] = Counter()
    failed: list[int] = []
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=within) as temporary, ThreadPoolExecutor(cores) as pool:
        undamaged = Path(temporary) / "undamaged"
        maker = context.Process(target=make_lake, args=(str(undamaged),))
        maker.start()
        maker.join()
        for scrap in undamaged.glob("*-[sw][ha][ml]"):
            scrap.unlink()
        shutil.copytree(undamaged, Path(temporary) / "looked-at")
        first = looked_at(Path(temporary) / "looked-at", context)
        if first.faults or first.told or set(first.rows) != set(TABLES):
            raise AssertionError(f"the undamaged lake: {first}")
        seeds = range(first_seed, first_seed + count)
        for seed, kind, what, faults, noticed in pool.map(
            lambda seed: try_one(seed, undamaged, first.rows, context, within), seeds
        ):
            if faults:
                failed.append(seed)
                show(f"{seed:>4} {kind:<22} {what}: FAILED: {'; '.join(faults)}")
            else:
                held[f"{kind}, {'noticed' if noticed else 'harmless'}"] += 1
    return held, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first damage; the next ones count on")
    options = parser.parse_args()
    started_s = time.monotonic()
    held, failed = run_damages(options.damages, options.seed, lambda line: print(line, flush=True))
    print(json.dumps(dict(sorted(held.items())), indent=2))
    print(f"{held.total()} of {options.damages} damages held in {time.monotonic() - started_s:.0f} s")
    if failed:
        sys.exit(f"failed: seeds {failed}")


if __name__ == "__main__":
    main()
