"""Migrates an older lake to today's schema version: all or nothing, and checked before it is done."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TrainingSet
from stores.attach import Place, place
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.locks import run_lock
from stores.migrations import steps
from stores.training_sets import read_training_set

_MESSAGE = f"migration to schema version {SCHEMA_VERSION}"


def migrate(where: str, tell: Callable[[str], None]) -> None:
    """Migrates the lake at `where` to today's schema version, in one transaction.

    Afterwards every table must have as many rows as before, and every pinned training set the same fingerprint. A
    folder's catalog is copied first; the copy is restored if the check fails, else removed.

    Args:
        tell: receives progress, one sentence at a time.
    Raises:
        FactoryError: no lake there, a run is using it, or it could not be migrated and is unchanged.
    """
    at = place(where)
    with Lake.open(where) as lake:
        before = lake.version
    with run_lock(at):
        copy = None if at.folder is None else at.folder / "catalog-before-migration.sqlite"
        if before < SCHEMA_VERSION:
            _change(at, before, copy, tell)
        elif copy is None or not copy.exists():
            tell(f"lake {where} already has schema version {SCHEMA_VERSION}")
            return
        tell("counting the rows of every table and reading every training set again")
        try:
            _check(at)
        except (FactoryError, duckdb.Error) as error:
            ending = _put_back(at, copy) if before < SCHEMA_VERSION else f"the earlier catalog is in {copy}"
            raise FactoryError(f"lake {where} differed after its migration: {error}; {ending}") from error
        if copy is not None:
            copy.unlink()
        with Lake.open(where) as lake:
            keep_checksums(lake)
        tell(f"lake {where} now has schema version {SCHEMA_VERSION}; its rows and training sets are unchanged")


def _change(at: Place, version: int, copy: Path | None, tell: Callable[[str], None]) -> None:
    if copy is not None and at.folder is not None:
        tell(f"copying the catalog to {copy}")
        copy.unlink(missing_ok=True)
        _copy(at.folder / "catalog.sqlite", copy)
    else:
        tell("the server's catalog is not copied: it changes in one transaction, and every snapshot stays unchanged")
    tell(f"changing lake {at.where} from schema version {version} to {SCHEMA_VERSION}")
    try:
        with Lake.open(at.where, as_stored=True) as lake:
            _write(lake)
    except BaseException:
        if copy is not None:
            copy.unlink()
        raise


def _write(lake: Lake) -> None:
    connection = lake.connection
    connection.execute("BEGIN")
    try:
        for reading, change in steps(lake.version):
            connection.execute(reading)
            connection.execute(change)
            made = "SELECT view_name FROM duckdb_views() WHERE temporary AND NOT internal"
            for (view,) in connection.execute(made).fetchall():
                connection.execute(f"DROP VIEW temp.{view}")
        connection.execute("INSERT INTO lake.schema_version VALUES (?)", [SCHEMA_VERSION])
        connection.execute("CALL lake.set_commit_message('factory', ?)", [_MESSAGE])
        connection.execute("COMMIT")
    except BaseException as error:
        lake.roll_back()
        if isinstance(error, Exception):
            raise FactoryError(
                f"lake {lake.place.where} could not be migrated and is unchanged: {' '.join(str(error).split())}"
            ) from error
        raise


def _check(at: Place) -> None:
    """Raises:
    FactoryError: row counts differ from the snapshot before the migration, or a training set's rows changed.
    """
    with Lake.open(at.where) as lake:
        made = [s["snapshot_id"] for s in lake.snapshots().to_pylist() if s["commit_message"] == _MESSAGE]
        for snapshot in made[-1:]:
            _compare_rows(at, snapshot)
        for row in lake.read(TrainingSet):
            read_training_set(lake, f"{row.name}@{row.version}")


def _compare_rows(at: Place, snapshot: int) -> None:
    with Lake.open(at.where, at=snapshot - 1) as then, Lake.open(at.where, at=snapshot) as now:
        before, after = then.counts(), now.counts()
    for name, rows in before.items():
        if after[name] != rows:
            raise FactoryError(f"{name} had {rows} rows and has {after[name]}")


def _put_back(at: Place, copy: Path | None) -> str:
    if copy is None or at.folder is None:
        return "its snapshots from before the migration are unchanged: `--at` reads them"
    with Lake.open(at.where) as lake:
        newest = lake.snapshots().to_pylist()[-1]
    if newest["commit_message"] != _MESSAGE:
        return f"it has been written to since, so the earlier catalog is left in {copy}"
    _copy(copy, at.folder / "catalog.sqlite")
    copy.unlink()
    return "the earlier catalog was restored"


def _copy(source: Path, target: Path) -> None:
    """Copies one SQLite database into another, even while others read them."""
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(target)) as made:
        opened.backup(made)
