"""The rows of a training set: our own queries are asked directly, all others in a confined process (`stores/door`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FactoryError, own_words
from schemas.tables import TrainingSet
from stores.door.asking import ask
from stores.door.question import LONG, Question
from stores.faults import verify
from stores.lake import Lake
from stores.sql import views

_FOLDER = Path(__file__).parent
WITHOUT, ONLY = "excluded_prompts", "only_prompts"
"""Parameters that are not the query's: after it, rows of these prompts are left out, or no others are kept."""


def is_ours(query: str) -> bool:
    """Whether this is the text of a bundled training set."""
    return any(file.read_text("utf-8") == query for file in _FOLDER.glob("*.sql"))


def rows_now(lake: Lake, name: str, query: str, parameters: Mapping[str, Any]) -> tuple[pa.Table, int]:
    """The rows at the newest snapshot, and that snapshot.

    Raises:
        FactoryError: DuckDB refuses the query, it may do more than read the lake, or its rows have no order.
    """
    if not is_ours(query):
        snapshot = lake.latest_snapshot()
        return _ask_confined(lake, name, query, parameters, snapshot), snapshot
    # Read and pinned at one snapshot, even if a run writes meanwhile.
    with lake.one_snapshot(query) as snapshot:
        return _ask_here(lake, name, query, parameters), snapshot


def rows_again(lake: Lake, name: str, query: str, parameters: Mapping[str, Any], snapshot: int) -> pa.Table | None:
    """The rows of a user's own query when it is asked a second time; None: it is ours, and not asked again."""
    return None if is_ours(query) else _ask_confined(lake, name, query, parameters, snapshot)


def _ask_confined(lake: Lake, name: str, query: str, parameters: Mapping[str, Any], snapshot: int) -> pa.Table:
    return ask(Question(lake.place.where, query, dict(parameters), snapshot, f"training set {name}", LONG, steady=True))


def rows_as_pinned(lake: Lake, row: TrainingSet) -> pa.Table:
    """The rows of a pinned set, asked again at its snapshot with the views it was built with.

    Raises:
        FactoryError: the query fails, or it may do more than read the lake.
    """
    given = _parameters(row, lake.place.where)
    parameters = {name: value for name, value in given.items() if name not in (WITHOUT, ONLY)}
    return kept_rows(_asked_as_pinned(lake, row, parameters), given)


def kept_rows(rows: pa.Table, parameters: Mapping[str, Any]) -> pa.Table:
    """The rows of a query that are the training set's, in their order.

    Args:
        parameters: the set's; `excluded_prompts` and `only_prompts` say which.
    Raises:
        FactoryError: they name prompts, but the rows have no prompt_id.
    """
    for name in (WITHOUT, ONLY):
        if (prompts := parameters.get(name)) is not None:
            if "prompt_id" not in rows.column_names:
                raise FactoryError(f"{name} names prompts, but the training set's rows have no prompt_id")
            named = pc.is_in(rows.column("prompt_id"), pa.array(prompts, rows.schema.field("prompt_id").type))
            rows = rows.filter(named if name == ONLY else pc.invert(named))
    return rows


def _asked_as_pinned(lake: Lake, row: TrainingSet, parameters: dict[str, Any]) -> pa.Table:
    if is_ours(row.sql) and row.views == views():
        with Lake.open(lake.place.where, at=row.snapshot, as_stored=True) as pinned:
            pinned.connection.execute(views())
            return _ask_here(pinned, row.name, row.sql, parameters)
    what = f"training set {row.name}"
    return ask(
        Question(lake.place.where, row.sql, parameters, row.snapshot, what, LONG, stored=True, definitions=row.views)
    )


def _parameters(row: TrainingSet, where: str) -> dict[str, Any]:
    try:
        parameters = json.loads(row.parameters)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise FactoryError(f"training set {row.name}@{row.version}: its parameters cannot be read: see {verify(where)}")
    return parameters


def _ask_here(lake: Lake, name: str, query: str, parameters: Mapping[str, Any]) -> pa.Table:
    try:
        return lake.query(query, parameters)
    except (duckdb.ProgrammingError, duckdb.DataError) as error:
        raise FactoryError(f"training set {name}: its query fails: {own_words(error)}") from error
