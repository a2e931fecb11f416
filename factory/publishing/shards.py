"""Parquet files of a published folder: written, and read again with every check that a stranger's file needs."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from factory.publishing.manifest import Manifest, Shard, sha256_of
from schemas.errors import FactoryError

SHARD_BYTES = 256 << 20
"""of rows in memory, at most, in one file: what the Hub's viewer and a broken-off upload still take well"""
_GROUP = 10_000
"""rows in a row group: the viewer reads one to show a page"""
_LEAST_ROWS = 1_000
_AT_ONCE = 500
"""rows read at a time of a stranger's file"""
_EXPANDS = 200
"""A file may hold so many times its size, and 1 GiB in any case: one long text, named a million times, holds far more."""
_HARMLESS_BYTES = 1 << 30


def write_shards(tables: Mapping[tuple[str, str], pa.Table], folder: Path) -> list[Shard]:
    """Writes `data/KEY/CONFIG/SPLIT-00000-of-00002.parquet` for each config and split.

    KEY is a hash of all of them, so that a new version never overwrites a file that the card of an older one names.

    Args:
        tables: rows by config and split.
    """
    made = [(config, split, *_write(rows, config, split, folder)) for (config, split), rows in tables.items()]
    digests = [sha256_of(file) for _, _, files, _ in made for file in files]
    key = hashlib.sha256("".join(digests).encode()).hexdigest()[:12]
    shards = []
    for config, split, files, counts in made:
        for file, rows in zip(files, counts, strict=True):
            path = f"data/{key}/{config}/{file.name}"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            file.rename(folder / path)
            shards.append(Shard(path=path, config=config, split=split, rows=rows, sha256=digests.pop(0)))
    return shards


def _write(rows: pa.Table, config: str, split: str, folder: Path) -> tuple[list[Path], list[int]]:
    count = max(1, min(-(-rows.nbytes // SHARD_BYTES), rows.num_rows // _LEAST_ROWS or 1))
    each = -(-rows.num_rows // count)
    files, counts = [], []
    for number in range(count):
        part = rows.slice(number * each, each)
        file = folder / f".{config}" / f"{split}-{number:05}-of-{count:05}.parquet"
        file.parent.mkdir(exist_ok=True)
        pyarrow.parquet.write_table(part, file, compression="zstd", row_group_size=_GROUP, write_page_index=True)
        files.append(file)
        counts.append(part.num_rows)
    return files, counts


def drop_leftovers(folder: Path) -> None:
    """Removes the folders in which files lay until their place was known."""
    for left in folder.glob(".*"):
        if left.is_dir() and not any(left.iterdir()):
            left.rmdir()


def check_file(folder: Path, shard: Shard, whose: str) -> pyarrow.parquet.ParquetFile:
    """The opened file of a shard.

    Raises:
        FactoryError: it is missing, another than the manifest says, or no Parquet file.
    """
    file = folder / shard.path
    if not file.is_file() or file.is_symlink():
        raise FactoryError(f"{whose} lacks {shard.path}, which its list names: its upload may be incomplete")
    if sha256_of(file) != shard.sha256:
        raise FactoryError(
            f"{whose}: {shard.path} is not the file that was published (its SHA-256 differs): fetch it again"
        )
    try:
        opened = pyarrow.parquet.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise FactoryError(f"{whose}: {shard.path} is not a Parquet file") from error
    if opened.metadata.num_rows != shard.rows:
        raise FactoryError(
            f"{whose}: {shard.path} has {opened.metadata.num_rows:,} rows, and {shard.rows:,} were published"
        )
    return opened


def batches(opened: pyarrow.parquet.ParquetFile, size_bytes: int, what: str) -> Iterator[pa.Table]:
    """A file's rows, checked to the last byte, some hundred at a time.

    Args:
        size_bytes: of the file.
    Raises:
        FactoryError: they cannot be read, or would not fit into memory.
    """
    held = 0
    try:
        for batch in opened.iter_batches(batch_size=_AT_ONCE):
            held += batch.nbytes
            if held > max(_HARMLESS_BYTES, _EXPANDS * size_bytes):
                raise FactoryError(
                    f"{what} holds over {held:,} bytes in a file of {size_bytes:,}: no set of texts is like that"
                )
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise FactoryError(f"{what} cannot be read ({' '.join(str(error).split())[:120]})") from error


def rows_of_shard(folder: Path, shard: Shard, whose: str) -> Iterator[pa.Table]:
    """A shard's rows, every one of them checked.

    Raises:
        FactoryError: see `check_file` and `batches`.
    """
    opened = check_file(folder, shard, whose)
    return batches(opened, (folder / shard.path).stat().st_size, f"{whose}: {shard.path}")


def read_splits(folder: Path, manifest: Manifest, config: str, whose: str) -> dict[str, pa.Table]:
    """A config's rows by split."""
    splits: dict[str, pa.Table] = {}
    for split in manifest.configs().get(config, []):
        parts = [part for shard in manifest.of(config, split) for part in rows_of_shard(folder, shard, whose)]
        try:
            splits[split] = pa.concat_tables(parts)
        except pa.ArrowException as error:
            raise FactoryError(f"{whose}: the files of {config}/{split} do not fit together") from error
    return splits
