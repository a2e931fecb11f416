"""Reads a loop from YAML or from its row, and names every mistake before anything is paid for."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from factory.inference.trust import check_trusted
from factory.loops.configurations import identity_of
from factory.loops.keeping import Rule, check_metric, rule_of
from factory.loops.payers import check_payers
from factory.loops.plan import JUDGING, REFINING, Step, steps_of
from factory.loops.settings import COMMANDS, LoopBudget, LoopSettings, RoundPrompts, StartTraining, is_preset
from factory.prompts.packing import content_of
from factory.recipes.reading import load_recipe, recipe_of
from factory.recipes.recipe import Recipe
from factory.recipes.training import RoleTraining
from factory.runs.places import remembered, with_places, without_places
from factory.runs.specification import sources_of
from schemas.errors import FactoryError, nearest
from schemas.ids import canonical_json, content_id
from schemas.objectives import OBJECTIVES, TRAINER
from schemas.places import Places
from schemas.settings import differing, read_settings
from schemas.tables import Loop as LoopRow
from stores.training_sets import format_of

_OWN = {"prompts": set(RoundPrompts.__struct_fields__), "budget": set(LoopBudget.__struct_fields__)}
"""Of sections that a loop and its recipe both have, the loop's keys."""
_BY_PATH = ("override", "evaluate_override")
"""Sections whose keys are paths, such as stages.sample.n."""
_EVALUATIONS_OWN = ("stages.", "budget.", "prompts.limit", "prompts.language")
_LIKE_A_PATH = re.compile(r"^[./~]|/.*/|\.(ya?ml|sql|jsonl?|csv|tsv|parquet|gguf)$")
_FILE_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class Loop:
    """A loop that can be run. Its id is settled when it is read: files that change later do not make it another."""

    settings: LoopSettings
    recipe: Recipe
    """the first round's: models and overrides are applied"""
    follows: dict[str, str]
    """roles that use another role's model, and are not trained themselves"""
    rules: tuple[Rule, ...]
    forked_from: str | None = None
    forked_round: int | None = None

    def __post_init__(self) -> None:
        _ = self.loop_id  # now, while its files are as they were read

    @cached_property
    def loop_id(self) -> str:
        """The recipe's name and a hash of all that the rows depend on: more rounds or a larger budget continue a loop."""
        asked = differing(self.settings)
        for name in ("recipe", "models", "override", "rounds", "budget", "keep_rounds", *COMMANDS):
            asked.pop(name, None)
        of_evaluations = asked.pop("evaluate_override", {})
        if deciding := {key: value for key, value in of_evaluations.items() if not key.startswith("budget.")}:
            asked["evaluate_override"] = deciding
        asked["train"] = {role: _identified(training) for role, training in self.settings.train.items()}
        asked["start_with"] = {role: _identified(training) for role, training in self.settings.start_with.items()}
        asked["evaluate"] = [content_of(given) or given for given in self.settings.evaluate]
        asked["prompts"] = {**asked.get("prompts", {}), "source": self.prompts_hash}
        asked["questions"] = differing(msgspec.structs.replace(self.recipe.prompts, source=self.prompts_hash))
        fork = [self.forked_from, self.forked_round] if self.forked_from else []
        return f"{self.recipe.name}-loop-{content_id('loop', self.recipe.hash(), asked, *fork)[:10]}"

    @cached_property
    def prompts_hash(self) -> str:
        """What identifies the prompts' source: a file's content, not its path."""
        source = self.recipe.prompts.source
        of_files = source != "bundled" and not source.startswith("datasets:")
        return (content_of(source) if of_files else None) or source

    @property
    def benchmarks(self) -> dict[str, str]:
        """What is measured by, as its steps are named and as it was given: a file's path stands in no row."""
        return {_benchmark_name(given): given for given in self.settings.evaluate}

    @property
    def evaluations(self) -> list[tuple[str, str]]:
        """Each benchmark's name with the role that it measures."""
        return [(name, role_of(self.recipe, name)) for name in self.benchmarks]

    @property
    def sources(self) -> list[tuple[str, str]]:
        """What it reads or fetches beside its models, by the setting that names it."""
        named = [("evaluate", given) for given in self.settings.evaluate]
        named += [(f"train.{role}.weights", one.weights) for role, one in self.settings.train.items() if one.weights]
        for section, trainings in (("train", self.settings.train), ("start_with", self.settings.start_with)):
            for role, training in trainings.items():
                named += [(f"{section}.{role}.config", one) for one in training.configs if not is_preset(one)]
        return [*sources_of(self.recipe), *named]

    @property
    def steps(self) -> list[Step]:
        """All steps, in order."""
        s = self.settings
        return steps_of(s.rounds, list(s.start_with), list(s.train), self.evaluations)

    def as_json(self) -> tuple[str, Places]:
        """What its row keeps, and the paths that only this machine keeps."""
        whole = {
            "loop": msgspec.to_builtins(self.settings) | dict.fromkeys(COMMANDS),
            "recipe": json.loads(self.recipe.as_json()),
            "asked": {"recipe": self.recipe.hash(), "prompts": self.prompts_hash},
        }
        stored, places = without_places(canonical_json(whole))
        commands = {
            f"loop.{name}": command for name in COMMANDS if (command := getattr(self.settings, name)) is not None
        }
        return stored, places | commands


