"""A recipe is a method as data: its models, stages in order, pairs and training sets."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal, cast

import msgspec

from factory.inference.budget import BudgetSettings
from factory.inference.settings import ModelSettings
from factory.prompts.settings import PromptSettings
from factory.recipes.training import RoleTraining, Rounds
from factory.templates.rendering import TemplateUse, load_template
from factory.work.context import Template
from factory.work.judging import Judge, JudgeSettings
from factory.work.stage import StageSettings
from schemas.ids import canonical_json, sha256_text
from schemas.settings import Settings, about, differing
from stores.pairing import Pairing, known_pairings, load_pairing

DEFAULTS_VERSION = 2
"""Raise it when a setting's default changes, or what the defaults do: a run's id hashes only what differs from them.

2: flawed refinements are not accepted, and of equal ones the most like the root is.
"""


class Entry(msgspec.Struct, frozen=True):
    """One stage of a recipe."""

    stage: str
    name: str
    """its own, else the stage's"""
    settings: StageSettings

    @property
    def judge_name(self) -> str:
        """A judge's name in the rows: its own, else its kind."""
        return self.name if self.name != self.stage else cast(JudgeSettings, self.settings).kind

    def templates(self) -> Iterator[tuple[str, str, TemplateUse]]:
        """The templates it renders: name in the stage, name in the run, use.

        A stage with its own name has its own templates: `strict.judge` besides `judge`.
        """
        for name, use in self.settings.templates().items():
            yield name, name if self.name == self.stage else f"{self.name}.{name}", use

    def plain(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"stage": self.stage, "name": self.name, **settings}


class AnswerSettings(Settings, frozen=True, kw_only=True):
    """Answers that are there already: those of a run in the lake, with its prompts."""

    run: Annotated[str, about("the run's id")]
    kinds: Annotated[
        tuple[str, ...], about("which of its responses: sampled, refined, resampled, reference, imported")
    ] = ("sampled",)


