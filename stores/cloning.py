"""Copies a lake with all its snapshots to a folder, or to a PostgreSQL catalog and a data path. The copy is there whole or
not at all: a folder is renamed to its place when it has been read again; a server's catalog is filled in one transaction.

DuckLake's catalog is copied table by table, so that its snapshots, and the sets pinned to them, keep their numbers. Not
copied are trained models, and the Parquet files of training sets; a folder's journal is.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.attach import Place, attach, connect, place
from stores.catalog_file import copy_database
from stores.checksums import DataFile, data_files, keep_checksums, metadata_of
from stores.data_path import copy_file, file_system
from stores.faults import verify
from stores.lake import Lake
from stores.making import let_readers_in
from stores.training_sets import read_training_set
from stores.whole import whole_folder

_JOURNAL = "journal.sqlite"
VERSION_OF_DUCKLAKE = "1.0"
TABLES_OF_DUCKLAKE = (
    "ducklake_metadata", "ducklake_snapshot", "ducklake_snapshot_changes", "ducklake_schema", "ducklake_table",
    "ducklake_view", "ducklake_tag", "ducklake_column_tag", "ducklake_data_file", "ducklake_file_column_stats",
    "ducklake_file_variant_stats", "ducklake_delete_file", "ducklake_column", "ducklake_table_stats",
    "ducklake_table_column_stats", "ducklake_partition_info", "ducklake_partition_column", "ducklake_file_partition_value",
    "ducklake_files_scheduled_for_deletion", "ducklake_inlined_data_tables", "ducklake_column_mapping",
    "ducklake_name_mapping", "ducklake_schema_versions", "ducklake_macro", "ducklake_macro_impl",
    "ducklake_macro_parameters", "ducklake_sort_info", "ducklake_sort_expression",
)  # fmt: skip
_INLINED = "ducklake_inlined_data_tables"

Tell = Callable[[str], None]
Catalog = Mapping[str, pa.Table]
"""DuckLake's own tables, by name"""


def clone(where: str, target: str, tell: Tell) -> list[str]:
    """Copies the lake at `where` to `target`; returns the names of the sets that were read again from the copy.

    Args:
        target: a folder that is new or empty, or a PostgreSQL URL whose catalog is empty (`stores.attach.place`).
        tell: receives what is being done.
    Raises:
        FactoryError: no lake there, something at the target, a damaged file, or a copy that does not read back as the lake.
    """
    at = place(target)
    with Lake.open(where, read_only=True) as lake:
        _refuse_overlap(lake.place, at)
        if at.folder is not None and at.folder.exists() and any(at.folder.iterdir()):
            raise FactoryError(f"{target} is not empty: give a new folder for the copy")
        with lake.one_snapshot():
            files, catalog = data_files(lake), _catalog_of(lake)
        if at.folder is None:
            return _to_server(lake, at, files, catalog, tell)
        with whole_folder(at.folder, ()) as made:
            staged = place(str(made))
            with _filled(staged, catalog, lambda: _copy_files(lake, staged, files, tell)):
                sets = _checked(lake, str(made), tell)
            _copy_journal(lake.place, made)
    return sets


def _refuse_overlap(source: Place, target: Place) -> None:
    """Raises:
    FactoryError: one data path is the other, or lies in it: files would be written over those that are read.
    """
    one, other = (_whole_path(path) for path in (source.data_path, target.data_path))
    if one.startswith(other) or other.startswith(one):
        raise FactoryError(f"the copy would lie in the data of lake {source.where}, or around it: give another place")


def _whole_path(data_path: str) -> str:
    return data_path if "://" in data_path else f"{Path(data_path).resolve()}/"


def _to_server(lake: Lake, at: Place, files: list[DataFile], catalog: Catalog, tell: Tell) -> list[str]:
    try:
        with _filled(at, catalog, lambda: _copy_files(lake, at, files, tell)):
            return _checked(lake, at.where, tell)
    except duckdb.Error as error:
        raise FactoryError(f"lake {at.where} cannot be made: {' '.join(str(error).split())}") from error


