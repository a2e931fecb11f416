"""One run at a time per lake, and one loop: two would ask, and pay, for the same answers."""

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
def run_lock(at: Place, of: str = "run") -> Iterator[None]:
    """Locks the lake for one run, across all machines; the lock ends with the process, however that ends.

    Args:
        of: run, or loop, whose runs take the other lock one after another.
    Raises:
        FactoryError: another one has it.
    """
    with _held_file(at.folder, of) if at.folder is not None else _held_on_server(at, of) as taken:
        if not taken:
            raise FactoryError(
                f"another {of} is using lake {at.where}: wait until it ends, or choose another place with --lake"
            )
        yield


def is_held(at: Place, of: str = "run") -> bool:
    """Whether a run, or a loop, is using the lake, on any machine.

    Raises:
        FactoryError: the lake's server cannot be asked.
    """
    if at.folder is None:
        return _is_held_on_server(at, of)
    try:
        with (at.folder / f"{of}.lock").open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def _held_file(folder: Path, of: str) -> Iterator[bool]:
    with (folder / f"{of}.lock").open("a") as opened:
        taken = _take(opened)
        if not taken:
            time.sleep(LOOK_S)  # `is_held` takes it for a moment to see whether it is free
            taken = _take(opened)
        yield taken


def _take(opened: IO[str]) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held_on_server(at: Place, of: str) -> Iterator[bool]:
    """An advisory lock in PostgreSQL, in an open transaction: otherwise DuckDB would not keep the connection."""
    with closing(connect()) as connection:
        try:
            taken = _try_lock(connection, at, of)
        except duckdb.Error as error:
            raise FactoryError(
                f"lake {at.where} cannot be locked for a {of}: {' '.join(str(error).split())}"
            ) from error
        try:
            yield taken
        finally:
            # If the server is gone, so is the lock; closing without this rollback, DuckDB would end the process.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")


def _is_held_on_server(at: Place, of: str) -> bool:
    key = _key(at, of)
    # PostgreSQL stores a 64-bit key as two unsigned halves.
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


def _try_lock(connection: duckdb.DuckDBPyConnection, at: Place, of: str) -> bool:
    _attach_server(connection, at)
    connection.execute("BEGIN")
    connection.execute("CALL postgres_execute('server', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
    [(taken,)] = connection.execute(
        f"FROM postgres_query('server', 'SELECT pg_try_advisory_xact_lock({_key(at, of)}) AS taken')"
    ).fetchall()
    return bool(taken)


def _attach_server(connection: duckdb.DuckDBPyConnection, at: Place) -> None:
    load_extensions(connection, at.extensions)
    server = quoted(at.catalog.removeprefix("postgres:"))
    # Read committed: a snapshot kept for hours would keep the server from vacuuming dead rows.
    connection.execute(f"ATTACH {server} AS server (TYPE postgres, READ_ONLY, ISOLATION_LEVEL 'READ COMMITTED')")


def _key(at: Place, of: str) -> int:
    """The advisory lock's key: a database may hold a lake in each schema."""
    digest = hashlib.sha256(f"preference-factory {of} {at.metadata_schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
