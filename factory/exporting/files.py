"""Writes rows as JSON lines, CSV or Parquet, and configuration as YAML."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from factory.exporting.rows import SLICE, Row


def write_rows(rows: Iterable[Row], schema: pa.Schema | None, file: Path) -> None:
    """Writes rows that were made for a trainer, a slice at a time.

    Args:
        schema: of Parquet; JSON lines need none.
    """
    if schema is None:
        with file.open("w", encoding="utf-8", newline="\n") as opened:
            for row in rows:
                opened.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        return
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for some in _slices(rows):
            writer.write_table(pa.Table.from_pylist(some, schema))


def write_table(table: pa.Table, file: Path) -> None:
    """Writes all columns of a set; the file's ending says how."""
    import polars as pl

    if file.suffix == ".parquet":
        pq.write_table(table, file, compression="zstd")
    elif file.suffix == ".jsonl":
        pl.DataFrame(table).write_ndjson(file)
    else:
        pl.DataFrame(_flat(table)).write_csv(file)


def _flat(table: pa.Table) -> pa.Table:
    """Nested columns as JSON in text."""
    for at, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            values = table.column(at).to_pylist()
            texts = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    return table


def _slices(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while some := list(islice(rest, SLICE)):
        yield some


def as_yaml(config: dict[str, Any]) -> str:
    """YAML without anchors, which parts that stand in it twice would get."""
    text: str = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False)
    return text
