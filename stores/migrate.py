"""Bringing a lake of an earlier schema version to today's: all of it or nothing, and checked before it is called done."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TrainingSet
from stores.attach import Place, place
from stores.lake import Lake
from stores.locks import run_lock
from stores.migrations import steps
from stores.training_sets import read_training_set

_MESSAGE = f"migration to schema version {SCHEMA_VERSION}"


def migrate(where: str, tell: Callable[[str], None]) -> None:
    """Brings the lake at `where` to today's schema version, in one transaction.

    Then every table must have the rows that it had, and every pinned training set its fingerprint. The catalog of a
    folder is copied first; the copy is put back if that is not so, and else removed.

    Args:
        tell: takes what is being done, a sentence at a time.
    Raises:
        FactoryError: no lake there, a run is at work on it, or it could not be migrated; it is as it was then.
    """
    at = place(where)
    with Lake.open(where) as lake:
        before = lake.version
    with run_lock(at):
        copy = None if at.folder is None else at.folder / "catalog-before-migration.sqlite"
        if before < SCHEMA_VERSION:
            _change(at, before, copy, tell)
        elif copy is None or not copy.exists():
            tell(f"lake {where} has schema version {SCHEMA_VERSION} already")
            return
        tell("counting the rows of every table, and reading every training set again")
        try:
            _check(at)
        except (FactoryError, duckdb.Error) as error:
            ending = _put_back(at, copy) if before < SCHEMA_VERSION else f"the catalog of before is in {copy}"
            raise FactoryError(f"lake {where} was not the same after its migration: {error}; {ending}") from error
        if copy is not None:
            copy.unlink()
        tell(f"lake {where} has schema version {SCHEMA_VERSION}; its rows and training sets are what they were")


def _change(at: Place, version: int, copy: Path | None, tell: Callable[[str], None]) -> None:
    if copy is not None and at.folder is not None:
        tell(f"copying the catalog to {copy}")
        copy.unlink(missing_ok=True)
        _copy(at.folder / "catalog.sqlite", copy)
    else:
        tell(
            "no copy of the server's catalog is kept: it changes in one transaction, and every snapshot stays as it is"
        )
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
                f"lake {lake.place.where} could not be changed and is as it was: {' '.join(str(error).split())}"
            ) from error
        raise


def _check(at: Place) -> None:
    """Raises:
    FactoryError: the migration's snapshot has not the rows of the one before it, or a training set is another.
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
        return "its snapshots of before the migration are as they were: `--at` reads them"
    with Lake.open(at.where) as lake:
        newest = lake.snapshots().to_pylist()[-1]
    if newest["commit_message"] != _MESSAGE:
        return f"it has been written to since, so the catalog of before is left in {copy}"
    _copy(copy, at.folder / "catalog.sqlite")
    copy.unlink()
    return "the catalog of before was put back"


def _copy(source: Path, target: Path) -> None:
    """One SQLite database into another, whoever reads either of them meanwhile."""
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(target)) as made:
        opened.backup(made)
