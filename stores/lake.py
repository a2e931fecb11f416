"""The lake: versioned tables in DuckLake, appended to transactionally, read at the newest or an earlier snapshot."""

import json
import random
import re
import shlex
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from schemas.columns import arrow_schema, ddl, from_arrow, to_arrow
from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TABLE_OF, TABLES
from stores.attach import Place, attach, connect, place
from stores.catalog_file import not_writable, readable
from stores.confining import confine, refuse_foreign_code
from stores.migrations import reading
from stores.sql import sql, views

Row = TypeVar("Row")
Done = TypeVar("Done")

# Sorted by response when rows are added and again when files are merged. Ids are hashes: the answers that a training set
# chooses by hash then lie together, and a query for them skips all other row groups with their texts.
SORTED_BY_RESPONSE = ("responses", "judgements")
FILES = {
    # As small as the default (snappy) and read twice as fast; a lake is mostly text.
    "parquet_compression": "lz4",
    "parquet_row_group_size": "10240",
    # A merge sorts a file's rows in memory.
    "target_file_size": "128MB",
}

RETRIES = 20
FIRST_WAIT_S = 0.05
_MAKING_ADVICE = "check that there is free space and that you may write there, or choose another place with --lake"
_CALLS_LIKENESS = re.compile(r"\blikeness\s*\(", re.IGNORECASE)
_PASSING_CONFLICTS = ("database is locked", "conflict", "could not serialize", "deadlock", "ducklake_snapshot_pkey")


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
        if found.folder is not None and not create and not (found.folder / "catalog.sqlite").exists():
            raise FactoryError(
                f"there is no lake in {found.where}: `factory run` makes one, or name another with --lake"
            )
        if create and "://" not in found.data_path:
            Path(found.data_path).mkdir(
                parents=True, exist_ok=True
            )  # a confined connection makes no folder above its data
        if found.folder is not None and create:
            _let_readers_in(found.folder / "catalog.sqlite", found.where)
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
                    lake._retry(lake._create_tables)
                lake._retry(lambda: lake._make_views(as_stored))
            if create:
                lake.check_writable()
        except duckdb.Error as error:
            lake.close()
            if at is not None and "snapshot" in str(error).lower():
                raise FactoryError(
                    f"lake {found.where} has no snapshot {at}: `factory snapshots` lists those it has"
                ) from error
            advice = f": {_MAKING_ADVICE}" if create and found.folder is not None else ""
            raise FactoryError(f"lake {found.where} cannot be opened: {_first_line(error)}{advice}") from error
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
            added = 0
            self.connection.execute("BEGIN")
            try:
                for name, batch in batches.items():
                    key = batch.schema.names[0]
                    self.connection.register("batch", batch)
                    added += self.connection.execute(
                        f"INSERT INTO lake.{name} BY NAME SELECT DISTINCT ON ({key}) * FROM batch "
                        f"WHERE {key} NOT IN (SELECT {key} FROM lake.{name} WHERE {key} IN (SELECT {key} FROM batch))"
                    ).fetchall()[0][0]
                self.connection.execute(
                    "CALL lake.set_commit_message('factory', ?, extra_info => ?)",
                    [message, json.dumps(dict(details or {}))],
                )
                self.connection.execute("COMMIT")
            except BaseException:
                self.roll_back()
                raise
            return added

        return self._written(write)

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

    def _written(self, action: Callable[[], Done]) -> Done:
        """Runs a write to an existing lake; a full disk becomes a one-sentence error."""
        if self._copied is not None:
            raise not_writable(self.place.where)
        try:
            return self._retry(action)
        except duckdb.Error as error:
            raise _as_factory_error(error, self.place.where) from error

    def _retry(self, action: Callable[[], Done]) -> Done:
        """Runs `action`, retrying with growing waits while another process holds the catalog."""
        for attempt in range(RETRIES):
            try:
                with self._lock:
                    return action()
            except duckdb.Error as error:
                if not any(word in str(error).lower() for word in _PASSING_CONFLICTS):
                    raise
                if attempt == RETRIES - 1:
                    raise FactoryError(
                        f"lake {self.place.where} stayed locked by another process: try again when that has finished"
                    ) from error
                time.sleep(FIRST_WAIT_S * 2 ** min(attempt, 6) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    # Reading

    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """A query's rows as Arrow; parameters are `$name` in the text."""
        with self._lock:
            self.offer_likeness(text)
            return self.connection.execute(text, dict(parameters or {})).to_arrow_table()

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

    def most_files(self) -> int:
        """The number of data files of the table with the most."""
        return int(self.query("SELECT max(file_count) FROM ducklake_table_info('lake')").column(0)[0].as_py())

    def compact(self) -> None:
        """Merges small files; no row changes."""
        # One file per table at a time: it is sorted in memory, which all of a table's files at once may exceed.
        merge = "SELECT sum(files_processed - files_created) FROM ducklake_merge_adjacent_files('lake', max_compacted_files => 1)"
        with self.one_thread():
            while self._written(lambda: self.connection.execute(merge).fetchall())[0][0]:
                pass

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Queries inside use one thread: for many small ones, or where each thread would hold its own rows in memory."""
        ((before,),) = self.connection.execute("SELECT current_setting('threads')").fetchall()
        self.connection.execute("SET threads = 1")
        try:
            yield
        finally:
            self.connection.execute(f"SET threads = {before}")

    def expire(self, older_than: datetime) -> list[int]:
        """Drops snapshots older than `older_than`, but never the newest or one that a training set pins.

        Removes files that no snapshot needs any more, and returns the dropped snapshots.
        """
        doomed: list[int] = self.query(sql("expirable_snapshots"), {"older_than": older_than}).column(0).to_pylist()
        if doomed:
            versions = ", ".join(map(str, doomed))
            self._written(
                lambda: self.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{versions}])")
            )
            self._written(
                lambda: self.connection.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
            )
        return doomed

    # Making

    def _create_tables(self) -> None:
        self.connection.execute("BEGIN")
        try:
            there = {name for (name,) in self.connection.execute("SHOW TABLES").fetchall()}
            if "schema_version" not in there:
                for option, value in FILES.items():
                    self.connection.execute(f"CALL lake.set_option('{option}', '{value}')")
                self.connection.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
                self.connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])
                for name, table in TABLES.items():
                    self.connection.execute(ddl(name, table))
                for name in SORTED_BY_RESPONSE:
                    self.connection.execute(f"ALTER TABLE {name} SET SORTED BY (response_id)")
            self.connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def _make_views(self, as_stored: bool) -> None:
        """Today's views over the tables in today's shape: temporary, so a changed view never makes a lake unreadable."""
        # In one transaction: separate ones would each ask the catalog for the newest snapshot.
        self.connection.execute("BEGIN")
        try:
            self.version = self._read_version()
            if not as_stored:
                self.connection.execute(reading(self.version) + views())
            self.connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def _read_version(self) -> int:
        try:
            # fetchall, not fetchone: a half-read result keeps its transaction, and so the catalog's lock.
            [(version,)] = self.connection.execute("SELECT max(version) FROM lake.schema_version").fetchall()
        except duckdb.CatalogException as error:
            raise FactoryError(
                f"{self.place.where} is a DuckLake, but not one made by this factory: choose another place with --lake"
            ) from error
        if version > SCHEMA_VERSION:
            raise FactoryError(
                f"lake {self.place.where} has schema version {version}, but this factory only knows {SCHEMA_VERSION}: "
                "update preference-factory, or choose another place with --lake"
            )
        return int(version)


def _let_readers_in(catalog: Path, where: str) -> None:
    """Makes an empty SQLite file with a write-ahead log, so that readers never wait for a writing run."""
    # An empty file is what an earlier attempt left on a full disk.
    if catalog.exists() and catalog.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(catalog)) as made:
            made.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise FactoryError(f"lake {where} cannot be made: {error}: {_MAKING_ADVICE}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _as_factory_error(error: duckdb.Error, where: str) -> Exception:
    """A full disk, or a disk error that SQLite does not explain, as one sentence; anything else unchanged."""
    text = str(error).lower()
    if any(words in text for words in ("no space left", "disk is full", "disk i/o error", "file too large")):
        return FactoryError(
            f"the disk that holds lake {where} is full or failing: free some space; nothing already written is lost, and "
            "`factory resume` continues a run"
        )
    return error
