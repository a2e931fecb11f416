"""Rows of a query, written to files or to standard output as they come."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from stores.whole import whole_file


def write_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], format: str, out: Path | None) -> None:
    """Rows as CSV, JSON lines or Parquet (the last to a file alone), to a file or to standard output, batch by batch."""
    if format == "parquet":
        assert out is not None
        with whole_file(out) as part, part.open("wb") as file:
            write_parquet(schema, batches, file)
        return
    texts = as_json(batches) if format == "json" else as_csv(schema, batches)
    if out is None:
        for text in texts:
            sys.stdout.write(text)
            if getattr(sys.stdout, "gone", False):
                return  # `head` has what it wants: the rest need not be asked for
        return
    with whole_file(out) as part, part.open("wb") as file:
        for text in texts:
            file.write(text.encode())


def first_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], limit: int) -> tuple[pa.Table, int]:
    """The first rows, and the number of all."""
    kept: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if count < limit:
            kept.append(batch.slice(0, limit - count))
        count += batch.num_rows
    return pa.Table.from_batches(kept, schema), count


def write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> None:
    """Rows as Parquet, batch by batch; a column of a type that Parquet lacks (intervals, unions) as JSON text."""
    import pyarrow.parquet  # here: a tenth of a second that other formats need not wait for

    lacking = [field.name for field in schema if _has(field.type, _not_in_parquet)]
    kinds = pa.schema([pa.field(f.name, pa.string() if f.name in lacking else f.type) for f in schema])
    with pyarrow.parquet.ParquetWriter(file, kinds, compression="zstd") as writer:
        for batch in batches:
            columns = [
                _as_text(column) if name in lacking else column
                for name, column in zip(schema.names, batch.columns, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=kinds))


def python_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dicts; a time beyond Python's calendar is its text, a sum of integers an integer."""
    try:
        found = list(rows.to_pylist())
        for field in rows.schema:
            if pa.types.is_decimal(field.type) and field.type.scale == 0:
                for row in found:
                    row[field.name] = None if row[field.name] is None else int(row[field.name])
        return found
    except (OverflowError, ValueError):
        columns = [column.cast(_times_as_text(column.type)) for column in rows.columns]
        return list(pa.Table.from_arrays(columns, names=rows.schema.names).to_pylist())


def as_json(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """Rows as lines of JSON, batch by batch."""
    for batch in batches:
        yield "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in python_rows(batch))


def as_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """Rows as CSV, batch by batch; nested columns as JSON."""
    yield _as_csv(pa.Table.from_batches([], schema), include_header=True)
    for batch in batches:
        yield _as_csv(pa.Table.from_batches([batch]), include_header=False)


def _as_csv(rows: pa.Table, *, include_header: bool) -> str:
    import pyarrow.csv

    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(_flat(rows), buffer, pyarrow.csv.WriteOptions(include_header=include_header))
    return str(buffer.getvalue().to_pybytes().decode())


def _flat(rows: pa.Table) -> pa.Table:
    """Columns that CSV cannot hold as JSON text, bytes as text with escapes."""
    columns = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_nested(field.type) or _not_in_parquet(field.type):
            column = _as_text(column)
        elif pa.types.is_binary(field.type):
            column = pa.array(
                [None if v is None else v.decode("utf-8", "backslashreplace") for v in column.to_pylist()]
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, names=rows.schema.names)


def _as_text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Each value as JSON."""
    values = [row["value"] for row in python_rows(pa.Table.from_arrays([column], ["value"]))]
    told = (None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values)
    return pa.array(told, type=pa.string())


def _not_in_parquet(kind: pa.DataType) -> bool:
    return bool(pa.types.is_interval(kind) or pa.types.is_union(kind))


def _has(kind: pa.DataType, what: Callable[[pa.DataType], bool]) -> bool:
    return what(kind) or any(_has(kind.field(at).type, what) for at in range(kind.num_fields))


def _times_as_text(kind: pa.DataType) -> pa.DataType:
    """The type with times and dates as text, at any depth."""
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_times_as_text(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_times_as_text(kind.key_type), _times_as_text(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _times_as_text(f.type)) for f in kind])
    return kind
