"""One run at a time on a lake: two of them would ask, and pay, for the same answers."""

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import duckdb

from schemas.errors import FactoryError
from stores.attach import Place, connect, load_extensions, quoted

LOOK_S = 0.05


@contextmanager
def run_lock(at: Place) -> Iterator[None]:
    """Holds the lake for one run among all who reach it; the lock ends with the process, however it ends.

    Raises:
        FactoryError: another run has it.
    """
    with _held_file(at.folder) if at.folder is not None else _held_on_server(at) as taken:
        if not taken:
            raise FactoryError(
                f"another run is at work on lake {at.where}: wait until it ends, or give another place with --lake"
            )
        yield


def is_held(at: Place) -> bool:
    """Whether a run is at work on the lake, on whichever machine.

    Raises:
        FactoryError: the server of the lake cannot be asked.
    """
    if at.folder is None:
        return _is_held_on_server(at)
    try:
        with (at.folder / "run.lock").open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def _held_file(folder: Path) -> Iterator[bool]:
    with (folder / "run.lock").open("a") as opened:
        taken = _take(opened)
        if not taken:
            time.sleep(LOOK_S)  # who only looks whether it is held (`is_held`) has it for a moment
            taken = _take(opened)
        yield taken


def _take(opened: IO[str]) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held_on_server(at: Place) -> Iterator[bool]:
    """An advisory lock in PostgreSQL, in a transaction that stays open: only so does DuckDB keep the connection."""
    with closing(connect()) as connection:
        try:
            taken = _try_lock(connection, at)
        except duckdb.Error as error:
            raise FactoryError(f"lake {at.where} cannot be held for a run: {' '.join(str(error).split())}") from error
        try:
            yield taken
        finally:
            # Where the server has gone the lock has, too; closed without this, DuckDB would end the process.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")


def _is_held_on_server(at: Place) -> bool:
    key = _key(at)
    # As PostgreSQL keeps a key of 64 bits: in two halves, unsigned.
    halves = f"classid::bigint = {(key >> 32) & 0xFFFFFFFF} AND objid::bigint = {key & 0xFFFFFFFF}"
    here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    asked = f"SELECT count(*) AS held FROM pg_locks WHERE locktype = ''advisory'' AND granted AND {halves} AND {here}"
    with closing(connect()) as connection:
        try:
            _attach_server(connection, at)
            [(held,)] = connection.execute(f"FROM postgres_query('server', '{asked}')").fetchall()
        except duckdb.Error as error:
            raise FactoryError(
                f"lake {at.where} cannot be asked for its lock: {' '.join(str(error).split())}"
            ) from error
    return bool(held)


def _try_lock(connection: duckdb.DuckDBPyConnection, at: Place) -> bool:
    _attach_server(connection, at)
    connection.execute("BEGIN")
    connection.execute("CALL postgres_execute('server', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
    [(taken,)] = connection.execute(
        f"FROM postgres_query('server', 'SELECT pg_try_advisory_xact_lock({_key(at)}) AS taken')"
    ).fetchall()
    return bool(taken)


def _attach_server(connection: duckdb.DuckDBPyConnection, at: Place) -> None:
    load_extensions(connection, at.extensions)
    server = quoted(at.catalog.removeprefix("postgres:"))
    # Read committed: a snapshot kept for hours would hold back the server's clearing of dead rows.
    connection.execute(f"ATTACH {server} AS server (TYPE postgres, READ_ONLY, ISOLATION_LEVEL 'READ COMMITTED')")


def _key(at: Place) -> int:
    """The advisory lock's: a database may hold a lake in each of its schemas."""
    digest = hashlib.sha256(f"preference-factory run {at.metadata_schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
