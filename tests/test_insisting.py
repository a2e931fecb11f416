"""Stages and judges that insist on log-probabilities end a run at the first answer without them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.inference.journal import Choice
from factory.inference.logprobs import TokenLogprob
from factory.judges.score import _points
from factory.recipes.reading import recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.judging import asked
from tests.scripted_endpoint import Request, Tokens, running_endpoint

STAGES = {
    "judge votes": ({"stage": "judge", "kind": "votes", "verdict": "word", "votes": 1}, "Yes"),
    "judge tens": ({"stage": "judge", "name": "tens", "kind": "score", "scale": "ten", "n": 1}, "7"),
    "stage compare": ({"stage": "compare", "reasons": False}, "1"),
    "stage why": ({"stage": "compare", "name": "why"}, "Preferred response: 1"),
}


def run(tmp_path: Path, stage: dict[str, Any], reply: Any, gives_logprobs: bool = True) -> int:
    """A run of one prompt with two answers; gives the number of requests that were sent."""

    def script(request: Request) -> Sequence[Any]:
        return [reply] * request.n if "esponse" in asked(request) else ["one answer", "and another"]

    with running_endpoint(script, slots=1, gives_logprobs=gives_logprobs) as endpoint:
        models = {role: {"endpoint": endpoint.url, "concurrency": 1} for role in ("actor", "refiner")}
        stages = [{"stage": "sample", "n": 2}, {**stage, "logprobs": "required"}]
        document = {"name": "x", "models": models, "stages": stages, "prompts": {"limit": 3}, "pairs": []}
        try:
            run_recipe(RunSpecification(recipe_of(document, "recipe x")), str(tmp_path / "lake"), Progress())
        finally:
            sent = endpoint.stats().received
    return sent


@pytest.mark.parametrize("who", STAGES)
def test_an_endpoint_without_log_probabilities_ends_the_run_at_its_first_answer(tmp_path: Path, who: str) -> None:
    stage, written = STAGES[who]
    with pytest.raises(FactoryError, match=f"^{who}: logprobs is 'required', but .* or set logprobs to true") as ended:
        run(tmp_path, stage, written)
    assert "\n" not in str(ended.value)
    with Lake.open(tmp_path / "lake") as lake:
        assert not lake.counts()["judgements"] + lake.counts()["comparisons"]


def test_only_models_whose_log_probabilities_are_read_are_asked_for_them() -> None:
    def role(**stage: Any) -> str | None:
        models = {role: {"endpoint": "http://a/v1"} for role in ("actor", "refiner", "judge")}
        stages = [{"stage": "sample", "n": 2}, {**stage, "logprobs": "required"}]
        return recipe_of({"name": "x", "models": models, "stages": stages}, "x").stages[1].settings.insists_on()

    assert role(stage="claims") == "refiner" and role(stage="claims", checker="judge") == "judge"
    assert role(stage="claims", method="samples") is None
    assert role(stage="judge", kind="votes", verdict="word", model="judge") == "judge"
    assert role(stage="judge", kind="votes", model="judge") is None


@pytest.mark.parametrize("who", STAGES)
def test_an_endpoint_with_them_is_taken(tmp_path: Path, who: str) -> None:
    stage, written = STAGES[who]
    *before, last = written.split(" ")
    words = [(f"{word} ", {f"{word} ": 1.0}) for word in before]
    assert run(tmp_path, stage, Tokens([*words, (last, {last: 0.9, "2": 0.1})])) == 1 + 3 + 3 * 2


def test_a_score_is_read_from_the_first_words_alternatives_where_no_number_was_written() -> None:
    def points(alternatives: dict[str, float], required: bool = True) -> float | None:
        tokens = [TokenLogprob("The", -1.0, {word: math.log(share) for word, share in alternatives.items()})]
        return _points(Choice("The answer", "stop", None, tokens), 1, 10, True, required)[0]

    assert points({"The": 0.4, "7": 0.3, "3": 0.1, "10": 0.1}) == pytest.approx((7 * 0.3 + 3 * 0.1 + 10 * 0.1) / 0.5)
    assert points({"The": 0.4, "7": 0.3, "1": 0.2}) == pytest.approx(7)  # the 1 may begin a 10
    assert points({"The": 0.4, "1": 0.2}) is None and points({"7": 0.3}, required=False) is None
