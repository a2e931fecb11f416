"""Every method for two rounds, with real trainings of a tiny model that a scripted endpoint stands for."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.recipes.reading import load_recipe
from schemas.ids import content_id
from schemas.tables import Pair, Review, TrainingRun
from scripts.compare_methods import BY_PEOPLE, trained_recipes
from stores.consistency import check_rows
from stores.lake import Lake
from tests.claims import corpus, facts
from tests.completions import Request, Tokens
from tests.judging import asked, outputs, part
from tests.rows import row
from tests.training.online import SETTINGS
from tests.training.test_loop import endpoint_that_takes, start
from tests.training.tiny import CONFIG, needs_torch

pytestmark = [needs_torch, pytest.mark.heavy]
PROMPTS = 4
OTHERS = [name for name in trained_recipes() if name != "spar"]
"""SPaR's rounds are in `test_loop.py`"""


def script(request: Request) -> Sequence[Any]:
    """One to five statements on a river as answers; every judge counts them, and is surer the longer an answer is."""
    text = asked(request)
    if text.startswith("Below are instructions"):
        letters = request.body_hash[:24]  # so that no new prompt is like another
        return [f"Spell {' and '.join(letters[i : i + 4] for i in range(0, 24, 4))}."]
    if text.startswith("Write a checklist"):
        return ["1. (70) Does it name a river?\n2. (30) Is it long?"]
    if "[Requirement]" in text:
        return [f"{10 * part(text, 'Response').count('Elbe')}"] * request.n
    if "[Judgement 1]" in text:
        higher = int(part(text, "Judgement 1")[-1]) >= int(part(text, "Judgement 2")[-1])
        return [f"I compared.\nPreferred judgement: {1 if higher else 2}"] * request.n
    if "[Response 1]" in text:
        first, second = map(len, outputs(request))
        shares = {"1": 0.9, "2": 0.1} if first > second else {"1": 0.1, "2": 0.9}
        return [Tokens([(max(shares, key=lambda label: shares[label]), shares)])] * request.n
    if "from 1 (useless) to 10" in text:
        points = str(1 + len(part(text, "Response")) % 9)
        return [Tokens([(points, {points: 1.0})])] * request.n
    if "Score: " in text:
        points = part(text, "Response").count("Elbe")
        return [f"It states much.\nScore: {max(0, points - index % 2)}" for index in range(request.n)]
    if any(of_claims in text for of_claims in ("factual claim", "reference corpus", "one question", "few words")):
        return facts(request)[: request.n]
    statements = ("Elbe: flows through Dresden.", "Elbe: flows through Paris.", "Elbe: rises in Bohemia.")
    return [
        f"Of {text[-2:]}: " + " ".join((*statements, *statements)[: (index + (request.seed or 0)) % 5 + 1])
        for index in range(request.n)
    ]


def run_command(folder: Path, *words: str) -> tuple[int, str]:
    process = start(folder, *words)
    said, _ = process.communicate()
    return process.returncode, said


def people_compare(where: Path) -> None:
    """Somebody accepts every pair that nobody has seen."""
    with Lake.open(where) as lake:
        seen = {review.pair_id for review in lake.read(Review)}
        unseen = [pair for pair in lake.read(Pair) if pair.pair_id not in seen]
        assert unseen
        given = {"reviewer": "ann", "verdict": "accept", "preferred": "chosen"}
        lake.append(
            [
                row(
                    Review,
                    content_id("review", pair.pair_id, "ann", 0),
                    pair_id=pair.pair_id,
                    run_id=pair.run_id,
                    **given,
                )
                for pair in unseen
            ],
            message="reviews",
        )


@pytest.mark.parametrize("recipe", OTHERS)
def test_a_method_makes_data_and_trains_its_models_for_two_rounds(
    recipe: str, place: SimpleNamespace, tmp_path: Path
) -> None:
    config, prompts, names = tmp_path / "config.yaml", tmp_path / "prompts.jsonl", tmp_path / "names"
    config.write_text(
        CONFIG.replace("max_tokens: 128", "max_tokens: 2048").replace("1e-3", "1e-4")
        + SETTINGS.format(algorithm="rloo", more="")
    )
    lines = ({"prompt": f"Say something, {i:02}", "reference": f"Reference {i:02}."} for i in range(2 * PROMPTS))
    prompts.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    read = load_recipe(recipe)
    training = {"config": str(config), "weights": str(place.folder / "tiny"), "parameters": {"held_out": 0}}
    with endpoint_that_takes(names, script) as endpoint:
        loop = {
            "recipe": recipe,
            "rounds": 2,
            "models": {role: {"endpoint": endpoint.url, "name": "mock"} for role in read.models},
            "override": {"stages.evolve.examples": 3} if recipe == "self_rewarding" else {},
            "prompts": {"source": str(prompts), "each_round": PROMPTS},
            "train": dict.fromkeys(read.trainings(), training),
            "on_new_weights": f"echo {{name}} >> {names}",
        }
        file = tmp_path / f"{recipe}.loop.yaml"
        file.write_text(json.dumps(loop), "utf-8")
        if recipe == "facttune_fs":
            corpus(tmp_path / "lake")
        code, said = run_command(tmp_path, "loop", str(file))
        for _ in range(2) if BY_PEOPLE in (read.pairs or ()) else ():
            assert code == 1 and "gives rlhf no rows" in said and "compare them in `factory view`" in said, said
            people_compare(tmp_path / "lake")
            code, said = run_command(tmp_path, "loop", str(file))
    assert code == 0, said
    with Lake.open(tmp_path / "lake") as lake:
        trainings = lake.read(TrainingRun)
        assert (
            lake.query("SELECT status FROM current_runs WHERE purpose = 'data'").column(0).to_pylist()
            == ["finished"] * 2
        )
        assert check_rows(lake, lambda *told: None) == []
    assert len(trainings) == 2 * len(read.trainings())
    assert {training.status for training in trainings} == {"finished"}
