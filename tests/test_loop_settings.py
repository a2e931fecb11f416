"""A loop's settings: mistakes told before anything is paid for, what makes another loop, and the page about them."""

from pathlib import Path
from typing import Any

import pytest

from factory.loops.plan import Step, steps_of
from factory.loops.reading import Loop, load_loop
from factory.loops.rounds import models_of, runs_of_data
from factory.loops.settings import LoopBudget, LoopSettings, RoleTraining, RoundPrompts, StartTraining
from schemas.errors import FactoryError
from schemas.settings import described
from schemas.tables import LoopStep
from tests.loops import Trainer, endpoint, option, run, spar_loop, steps, trainer
from tests.rows import row
from tests.scripted_endpoint import ScriptedEndpoint

__all__ = ["endpoint", "trainer"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train.actr.set": "spar_dpo"}, "train: recipe spar has no role 'actr'"),
        ({"train.actor.set": "spar_dop"}, "there is no training set 'spar_dop'"),
        ({"keep": ["actor >= 1"]}, "keep: 'actor >= 1' is not a rule"),
        ({"keep": ["actor.ifbench.prompt_strict >= previous"]}, "needs ifbench of actor: add it to evaluate"),
        ({"models.judge": "embedded:smollm2-135m"}, "models: recipe spar has no role 'judge'"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"train.refiner": {"set": "spar_rft", "reference": "first"}}, "rft has no reference model"),
        (
            {"evaluate": ["ifeval"], "keep": ["actor.ifeval.prompt_strikt > 1"]},
            "which ifeval does not measure: did you mean",
        ),
        ({"evaluate": ["judge"], "keep": ["refiner.judge.agreed > 1"]}, "which judge does not measure"),
        (
            {"evaluate": ["ifeval"], "keep": ["actor.ifeval.prompt_loose_unseen > previous"]},
            "no kind of constraint has been seen: compare with a number, or take prompt_loose",
        ),
        ({"evaluate_override": {"models.actor.vllm.command": "/tmp/x"}}, "models.actor.vllm.command cannot be set"),
        ({"evaluate_override": {"models": {}}}, "models cannot be set"),
        ({"evaluate_override": {"prompts.source": "/etc/passwd"}}, "prompts.source cannot be set"),
        ({"models": {"../up": "embedded:smollm2-135m"}}, "recipe spar has no role"),
        ({"override": {"models.x/y": {"endpoint": "embedded:smollm2-135m"}}}, "a role is called 'x/y'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_paid_for(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FactoryError, match=sentence):
        load_loop("spar", changes)


def test_more_rounds_or_a_larger_budget_continue_a_loop_and_other_settings_do_not() -> None:
    loop = load_loop("spar", {"rounds": 2})
    same: list[dict[str, Any]] = [{"rounds": 5}, {"budget.max_tokens": 10}, {"keep_rounds": 1}]
    other: list[dict[str, Any]] = [
        {"seed": 1},
        {"data": "all"},
        {"stages.search.depth": 2},
        {"train.actor.start": "first", "train.actor.set": "spar_dpo"},
    ]
    assert all(load_loop("spar", changes).loop_id == loop.loop_id for changes in same)
    ids = [load_loop("spar", changes).loop_id for changes in other]
    assert len({loop.loop_id, *ids}) == 5


def test_round_0_is_measured_first() -> None:
    steps = steps_of(1, ["actor"], ["actor"], [("ifbench", "actor")])
    assert [(step.round, str(step)) for step in steps] == [
        (0, "train actor"),
        (0, "evaluate ifbench actor"),
        (1, "run"),
        (1, "build actor"),
        (1, "train actor"),
        (1, "evaluate ifbench actor"),
        (1, "keep actor"),
    ]


@pytest.mark.parametrize(("data", "rounds"), [("this", [3]), ("last_two", [2, 3]), ("all", [1, 2, 3])])
def test_a_sets_rounds_are_those_that_the_settings_say(data: str, rounds: list[int]) -> None:
    loop = load_loop("spar", {"data": data})
    done = {Step(number, "run"): row(LoopStep, str(number), run_id=f"run {number}") for number in (1, 2, 3)}
    assert runs_of_data(loop, done, 3) == [f"run {number}" for number in rounds]
    assert runs_of_data(loop, done, 1) == ["run 1"]


def test_data_is_made_by_the_models_that_the_settings_say() -> None:
    kept = {
        Step(0, "train", "actor"): row(LoopStep, "tuned", model_id="tuned"),
        Step(1, "keep", "actor"): row(LoopStep, "one", model_id="one"),
        Step(2, "keep", "actor"): row(LoopStep, "two", model_id="two", note="worse"),  # not kept
        Step(1, "keep", "refiner"): row(LoopStep, "other", model_id="other"),
    }
    latest, first = load_loop("spar"), load_loop("spar", {"generate_with": "first"})
    assert models_of(latest, kept, 1) == {"actor": "tuned", "refiner": None}
    assert models_of(latest, kept, 3) == {"actor": "one", "refiner": "other"}
    assert models_of(first, kept, 3) == {"actor": "tuned", "refiner": None}


def test_a_start_by_fine_tuning_is_round_0_and_what_the_first_round_uses(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    before = spar_loop(endpoint.url, rounds=1)
    run(tmp_path / "lake", before)  # its refiner's set is the one given
    trainer.commands.clear()
    loop = spar_loop(endpoint.url, rounds=1, **{"start_with": {"actor": {"set": "spar_rft@1"}}})
    run(tmp_path / "lake", loop)
    assert steps(tmp_path / "lake", loop)[0] == (0, "train", "actor")
    assert "trainers.sft" in trainer.commands[0] and option(trainer.commands[0], "--set") == "spar_rft@1"
    dpo = next(command for command in trainer.commands if "trainers.dpo" in command)
    assert Path(str(option(dpo, "--model"))).name == f"{loop.loop_id}-round0-actor"
    assert any(request.model.startswith(f"{loop.loop_id}-round0-actor@") for request in endpoint.requests)


def test_a_role_that_is_named_as_another_follows_it() -> None:
    loop: Loop = load_loop("spar", {"models": {"refiner": "actor"}, "train": {"actor": {"set": "spar_dpo"}}})
    assert loop.follows == {"refiner": "actor"}
    assert loop.recipe.models["refiner"] == loop.recipe.models["actor"]


def test_the_page_has_every_setting_as_it_is_declared() -> None:
    page = (Path(__file__).parents[1] / "docs" / "loops.md").read_text("utf-8")
    sections = {
        LoopSettings: "",
        RoundPrompts: "prompts.",
        RoleTraining: "train.ROLE.",
        StartTraining: "start_with.ROLE.",
        LoopBudget: "budget.",
    }
    for section, prefix in sections.items():
        for setting in described(section):
            [line] = [line for line in page.splitlines() if line.startswith(f"| `{prefix}{setting.name}` |")]
            assert line.endswith(f"| {setting.meaning} |")
