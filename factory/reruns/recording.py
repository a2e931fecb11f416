"""The rows of `reruns`."""

import math
from dataclasses import dataclass
from datetime import datetime

from factory.reruns.environments import Differences, as_json
from factory.reruns.runs import RepeatedRun
from factory.reruns.training import Repeated
from factory.runs.places import without_paths
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Rerun
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class NotMade:
    """A repetition that came to nothing."""

    started_at: datetime
    ended_at: datetime
    reason: str
    data_identical: bool | None = None
    first_difference: str | None = None


def rerun_of_training(training_run_id: str, found: Repeated | NotMade) -> Rerun:
    """The row of a training's repetition."""
    if isinstance(found, NotMade):
        return _row(found, "failed", training_run_id, None, found.data_identical, found.first_difference, {})
    made = {
        "loss_difference": found.loss_difference if math.isfinite(found.loss_difference) else None,
        "weights_identical": found.weights_identical,
        "weights_difference": found.weights_difference,
        "weights_sha256": found.weights_sha256,
    }
    outcome = "identical" if found.identical else "different"
    return _row(found, outcome, training_run_id, None, True, None, found.environment, **made)


def rerun_of_run(run_id: str, found: RepeatedRun | NotMade) -> Rerun:
    """The row of a run's repetition."""
    if isinstance(found, NotMade):
        return _row(found, "failed", None, run_id, None, None, {})
    same = found.reason is None
    return _row(
        found, "identical" if same else "different", None, run_id, same, found.first_difference, found.environment
    )


def _row(
    found: Repeated | RepeatedRun | NotMade,
    outcome: str,
    training_run_id: str | None,
    run_id: str | None,
    data_identical: bool | None,
    first_difference: str | None,
    environment: Differences,
    **made: object,
) -> Rerun:
    nothing = dict.fromkeys(("loss_difference", "weights_identical", "weights_difference", "weights_sha256"))
    return Rerun(
        rerun_id=content_id("rerun", training_run_id, run_id, found.started_at.isoformat()),
        training_run_id=training_run_id,
        run_id=run_id,
        outcome=outcome,
        data_identical=data_identical,
        first_difference=first_difference,
        environment=as_json(environment),
        reason=None if found.reason is None else without_paths(found.reason),
        started_at=found.started_at,
        ended_at=found.ended_at,
        **{**nothing, **made},  # type: ignore[arg-type]
    )


def keep(lake: Lake, row: Rerun) -> str | None:
    """Adds the row; returns why it could not be added, None: it was."""
    try:
        lake.append([row], message=f"repetition of {row.training_run_id or row.run_id}: {row.outcome}")
    except FactoryError as error:
        return str(error)
    return None
