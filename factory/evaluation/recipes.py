"""The recipes of evaluations of judges and refiners, built from what is asked: which model judges, and how."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec

from factory.inference.settings import ModelSettings
from factory.recipes.reading import recipe_of
from factory.recipes.recipe import Recipe

VERIFIER = "verifier"
MODEL = "model"
"""Name of the model judge in the rows."""
COMPARE = "compare"

Plain = dict[str, Any]

# Asked again at temperature 0, a judge says the same: no retries.
_ONE_WORD: Plain = {"kind": "votes", "verdict": "word", "votes": 1, "retries": 0, "temperature": 0.0, "max_tokens": 4}
_REASONED: Plain = {"kind": "votes", "verdict": "text", "votes": 5, "temperature": 0.7, "max_tokens": 2048}
_ONE_LABEL: Plain = {"reasons": False, "votes": 1, "temperature": 0.0, "max_tokens": 4}
_REASONED_LABEL: Plain = {"reasons": True, "votes": 1, "temperature": 0.7, "max_tokens": 1024}
_VERIFIER: Plain = {"stage": "judge", "name": VERIFIER, "kind": "verifier"}
_BUNDLED: Plain = {"source": "bundled", "language": "en", "limit": 128}


def reasons_by_default(settings: ModelSettings) -> bool:
    """Whether a judge gives its reasons first unless told otherwise: not an embedded one.

    Reasons make the labels of small models worse.
    """
    return settings.embedded is None


def judge_recipe(judge: ModelSettings, actor: ModelSettings, reasons: bool, overrides: Mapping[str, Any]) -> Recipe:
    """An actor answers fresh prompts; the verifier and the judge judge each answer."""
    return _recipe(
        "evaluate_judge",
        {"actor": actor, "judge": judge},
        [_sample(), _VERIFIER, _judge_stage(reasons)],
        overrides,
        prompts=_BUNDLED,
    )


def labelled_recipe(judge: ModelSettings, answers: str, reasons: bool, overrides: Mapping[str, Any]) -> Recipe:
    """The judge compares the two outputs of each pair of an imported file, in both orders."""
    stage = {"stage": "compare", "name": COMPARE, "which": "paired", "model": "judge"}
    stage |= _REASONED_LABEL if reasons else _ONE_LABEL
    given = {"run": answers, "kinds": ["imported"]}
    return _recipe("evaluate_labelled", {"judge": judge}, [stage], overrides, answers=given)


def refine_recipe(refiner: ModelSettings, actor: ModelSettings, small: bool, overrides: Mapping[str, Any]) -> Recipe:
    """The verifier finds the failures of an actor's answers; each is refined once.

    Args:
        small: ask for the refinement in one short turn, without a reflection first.
    """
    search = {"stage": "search", "model": "refiner", "judge": VERIFIER, "branch": 1, "keep": 1, "depth": 1}
    search |= {"roots": "every", "temperature": 0.7, "top_p": 0.9, "max_tokens": 1024}
    return _recipe(
        "evaluate_refine",
        {"actor": actor, "refiner": refiner},
        [_sample(), _VERIFIER, search],
        overrides,
        prompts=_BUNDLED,
        templates={"refine": "refine_brief"} if small else {},
    )


def again_recipe(
    judge: ModelSettings | None, answers: str, kinds: list[str], reasons: bool, overrides: Mapping[str, Any]
) -> Recipe:
    """A judge judges the answers of a run again.

    Args:
        judge: a model; None: the verifier.
    """
    given = {"run": answers, "kinds": kinds}
    models = {} if judge is None else {"judge": judge}
    stage = _VERIFIER if judge is None else _judge_stage(reasons)
    return _recipe("judge_again", models, [stage], overrides, answers=given)


def _sample() -> Plain:
    return {"stage": "sample", "model": "actor", "n": 1, "temperature": 0.9, "top_p": 0.9, "max_tokens": 512}


def _judge_stage(reasons: bool) -> Plain:
    return {"stage": "judge", "name": MODEL, "model": "judge", **(_REASONED if reasons else _ONE_WORD)}


def _recipe(
    name: str, models: Mapping[str, ModelSettings], stages: list[Plain], overrides: Mapping[str, Any], **more: Any
) -> Recipe:
    plain = {role: msgspec.to_builtins(settings) for role, settings in models.items()}
    document = {"name": name, "purpose": "evaluation", "models": plain, "stages": stages, "pairs": [], **more}
    return recipe_of(deepcopy(document), f"recipe {name}", overrides)
