"""What the lake knows of a training set's rows, found by their ids (`stores/sql/audit/`)."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from factory.audit.rows import as_polars, row_ids
from stores.lake import Lake
from stores.sql import sql

FACTS = ("scores", "critiques", "orders")
_IDS = ("pair_id", "response_id", "prompt_id", "run_id")


@dataclass(frozen=True, slots=True)
class Lineage:
    """One row for each of the set's, in order, and facts that are more than one value a row."""

    rows: pl.DataFrame
    facts: dict[str, pl.DataFrame]


def tasks_of(lake: Lake, rows: pa.Table) -> pl.DataFrame:
    """The tasks behind a set's prompts, by their prompt_id, and their last user turns: one row for each of the set's."""
    ids = pl.DataFrame({"prompt_id": as_polars(rows.select(["prompt_id"]))["prompt_id"].cast(pl.String)})
    lake.connection.register("audited", ids.with_row_index("row").to_arrow())
    try:
        return as_polars(lake.query(sql("audit/prompts"))).select("task", "task_asked")
    finally:
        lake.connection.unregister("audited")


def lineage_of(lake: Lake, rows: pa.Table) -> Lineage:
    """What a lake, open at the set's snapshot, knows of a training set's rows; columns are NULL where it knows nothing."""
    given = as_polars(rows.select([name for name in rows.column_names if name in (*_IDS, "id")]))
    ids = row_ids(given) if given.width else pl.Series("id", [f"row {n}" for n in range(1, rows.num_rows + 1)])
    table = pl.DataFrame({"row": pl.arange(rows.num_rows, eager=True, dtype=pl.Int64), "id": ids}).with_columns(
        given[name].cast(pl.String) if name in given.columns else pl.lit(None, pl.String).alias(name) for name in _IDS
    )
    connection = lake.connection
    connection.register("audited", table.to_arrow())
    try:
        sides = lake.query(sql("audit/sides"))
        connection.register("audited_sides", sides)
        found = {name: as_polars(lake.query(sql(f"audit/{name}"))) for name in ("prompts", "contrast", *FACTS)}
    finally:
        connection.unregister("audited")
        connection.unregister("audited_sides")
    wide = as_polars(sides).drop("row", "id", "prompt_id", "run_id")
    wide = wide.hstack(found["prompts"].drop("row")).hstack(found["contrast"].drop("row"))
    return Lineage(wide, {name: found[name] for name in FACTS})