def load_loop(name: str, changes: Mapping[str, Any] | None = None) -> Loop:
    """The loop of a YAML file, or of a recipe's name or file with every other setting by default.

    Args:
        changes: settings of the loop by key, as in train.actor.set, or of its recipe, as in stages.search.depth.
    Raises:
        FactoryError: no such file, an unknown key, or settings that cannot be.
    """
    document = _document(name)
    if not document:
        document = {"recipe": name}  # a recipe
    where = f"loop {Path(name).name}"
    return loop_of(read_settings(LoopSettings, completed(changed(document, changes or {})), where), where)


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """A loop's settings with what its recipe says of training and a loop does not; presets of both count, the loop's last."""
    recipe = load_recipe(document["recipe"]) if isinstance(document.get("recipe"), str) else None
    if recipe is None or not isinstance(given := document.get("train") or {}, dict):
        return document  # read, and refused, as it is
    roles = recipe.trainings()
    train: dict[str, Any] = {}
    for role in given or roles:
        if role not in recipe.models:
            raise FactoryError(f"train: recipe {recipe.name} has no role {role!r}: {nearest(str(role), recipe.models)}")
        of_recipe = differing(roles[role]) if role in roles else {}
        of_loop = given.get(role) or {}
        if isinstance(of_loop, str):
            of_loop = {"set": of_loop}
        train[role] = {**of_recipe, **of_loop} if isinstance(of_loop, dict) else of_loop
        if of_recipe.get("config") and isinstance(of_loop, dict) and of_loop.get("config"):
            train[role]["config"] = [*_listed(of_recipe["config"]), *_listed(of_loop["config"])]
    return {"data": recipe.data, **document, "train": train}


def _listed(config: str | list[str]) -> list[str]:
    return [config] if isinstance(config, str) else list(config)


def changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A loop's settings with some changed; keys that only a recipe has become overrides of it."""
    document = copy.deepcopy(document)
    if not document.get("train") and any(path.startswith("train.") for path in changes):
        document["train"] = {role: {} for role in load_recipe(document["recipe"]).train}
    for path, value in changes.items():
        first, _, rest = path.partition(".")
        own = _OWN.get(first, {rest})
        by_path = first in _BY_PATH and rest
        if by_path or first not in LoopSettings.__struct_fields__ or rest not in own:
            section, key = (first, rest) if by_path else ("override", path)
            document[section] = {**(document.get(section) or {}), key: value}
        else:
            _set(document, path, value)
    return document


