"""SQL that a person types: read only, with DuckDB's own words where it is wrong, and rows out as files."""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from schemas.errors import FactoryError
from stores.lake import Lake

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def read_only(lake: Lake, query: str) -> pa.Table:
    """The rows of one reading statement.

    Raises:
        FactoryError: the query would change something, or DuckDB cannot understand it.
    """
    try:
        statements = lake.connection.extract_statements(query)
    except duckdb.Error as error:
        raise FactoryError(f"the query cannot be read: {own_words(error)}") from error
    if len(statements) != 1 or statements[0].type not in _READING:
        raise FactoryError(
            "only one reading query at a time (SELECT, FROM, WITH, DESCRIBE, EXPLAIN): rows are never changed"
        )
    try:
        # It ends with a rollback: a function with side effects inside a SELECT is undone with the rest.
        with lake.one_snapshot(query):
            return lake.query(query)
    except duckdb.Error as error:
        raise FactoryError(f"the query fails: {own_words(error)}") from error


def own_words(error: duckdb.Error) -> str:
    """What DuckDB says is wrong with a query, in one line."""
    return " ".join(line for line in str(error).splitlines() if line.strip() and "^" not in line)


def write_rows(rows: pa.Table, format: str, out: Path | None) -> None:
    """Rows as CSV, JSON lines or Parquet, to a file or to standard output.

    Raises:
        FactoryError: Parquet without a file.
    """
    if format == "parquet":
        if out is None:
            raise FactoryError("Parquet needs a file to be written to: give --out rows.parquet")
        pyarrow.parquet.write_table(rows, out, compression="zstd")
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
        out.write_text(text, "utf-8")


def _flat(rows: pa.Table) -> pa.Table:
    """Nested columns as JSON text, which is what CSV can hold."""
    columns = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_nested(field.type):
            column = pa.array(
                [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_pylist()],
                type=pa.string(),
            )
        columns.append(column)
    return pa.table(dict(zip(rows.schema.names, columns, strict=True)))
