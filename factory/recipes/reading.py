"""Reads recipes, bundled by name or YAML by path, applies overrides, and names every mistake."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from factory.recipes.recipe import Entry, Recipe, judges_given
from factory.work.stage import stage_names, stage_of
from schemas.errors import FactoryError, nearest
from schemas.settings import read_settings
from stores.named_files import read_named
from stores.pairing import Pairing, pairing_sql
from stores.training_sets import training_set_sql

RECIPES = Path(__file__).parent
USUAL_ORDER = ("evolve", "reference", "checklist", "sample", "judge", "meta_judge", "compare", "claims", "search")
"""The order of stages in older recipes, where they are a mapping, not a list."""
OF_TWO_ANSWERS = ("best_over_worst", "shortest_over_longest", "all_ordered", "preferred", "two_answers")
"""Bundled pairings that set one sampled answer over another, and give no pair without two."""
NAMING_A_STAGE = ("chosen_from", "rejected_from", "stronger", "weaker")
"""Parameters of pairings that are names of sampling stages."""


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A bundled recipe by name, or a YAML file by its path, with `section.key` overrides applied.

    Raises:
        FactoryError: no such file, broken YAML, an unknown key, or invalid settings.
    """
    file, text = read_named(RECIPES, ".yaml", name, "recipe")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, thousands of digits
        raise FactoryError(f"recipe {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise FactoryError(f"recipe {file} must be a mapping of keys such as name, models and stages")
    return recipe_of(document, f"recipe {file.name}", overrides)


def recipe_of(document: dict[str, Any], where: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from plain data, as parsed from YAML or from `Recipe.as_json`.

    Raises:
        FactoryError: see `load_recipe`.
    """
    document = copy.deepcopy(document)  # overrides are set in it
    document["stages"] = _as_list(document.get("stages"), where)
    for path, value in (overrides or {}).items():
        _override(document, path, value)
    stages = entries_of(_as_list(document.pop("stages"), where), where)
    recipe = read_settings(Recipe, document, where, ready={"stages": stages})
    _check(recipe, where)
    return recipe


def _as_list(stages: Any, where: str) -> list[dict[str, Any]]:
    """The stages as a list of entries; the older form is a mapping with one entry per stage."""
    if isinstance(stages, dict):
        order = [*USUAL_ORDER, *(name for name in stages if name not in USUAL_ORDER)]
        stages = [_named(name, stages[name], where) for name in order if name in stages]
    if not isinstance(stages, list):
        raise FactoryError(f"{where}: stages must be a list of entries such as {{stage: sample, n: 5}}, got {stages!r}")
    for entry in stages:
        if not isinstance(entry, dict) or not isinstance(entry.get("stage"), str):
            raise FactoryError(f"{where}: stages: an entry must be a mapping with the key 'stage', got {entry!r}")
    return stages


def _named(stage: str, settings: Any, where: str) -> dict[str, Any]:
    if not isinstance(settings, dict | None):
        raise FactoryError(f"{where}: stages.{stage} must be a mapping, got {settings!r}")
    return {"stage": str(stage), **(settings or {})}


def _override(document: dict[str, Any], path: str, value: Any) -> None:
    first, *rest = path.split(".")
    section: Any = document
    if first == "stages" and len(rest) == 1:
        document["stages"] = _placed(document["stages"], _named(rest[0], value, f"override {path}"))
        return
    if first == "stages" and rest:
        document["stages"], section = _entry_to_change(document["stages"], rest[0])
        rest = rest[1:]
    *sections, key = rest if section is not document else [first, *rest]
    for name in sections:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise FactoryError(f"override {path}: {name} is not a section of the recipe")
    section[key] = value


def _entry_to_change(stages: list[dict[str, Any]], name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The stages, and among them the entry with this name, else the only one of this stage, else a new one."""
    found = [e for e in stages if e.get("name", e["stage"]) == name] or [e for e in stages if e["stage"] == name]
    if len(found) > 1:
        names = ", ".join(str(entry.get("name", entry["stage"])) for entry in found)
        raise FactoryError(f"override stages.{name}: the recipe has several, name one of {names}")
    if found:
        entry = dict(found[0])
        return [entry if one is found[0] else one for one in stages], entry
    entry = {"stage": name}
    return _placed(stages, entry), entry


def _placed(stages: list[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages with an entry that replaces its namesake, or stands where its stage usually does."""
    kept = [one for one in stages if one.get("name", one["stage"]) != entry["stage"]]
    rank = {stage: place for place, stage in enumerate(USUAL_ORDER)}
    mine = rank.get(entry["stage"], len(rank))
    at = next((i for i, one in enumerate(kept) if rank.get(one["stage"], len(rank)) > mine), len(kept))
    return [*kept[:at], entry, *kept[at:]]


def entries_of(stages: list[dict[str, Any]], where: str) -> tuple[Entry, ...]:
    """A recipe's stages from plain data.

    Raises:
        FactoryError: an unknown stage or key, or an invalid value.
    """
    entries = []
    for given in stages:
        place = f"{where}: stages.{given.get('name', given['stage'])}"
        module = stage_of(given["stage"], f"{where}: stages")
        written_today = getattr(module, "older_forms", lambda entry: [entry])
        for entry in written_today(given):
            settings = {key: value for key, value in entry.items() if key not in ("stage", "name")}
            choose = getattr(module, "settings_class", None)
            cls = choose(settings, place) if choose else module.Settings
            name = entry.get("name", entry["stage"])
            if not isinstance(name, str) or not name:
                raise FactoryError(f"{place}: name must be text, got {name!r}")
            entries.append(Entry(entry["stage"], name, read_settings(cls, settings, place)))
    return tuple(entries)


def _check(recipe: Recipe, where: str) -> None:
    """Rejects inconsistent recipes before anything is paid for."""
    if recipe.answers is not None:
        _check_answers(recipe, where)
    elif not recipe.entries("sample") and not recipe.entries("reference"):
        raise FactoryError(f"{where}: stages has no sample, so no prompt would be answered: add it")
    _check_names(recipe, where)
    for place, entry in enumerate(recipe.stages):
        for role in entry.settings.roles():
            if role not in recipe.models:
                raise FactoryError(
                    f"{where}: stages.{entry.name}.model is {role!r}, which is not in models ({', '.join(recipe.models)})"
                )
            if recipe.models[role].is_reward != entry.settings.scores:
                raise FactoryError(f"{where}: {_other_kind(entry, role)}")
        before = {e.stage for e in recipe.stages[:place]} | ({"sample"} if recipe.answers else set())
        for needed, reason in entry.settings.needs.items():
            if needed not in before:
                raise FactoryError(f"{where}: stages has {entry.name}, but no {needed} before it to {reason}: add it")
        _check_judges(recipe, entry, where)
    _check_templates(recipe, where)
    _check_compared(recipe, where)
    if recipe.budget.max_cost is not None:
        for role, model in recipe.models.items():
            if model.prompt_price is None or model.completion_price is None:
                raise FactoryError(
                    f"{where}: budget.max_cost needs prices: set models.{role}.prompt_price and completion_price "
                    "(per million tokens; 0 for a model of your own)"
                )
    sources = [pairing.source for pairing in recipe.pairings()]
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise FactoryError(f"{where}: pairs has {twice!r} twice: give one its own name (name: …)")
    _check_pairs(recipe, where)
    _check_two_answers(recipe, where)
    for training_set in recipe.training_sets:
        training_set_sql(training_set)
    _check_trainings(recipe, where)
    if recipe.audit:
        from factory.audit.checks import check_names  # here: polars need not be loaded for every recipe

        check_names(recipe.audit, f"{where}: audit")


def _other_kind(entry: Entry, role: str) -> str:
    if entry.settings.scores:
        return (
            f"stages.{entry.name} asks models.{role} for a score, and it is no reward model: set models.{role}.endpoint to "
            "reward:FOLDER, or to reward: and the base URL of a vLLM server of one"
        )
    return (
        f"models.{role} is a reward model, which writes no text, and stages.{entry.name} asks it for some: only judges of "
        "kind reward_model ask one"
    )


def _check_trainings(recipe: Recipe, where: str) -> None:
    for role, training in recipe.trainings().items():
        for key, name in (("train", role), (f"train.{role}.reward", training.reward)):
            if name is not None and name not in recipe.models:
                raise FactoryError(f"{where}: {key}: no model is called {name!r}: {nearest(name, recipe.models)}")


def _check_answers(recipe: Recipe, where: str) -> None:
    """Answers of another run can be judged and compared; whatever makes new ones starts from a run's own."""
    for entry in recipe.stages:
        if not entry.settings.on_answers:
            can = " and ".join(
                name for name, settings in all_settings().items() if settings.on_answers and "(" not in name
            )
            raise FactoryError(
                f"{where}: stages.{entry.name} cannot work on answers of another run (answers.run): judge, {can} can"
            )
    if recipe.pairings():
        raise FactoryError(
            f"{where}: pairs are made of a run's own answers, not of another's (answers.run): set pairs: []"
        )


def _check_compared(recipe: Recipe, where: str) -> None:
    for entry in recipe.entries("compare"):
        if recipe.answers is None and getattr(entry.settings, "which", None) == "paired":
            raise FactoryError(
                f"{where}: stages.{entry.name}.which is paired, but a run's own pairs are made after its stages: give "
                "answers.run, or leave it out"
            )


def _check_two_answers(recipe: Recipe, where: str) -> None:
    """A stage or pairing that needs two sampled answers of a prompt would do nothing with one."""
    if recipe.answers is not None:
        return
    sampled = {entry.name: int(getattr(entry.settings, "n", 1)) for entry in recipe.entries("sample")}
    needing = [(f"stages.{entry.name}", set(sampled)) for entry in recipe.entries("compare")]
    needing += [
        (f"pairs: {pairing.source}", _sampled_for(pairing, sampled))
        for pairing in recipe.pairings()
        if pairing.sql in map(pairing_sql, OF_TWO_ANSWERS)
    ]
    for what, stages in needing:
        if sum(sampled[name] for name in stages) < 2:
            n = f"set stages.{min(stages)}.n to 2 or more" if stages else "add a stage `sample`"
            by = f" by {min(stages)}" if len(sampled) > 1 else ""
            how_many = f"one is sampled{by}" if stages else "none are sampled"
            raise FactoryError(f"{where}: {what} needs two answers to a prompt, but {how_many}: {n}")


def _sampled_for(pairing: Pairing, sampled: Mapping[str, int]) -> set[str]:
    """The sampling stages whose answers a pairing takes: those that it names for both sides, else all of them."""
    named = {pairing.parameters.get(key) for key in ("chosen_from", "rejected_from")}
    return set(sampled) if None in named else {str(name) for name in named}


def _check_pairs(recipe: Recipe, where: str) -> None:
    known = [e.judge_name for e in recipe.entries("judge")]
    known += [e.name for stage in ("compare", "claims") for e in recipe.entries(stage)]
    for given in recipe.pairs or ():
        judge = given.get("judge") if isinstance(given, dict) else None
        if judge is not None and judge not in known:
            raise FactoryError(
                f"{where}: pairs: no judge of the recipe is named {judge!r}: {nearest(str(judge), known)}"
            )
    sampling = [entry.name for entry in recipe.entries("sample")]
    for pairing in recipe.pairings():
        for key in NAMING_A_STAGE:
            stage = pairing.parameters.get(key)
            if stage is not None and stage not in sampling:
                raise FactoryError(
                    f"{where}: pairs: {pairing.source}.{key}: no sampling stage is named {stage!r}: {nearest(str(stage), sampling)}"
                )


def _check_names(recipe: Recipe, where: str) -> None:
    judges = [entry.judge_name for entry in recipe.entries("judge")]
    for names in ([entry.name for entry in recipe.stages], judges):
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise FactoryError(f"{where}: stages has {twice!r} twice: give one its own name (name: …)")


def _check_judges(recipe: Recipe, entry: Entry, where: str) -> None:
    if not entry.settings.judged:
        return
    judges = judges_given(recipe, entry)
    if not judges:
        known = [e.judge_name for e in recipe.entries("judge")]
        named = str(getattr(entry.settings, "judge", ""))
        raise FactoryError(
            f"{where}: stages.{entry.name}.judge is {named!r}, but no judge before it has that name: {nearest(named, known)}"
        )
    try:
        entry.settings.check_judge(judges[0].name, judges[0].settings)
    except ValueError as error:
        raise FactoryError(f"{where}: stages.{entry.name} {error}") from None


def _check_templates(recipe: Recipe, where: str) -> None:
    known = list(
        dict.fromkeys(name for e in recipe.stages for local, full, _ in e.templates() for name in (local, full))
    )
    for name in recipe.templates:
        # One that only another stage or kind of judge uses may stay: `--judge verifier` does not invalidate it.
        if name not in known and name not in _all_templates():
            raise FactoryError(f"{where}: templates: unknown key {name!r}: {nearest(name, known)}")
    _ = recipe.template_texts  # reads the files now, so that a missing one fails early


def _all_templates() -> set[str]:
    return {name for settings in all_settings().values() for name in settings().templates()}


def all_settings() -> dict[str, Any]:
    """Every stage's settings by name; judges have one entry per kind, as in `judge (votes)`."""
    found: dict[str, Any] = {}
    for name in stage_names():
        module = stage_of(name)
        if hasattr(module, "settings_class"):
            from factory.work.judging import judge_kinds, kind_of

            found |= {f"{name} ({kind})": kind_of(kind).Settings for kind in judge_kinds()}
        else:
            found[name] = module.Settings
    return found
