"""Rows of a query, written to files or to standard output as they come."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from stores.whole import whole_file


def write_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], format: str, out: Path | None) -> None:
    """Rows as CSV, JSON lines or Parquet (the last to a file alone), to a file or to standard output, batch by batch."""
    if format == "parquet":
        import pyarrow.parquet  # here: a tenth of a second that other formats need not wait for

        assert out is not None
        with whole_file(out) as part, pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
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


def python_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dicts; a time beyond Python's calendar is its text."""
    try:
        return list(rows.to_pylist())
    except (OverflowError, ValueError):
        columns = [column.cast(pa.string()) if pa.types.is_temporal(column.type) else column for column in rows.columns]
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
    """Nested columns as JSON text, because CSV cannot hold them otherwise."""
    columns = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_nested(field.type):
            column = pa.array(
                [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_pylist()],
                type=pa.string(),
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, names=rows.schema.names)
