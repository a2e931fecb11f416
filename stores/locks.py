"""One run at a time on a lake: two of them would ask, and pay, for the same answers."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb

from schemas.errors import FactoryError
from stores.attach import Place, connect, load_extensions, quoted


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


@contextmanager
def _held_file(folder: Path) -> Iterator[bool]:
    with (folder / "run.lock").open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


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


def _try_lock(connection: duckdb.DuckDBPyConnection, at: Place) -> bool:
    # A database may hold a lake in each of its schemas.
    digest = hashlib.sha256(f"preference-factory run {at.metadata_schema}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    load_extensions(connection, at.extensions)
    server = quoted(at.catalog.removeprefix("postgres:"))
    # Read committed: a snapshot kept for hours would hold back the server's clearing of dead rows.
    connection.execute(f"ATTACH {server} AS server (TYPE postgres, READ_ONLY, ISOLATION_LEVEL 'READ COMMITTED')")
    connection.execute("BEGIN")
    connection.execute("CALL postgres_execute('server', 'SET LOCAL idle_in_transaction_session_timeout = 0')")
    [(taken,)] = connection.execute(
        f"FROM postgres_query('server', 'SELECT pg_try_advisory_xact_lock({key}) AS taken')"
    ).fetchall()
    return bool(taken)
