"""SHA-256 of a lake's files, kept in its catalog, so that a bit flipped on a disk is found and named.

DuckLake keeps each file's size and number of rows, but no checksum, and DuckDB writes none into Parquet: a flipped bit
that still decompresses is read without a word. The table `factory_checksums` is not DuckLake's, which ignores it.
Checksums are kept at the end of a run, a build and a compaction, and by `factory verify`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from schemas.errors import FactoryError
from stores.attach import Place, identifier, quoted
from stores.catalog_file import may_write
from stores.faults import verify as to_verify
from stores.lake import Lake
from stores.sql import sql

_CATALOG = "catalog.sqlite"
_NAMED = 3
"""damaged files that an error names"""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that some snapshot of the lake needs."""

    path: str
    """relative to the data path"""
    table_name: str
    kind: str
    """rows, or deletions"""
    rows: int
    size_bytes: int
    current: bool
    """whether the newest snapshot needs it"""
    begin_snapshot: int
    end_snapshot: int | None
    """the first that no longer needs it; None: all later ones do"""
    sha256: str | None
    """None: not kept yet"""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file."""

    path: str
    fault: str
    """as in: is missing"""
    holds: str
    """as in: 12 rows of responses"""
    file: DataFile | None = None
    """None: the catalog"""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of looking at every file."""

    files: int
    compared: int
    """files whose checksum was kept before"""
    damages: list[Damage]
    unsure: str | None
    """why the catalog could not be compared"""


def keep_checksums(lake: Lake) -> None:
    """Keeps the checksum of every file that has none yet, and forgets those of files that are gone.

    Nothing is kept of a file that is not there or has another size than DuckLake wrote: `verify_files` names it.
    """
    _make_table(lake)
    new = [file for file in data_files(lake) if file.sha256 is None and _size_fault(lake, file) is None]
    sums = list(_hashed(lake, new))
    metadata = metadata_of(lake.place)
    gone = f"{metadata}.factory_checksums WHERE path <> '{_CATALOG}' AND path NOT IN (SELECT unnest($there))"
    there = {"there": [file.path for file in data_files(lake)]}

    def write() -> None:
        rows = [[file.path, digest] for file, digest in zip(new, sums, strict=True) if digest is not None]
        if rows:
            lake.connection.executemany(f"INSERT INTO {metadata}.factory_checksums VALUES (?, ?)", rows)
        if lake.query(f"SELECT 1 FROM {gone} LIMIT 1", there).num_rows:
            lake.connection.execute(f"DELETE FROM {gone}", there)
        if lake.place.folder is not None and (state := _catalog_state(lake)) != _kept_state(lake):
            lake.connection.execute(f"DELETE FROM {metadata}.factory_checksums WHERE path = '{_CATALOG}'")
            lake.connection.execute(f"INSERT INTO {metadata}.factory_checksums VALUES (?, ?)", [_CATALOG, state])

    lake.in_transaction(write)


def verify_files(lake: Lake, tell: Callable[[int, int], None] = lambda done, all: None) -> Verified:
    """Compares every file of every snapshot with its checksum; a file without one is read, and its checksum kept.

    Args:
        tell: receives the number of files looked at, and of all.
    Raises:
        FactoryError: the catalog cannot be read.
    """
    writable = may_write(lake.place)
    with suppress(duckdb.Error):  # a server's lake that one may only read
        if writable:
            _make_table(lake)
    files = data_files(lake)
    damages = []
    for number, (file, fault) in enumerate(zip(files, _faults(lake, files), strict=True), start=1):
        if fault is not None:
            when = "" if file.current else ", needed by earlier snapshots alone"
            damages.append(Damage(file.path, fault, f"{file.rows:,} {file.kind} of {file.table_name}{when}", file))
        tell(number, len(files))
    unsure = None
    if lake.place.folder is not None:
        unsure, fault = _catalog_fault(lake)
        if fault is not None:
            damages.append(Damage(_CATALOG, fault, "the list of tables, files and snapshots"))
    if not damages and writable:
        with suppress(duckdb.Error):
            keep_checksums(lake)
    return Verified(len(files), sum(file.sha256 is not None for file in files), damages, unsure)


def refuse_damage(lake: Lake) -> None:
    """Compares the files of the newest snapshot with their checksums, where those are kept and the files are at hand.

    Raises:
        FactoryError: some are damaged or missing.
    """
    if "://" in lake.place.data_path:
        return  # every file would have to be fetched
    files = [file for file in data_files(lake) if file.current]
    found = [
        f"{file.path} {fault}" for file, fault in zip(files, _faults(lake, files, read=False), strict=True) if fault
    ]
    if lake.place.folder is not None and (fault := _catalog_fault(lake)[1]) is not None:
        found.append(f"{_CATALOG} {fault}")
    if found:
        more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        where = lake.place.where
        raise FactoryError(
            f"lake {where} is damaged ({', '.join(found[:_NAMED])}{more}): {to_verify(where)} names each file; restore "
            "those from a backup"
        )


def data_files(lake: Lake) -> list[DataFile]:
    """Every file that some snapshot needs, ordered by path."""
    text = sql("data_files")
    if not _has_table(lake):
        text = text.replace("metadata.factory_checksums", "(SELECT NULL::VARCHAR AS path, NULL::VARCHAR AS sha256)")
    rows = lake.query(text.replace("metadata.", f"{metadata_of(lake.place)}.")).to_pylist()
    return [DataFile(**row | {"table_name": row["table_name"] or "?"}) for row in rows]


