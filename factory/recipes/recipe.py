"""A recipe: one YAML file that says which models, which stages, which sampling, which judge.

Every setting is checked before the first model call; a misspelt key is an error that names the nearest right one.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from factory.inference.budget import BudgetSettings
from factory.inference.settings import ModelSettings
from factory.templates.rendering import load_template
from schemas.errors import FactoryError
from schemas.ids import canonical_json, sha256_text
from stores.named_files import read_named
from stores.training_sets import training_set_sql

RECIPES = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """Where the prompts come from."""

    source: str = "bundled"  # bundled, a .jsonl/.csv/.parquet file, or datasets:ID
    limit: int | None = None  # the first so many
    language: str | None = None  # those in it alone, such as en
    split: str = "train"  # of a datasets id
    columns: dict[str, str] = field(default_factory=dict)  # our column: theirs

    def check(self) -> None:
        if self.limit is not None:
            _at_least("limit", self.limit, 1, "it is the number of prompts")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolveSettings:
    """Makes a prompt harder (SPaR, arXiv:2412.11605, 3.1)."""

    model: str = "actor"
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 1024

    def check(self) -> None:
        _check_sampling(self.temperature, self.top_p, self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """The actor's answers; defaults are SPaR's."""

    model: str = "actor"
    n: int = 5
    temperature: float = 0.9
    top_p: float = 0.9
    max_tokens: int = 2048

    def check(self) -> None:
        _at_least("n", self.n, 1, "it is the number of answers a prompt")
        _check_sampling(self.temperature, self.top_p, self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Who says whether a response follows its prompt; defaults are SPaR's."""

    by: str = "votes"  # votes, verifier, or both: the verifier decides and the votes are recorded beside it
    model: str = "refiner"
    votes: int = 5
    first_votes: int | None = None  # asked first; the others only where they can still change the verdict
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 2048
    retries: int = 1  # how often votes are asked again when they tie or none can be read
    verdict: str = "text"  # text: read after 'Final Judgement'; json: by a schema, of an endpoint that holds to one

    def check(self) -> None:
        _one_of("by", self.by, ("votes", "verifier", "both"))
        _one_of("verdict", self.verdict, ("text", "json"))
        _at_least("votes", self.votes, 1, "it is the number of judgements a response")
        if self.first_votes is not None and not self.votes / 2 < self.first_votes < self.votes:
            raise FactoryError(
                f"first_votes must be more than half of votes ({self.votes}) and fewer, got {self.first_votes}: "
                "fewer could not settle a verdict"
            )
        _at_least("retries", self.retries, 0, "it is how often tied votes are asked again")
        _check_sampling(self.temperature, self.top_p, self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Tree search from a failed answer; defaults are SPaR's."""

    model: str = "refiner"
    strategy: str = "bfs"  # bfs, dfs or best_of_n
    branch: int = 3  # refinements of one node
    keep: int = 2  # nodes of a level (bfs) or siblings (dfs) that are expanded further
    depth: int = 3
    budget: int = 1000  # refinements of one tree at most; for best_of_n the number of answers
    threshold: float = 0.5  # a node of greater value is accepted
    expansion: str = "full"  # a level is judged as a whole, the best is accepted; eager: child by child, the first is
    one_request: bool = True  # all refinements of a node in one request with n; else, and if eager, one request each
    selection: str = "greedy"  # or proportional to value
    roots: str = "one"  # failed answers of a prompt that get a tree: one (chosen by hash) or every
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 3072

    def check(self) -> None:
        _one_of("strategy", self.strategy, ("bfs", "dfs", "best_of_n"))
        _one_of("selection", self.selection, ("greedy", "proportional"))
        _one_of("expansion", self.expansion, ("full", "eager"))
        _one_of("roots", self.roots, ("one", "every"))
        _at_least("branch", self.branch, 1, "it is the number of refinements tried per node")
        _at_least("keep", self.keep, 1, "it is the number of nodes expanded further")
        _at_least("depth", self.depth, 1, "it is the number of levels below the root")
        _at_least("budget", self.budget, 1, "it is the number of refinements of one tree")
        if not 0 <= self.threshold < 1:
            raise FactoryError(
                f"threshold must be in [0, 1), got {self.threshold}: a node of greater value is accepted"
            )
        _check_sampling(self.temperature, self.top_p, self.max_tokens)


StageSettings = EvolveSettings | SampleSettings | JudgeSettings | SearchSettings
STAGES: dict[str, type] = {
    "evolve": EvolveSettings,
    "sample": SampleSettings,
    "judge": JudgeSettings,
    "search": SearchSettings,
}


TEMPLATES = ("judge", "refine", "evolve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A method, as data."""

    name: str
    description: str = ""
    models: dict[str, ModelSettings]
    prompts: PromptSettings = PromptSettings()
    budget: BudgetSettings = BudgetSettings()
    stages: dict[str, StageSettings]  # in the order of STAGES, in which a prompt goes through them
    templates: dict[str, str] = field(default_factory=dict)  # template name: bundled name or file
    training_sets: list[str] = field(default_factory=list)

    def template_texts(self) -> dict[str, str]:
        """Every template that the stages may render: name and text."""
        judge = self.stages.get("judge")
        in_json = isinstance(judge, JudgeSettings) and judge.verdict == "json"
        names = {name: name for name in TEMPLATES} | ({"judge": "judge_json"} if in_json else {}) | self.templates
        return {name: load_template(chosen) for name, chosen in names.items()}

    def as_json(self) -> str:
        """The recipe in full as canonical JSON, which `recipe_of` reads again."""
        return canonical_json(msgspec.to_builtins(self))

    def hash(self) -> str:
        """What the rows depend on: SHA-256 over stages, model names and templates, not over who serves a model."""
        asked = msgspec.to_builtins(self)
        asked["models"] = {
            role: {
                "name": m.name,
                "revision": m.revision,
                "embedded": m.embedded,
                **({"vllm": m.vllm.deciding()} if m.vllm else {}),
            }
            for role, m in self.models.items()
        }
        for unasked in ("description", "prompts", "budget", "training_sets", "templates"):
            del asked[unasked]
        return sha256_text(canonical_json([asked, self.template_texts()]))


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A bundled recipe by name, or a YAML file by its path, with `section.key` overrides applied.

    Raises:
        FactoryError: no such file, broken YAML, an unknown key, or settings that cannot be.
    """
    file, text = read_named(RECIPES, ".yaml", name, "recipe")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FactoryError(f"recipe {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise FactoryError(f"recipe {file} must be a mapping of keys such as name, models and stages")
    return recipe_of(document, f"recipe {file.name}", overrides)


def recipe_of(document: dict[str, Any], where: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe from plain data, such as YAML gives or `Recipe.as_json` wrote."""
    for path, value in (overrides or {}).items():
        _override(document, path, value)
    recipe: Recipe = _build(Recipe, document, where)
    for stage, settings in recipe.stages.items():
        if isinstance(settings, JudgeSettings) and settings.by == "verifier":
            continue  # no model is asked
        if settings.model not in recipe.models:
            raise FactoryError(
                f"{where}: stages.{stage}.model is {settings.model!r}, which is not in models "
                f"({', '.join(recipe.models)})"
            )
    if "sample" not in recipe.stages:
        raise FactoryError(f"{where}: stages has no sample, so nothing would be answered: add it")
    if "search" in recipe.stages and "judge" not in recipe.stages:
        raise FactoryError(f"{where}: stages has search, but no judge to find the failed answers: add it")
    for name in recipe.templates:
        if name not in TEMPLATES:
            near = difflib.get_close_matches(name, TEMPLATES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(TEMPLATES)}"
            raise FactoryError(f"{where}: templates: unknown key {name!r}: {hint}")
    if recipe.budget.max_cost is not None:
        for role, model in recipe.models.items():
            if model.prompt_price is None or model.completion_price is None:
                raise FactoryError(
                    f"{where}: budget.max_cost needs prices: set models.{role}.prompt_price and completion_price "
                    "(of a million tokens; 0 for a model of your own)"
                )
    for training_set in recipe.training_sets:
        training_set_sql(training_set)
    for name, text in recipe.template_texts().items():
        if name != "refine" and "{critique}" in text:
            raise FactoryError(f"{where}: templates.{name}: it holds {{critique}}, which only one to refine is given")
    return recipe


def _override(document: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        if document.get(section) is None:
            document[section] = {}
        document = document[section]
        if not isinstance(document, dict):
            raise FactoryError(f"override {path}: {section} is not a section of the recipe")
    document[key] = value


def _build(cls: type, given: Any, where: str) -> Any:
    """A settings dataclass from a mapping, with every error saying where it is."""
    if not isinstance(given, dict):
        raise FactoryError(f"{where} must be a mapping, got {given!r}")
    hints = typing.get_type_hints(cls)
    for key in given:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(hints)}"
            raise FactoryError(f"{where}: unknown key {key!r}: {hint}")
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    for name in required:
        if name not in given:
            raise FactoryError(f"{where}: key {name!r} is missing")
    values = {key: _value(hints[key], value, f"{where}: {key}") for key, value in given.items()}
    made = cls(**values)
    if hasattr(made, "check"):
        try:
            made.check()
        except FactoryError as error:
            raise FactoryError(f"{where}: {error}") from None
    return made


def _value(kind: Any, value: Any, where: str) -> Any:
    if kind == dict[str, StageSettings] and isinstance(value, dict):
        for stage in value:
            if stage not in STAGES:
                near = difflib.get_close_matches(str(stage), STAGES, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(STAGES)}"
                raise FactoryError(f"{where}: unknown stage {stage!r}: {hint}")
        # In the order of STAGES: a mapping has none of its own, and its canonical JSON is sorted by name.
        return {
            stage: _build(cls, value[stage] or {}, f"{where}.{stage}")
            for stage, cls in STAGES.items()
            if stage in value
        }
    if kind is Any:
        return value
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = [member for member in typing.get_args(kind) if member is not type(None)]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        endpoint = value.get("endpoint") if isinstance(value, dict) else None
        if isinstance(endpoint, str):
            value = {**value, "endpoint": [endpoint]}
        try:
            return msgspec.convert(value or {}, kind)
        except msgspec.ValidationError as error:
            raise FactoryError(f"{where}: {error}") from None
    if dataclasses.is_dataclass(kind):
        return _build(kind, value or {}, where)  # type: ignore[arg-type]
    origin = typing.get_origin(kind)
    if origin is dict and isinstance(value, dict):
        member = typing.get_args(kind)[1]
        return {str(key): _value(member, item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple:
        (member, _) = typing.get_args(kind)  # one of them may be written as itself
        return tuple(_value(member, item, where) for item in (value if isinstance(value, list) else [value]))
    if origin is list and isinstance(value, list):
        return [_value(typing.get_args(kind)[0], item, where) for item in value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise FactoryError(f"{where} must be {_KINDS[origin or kind]}, got {value!r}")


_KINDS = {str: "text", int: "a whole number", float: "a number", dict: "a mapping", list: "a list"}


def _at_least(name: str, value: int, least: int, meaning: str) -> None:
    if value < least:
        raise FactoryError(f"{name} must be at least {least}, got {value} ({meaning})")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(known)}"
        raise FactoryError(f"{name}: unknown value {value!r}: {hint}")


def _check_sampling(temperature: float, top_p: float, max_tokens: int) -> None:
    _at_least("max_tokens", max_tokens, 1, "it is the number of tokens of one answer")
    if not 0 <= temperature <= 2:
        raise FactoryError(f"temperature must be in [0, 2], got {temperature}")
    if not 0 < top_p <= 1:
        raise FactoryError(f"top_p must be in (0, 1], got {top_p}")