def _catalog_of(lake: Lake) -> dict[str, pa.Table]:
    metadata = metadata_of(lake.place)
    [version] = (
        lake.query(f"SELECT value FROM {metadata}.ducklake_metadata WHERE key = 'version'").column(0).to_pylist()
    )
    found = {name: lake.query(f"SELECT * FROM {metadata}.{name}") for name in TABLES_OF_DUCKLAKE}
    if version != VERSION_OF_DUCKLAKE or found[_INLINED].num_rows:
        raise FactoryError(
            f"lake {lake.place.where} has a catalog of DuckLake {version}, or keeps rows in it, which this package never does: "
            "it cannot be copied"
        )
    return found


@contextmanager
def _filled(at: Place, catalog: Catalog, bring_files: Callable[[], None]) -> Iterator[None]:
    """A new catalog with these rows while the block runs; as it was before if the block, or filling it, fails.

    Raises:
        FactoryError: there is a lake already.
    """
    if "://" not in at.data_path:
        Path(at.data_path).mkdir(parents=True, exist_ok=True)
    if at.folder is not None:
        let_readers_in(at.folder / "catalog.sqlite", at.where)
    with closing(connect()) as connection:
        attach(connection, at, snapshot=None, create=True)
        empty = {
            name: connection.execute(f"SELECT * FROM {metadata_of(at)}.{name}").to_arrow_table()
            for name in TABLES_OF_DUCKLAKE
        }
    if empty["ducklake_table"].num_rows:
        raise FactoryError(f"there is a lake at {at.where} already: name an empty database, or another metadata_schema")
    bring_files()
    _fill(at, catalog)
    try:
        yield
    except BaseException:
        _fill(at, empty)
        raise


def _fill(at: Place, catalog: Catalog) -> None:
    """Replaces the catalog's rows, in one transaction."""
    metadata = metadata_of(at)
    with closing(connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        attach(connection, at, snapshot=None, create=False)
        connection.execute("BEGIN")
        for name in TABLES_OF_DUCKLAKE:
            connection.execute(f"DELETE FROM {metadata}.{name}")
            if catalog[name].num_rows:
                connection.register("copied", catalog[name])
                connection.execute(f"INSERT INTO {metadata}.{name} BY NAME FROM copied")
                connection.unregister("copied")
        path = "data/" if at.folder is not None else at.data_path
        connection.execute(
            f"UPDATE {metadata}.ducklake_metadata SET value = $path WHERE key = 'data_path'", {"path": path}
        )
        connection.execute("COMMIT")


def _copy_files(lake: Lake, at: Place, files: list[DataFile], tell: Tell) -> None:
    source, target = file_system(lake.place.data_path), file_system(at.data_path)
    for number, file in enumerate(files, start=1):
        tell(f"copying file {number:,} of {len(files):,}")
        try:
            size, digest = copy_file(source, target, file.path)
        except OSError as error:
            raise FactoryError(
                f"{file.path} of lake {lake.place.where} cannot be copied: {' '.join(str(error).split())[:200]}"
            ) from error
        if size != file.size_bytes or (file.sha256 is not None and digest != file.sha256):
            raise FactoryError(
                f"{file.path} of lake {lake.place.where} is not as it was written, and nothing was copied: "
                f"{verify(lake.place.where)} names each such file; restore those from a backup"
            )


def _checked(lake: Lake, where: str, tell: Tell) -> list[str]:
    """The sets of the copy, each read again.

    Raises:
        FactoryError: a table has other counts, or a set does not read back to its fingerprint.
    """
    names = []
    with Lake.open(where) as made:
        tell("counting the rows of every table")
        with Lake.open(lake.place.where, at=made.latest_snapshot(), read_only=True) as then:
            if (ours := then.counts()) != (its := made.counts()):
                table = next(name for name in ours if ours[name] != its[name])
                raise FactoryError(
                    f"the copy of {table} has {its[table]:,} rows and not {ours[table]:,}: nothing was copied"
                )
        for row in made.read(TrainingSet):
            name = f"{row.name}@{row.version}"
            tell(f"reading {name} again")
            read_training_set(made, name)
            names.append(name)
        keep_checksums(made)
    return names


def _copy_journal(at: Place, folder: Path) -> None:
    """The answers that were paid for, of a folder; one state of them, even if a run is writing."""
    if at.folder is None or not (at.folder / _JOURNAL).exists():
        return
    try:
        copy_database(at.folder / _JOURNAL, folder / _JOURNAL)
    except (sqlite3.Error, OSError) as error:
        raise FactoryError(
            f"the journal of lake {at.where} cannot be copied ({error}): restore it from a backup"
        ) from error
