"""The chat templates of the models that wrote a training set's answers."""

from collections.abc import Collection

import pyarrow as pa

from stores.lake import Lake
from stores.sql import sql

_JUDGEMENTS = ("chosen_judgement_id", "judgement_id", "id")
"""columns that name the judgement that a row is learned from; `id` may name something else"""


def judgement_column(names: Collection[str]) -> str | None:
    """The column that names the judgement a row is learned from; None: the rows are answers."""
    return next((name for name in _JUDGEMENTS if name in names), None)


def chat_templates(lake: Lake, run_ids: list[str], format: str, rows: pa.Table) -> list[str]:
    """SHA-256 of the templates, as far as they are known; of a row that names no judgement, those of its runs' answers.

    Prompts have no answers, and no model wrote those that were given with the prompts.
    """
    given = "class" in rows.column_names and set(rows.column("class").to_pylist()) == {"reference"}
    if format == "prompt" or (format == "prompt_completion" and given):
        return []
    column = judgement_column(rows.column_names)
    ids = [None] if column is None else rows.column(column).to_pylist()
    named = list(dict.fromkeys(one if isinstance(one, str) else None for one in ids))
    found = lake.query(sql("templates_of_rows"), {"run_ids": run_ids, "judgement_ids": named})
    hashes: list[str] = found.column(0).to_pylist()
    return hashes