def _faults(lake: Lake, files: list[DataFile], *, read: bool = True) -> Iterator[str | None]:
    """What is wrong with each file.

    Args:
        read: read files without a checksum from start to end.
    """

    def fault_of(file: DataFile) -> str | None:
        if (fault := _size_fault(lake, file)) is not None:
            return fault
        if file.sha256 is not None:
            found = _sha256(lake, file)
            return None if found == file.sha256 else "differs from what was written"
        return _unreadable(lake, file) if read else None

    with ThreadPoolExecutor(_at_once(lake)) as pool:
        yield from pool.map(fault_of, files)


def _hashed(lake: Lake, files: list[DataFile]) -> Iterator[str | None]:
    with ThreadPoolExecutor(_at_once(lake)) as pool:
        yield from pool.map(lambda file: _sha256(lake, file), files)


def _at_once(lake: Lake) -> int:
    return (os.cpu_count() or 1) if "://" not in lake.place.data_path else 1


def _size_fault(lake: Lake, file: DataFile) -> str | None:
    if "://" in lake.place.data_path:
        return None
    path = _path(lake, file)
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return None if size == file.size_bytes else f"has {size:,} of its {file.size_bytes:,} bytes"


def _sha256(lake: Lake, file: DataFile) -> str | None:
    """None: it cannot be read."""
    try:
        if "://" in lake.place.data_path:
            text = "SELECT sha256(content) AS digest FROM read_blob($path)"
            digest: str = lake.query(text, {"path": lake.place.data_path + file.path}).column(0)[0].as_py()
            return digest
        with _path(lake, file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, FactoryError, IndexError):
        return None


def _unreadable(lake: Lake, file: DataFile) -> str | None:
    if "://" in lake.place.data_path:
        return None if _sha256(lake, file) is not None else "cannot be read"
    try:
        with pyarrow.parquet.ParquetFile(_path(lake, file)) as opened:
            rows = sum(batch.num_rows for batch in opened.iter_batches())
    except (pa.ArrowException, OSError, UnicodeError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:100]})"
    return None if rows == file.rows else f"has {rows:,} of its {file.rows:,} rows"


def _path(lake: Lake, file: DataFile) -> Path:
    return Path(lake.place.data_path, file.path)


# The catalog: its rows as text, unless it has been written to since


def _catalog_fault(lake: Lake) -> tuple[str | None, str | None]:
    """Why the catalog cannot be compared, and what is wrong with it."""
    try:
        whole = lake.query("FROM sqlite_query('__ducklake_metadata_lake', 'PRAGMA integrity_check(1)')").column(0)
        if whole.to_pylist() != ["ok"]:
            return None, f"is damaged ({whole.to_pylist()[0]})"
        with lake.one_snapshot():  # all of it as it was at one time, even if a run writes
            kept, found = _kept_state(lake), _catalog_state(lake)
    except (duckdb.Error, FactoryError) as error:
        return None, f"is damaged ({' '.join(str(error).split())[:200]})"
    if kept is None or kept.partition(":")[0] != found.partition(":")[0]:
        return "its checksum was not kept yet, or it has been written to since", None
    return None, None if kept == found else "differs from what was written"


def _kept_state(lake: Lake) -> str | None:
    if not _has_table(lake):
        return None
    text = f"SELECT sha256 FROM {metadata_of(lake.place)}.factory_checksums WHERE path = '{_CATALOG}'"
    rows: list[str] = lake.query(text).column(0).to_pylist()
    return rows[0] if rows else None


def _catalog_state(lake: Lake) -> str:
    """`WHEN:DIGEST`: how far the catalog has been written, and the SHA-256 of its rows."""
    metadata = metadata_of(lake.place)
    when = lake.query(
        f"SELECT count(*) || '/' || max(snapshot_id) || '/' || max(next_file_id) FROM {metadata}.ducklake_snapshot"
    )
    names = (
        "SELECT name FROM sqlite_master WHERE type = ''table'' AND name LIKE ''ducklake~_%'' ESCAPE ''~'' ORDER BY 1"
    )
    tables: list[str] = lake.query(f"FROM sqlite_query('__ducklake_metadata_lake', '{names}')").column(0).to_pylist()
    rows = "SELECT {0}, sha256(coalesce(string_agg(t::VARCHAR, chr(10) ORDER BY t::VARCHAR), '')) FROM {1}.{2} AS t"
    # Quoted: whoever made the catalog named its tables.
    each = (rows.format(quoted(table), metadata, identifier(table)) for table in tables)
    sums = lake.query(" UNION ALL ".join(each) + " ORDER BY 1").to_pylist()
    digest = hashlib.sha256("".join(f"{' '.join(row.values())}\n" for row in sums).encode()).hexdigest()
    return f"{when.column(0)[0].as_py()}:{digest}"


def metadata_of(at: Place) -> str:
    schema = f".{identifier(at.metadata_schema)}" if at.metadata_schema else ""
    return f"__ducklake_metadata_lake{schema}"


def _has_table(lake: Lake) -> bool:
    try:
        lake.connection.execute(f"SELECT 1 FROM {metadata_of(lake.place)}.factory_checksums LIMIT 0").fetchall()
    except duckdb.CatalogException:
        return False
    return True


def _make_table(lake: Lake) -> None:
    if not _has_table(lake):
        made = f"CREATE TABLE IF NOT EXISTS {metadata_of(lake.place)}.factory_checksums (path VARCHAR, sha256 VARCHAR)"
        lake.in_transaction(lambda: lake.connection.execute(made))
