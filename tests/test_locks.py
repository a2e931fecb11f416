"""One run at a time per lake, wherever its catalog is and however a run ends."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from schemas.errors import FactoryError
from stores.attach import load_extensions
from stores.attach import place as place_of
from stores.locks import is_held, run_lock

HOLDS = """
import sys
from stores.attach import place
from stores.locks import run_lock
with run_lock(place(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(params=["folder", "server"])
def lockable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path)
    address = request.getfixturevalue("postgres")
    return f"postgresql://{address}?data_path={tmp_path}&metadata_schema={tmp_path.name}"


@contextmanager
def holder_of(where: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lake until a line comes in."""
    command = [sys.executable, "-c", HOLDS, where]
    pipe, root = subprocess.PIPE, Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=root) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with pytest.raises(FactoryError, match="another run is using lake"), run_lock(place_of(where)):
                pass
            yield holder
        finally:
            holder.kill()


def take_when_free(where: str) -> None:
    """Takes the lock within a few seconds: a server notices a killed process with a delay."""
    for _ in range(200):
        with suppress(FactoryError), run_lock(place_of(where)):
            return
        time.sleep(0.05)
    raise AssertionError("still locked")


def test_a_lock_is_seen_from_outside_while_it_is_held_and_no_longer(lockable: str) -> None:
    assert not is_held(place_of(lockable))
    with holder_of(lockable) as holder:
        assert is_held(place_of(lockable)) and is_held(place_of(lockable))
        holder.kill()
        holder.wait()
        take_when_free(lockable)
    assert not is_held(place_of(lockable))


def test_who_only_looks_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "run.lock").open("a") as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        monkeypatch.setattr("stores.locks.time.sleep", lambda seconds: fcntl.flock(looked, fcntl.LOCK_UN))
        with run_lock(place_of(str(tmp_path))):
            assert is_held(place_of(str(tmp_path)))


def test_a_second_run_is_refused_until_the_first_ends(lockable: str) -> None:
    with holder_of(lockable) as holder:
        _, errors = holder.communicate("\n")
        assert (holder.returncode, errors) == (0, "")
    take_when_free(lockable)


def test_a_killed_run_leaves_no_lock(lockable: str) -> None:
    with holder_of(lockable) as holder:
        holder.kill()
        holder.wait()
    take_when_free(lockable)


def test_lakes_in_two_schemas_of_a_database_can_run_at_once(postgres: str, tmp_path: Path) -> None:
    one, other = (f"postgresql://{postgres}?data_path={tmp_path}&metadata_schema={name}" for name in ("one", "other"))
    with run_lock(place_of(one)), run_lock(place_of(other)):
        pass


def test_a_run_whose_connection_the_server_ends_can_end_itself(postgres: str, tmp_path: Path) -> None:
    where = f"postgresql://{postgres}?data_path={tmp_path}&metadata_schema=ended"
    at = place_of(where)
    with holder_of(where) as holder, closing(duckdb.connect()) as other:
        load_extensions(other, at.extensions)
        other.execute(f"ATTACH '{at.catalog.removeprefix('postgres:')}' AS server (TYPE postgres)")
        ended = "SELECT bool_and(pg_terminate_backend(pid)) AS ended FROM pg_locks WHERE locktype = ''advisory''"
        assert other.execute(f"FROM postgres_query('server', '{ended}')").fetchall() == [(True,)]
        _, errors = holder.communicate("\n")
        assert (holder.returncode, errors) == (0, "")