def loop_of(settings: LoopSettings, where: str, stored: dict[str, Any] | None = None) -> Loop:
    """The loop of its settings.

    Args:
        stored: the recipe, if not the one that the settings name.
    Raises:
        FactoryError: settings that cannot be.
    """
    read = partial(load_recipe, settings.recipe) if stored is None else partial(recipe_of, stored, where)
    base = read({})
    others = {role: given for role, given in settings.models.items() if isinstance(given, str) and given in base.models}
    """roles that begin with another role's model"""
    overrides: dict[str, Any] = {}
    for role, given in settings.models.items():
        if role not in base.models:
            raise FactoryError(
                f"{where}: models: recipe {base.name} has no role {role!r}: {nearest(role, base.models)}"
            )
        if role in others:
            given = settings.models.get(given, msgspec.to_builtins(base.models[given]))
        given = {"endpoint": given} if isinstance(given, str) else dict(given)
        whole = bool({"endpoint", "vllm"} & given.keys())  # another model than the recipe's
        overrides |= {f"models.{role}": given} if whole else {f"models.{role}.{key}": given[key] for key in given}
    if settings.prompts.source is not None:
        overrides["prompts.source"] = settings.prompts.source
    recipe = read({**overrides, **settings.override})
    if not _FILE_NAME.fullmatch(recipe.name):  # it begins the names of the models' folders
        raise FactoryError(
            f"{where}: the recipe's name is {recipe.name!r}: give it one of letters, digits, '-' and '_'"
        )
    for role in recipe.models:
        if not _FILE_NAME.fullmatch(role):  # it ends them
            raise FactoryError(f"{where}: a role is called {role!r}: give it a name of letters, digits, '-' and '_'")
    for key in settings.evaluate_override:
        if not key.startswith(_EVALUATIONS_OWN):
            raise FactoryError(
                f"{where}: evaluate_override: {key} cannot be set: a loop decides which models are measured, and on what; "
                f"those that can begin with {' or '.join(_EVALUATIONS_OWN)}"
            )
    train = settings.train or recipe.trainings()
    if not train:
        raise FactoryError(
            f"{where}: recipe {recipe.name} does not say which roles to train: give them, as in "
            "train: {actor: {set: spar_dpo}}"
        )
    settings = msgspec.structs.replace(settings, train=train)
    for section in ("train", "start_with"):
        for role in getattr(settings, section):
            if role not in recipe.models:
                raise FactoryError(
                    f"{where}: {section}: recipe {recipe.name} has no role {role!r}: {nearest(role, recipe.models)}"
                )
    for role, training in train.items():
        if not OBJECTIVES[trainer_of(training)].reference and training.reference != "previous":
            raise FactoryError(f"{where}: train.{role}.reference: {trainer_of(training)} has no reference model")
    check_payers(recipe, train, where)
    rules = tuple(map(rule_of, settings.keep))
    for rule in rules:
        if rule.role not in train:
            raise FactoryError(
                f"{where}: keep: {rule.text!r} is about {rule.role}, which is not trained: {nearest(rule.role, train)}"
            )
        if (rule.benchmark, rule.role) not in [
            (name, role_of(recipe, name)) for name in map(_benchmark_name, settings.evaluate)
        ]:
            raise FactoryError(
                f"{where}: keep: {rule.text!r} needs {rule.benchmark} of {rule.role}: add it to evaluate"
            )
        check_metric(rule)
    follows = {role: given for role, given in others.items() if role not in train}
    return Loop(settings, recipe, follows, rules)


def loop_from_row(row: LoopRow, changes: Mapping[str, Any] | None = None) -> Loop:
    """The loop of a lake's row, with the paths that this machine remembers.

    Args:
        changes: as in `load_loop`.
    Raises:
        FactoryError: its recipe, prompts or base model are others than when it began.
    """
    where = f"loop {row.loop_id}"
    kept_here = remembered(row.loop_id)
    try:
        whole = with_places(row.settings, row.loop_id)
        given = {
            **whole["loop"],
            **{name: kept_here.get(f"loop.{name}") for name in COMMANDS},
        }  # whatever a lake names here
        stored, asked = dict(whole["recipe"]), dict(whole["asked"])
    except (ValueError, KeyError, TypeError) as error:
        raise FactoryError(
            f"the settings of {where} cannot be read ({type(error).__name__}): the lake is damaged"
        ) from error
    loop = loop_of(read_settings(LoopSettings, given, where), where, stored)
    loop = replace(loop, forked_from=row.forked_from, forked_round=row.forked_round)
    differ = [
        what
        for what, now, then in (
            ("its recipe, templates or base model", loop.recipe.hash(), asked.get("recipe")),
            ("its prompts", loop.prompts_hash, asked.get("prompts")),
        )
        if now != then
    ]
    if not differ and loop.loop_id != row.loop_id:
        differ = ["its training sets or the trainers' configuration"]
    if differ:
        raise FactoryError(
            f"{where} cannot continue: {' and '.join(differ)} have changed since it began, and its rounds would no longer "
            f"compare: restore them{_those_gone(loop)}, or start another loop with `factory loop`"
        )
    read = loop
    if changes:
        settings = read_settings(LoopSettings, changed(given, changes), where)
        read = replace(loop_of(settings, where, stored), forked_from=row.forked_from, forked_round=row.forked_round)
    check_trusted(read.recipe.models, read.sources, where, changes or {})
    return read


