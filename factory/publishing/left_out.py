"""What decontamination and review took out of a set: rows of the config `removed`, each with why."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FactoryError
from schemas.ids import canonical_json
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import TrainingSetRows
from stores.training_sets.rows import ONLY, WITHOUT, rows_as_pinned

BECAUSE = "removed_because"
OVERLAP = "overlap with an evaluation set"
REVIEW = "a reviewer rejected or rewrote it"
_UNREVIEWED = {"exclude_rejected": False, "reviewed_only": False}


def left_out(lake: Lake, built: TrainingSetRows) -> pa.Table | None:
    """The rows that were left out, under the set's own names, without `split`; None: nothing was.

    Raises:
        FactoryError: they cannot be read any more.
    """
    row = built.row
    parameters: dict[str, Any] = json.loads(row.parameters)
    parts = []
    if prompts := parameters.get(WITHOUT):
        only = {name: value for name, value in parameters.items() if name != WITHOUT} | {ONLY: prompts}
        parts.append(_because(_asked(lake, row, only), OVERLAP))
    if any(parameters.get(name) for name in _UNREVIEWED):
        all_rows = _asked(lake, row, parameters | {n: v for n, v in _UNREVIEWED.items() if n in parameters})
        kept = pa.concat_tables([built.train, built.held_out])
        if "pair_id" in all_rows.column_names:
            out = all_rows.filter(
                pc.invert(pc.is_in(all_rows.column("pair_id"), kept.column("pair_id").combine_chunks()))
            )
            parts.append(_because(out, REVIEW))
    rows = pa.concat_tables(parts, promote_options="permissive") if parts else None
    return rows if rows is not None and rows.num_rows else None


def texts_left_out(rows: pa.Table | None) -> pa.Table | None:
    """Every conversation of the rows that were left out, as `id` and `text`; None: there are none."""
    if rows is None:
        return None
    told = [name for name in rows.column_names if pa.types.is_list(rows.schema.field(name).type)]
    texts = [
        (f"removed {name} {at}", json.dumps(value, ensure_ascii=False, default=str))
        for name in told
        for at, value in enumerate(rows.column(name).to_pylist())
    ]
    return pa.table({"id": [id for id, _ in texts], "text": [text for _, text in texts]})


def count_rejected(lake: Lake, built: TrainingSetRows) -> int:
    """Rows of the set whose pair somebody's current review, as the lake is now, rejects or has rewritten."""
    rows = pa.concat_tables([built.train, built.held_out])
    if "pair_id" not in rows.column_names:
        return 0
    bad = lake.query("SELECT DISTINCT pair_id FROM current_reviews WHERE verdict IN ('reject', 'edit')").column(0)
    return int(pc.sum(pc.is_in(rows.column("pair_id"), bad.combine_chunks())).as_py() or 0)


def _asked(lake: Lake, row: TrainingSet, parameters: dict[str, Any]) -> pa.Table:
    try:
        return rows_as_pinned(lake, replace(row, parameters=canonical_json(parameters)))
    except FactoryError as error:
        raise FactoryError(
            f"the rows that were left out of {row.name}@{row.version} cannot be read: {error}"
        ) from error


def _because(rows: pa.Table, why: str) -> pa.Table:
    plain = rows.drop_columns(["split"])
    return plain.append_column(BECAUSE, pa.array([why] * rows.num_rows, pa.string()))
