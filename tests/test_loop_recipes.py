"""Loops of recipes that say how a role is trained: what the recipe says, what a loop changes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.loops.reading import load_loop, role_of
from factory.recipes.reading import load_recipe
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import read_training_set
from tests.loops import Trainer, option, run, trainer
from tests.methods import by_length
from tests.scripted_endpoint import running_endpoint

__all__ = ["trainer"]


def written(folder: Path, **settings: Any) -> str:
    file = folder / "mine.loop.yaml"
    file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    return str(file)


def test_a_loop_trains_as_its_recipe_says() -> None:
    spin, sppo = (load_loop(name).settings for name in ("spin", "sppo"))
    assert (spin.data, sppo.data) == ("last_two", "this")
    assert (spin.train["actor"].set, spin.train["actor"].trainer, spin.train["actor"].configs) == (
        "spin",
        None,
        ("spin",),
    )
    assert (sppo.train["actor"].trainer, sppo.train["actor"].configs) == ("sppo", ("sppo",))
    assert list(load_loop("rlaif").settings.train) == ["reward", "actor"]  # the reward model is trained first


def test_a_loops_preset_comes_after_its_recipes_and_its_other_settings_replace_the_recipes(tmp_path: Path) -> None:
    changed = load_loop("spin", {"train.actor.config": "small-cpu", "data": "all"}).settings
    assert changed.train["actor"].configs == ("spin", "small-cpu") and changed.train["actor"].set == "spin"
    assert changed.data == "all"
    by_file = {"recipe": "sppo", "train": {"actor": {"config": ["rlhf", "small-cpu"], "parameters": {"held_out": 0.5}}}}
    of_file = load_loop(written(tmp_path, **by_file)).settings.train["actor"]
    assert of_file.configs == ("sppo", "rlhf", "small-cpu") and of_file.parameters == {"held_out": 0.5}
    assert (of_file.set, of_file.trainer) == ("sppo", "sppo")
    plain = load_loop(written(tmp_path, recipe="spin", data="this", train={"actor": "imported_dpo"})).settings
    assert (plain.data, plain.train["actor"].set, plain.train["actor"].configs) == ("this", "imported_dpo", ("spin",))


def test_a_preset_makes_another_loop() -> None:
    ids = [load_loop("sppo", changes).loop_id for changes in ({}, {"train.actor.config": "small-cpu"}, {"rounds": 7})]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    ("recipe", "changes", "sentence"),
    [
        ("spin", {"train.actr.config": "small-cpu"}, "train: recipe spin has no role 'actr': did you mean 'actor'"),
        ("rlaif", {"train.actor.reward": "judg"}, "train.actor.reward: recipe rlaif has no role 'judg': did you mean 'judge'"),
        ("sppo", {"train.actor.trainer": "spo"}, "there is none called 'spo': did you mean 'sppo'"),
        ("rlaif", {"train.reward.reference": "first"}, "train.reward.reference: reward has no reference model"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_anything_is_paid_for(recipe: str, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FactoryError) as told:
        load_loop(recipe, changes)
    assert sentence in str(told.value)


def test_a_model_that_makes_no_data_is_the_one_that_a_benchmark_measures() -> None:
    assert {
        name: role_of(load_recipe(name), "ifeval") for name in ("delta", "anchored", "sppo", "rlaif")
    } == dict.fromkeys(("delta", "anchored", "sppo", "rlaif"), "actor")


def test_each_round_of_spin_trains_on_the_rows_of_the_one_before_too(trainer: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines = ({"prompt": f"Say something, {i}.", "reference": f"Reference {i}."} for i in range(6))
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        changes = {"models.actor.endpoint": endpoint.url, "models.actor.name": "mock", "prompts.source": str(file),
                   "prompts.each_round": 3, "rounds": 2, "train.actor.parameters": {"held_out": 0}}  # fmt: skip
        loop = load_loop("spin", changes)
        run(tmp_path / "lake", loop)
        answered = {request.model.partition("@")[0] for request in endpoint.requests}
    first, second = trainer.commands
    assert "trainers.dpo" in first and option(first, "--config") == "spin"
    assert answered == {"mock", f"{loop.loop_id}-round1-actor"}  # each round's opponent is the model of the one before
    assert Path(str(option(second, "--model"))).name == f"{loop.loop_id}-round1-actor"
    assert option(second, "--reference") is None  # the start: the opponent
    with Lake.open(tmp_path / "lake") as lake:
        sizes = [read_training_set(lake, f"spin@{version}").train.num_rows for version in (1, 2)]
    assert sizes == [3, 6]


def test_in_an_anchored_loop_the_anchor_stays_the_first_model(trainer: Trainer, tmp_path: Path) -> None:
    def growing(request: Any) -> Any:
        # The trained model says more, so that its best is above the anchor's worst.
        found = by_length(request)
        return found if any("\n[End of response]" in str(m["content"]) for m in request.messages) else [
            f"{text} and more" if request.model != "mock" else text for text in found
        ]  # fmt: skip

    with running_endpoint(growing) as endpoint:
        trainer.serving = endpoint
        models = {f"models.{role}.{key}": value for role in ("actor", "anchor", "judge")
                  for key, value in (("endpoint", endpoint.url), ("name", "mock"))}  # fmt: skip
        loop = load_loop(
            "anchored", {**models, "prompts.each_round": 2, "rounds": 2, "train.actor.parameters": {"held_out": 0}}
        )
        run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        found = lake.query(
            "SELECT iteration, c.stage AS chosen, r.stage AS rejected, c.model_id = r.model_id AS same FROM pairs "
            "JOIN current_runs USING (run_id) JOIN responses AS c ON c.response_id = chosen_response_id "
            "JOIN responses AS r ON r.response_id = rejected_response_id ORDER BY ALL"
        ).to_pylist()
        models_of_anchor = lake.query("SELECT DISTINCT model_id FROM responses WHERE stage = 'anchor'").num_rows
    assert {(one["chosen"], one["rejected"]) for one in found} == {("sample", "anchor")} and models_of_anchor == 1
    assert {(one["iteration"], one["same"]) for one in found} == {(0, True), (1, False)}
