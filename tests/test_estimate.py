"""An estimate from all prompts is what the run then takes, for every recipe, evolved prompts counted once."""

from pathlib import Path
from typing import Any

import pytest

from factory.monitor.estimate import estimate
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from stores.lake import Lake
from tests.runs import answer, spar_specification
from tests.scripted_endpoint import Request, running_endpoint

FILES = (Path(__file__).parents[1] / "factory" / "recipes").glob("*.yaml")
RECIPES = sorted(
    {file.stem for file in FILES}
    # reference_sft asks no model; facttune_fs needs documents, and its estimate is tested with its pages.
    - {"reference_sft", "facttune_fs"}
)
WITHOUT_PAIRS = ("best_of_n_sft", "evaluate", "rlaif_direct", "facttune_mc")
"""recipes that make none, or none of what this endpoint says"""
PROMPTS = 6


def specification(recipe: str, url: str, evolve: bool, tmp_path: Path) -> RunSpecification:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        "".join(
            f'{{"prompt": "Write {n} words.", "reference": "It is {n}.", "language": "en"}}\n' for n in range(PROMPTS)
        )
    )
    found = load_recipe(recipe)
    settings: dict[str, Any] = {"prompts.source": str(prompts), "prompts.limit": PROMPTS}
    for role in found.models:
        settings |= {f"models.{role}.endpoint": url, f"models.{role}.name": "mock"}
        settings |= {f"models.{role}.prompt_price": 2.0, f"models.{role}.completion_price": 3.0}
    if recipe == "self_rewarding" and not evolve:
        settings["stages.evolve.examples"] = PROMPTS // 2
    if recipe == "rlaif_direct":
        settings["stages.judge.logprobs"] = True
    if any(entry.stage == "judge" and entry.judge_name == "verifier" for entry in found.stages):
        # An evolved prompt has no constraints, which the verifier needs.
        settings |= {"stages.judge": {"kind": "votes", "model": next(iter(found.models))}}
    return RunSpecification(load_recipe(with_evolve(recipe, tmp_path) if evolve else recipe, settings))


def with_evolve(recipe: str, tmp_path: Path) -> str:
    """The recipe with a stage in front that makes its prompts harder."""
    import yaml

    import factory.recipes

    plain = yaml.safe_load((Path(factory.recipes.__file__).parent / f"{recipe}.yaml").read_text())
    plain["stages"] = [entry for entry in plain["stages"] if entry["stage"] != "evolve"]
    plain["stages"].insert(0, {"stage": "evolve", "model": next(iter(plain["models"]))})
    file = tmp_path / f"{recipe}.yaml"
    file.write_text(yaml.safe_dump(plain))
    return str(file)


def evolving(request: Request) -> Any:
    """The scripted answers, harder prompts and scores, all depending on the request alone."""
    text = str(request.messages[-1]["content"])
    if "Write only the harder instruction" in text:
        instruction = text.partition("[Instruction]\n")[2].partition("\n[End of instruction]")[0]
        return [f"{instruction} Use no comma."]
    if "Write a checklist" in text:
        return [f"1. Is it short? (weight {int(request.body_hash[0], 16) + 1})\n2. Is it kind?"] * request.n
    if "[Requirement]" in text:
        return [str(int(request.body_hash[index % 9], 16) * 6) for index in range(request.n)]
    if "Preferred judgement" in text:
        return [f"Preferred judgement: {1 + int(request.body_hash[0], 16) % 2}"] * request.n
    if "Score:" in text:
        return [f"It is so. Score: {int(request.body_hash[index], 16) % 6}" for index in range(request.n)]
    return answer(request)


@pytest.mark.parametrize("evolve", [False, True], ids=["plain", "evolved"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_estimate_from_all_prompts_is_what_the_run_takes(tmp_path: Path, recipe: str, evolve: bool) -> None:
    where = str(tmp_path / "lake")
    with running_endpoint(evolving) as endpoint:
        spec = specification(recipe, endpoint.url, evolve, tmp_path)
        estimated = estimate(spec, where, Progress(), sample=PROMPTS)
        run_recipe(spec, where, Progress())
    with Lake.open(where) as lake:
        (counted,) = lake.query(
            "SELECT count(*) AS requests, sum(prompt_tokens)::BIGINT AS prompt_tokens, "
            "sum(completion_tokens)::BIGINT AS completion_tokens, (SELECT count(*) FROM pairs) AS pairs, "
            "(SELECT count(*) FROM run_prompts WHERE evolved) AS evolved FROM calls"
        ).to_pylist()
        (cost,) = lake.query(
            "SELECT sum(2.0 * prompt_tokens + 3.0 * completion_tokens) / 1e6 AS cost FROM calls"
        ).to_pylist()
    assert (counted.pop("evolved") > 0) == (evolve or recipe == "self_rewarding")
    assert (estimated.prompts, estimated.sampled) == (PROMPTS, PROMPTS)
    for name, value in counted.items():
        amount = getattr(estimated, name)
        assert (amount.mean, amount.error) == (pytest.approx(value), 0.0), name
    assert estimated.cost is not None and estimated.cost.mean == pytest.approx(cost["cost"])
    # What an evolved prompt asks for, its reference no longer answers.
    assert counted["pairs"] > 0 or recipe in (*WITHOUT_PAIRS, *(["spin"] if evolve else []))


def test_half_of_the_prompts_are_scaled_to_all_of_them(tmp_path: Path) -> None:
    where = str(tmp_path / "lake")
    with running_endpoint(evolving) as endpoint:
        spec = specification("spar", endpoint.url, True, tmp_path)
        half = estimate(spec, where, Progress(), sample=PROMPTS // 2)
        asked = endpoint.stats().outcomes["ok"]
    assert (half.prompts, half.sampled) == (PROMPTS, PROMPTS // 2)
    assert half.requests.mean == pytest.approx(2 * asked) and half.requests.error > 0


def test_equal_prompts_are_estimated_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "a"}\n')
    with running_endpoint(evolving) as endpoint:
        spec = spar_specification(endpoint.url, 9, **{"prompts__source": str(file)})
        assert estimate(spec, str(tmp_path / "lake"), Progress()).prompts == 2
