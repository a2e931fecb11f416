"""SQL typed by the user: read-only, with DuckDB's own error messages, and rows written to files."""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from schemas.errors import FactoryError
from stores.lake import Lake
from stores.whole import whole_file

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def read_only(lake: Lake, query: str) -> pa.Table:
    """The rows of one read-only statement.

    Raises:
        FactoryError: the query would change something, or is not valid SQL.
    """
    try:
        statements = lake.connection.extract_statements(query)
    except duckdb.Error as error:
        raise FactoryError(f"the query is not valid SQL: {own_words(error)}") from error
    if len(statements) != 1 or statements[0].type not in _READING:
        raise FactoryError(
            "only one read-only query at a time (SELECT, FROM, WITH, DESCRIBE, EXPLAIN): rows are never changed"
        )
    try:
        # Rolled back at the end, which also undoes functions with side effects inside a SELECT.
        with lake.one_snapshot(query):
            return lake.query(query)
    except duckdb.Error as error:
        raise FactoryError(f"the query fails: {own_words(error)}") from error


def own_words(error: duckdb.Error) -> str:
    """DuckDB's error message on one line."""
    return " ".join(line for line in str(error).splitlines() if line.strip() and "^" not in line)


def write_rows(rows: pa.Table, format: str, out: Path | None) -> None:
    """Rows as CSV, JSON lines or Parquet, to a file or to standard output.

    Raises:
        FactoryError: Parquet without a file.
    """
    if format == "parquet":
        if out is None:
            raise FactoryError("Parquet needs an output file: give --out rows.parquet")
        with whole_file(out) as part:
            pyarrow.parquet.write_table(rows, part, compression="zstd")
        return
    if format == "json":
        text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows.to_pylist())
    else:
        buffer = pa.BufferOutputStream()
        pyarrow.csv.write_csv(_flat(rows), buffer)
        text = buffer.getvalue().to_pybytes().decode()
    if out is None:
        sys.stdout.write(text)
    else:
        with whole_file(out) as part:
            part.write_text(text, "utf-8")


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
    return pa.table(dict(zip(rows.schema.names, columns, strict=True)))
