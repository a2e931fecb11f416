"""What the recipes of runs ask of the training sets built from them: thresholds, and evaluation sets to keep out."""

import json
from collections.abc import Sequence

from factory.audit.audit import AuditSettings
from factory.audit.checks import check_names, stricter
from factory.runs.places import with_places
from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.lake import Lake


def settings_of(lake: Lake, run_ids: Sequence[str]) -> AuditSettings:
    """The thresholds (of several recipes' for one check, the stricter) and evaluation sets that the runs' recipes name.

    Raises:
        FactoryError: a recipe holds neither.
    """
    recipes = lake.query(
        "SELECT run_id, recipe FROM current_runs WHERE list_contains($runs, run_id) ORDER BY run_id",
        {"runs": list(run_ids)},
    )
    thresholds: dict[str, float] = {}
    against: list[str] = []
    for run in recipes.to_pylist():
        recipe = with_places(run["recipe"], run["run_id"])
        given, sets = recipe.get("audit") or {}, recipe.get("decontaminate") or []
        if not isinstance(given, dict) or not all(isinstance(value, int | float) for value in given.values()):
            raise FactoryError(
                f"the recipe of run {run['run_id']} has an audit that is no mapping of numbers: it is damaged"
            )
        check_names(given, f"the recipe of run {run['run_id']}: audit")
        thresholds = stricter(thresholds, given)
        against += map(str, sets)
    return AuditSettings(thresholds, tuple(dict.fromkeys(against)))


def settings_of_set(lake: Lake, row: TrainingSet) -> AuditSettings:
    """What the recipes of the runs behind a training set ask for."""
    try:
        runs = json.loads(row.parameters).get("run_ids")
    except (ValueError, AttributeError):
        runs = None  # reading the set's rows says what is wrong with it
    return settings_of(lake, [run for run in runs if isinstance(run, str)] if isinstance(runs, list) else [])
