"""The lake: versioned tables in DuckLake, appended to transactionally, read at the newest or an earlier snapshot."""

import json
import random
import re
import shlex
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from schemas.columns import arrow_schema, from_arrow, to_arrow
from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TABLE_OF, TABLES
from stores.attach import Place, attach, connect, place
from stores.catalog_file import not_writable, readable
from stores.confining import confine, refuse_foreign_code
from stores.faults import PASSING_CONFLICTS, check_folder, disk_error, is_full, opening_error, reading_error
from stores.making import create_tables, forget_where, let_readers_in, read_version
from stores.migrations import reading
from stores.sql import views

Row = TypeVar("Row")
Done = TypeVar("Done")

RETRIES = 20
FIRST_WAIT_S = 0.05
_CALLS_LIKENESS = re.compile(r"\blikeness\s*\(", re.IGNORECASE)


class Lake:
    """An open lake. Use it as a context manager; threads may share it, one statement at a time."""

    def __init__(self, at: Place, connection: duckdb.DuckDBPyConnection, snapshot: int | None) -> None:
        self.place = at
        self.connection = connection
        self.snapshot = snapshot
        self.version = SCHEMA_VERSION
        """the schema version of its tables; older ones are read in today's shape and cannot be written"""
        self._copied: TemporaryDirectory[str] | None = None  # the catalog, where the lake may not be written
        self._lock = threading.RLock()
        self._likeness_is_there = False
        self._in_snapshot = False

    @classmethod
    def open(
        cls,
        where: str | Path = "lake",
        *,
        at: int | None = None,
        create: bool = False,
        as_stored: bool = False,
        read_only: bool = False,
    ) -> Self:
        """Opens the lake at `where` (a folder or a PostgreSQL URL, see `stores.attach.place`).

        Args:
            at: a snapshot to read from; the lake is then read-only.
            create: for runs: makes the lake if there is none, and tunes the connection for many short statements.
            as_stored: show the tables as stored, with the views stored in the lake, for SQL of an older version.
            read_only: never write, whatever SQL is executed.
        Raises:
            FactoryError: no lake there, a later schema version, with `create` an earlier one, no such snapshot, the lake
                cannot be made there, or its catalog holds what a lake made here does not.
        """
        found = place(str(where))
        made = found.folder is not None and not check_folder(found.folder, found.where, create=create)
        if create and "://" not in found.data_path:
            # A confined connection makes no folder above its data.
            Path(found.data_path).mkdir(parents=True, exist_ok=True)
        if made and found.folder is not None:
            let_readers_in(found.folder / "catalog.sqlite", found.where)
        connection = connect(brief=create)
        lake = cls(found, connection, at)
        try:
            attached, lake._copied = readable(found, create=create)
            read_only = read_only or lake._copied is not None
            with lake.one_thread():
                lake._retry(lambda: attach(connection, attached, snapshot=at, create=create, read_only=read_only))
                refuse_foreign_code(connection, attached)
                confine(connection, attached)
                if create:
                    lake._retry(lambda: lake._transaction(lambda: create_tables(connection)))
                    if found.folder is not None:
                        lake._retry(lambda: forget_where(connection))
                lake._retry(lambda: lake._make_views(as_stored))
            if create:
                lake.check_writable()
        except (duckdb.Error, sqlite3.Error, UnicodeDecodeError) as error:
            lake.close()
            if at is not None and "snapshot" in str(error).lower():
                raise FactoryError(
                    f"lake {found.where} has no snapshot {at}: `factory snapshots` lists those it has"
                ) from error
            raise opening_error(error, found.where, found.folder, made=made) from error
        except BaseException:
            lake.close()
            raise
        return lake

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self.connection.close()
            if self._copied is not None:
                self._copied.cleanup()

    # Writing

    def append(self, rows: Iterable[Any], *, message: str, details: Mapping[str, Any] | None = None) -> int:
        """Adds rows (instances of any table) in one transaction, skipping ids already there.

        Returns the number of rows added.
        """
        by_table: dict[type, list[Any]] = defaultdict(list)
        for row in rows:
            by_table[type(row)].append(row)
        batches = {TABLE_OF[table]: to_arrow(table, members) for table, members in by_table.items()}
        return self.append_arrow(batches, message=message, details=details)

    def append_arrow(
        self, batches: Mapping[str, pa.Table], *, message: str, details: Mapping[str, Any] | None = None
    ) -> int:
        """Adds Arrow tables to the named tables in one transaction, by anti-join on their first column.

        Args:
            message, details: the commit's message and extra information, which name the run and stage.
        """
        self.check_writable()
        for name, batch in batches.items():
            if batch.schema != (expected := arrow_schema(TABLES[name])):
                raise FactoryError(f"rows for {name} have schema {batch.schema}, expected {expected}")

        def write() -> int:
            added = self._insert(batches)
            self._say(message, details)
            return added

        return self.in_transaction(write)

    def append_decided(self, decide: Callable[[], tuple[Sequence[Any], str]], details: Mapping[str, Any]) -> None:
        """Adds the rows that `decide` returns, with its message, in the transaction in which it reads; none: no commit.

        What it read still holds when they are committed: if another process commits meanwhile, all of it is done again.
        """
        self.check_writable()

        def write() -> None:
            rows, message = decide()
            for row in rows:
                self._insert({TABLE_OF[type(row)]: to_arrow(type(row), [row])})
            if rows:
                self._say(message, details)

        self.in_transaction(write)

    def _insert(self, batches: Mapping[str, pa.Table]) -> int:
        added = 0
        for name, batch in batches.items():
            key = batch.schema.names[0]
            self.connection.register("batch", batch)
            added += self.connection.execute(
                f"INSERT INTO lake.{name} BY NAME SELECT DISTINCT ON ({key}) * FROM batch "
                f"WHERE {key} NOT IN (SELECT {key} FROM lake.{name} WHERE {key} IN (SELECT {key} FROM batch))"
            ).fetchall()[0][0]
        return added

    def _say(self, message: str, details: Mapping[str, Any] | None) -> None:
        """The message of the commit in progress."""
        self.connection.execute(
            "CALL lake.set_commit_message('factory', ?, extra_info => ?)", [message, json.dumps(dict(details or {}))]
        )

    def in_transaction(self, action: Callable[[], Done]) -> Done:
        """Runs `action` in a transaction; all of it again if another process commits meanwhile."""
        return self.written(lambda: self._transaction(action))

    def _transaction(self, action: Callable[[], Done]) -> Done:
        self.connection.execute("BEGIN")
        try:
            done = action()
            self.connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        return done

    def remove(self, text: str, parameters: Mapping[str, Any], *, message: str, details: Mapping[str, Any]) -> None:
        """Runs DELETE statements in one transaction; what they remove stays in the snapshots before it.

        Args:
            parameters: `$name` in every one of the statements.
        """
        self.check_writable()

        def write() -> None:
            for statement in self.connection.extract_statements(text):
                self.connection.execute(statement, parameters)
            self._say(message, details)

        self.in_transaction(write)

    def check_writable(self) -> None:
        """Raises:
        FactoryError: the lake is of an earlier schema version, or may only be read.
        """
        if self._copied is not None:
            raise not_writable(self.place.where)
        if self.version < SCHEMA_VERSION:
            where = self.place.where
            raise FactoryError(
                f"lake {where} has schema version {self.version}, which can only be read; "
                f"`factory migrate --lake {shlex.quote(where)}` brings it to {SCHEMA_VERSION}"
            )

    def roll_back(self) -> None:
        with suppress(duckdb.TransactionException):  # a failed COMMIT has ended the transaction already
            self.connection.execute("ROLLBACK")

    def written(self, action: Callable[[], Done]) -> Done:
        """Runs a write to an existing lake; a full disk becomes a one-sentence error."""
        if self._copied is not None:
            raise not_writable(self.place.where)
        try:
            return self._retry(action)
        except duckdb.Error as error:
            text = str(error).lower()
            if is_full(text, self.place.folder):
                raise disk_error(self.place.where) from error
            if "disk i/o error" in text:
                raise disk_error(self.place.where, "full or failing") from error
            raise

    def _retry(self, action: Callable[[], Done]) -> Done:
        """Runs `action`, retrying with growing waits while another process holds the catalog."""
        for attempt in range(RETRIES):
            try:
                with self._lock:
                    return action()
            except duckdb.Error as error:
                if not any(word in str(error).lower() for word in PASSING_CONFLICTS):
                    raise
                if attempt == RETRIES - 1:
                    raise FactoryError(
                        f"lake {self.place.where} stayed locked by another process: try again when that has finished"
                    ) from error
                time.sleep(FIRST_WAIT_S * 2 ** min(attempt, 6) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    # Reading

    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """A query's rows as Arrow; parameters are `$name` in the text.

        Raises:
            FactoryError: a file of the lake is damaged or missing, or the disk is full.
            duckdb.Error: the query is wrong.
        """
        with self._lock:
            self.offer_likeness(text)
            with self.explained():
                return self.connection.execute(text, dict(parameters or {})).to_arrow_table()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Tells in one sentence that a file is missing or damaged, or the disk full; other errors stay as they are."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException, UnicodeDecodeError) as error:
            if (told := reading_error(error, self.place.where, self.place.folder)) is None:
                raise
            raise told from error

    def offer_likeness(self, text: str) -> None:
        if self._likeness_is_there or self._in_snapshot or not _CALLS_LIKENESS.search(text):
            return
        from stores.likeness import offer_likeness

        offer_likeness(self.connection)
        self._likeness_is_there = True

    def relation(self, text: str) -> duckdb.DuckDBPyRelation:
        """A query as a DuckDB relation: `.pl()` gives polars, `.arrow()` Arrow, `.df()` pandas."""
        self.offer_likeness(text)
        return self.connection.sql(text)

    def read(self, table: type[Row], where: str = "true", parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """A table's rows as its dataclass, filtered by an SQL condition, ordered by id."""
        key = arrow_schema(table).names[0]
        text = f"SELECT * FROM {TABLE_OF[table]} WHERE {where} ORDER BY {key}"
        return from_arrow(table, self.query(text, parameters))

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        union = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS rows FROM {name}" for name in TABLES)
        return {row["name"]: row["rows"] for row in self.query(union).to_pylist()}

    # Versions

    def snapshots(self) -> pa.Table:
        """All snapshots: id, time, changes, author, message, extra information."""
        return self.query(
            "SELECT snapshot_id, snapshot_time, author, commit_message, commit_extra_info, "
            "to_json(changes)::VARCHAR AS changes FROM lake.snapshots() ORDER BY snapshot_id"
        )

    def latest_snapshot(self) -> int:
        return int(self.query("SELECT id FROM ducklake_current_snapshot('lake')").column(0)[0].as_py())

    @contextmanager
    def one_snapshot(self, text: str = "") -> Iterator[int]:
        """Yields the newest snapshot; all queries inside read it, even if others write meanwhile.

        Args:
            text: the coming query; if it calls `likeness`, the function is made now, as the rollback would remove it.
        """
        with self._lock:
            self.offer_likeness(text)
            self.connection.execute("BEGIN")
            self._in_snapshot = True
            try:
                yield self.latest_snapshot()
            finally:
                self._in_snapshot = False
                self.roll_back()

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Queries inside use one thread: for many small ones, or where each thread would hold its own rows in memory."""
        ((before,),) = self.connection.execute("SELECT current_setting('threads')").fetchall()
        self.connection.execute("SET threads = 1")
        try:
            yield
        finally:
            self.connection.execute(f"SET threads = {before}")

    # Opening

    def _make_views(self, as_stored: bool) -> None:
        """Today's views over the tables in today's shape: temporary, so a changed view never makes a lake unreadable."""

        def make() -> None:
            self.version = read_version(self.connection, self.place.where)
            if not as_stored:
                self.connection.execute(reading(self.version) + views())

        # In one transaction: separate ones would each ask the catalog for the newest snapshot.
        self._transaction(make)
