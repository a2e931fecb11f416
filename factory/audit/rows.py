"""The rows that checks read: a training set's columns as texts, with what the lake knows of each row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from factory.audit.words import normal, word_count
from schemas.errors import FactoryError

REASONS = {
    "rejected": "the rows have one answer, not two",
    "prompt_id": "the rows have no prompt_id",
    "chosen_value": "the rows and the lake have no values of both sides",
    "rejected_value": "the rows and the lake have no values of both sides",
    "chosen_model": "it is not known which model wrote the answers",
    "rejected_model": "it is not known which model wrote both sides",
    "chosen_finish_reason": "it is not known how the answers ended (finish_reason)",
    "chosen_flaw_known": "the rows lead to no response in the lake, or to imported ones",
    "source": "the rows lead to no prompt in the lake, and have no column source",
    "kinds": "no prompt has constraints that a program can check",
    "constraint_gap": "the verifier has not checked both sides of any pair",
    "similarity": "the rows have one answer, not two",
    "chosen_win_rate": "the rows have no win rates",
}
"""Why a check that needs a column is not applicable without it."""
_TEXTS = ("split", "prompt_id", "source", "licence", "chosen_model", "rejected_model")
_NUMBERS = (
    "chosen_value", "rejected_value", "score_chosen", "score_rejected", "chosen_score", "rejected_score", "similarity",
    "constraint_gap", "chosen_win_rate", "rejected_win_rate",
)  # fmt: skip
"""Columns of a set's own that checks use, if they are of that kind; else what the lake knows stands for them."""
_ID_COLUMNS = ("pair_id", "response_id", "id")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """An evaluation set that must not be trained on."""

    name: str
    version: str
    """SHA-256 of its prompts' file"""
    prompts: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    """kinds of its constraints"""


@dataclass(frozen=True, slots=True)
class Trainer:
    """What a trainer would make of the rows: lengths in tokens, and whether both sides are equal after cutting."""

    max_tokens: int
    rows: pl.DataFrame
    """id, longest (tokens of prompt and longer answer), equal (both sides, after template and truncation)"""


@dataclass(frozen=True, eq=False)
class Audited:
    """A training set as checks see it."""

    reference: str
    format: str
    rows: pl.DataFrame
    """id, split, prompt (all turns), task (the actor's prompt behind it), asked (the last user turn), chosen (or the
    completion; NULL in a set of prompts), rejected; prompt_key, task_key, chosen_key,
    rejected_key: hashes of the texts as two are compared; figures and lineage"""
    turns: pl.DataFrame
    """id, prompt, chosen, rejected: as lists of turns"""
    facts: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """what the lake knows beyond one value a row: scores, points named in critiques, comparisons"""
    benchmarks: tuple[Benchmark, ...] = ()
    trainer: Trainer | None = None

    def known(self, *columns: str) -> pl.DataFrame:
        """The rows in which none of these columns is NULL."""
        return self.rows.drop_nulls(list(columns))

    def why_not(self, needed: tuple[str, ...]) -> str | None:
        """Why a check that needs these columns is not applicable; None: it is."""
        for column in needed:
            if column not in self.rows.columns or self.rows[column].null_count() == self.rows.height:
                return REASONS.get(column, f"the rows have no {column}")
        return None


def audited(
    reference: str,
    format: str,
    table: pa.Table,
    lineage: pl.DataFrame | None = None,
    facts: Mapping[str, pl.DataFrame] | None = None,
    benchmarks: tuple[Benchmark, ...] = (),
    trainer: Trainer | None = None,
) -> Audited:
    """A training set's rows for the checks.

    Args:
        table: its rows, with `split`.
        lineage: what the lake knows, one row for each of the table's, in order.
    Raises:
        FactoryError: it has no rows.
    """
    if not table.num_rows:
        raise FactoryError(f"training set {reference} has no rows to audit: build it from runs that made some")
    given = as_polars(table)
    answer = {"preference": "chosen", "prompt_completion": "completion"}.get(format)
    ids = row_ids(given)
    two = format == "preference"
    none = pl.Series([None] * given.height, dtype=given["prompt"].dtype)
    turns = pl.DataFrame(
        {
            "id": ids,
            "prompt": given["prompt"],
            "chosen": given[answer] if answer is not None else none,
            "rejected": given["rejected"] if two else none,
        }
    )
    rows = turns.select(
        "id",
        prompt=_text_of("prompt"),
        asked=_last_user(),
        chosen=_text_of("chosen"),
        rejected=_text_of("rejected"),
    ).hstack(_own(given))
    if lineage is not None:
        own = set(rows.columns)
        rows = rows.hstack(lineage.select(c for c in lineage.columns if c not in own))
    known = pl.col("task") if "task" in rows.columns else pl.lit(None, pl.String)
    rows = rows.with_columns(task=pl.coalesce(known, "prompt")).with_columns(
        task_key=normal("task").hash(seed=0),
        chosen_words=word_count("chosen"),
        **{f"{side}_key": normal(side).hash(seed=0) for side in ("prompt", "chosen", "rejected")},
    )
    if two:
        rows = rows.with_columns(rejected_words=word_count("rejected"))
        rows = rows.with_columns(length_gap=pl.col("chosen_words") - pl.col("rejected_words"))
    return Audited(reference, format, rows, turns, facts or {}, benchmarks, trainer)


def _own(given: pl.DataFrame) -> pl.DataFrame:
    """The set's own columns that checks use."""
    kinds = given.schema
    texts = [name for name in _TEXTS if kinds.get(name) in (pl.String, pl.Categorical)]
    numbers = [name for name in _NUMBERS if name in kinds and kinds[name].is_numeric()]
    return given.select(pl.col(texts).cast(pl.String), pl.col(numbers).cast(pl.Float64))


def as_polars(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def row_ids(rows: pl.DataFrame) -> pl.Series:
    """What a row is called: its pair, response or id, else its number."""
    for name in _ID_COLUMNS:
        if name in rows.columns and not rows[name].null_count() and rows[name].n_unique() == rows.height:
            return rows[name].cast(pl.String).alias("id")
    return pl.Series("id", [f"row {n}" for n in range(1, rows.height + 1)])


def _content() -> pl.Expr:
    return pl.element().struct.field("content").cast(pl.String)


def _text_of(column: str) -> pl.Expr:
    return pl.col(column).list.eval(_content()).list.join("\n\n")


def _last_user() -> pl.Expr:
    asked = pl.element().filter(pl.element().struct.field("role").cast(pl.String) == "user")
    return pl.col("prompt").list.eval(asked.struct.field("content").cast(pl.String)).list.last()


def plain_value(value: Any) -> Any:
    """A figure as JSON takes it: NaN and infinities are unknown."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
