"""A run done again without its models: what the journal does not answer is left out."""

from typing import Any

from factory.inference.endpoints import Endpoint
from factory.runs.session import Deferral
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import model_id
from schemas.tables import Model
from stores.lake import Lake

_ASKED = "SELECT DISTINCT role, model_id FROM calls WHERE run_id = $id AND role IS NOT NULL ORDER BY ALL"


def unasked(lake: Lake, run_id: str, spec: RunSpecification, missing: set[str]) -> Deferral:
    """The original models by their rows, with no server behind them.

    Args:
        missing: receives the hashes of the requests that the journal does not answer.
    Raises:
        FactoryError: a role was played by several models.
    """
    recipe = spec.recipe
    known = {model.model_id: model for model in lake.read(Model)}
    by_role: dict[str, Model] = {}
    for row in lake.query(_ASKED, {"id": run_id}).to_pylist():
        if row["role"] in by_role:
            raise FactoryError(f"run {run_id} asked several models as its {row['role']}: do it again without --offline")
        if row["model_id"] in known:
            by_role[row["role"]] = known[row["model_id"]]
    endpoints = {
        role: Endpoint(role, by_role.get(role) or _nobody(role), [], None, parameters=recipe.models[role].parameters)
        for role in recipe.roles()
    }

    def note(role: str, request_hash: str, body: dict[str, Any]) -> None:
        missing.add(request_hash)

    return Deferral(recipe, endpoints, note)


def _nobody(role: str) -> Model:
    """For a role that was asked nothing then."""
    return Model(
        model_id=model_id(role, None),
        name=role,
        origin="not asked",
        revision=None,
        training_run_id=None,
        chat_template_hash=None,
    )