def _those_gone(loop: Loop) -> str:
    """Which of a loop's files are not where they were: " (train.actor.weights: base is not there)"."""
    named = {"prompts.source": loop.recipe.prompts.source}
    for section in ("train", "start_with"):
        for role, training in getattr(loop.settings, section).items():
            given = {name: getattr(training, name, None) for name in ("config", "set", "weights")}
            named |= {f"{section}.{role}.{name}": path for name, path in given.items() if path is not None}
    gone = [
        f"{option}: {Path(text).name} is not there"
        for option, text in named.items()
        if _LIKE_A_PATH.search(text) and not Path(text).expanduser().exists()
    ]
    return f" ({'; '.join(gone)})" if gone else ""


def resumed(row: LoopRow, changes: Mapping[str, Any]) -> Loop:
    """The loop of a lake's row, to go on with.

    Args:
        changes: of settings that no row depends on, such as rounds, budgets and endpoints.
    Raises:
        FactoryError: see `loop_from_row`; or a change would make it another loop.
    """
    loop = loop_from_row(row, changes)
    if loop.loop_id != row.loop_id:
        raise FactoryError(
            f"{', '.join(changes)} would make loop {row.loop_id} another one: `factory fork {row.loop_id} --from-round N` shares "
            "its earlier rounds"
        )
    return loop


def trainer_of(training: RoleTraining) -> str:
    """The trainer that is named, or that the set's format asks for."""
    return training.trainer or TRAINER[format_of(training.set)]


def _benchmark_name(given: str) -> str:
    return given if given.startswith("datasets:") else Path(given).name


def _identified(training: RoleTraining | StartTraining) -> dict[str, Any]:
    """What a training depends on: what is in the user's files, wherever they are; not what it is allowed to be."""
    asked = differing(training)
    asked.pop("allow_other_template", None)
    for name in ("config", "set", "weights"):
        if name in asked:
            given, of_file = asked[name], identity_of if name == "config" else content_of
            asked[name] = (
                _content(given, of_file) if isinstance(given, str) else [_content(one, of_file) for one in given]
            )
    return asked


def _content(given: str, of_file: Callable[[Path], str | None]) -> str:
    """What a name or path stands for: a file's content, a folder's name, or itself."""
    file = Path(given).expanduser()
    if file.is_file():
        return of_file(file) or given
    return file.resolve().name if file.is_dir() else given


def role_of(recipe: Recipe, benchmark: str) -> str:
    """The role whose model a benchmark measures: the one that judges, refines or answers."""
    stages = {JUDGING: ("judge",), REFINING: ("search",)}.get(benchmark, ("sample",))
    roles = [role for entry in recipe.stages if entry.stage in stages for role in entry.settings.roles()]
    trained = [role for role, training in recipe.trainings().items() if training.trainer != "reward"]
    if stages == ("sample",) and trained and not set(trained) & set(roles):
        return trained[0]  # others make its data
    if not roles and benchmark == JUDGING:  # the verifier judges: the model that refines is the one to become a judge
        return role_of(recipe, REFINING)
    if not roles:
        raise FactoryError(f"evaluate: recipe {recipe.name} has no model that {benchmark} could measure: leave it out")
    return roles[0]


def _document(name: str) -> dict[str, Any]:
    file = Path(name)
    if not file.is_file():
        return {}
    try:
        document = yaml.safe_load(file.read_text("utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: also a date that is none, thousands of digits
        raise FactoryError(f"loop {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise FactoryError(f"loop {file} must be a mapping of keys such as recipe, rounds and train")
    return document if "stages" not in document else {}


def _set(document: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    place = document
    for key in above:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise FactoryError(f"{path}: {key} is not a mapping: set it as a whole")
        place = inner
    place[last] = value
