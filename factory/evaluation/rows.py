"""Figures as rows of `evaluations`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from factory.evaluation.figures import Figure
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id, sha256_text
from schemas.tables import Evaluation
from stores.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What figures are about."""

    run_id: str
    model_id: str
    role: str | None
    benchmark: str
    prompts_hash: str
    seed: int
    settings: Mapping[str, Any]
    depends_on: Mapping[str, Any] = field(default_factory=dict)
    """what else the figures depend on: part of their ids and settings"""
    other_model_id: str | None = None
    judge_model_id: str | None = None
    checkers_hash: str | None = None


DEPENDS_ON = ("seen_kinds", "other_run_id", "test")
"""the keys of `Measured.depends_on`, which no other setting has"""


def row_of(measured: Measured, metric: str, figure: Figure, p_value: float | None = None) -> Evaluation:
    """A figure's row; its id hashes what was measured, so that measuring again adds nothing."""
    models = (measured.model_id, measured.other_model_id, measured.judge_model_id)
    asked = [measured.run_id, *models, measured.benchmark, metric, dict(measured.depends_on)]
    return Evaluation(
        evaluation_id=content_id("evaluation", *asked),
        run_id=measured.run_id,
        model_id=measured.model_id,
        role=measured.role,
        other_model_id=measured.other_model_id,
        benchmark=measured.benchmark,
        metric=metric,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        p_value=p_value,
        examples=figure.examples,
        prompts_hash=measured.prompts_hash,
        checkers_hash=measured.checkers_hash,
        judge_model_id=measured.judge_model_id,
        settings=canonical_json({**measured.settings, **measured.depends_on}),
        seed=measured.seed,
        recorded_at=datetime.now(UTC),
    )


def has_own_id(row: Evaluation) -> bool:
    """Whether a row's id is the hash of what was measured."""
    try:
        settings = json.loads(row.settings)
    except (ValueError, RecursionError):
        return False
    if not isinstance(settings, dict):
        return False
    depends_on = {name: settings[name] for name in DEPENDS_ON if name in settings}
    models, what = (row.model_id, row.other_model_id, row.judge_model_id), (row.benchmark, row.metric)
    # Until schema version 5 what the figures depend on was hashed only if there was something, and of two models without a
    # judge only those.
    more = [depends_on] if depends_on else []
    asked = ([*models, *what, depends_on], [*models, *what], [*models[:2], *what, *more])
    return row.evaluation_id in (content_id("evaluation", row.run_id, *each) for each in asked)


def stored(lake: Lake, rows: Sequence[Evaluation]) -> list[Evaluation]:
    """Adds a run's rows; returns them as the lake has them, since earlier rows name the checkers of their time."""
    run_id = rows[0].run_id
    lake.append(rows, message=f"run {run_id}: Evaluation", details={"run_id": run_id})
    found = {row.evaluation_id: row for row in lake.read(Evaluation, "run_id = $id", {"id": run_id})}
    return [found[row.evaluation_id] for row in rows]


def record(lake: Lake, measured: Measured, figures: Mapping[str, Figure]) -> list[Evaluation]:
    """Writes figures by metric as rows, unless they are there, and returns them in the given order."""
    return stored(lake, [row_of(measured, metric, figure) for metric, figure in figures.items()])


def prompts_hash(lake: Lake, run_id: str) -> str:
    """SHA-256 over the ids of a run's prompts."""
    ids = lake.query("SELECT prompt_id FROM run_prompts WHERE run_id = $id ORDER BY prompt_id", {"id": run_id})
    return sha256_text("\n".join(ids.column(0).to_pylist()))


def model_asked(lake: Lake, run_id: str, role: str) -> str:
    """The id of the model that a run asked in a role.

    Raises:
        FactoryError: it asked none.
    """
    found = lake.query(
        "SELECT model_id FROM calls WHERE run_id = $id AND role = $role ORDER BY started_at DESC LIMIT 1",
        {"id": run_id, "role": role},
    )
    if not found.num_rows:
        raise FactoryError(
            f"run {run_id} has asked its {role} nothing, so there is nothing to measure: take more prompts"
        )
    return str(found.column(0)[0].as_py())
