"""A recipe: a method as data. Which models, which stages in which order, which pairs, which training sets."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, cast

import msgspec

from factory.inference.budget import BudgetSettings
from factory.inference.settings import ModelSettings
from factory.prompts.settings import PromptSettings
from factory.templates.rendering import TemplateUse, load_template
from factory.work.context import Template
from factory.work.judging import Judge, JudgeSettings
from factory.work.stage import StageSettings
from schemas.ids import canonical_json, sha256_text
from schemas.settings import Settings, about, differing
from stores.pairing import Pairing, known_pairings, load_pairing

DEFAULTS_VERSION = 1
"""Of the settings' defaults: raise it when one changes, since a run's id hashes only what differs from them."""


class Entry(msgspec.Struct, frozen=True):
    """One stage of a recipe."""

    stage: str
    name: str
    """its own, or the stage's"""
    settings: StageSettings

    @property
    def judge_name(self) -> str:
        """A judge's name in the rows: its own, or its kind's where it was given none."""
        return self.name if self.name != self.stage else cast(JudgeSettings, self.settings).kind

    def templates(self) -> Iterator[tuple[str, str, TemplateUse]]:
        """The templates that it renders: name in the stage, name in the run, use.

        A stage with a name of its own has templates of its own: `strict.judge` beside `judge`.
        """
        for name, use in self.settings.templates().items():
            yield name, name if self.name == self.stage else f"{self.name}.{name}", use

    def plain(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"stage": self.stage, "name": self.name, **settings}


class Recipe(Settings, frozen=True, kw_only=True, dict=True):
    """A method."""

    name: Annotated[str, about("the recipe's name, with which its runs' ids begin")]
    description: Annotated[str, about("what the method is, in a few words")] = ""
    models: Annotated[dict[str, ModelSettings], about("models by their roles, such as actor and refiner")]
    prompts: Annotated[PromptSettings, about("where the prompts come from")] = PromptSettings()
    budget: Annotated[BudgetSettings, about("where a run stops")] = BudgetSettings()
    stages: Annotated[tuple[Entry, ...], about("what is done with each prompt, in this order")]
    templates: Annotated[
        dict[str, str], about("prompt templates other than the bundled ones: name, and a bundled name or a file")
    ] = msgspec.field(default_factory=dict)
    pairs: (
        Annotated[
            tuple[str | dict[str, Any], ...],
            about(
                "pairings by name or file; none: refined_over_failed after a search, passing_over_failing after a judge"
            ),
        ]
        | None
    ) = None
    training_sets: Annotated[tuple[str, ...], about("what `factory build` builds of its runs")] = ()

    def entries(self, stage: str) -> list[Entry]:
        """The entries of a stage, in their order."""
        return [entry for entry in self.stages if entry.stage == stage]

    def entry(self, name: str) -> Entry | None:
        """The entry of a name."""
        return next((entry for entry in self.stages if entry.name == name), None)

    def roles(self) -> list[str]:
        """The roles whose models are asked, each once."""
        return list(dict.fromkeys(role for entry in self.stages for role in entry.settings.roles()))

    @cached_property
    def template_texts(self) -> dict[str, str]:
        """Every template that the stages render, by its name in the run."""
        texts: dict[str, str] = {}
        for entry in self.stages:
            for name, in_run, use in entry.templates():
                if in_run not in texts:
                    chosen = self.templates.get(in_run, self.templates.get(name, use.default))
                    texts[in_run] = load_template(chosen, use.shows)
        return texts

    def pairings(self) -> list[Pairing]:
        """The queries that make the pairs, each under the name that its pairs get."""
        given = self.pairs
        if given is None:
            given = ("refined_over_failed",) * bool(self.entries("search"))
            given += ("passing_over_failing",) * bool(self.entries("judge"))
        return [pairing_of(one) for one in given]

    def without(self, unwanted: Mapping[str, str] | set[str]) -> "Recipe":
        """The recipe without some of its stages, by their names."""
        return msgspec.structs.replace(self, stages=tuple(e for e in self.stages if e.name not in unwanted))

    def as_json(self) -> str:
        """The recipe in full as canonical JSON, which `recipe_of` reads again."""
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

        Only what differs from the defaults counts, so that a setting that is added later changes no hash.
        """
        asked: dict[str, Any] = {
            "defaults": DEFAULTS_VERSION,
            "name": self.name,
            "models": {role: _deciding(model) for role, model in self.models.items()},
            "stages": [entry.plain(differing(entry.settings)) for entry in self.stages],
            "templates": self.template_texts,
        }
        if self.pairs is not None:
            # A bundled pairing is known by its name, one of the user's own by what it says.
            bundled = known_pairings()
            asked["pairs"] = [
                [given, *([] if _name_of(given) in bundled else [sha256_text(pairing.sql)])]
                for given, pairing in zip(self.pairs, self.pairings(), strict=True)
            ]
        return sha256_text(canonical_json(asked))


def _deciding(model: ModelSettings) -> dict[str, Any]:
    """What answers depend on: the model, not who serves it."""
    asked = {"name": model.name, "revision": model.revision, "embedded": model.embedded}
    asked["vllm"] = model.vllm.deciding() if model.vllm else None  # type: ignore[assignment]
    return {name: value for name, value in asked.items() if value is not None}


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
    """The judge that an entry of stage `judge` stands for."""
    return Judge(entry.judge_name, cast(JudgeSettings, entry.settings), bound_templates(entry, texts))


def judges_given(recipe: Recipe, entry: Entry) -> list[Entry]:
    """The judges that a stage is given: itself if it is one; else the one that it names, or all that come before it."""
    if entry.stage == "judge":
        return [entry]
    if not entry.settings.judged:
        return []
    before = [e for e in recipe.stages[: recipe.stages.index(entry)] if e.stage == "judge"]
    named = getattr(entry.settings, "judge", None)
    return [e for e in before if named in (None, e.name, e.judge_name)]