class Recipe(Settings, frozen=True, kw_only=True, dict=True):
    """A method."""

    name: Annotated[str, about("the recipe's name, the prefix of its runs' ids")]
    description: Annotated[str, about("the method in a few words")] = ""
    purpose: Annotated[
        Literal["data", "evaluation"], about("evaluation: its answers measure a model and never train one")
    ] = "data"
    models: Annotated[dict[str, ModelSettings], about("models by role, such as actor and refiner")]
    prompts: Annotated[PromptSettings, about("where the prompts come from")] = PromptSettings()
    answers: (
        Annotated[
            AnswerSettings, about("a run whose prompts and answers are taken, instead of a source and a sampling stage")
        ]
        | None
    ) = None
    budget: Annotated[BudgetSettings, about("where a run stops")] = BudgetSettings()
    stages: Annotated[tuple[Entry, ...], about("what happens to each prompt, in order")]
    templates: Annotated[dict[str, str], about("prompt templates to replace: name, and a bundled name or a file")] = (
        msgspec.field(default_factory=dict)
    )
    pairs: (
        Annotated[
            tuple[str | dict[str, Any], ...],
            about(
                "pairings by name or file; none: refined_over_failed after a search, passing_over_failing after a judge"
            ),
        ]
        | None
    ) = None
    training_sets: Annotated[tuple[str, ...], about("what `factory build` builds from its runs")] = ()
    train: Annotated[
        dict[str, str | RoleTraining],
        about("by role: the training set that a loop trains its model on, or a mapping that also says how"),
    ] = msgspec.field(default_factory=dict)
    data: Annotated[Rounds, about("the rounds that a loop builds training sets from", "last_two: SPIN")] = "this"
    audit: Annotated[
        dict[str, float], about("thresholds of checks (docs/audit.md), beyond which `factory build` refuses a set")
    ] = msgspec.field(default_factory=dict)
    decontaminate: Annotated[
        tuple[str, ...],
        about("evaluation sets (ifeval, ifbench or a file): prompts that overlap with them are left out"),
    ] = ()

    def entries(self, stage: str) -> list[Entry]:
        """The entries of a stage, in order."""
        return [entry for entry in self.stages if entry.stage == stage]

    def roles(self) -> list[str]:
        """The roles whose models are asked, without duplicates."""
        return list(dict.fromkeys(role for entry in self.stages for role in entry.settings.roles()))

    @cached_property
    def template_texts(self) -> dict[str, str]:
        """The templates that the stages render, by name in the run."""
        texts: dict[str, str] = {}
        for entry in self.stages:
            for name, in_run, use in entry.templates():
                if in_run not in texts:
                    chosen = self.templates.get(in_run, self.templates.get(name, use.default))
                    texts[in_run] = load_template(chosen, use.shows)
        return texts

    def pairings(self) -> list[Pairing]:
        """The queries that make the pairs, each with the name its pairs get."""
        given = self.pairs
        if given is None:
            given = ("refined_over_failed",) * bool(self.entries("search"))
            given += ("passing_over_failing",) * bool(self.entries("judge"))
        return [pairing_of(one) for one in given]

    def trainings(self) -> dict[str, RoleTraining]:
        """By role, in the order in which a loop trains them."""
        return {
            role: RoleTraining(set=given) if isinstance(given, str) else given for role, given in self.train.items()
        }

    def without(self, unwanted: set[str]) -> "Recipe":
        """The recipe without the stages of these names."""
        return msgspec.structs.replace(self, stages=tuple(e for e in self.stages if e.name not in unwanted))

    def as_json(self) -> str:
        """The complete recipe as canonical JSON, which `recipe_of` can read."""
        return canonical_json(
            {
                **{
                    name: msgspec.to_builtins(getattr(self, name))
                    for name in self.__struct_fields__
                    if name != "stages"
                },
                "stages": [entry.plain(msgspec.to_builtins(entry.settings)) for entry in self.stages],
            }
        )

    def hash(self) -> str:
        """SHA-256 over what the rows depend on: stages, model names, templates and pairings, not who serves a model.

        Only what differs from the defaults is hashed, so that adding a setting changes no hash.
        """
        asked: dict[str, Any] = {
            "defaults": DEFAULTS_VERSION,
            "name": self.name,
            "models": {role: model.deciding() for role, model in self.models.items()},
            "stages": [entry.plain(differing(entry.settings)) for entry in self.stages],
            "templates": self.template_texts,
        }
        if self.answers is not None:
            asked["answers"] = differing(self.answers)
        if self.pairs is not None:
            # A bundled pairing is identified by its name, a user's own by its SQL.
            bundled = known_pairings()
            asked["pairs"] = [
                [given, *([] if _name_of(given) in bundled else [sha256_text(pairing.sql)])]
                for given, pairing in zip(self.pairs, self.pairings(), strict=True)
            ]
        return sha256_text(canonical_json(asked))


def pairing_of(given: str | dict[str, Any]) -> Pairing:
    """The pairing that an item of `pairs` names, with its parameters.

    Raises:
        FactoryError: no such pairing or parameter.
    """
    if isinstance(given, str):
        return load_pairing(given)
    parameters = {key: value for key, value in given.items() if key not in ("pairing", "name")}
    pairing = load_pairing(_name_of(given), parameters)
    return replace(pairing, source=str(given["name"])) if "name" in given else pairing


def _name_of(given: str | dict[str, Any]) -> str:
    return given if isinstance(given, str) else str(given.get("pairing", ""))


def bound_templates(entry: Entry, texts: Mapping[str, str]) -> dict[str, Template]:
    """A stage's templates with their texts, by their names in the stage."""
    return {name: Template(in_run, texts[in_run]) for name, in_run, _ in entry.templates()}


def judge_of(entry: Entry, texts: Mapping[str, str]) -> Judge:
    """The judge that an entry of stage `judge` describes."""
    return Judge(entry.judge_name, cast(JudgeSettings, entry.settings), bound_templates(entry, texts))


def judges_given(recipe: Recipe, entry: Entry) -> list[Entry]:
    """The judges of a stage: itself if it is one, else the one it names, or all before it."""
    if entry.stage == "judge":
        return [entry]
    if not entry.settings.judged:
        return []
    before = [e for e in recipe.stages[: recipe.stages.index(entry)] if e.stage == "judge"]
    named = getattr(entry.settings, "judge", None)
    return [e for e in before if named in (None, e.name, e.judge_name)]
