"""What an online training paid, for whoever looks at its model: figures for the card, and every answer and reward as a row.

They belong to the model, not to the training set: a set is published as it was pinned, before any training on it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from factory.monitor.plain_text import counted
from factory.publishing.checks import texts_with
from factory.publishing.hub import LINEAGE
from factory.publishing.lineage import for_hub, lineage_tables, texts_of, without_names
from schemas.errors import FactoryError
from schemas.ids import online_run_id
from schemas.tables import TrainingRun
from stores.lake import Lake
from stores.sql import sql

PARTS = 10
"""rows of the card's table over the steps: more steps are put together"""


def paid(lake: Lake, run: TrainingRun) -> list[dict[str, Any]]:
    """Rows of report/rewards.sql; none: nothing was paid, as in any training but an online one."""
    parameters = {"run_id": online_run_id(run.training_run_id), "parts": PARTS}
    rows: list[dict[str, Any]] = lake.query(sql("report/rewards"), parameters).to_pylist()
    return rows


def paid_lineage(lake: Lake, run: TrainingRun, reference: str, allowed: Collection[str]) -> dict[str, pa.Table]:
    """The tables of all that an online training asked, answered and paid, without private addresses; those that have rows.

    Args:
        reference: its training set, NAME@VERSION.
        allowed: checks that may fail: secrets, personal_data.
    Raises:
        FactoryError: the training answered nothing, or its texts hold secrets or personal data.
    """
    run_id = online_run_id(run.training_run_id)
    asked = lake.query("SELECT DISTINCT prompt_id FROM responses WHERE run_id = $run ORDER BY ALL", {"run": run_id})
    if not asked.num_rows:
        raise FactoryError(
            f"{run.output} has no lineage of its own, as its training ({run.objective}) answered no prompts: leave "
            f"--with-lineage out, and publish what it was trained on with `factory publish {reference} USER/REPO --with-lineage`"
        )
    found = without_names(dict(lineage_tables(lake, asked.column(0).to_pylist(), [run_id])))
    _check(texts_of(lake, found), str(run.output), allowed)
    return {name: for_hub(rows) for name, rows in found.items() if rows.num_rows}


def _check(texts: pa.Table, name: str, allowed: Collection[str]) -> None:
    bad = {check: found for check, found in texts_with(texts).items() if found[0] and check not in allowed}
    if bad:
        said = "; ".join(
            f"{check}: {', '.join(kinds)} in {counted(len(ids), 'text')} of its lineage "
            f"({', '.join(sorted({id.partition(' ')[0] for id in ids}))})"
            for check, (ids, kinds) in bad.items()
        )
        names = " ".join(f"--allow {check}" for check in bad)
        raise FactoryError(
            f"{name} is not published: {said}: leave --with-lineage out, or publish them nevertheless with {names}"
        )


def write_lineage(tables: dict[str, pa.Table], folder: Path) -> None:
    """Writes `lineage/TABLE.parquet` for each table."""
    (folder / LINEAGE).mkdir()
    for name, rows in tables.items():
        pyarrow.parquet.write_table(rows, folder / LINEAGE / f"{name}.parquet", compression="zstd")
