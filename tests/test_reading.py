"""Rows of any type that DuckDB has, written in every format."""

import io
import json
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from stores.reading import as_csv, python_rows, write_parquet, write_rows

VALUES = [
    "INTERVAL 1 DAY", "[INTERVAL 1 DAY]", "{'a': INTERVAL 1 DAY}", "union_value(a := 1)", "'101'::BIT", "'\\xFF'::BLOB",
    "MAP {'a': 1}", "TIMESTAMP '290000-01-01'", "[TIMESTAMP '290000-01-01']", "{'a': DATE '290000-01-01'}", "'infinity'::DATE",
    "'12:00:00+01'::TIMETZ", "170141183460469231731687303715884105727::HUGEINT", "1e308::DOUBLE * 10", "NULL", "[]",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_every_type_can_be_written(value: str, format: str, tmp_path: Path) -> None:
    rows = duckdb.sql(f"SELECT {value} AS value, 7 AS beside").to_arrow_table()
    write_rows(rows.schema, rows.to_batches(), format, tmp_path / "out")
    assert b"7" in (tmp_path / "out").read_bytes() or format == "parquet"
    assert python_rows(rows)[0]["beside"] == 7


def test_what_a_format_lacks_is_text() -> None:
    rows = duckdb.sql("SELECT INTERVAL 1 DAY AS i, 5 AS n").to_arrow_table()
    file = io.BytesIO()
    write_parquet(rows.schema, rows.to_batches(), file)
    (row,) = pyarrow.parquet.read_table(file).to_pylist()
    assert (json.loads(row["i"]), row["n"]) == ([0, 1, 0], 5)
    bits = duckdb.sql("SELECT '\\xFF'::BLOB AS b").to_arrow_table()
    assert "".join(as_csv(bits.schema, bits.to_batches())) == '"b"\n"\\xff"\n'
    late = duckdb.sql("SELECT [TIMESTAMP '290000-01-01'] AS t").to_arrow_table()
    assert python_rows(late)[0]["t"][0].startswith("290000") or "out of range" in python_rows(late)[0]["t"][0]


def test_sums_of_integers_are_numbers() -> None:
    rows = duckdb.sql("SELECT sum(n) AS total, sum(NULL::INT) AS none FROM range(4) AS r(n)").to_arrow_table()
    assert python_rows(rows) == [{"total": 6, "none": None}]
