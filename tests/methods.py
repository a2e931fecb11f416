"""What the tests of methods share: recipes run to their end against a scripted endpoint whose judges count words."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from stores.lake import Lake
from tests.runs import assert_ids_unique
from tests.scripted_endpoint import Request, ScriptedEndpoint, Tokens, running_endpoint

Script = Callable[[Request], Any]
TEXTS = ("one", "two words", "now three words", "these are four words")


def sampled(request: Request) -> list[str]:
    return [TEXTS[index % len(TEXTS)] for index in range(request.n)]


def response_in(request: Request) -> str:
    return str(request.messages[-1]["content"]).split("[Response]\n")[1].split("\n[End of response]")[0]


def by_length(request: Request) -> Sequence[Any]:
    """An actor with four answers, and judges that prefer more words: in points, votes and comparisons."""
    asked = str(request.messages[-1]["content"])
    if "Score: " in asked:
        # The mean of 2, 3 and 3 is no rounded share.
        words = len(response_in(request).split())
        return [f"It has words.\nScore: {words if index else words - 1}" for index in range(request.n)]
    if "from 1 (useless) to 10" in asked:
        words = len(response_in(request).split())
        return [Tokens([(str(words), {str(words): 0.75, str(words + 1): 0.25})])] * request.n
    if "[Response 1]" in asked:
        first, second = (asked.split(f"[Response {i}]\n")[1].split(f"\n[End of response {i}]")[0] for i in (1, 2))
        label = "1" if len(first) > len(second) else "2"
        shares = {"1": 0.9, "2": 0.1} if label == "1" else {"1": 0.2, "2": 0.8}
        return [
            Tokens([("Preferred response:", {}), (f" {label}", {f" {k}": v for k, v in shares.items()})])
        ] * request.n
    if "Final Judgement" in asked:
        verdict = "Yes" if len(response_in(request).split()) > 2 else "No"
        return [f"I counted.\nFinal Judgement: {verdict}"] * request.n
    return sampled(request)


def run(tmp_path: Path, document: dict[str, Any], script: Script = by_length, prompts: int = 3) -> tuple[Lake, str]:
    """A finished run of a recipe against a scripted endpoint, and its lake."""
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"Say something, {i}.", "reference": f"Reference {i}."} for i in range(prompts)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with running_endpoint(script) as endpoint:
        recipe = recipe_of(with_endpoint(document, endpoint, str(file)), "recipe x")
        run_id = run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        asked = endpoint.stats().received
        run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert endpoint.stats().received == asked  # nothing was left to do
    assert_ids_unique(tmp_path / "lake")
    return Lake.open(tmp_path / "lake"), run_id


def with_endpoint(document: dict[str, Any], endpoint: ScriptedEndpoint, prompts: str) -> dict[str, Any]:
    roles = document.get("models") or ("actor", "refiner", "judge")
    models = {role: {"endpoint": endpoint.url} for role in roles}
    return {"name": "mine", **document, "models": models, "prompts": {"source": prompts}}


def bundled(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(load_recipe(name).as_json())
    return document
