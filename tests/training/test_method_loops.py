"""SPIN and SPPO for two rounds, with real trainings of a tiny model that a scripted endpoint stands for."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.tables import Model, TrainingRun
from stores.lake import Lake
from stores.training_sets import read_training_set
from tests.completions import Tokens
from tests.scripted_endpoint import Request
from tests.training.test_loop import endpoint_that_takes, start
from tests.training.tiny import CONFIG, needs_torch

PROMPTS = 4


def script(request: Request) -> Sequence[Any]:
    """Answers of one to five words; the longer of two is preferred with 0.9, in either order."""
    asked = str(request.messages[-1]["content"])
    if "[Response 1]" not in asked:
        return [" ".join(["word"] * (index % 5 + 1)) + f" to {asked[-2:]}" for index in range(request.n)]
    first, second = (asked.split(f"[Response {i}]\n")[1].split(f"\n[End of response {i}]")[0] for i in (1, 2))
    shares = {"1": 0.9, "2": 0.1} if len(first) > len(second) else {"1": 0.1, "2": 0.9}
    return [Tokens([(max(shares, key=lambda label: shares[label]), shares)])] * request.n


def looped(recipe: str, place: SimpleNamespace, folder: Path) -> tuple[list[TrainingRun], dict[str, str]]:
    """The trainings of two rounds, in order, and the names of the models by id."""
    config = folder / "config.yaml"
    config.write_text(
        CONFIG.replace("sft: *shared", "sft: *shared\nsppo: *shared").replace("max_tokens: 128", "max_tokens: 256")
    )
    prompts = folder / "prompts.jsonl"
    lines = ({"prompt": f"Say something, {i:02}", "reference": f"Reference {i:02}."} for i in range(2 * PROMPTS))
    prompts.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    names, file = folder / "names", folder / f"{recipe}.loop.yaml"
    with endpoint_that_takes(names, script) as endpoint:
        model = {"endpoint": endpoint.url, "name": "mock"}
        roles = ("actor",) if recipe == "spin" else ("actor", "judge")
        training = {"config": str(config), "weights": str(place.folder / "tiny"), "parameters": {"held_out": 0}}
        loop = {
            "recipe": recipe,
            "rounds": 2,
            "models": dict.fromkeys(roles, model),
            "prompts": {"source": str(prompts), "each_round": PROMPTS},
            "train": {"actor": training},
            "on_new_weights": f"echo {{name}} >> {names}",
        }
        file.write_text(json.dumps(loop), "utf-8")
        process = start(folder, "loop", str(file))
        said, _ = process.communicate()
        assert process.returncode == 0, said
    with Lake.open(folder / "lake") as lake:
        trainings = sorted(lake.read(TrainingRun), key=lambda one: one.started_at)
        models = {one.model_id: one.name.partition("@")[0] for one in lake.read(Model)}
    return trainings, models


@needs_torch
@pytest.mark.heavy
def test_two_rounds_of_spin_train_against_the_model_of_the_round_before(place: SimpleNamespace, tmp_path: Path) -> None:
    (first, second), models = looped("spin", place, tmp_path)
    for training in (first, second):
        assert training.status == "finished" and json.loads(training.configuration)["beta"] == 0.1
        # The start is the reference: every difference is 0, and the logistic loss log 2.
        assert training.loss_curve[0] == pytest.approx(math.log(2), abs=1e-4)
        assert training.reference_model_id == training.start_model_id
    assert models[str(second.start_model_id)] == str(first.output)
    with Lake.open(tmp_path / "lake") as lake:
        rows = [read_training_set(lake, f"spin@{version}").train for version in (1, 2)]
    assert [one.num_rows for one in rows] == [PROMPTS, 2 * PROMPTS]
    assert {turns[0]["content"] for turns in rows[1].column("chosen").to_pylist()} == {
        f"Reference {i:02}." for i in range(2 * PROMPTS)
    }


@needs_torch
@pytest.mark.heavy
def test_two_rounds_of_sppo_begin_at_the_squared_distance_of_the_win_rates_from_one_half(
    place: SimpleNamespace, tmp_path: Path
) -> None:
    (first, second), models = looped("sppo", place, tmp_path)
    best, worst = (0.5 + 4 * 0.9) / 5, (0.5 + 4 * 0.1) / 5
    for training in (first, second):
        assert (training.objective, training.status) == ("sppo", "finished")
        assert json.loads(training.configuration)["optimizer"] == "rmsprop"
        # At the start no answer's log-ratio differs from 0.
        assert training.loss_curve[0] == pytest.approx((best - 0.5) ** 2 + (worst - 0.5) ** 2, abs=1e-4)
    assert models[str(second.start_model_id)] == str(first.output)
    with Lake.open(tmp_path / "lake") as lake:
        built = read_training_set(lake, "sppo@2").train
    assert built.column("chosen_win_rate").to_pylist() == pytest.approx([best] * PROMPTS)
    assert built.column("rejected_win_rate").to_pylist() == pytest.approx([worst] * PROMPTS)
