"""A loop's budget and a recipe's: the smaller one counts, the right one is named, and a larger one continues the same loop."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from factory.inference.budget import BudgetReached, BudgetSettings
from factory.loops.budgets import limits_of, smaller, spending, whose
from factory.loops.measuring import measure
from factory.loops.plan import Step
from factory.loops.reading import Loop, load_loop
from factory.loops.rewards import paying
from factory.loops.rounds import round_specification
from factory.loops.working import Working
from factory.runs.loop import Execution
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.loops import Trainer, delta_on, resumed_with, run, steps, trainer
from tests.methods import by_length
from tests.scripted_endpoint import running_endpoint
from tests.test_loop_rewards import all_of, served

__all__ = ["trainer"]

NO_LAKE = cast(Lake, None)
URL = "http://127.0.0.1:9/v1"
TRAIN = Step(1, "train", "actor")


@pytest.mark.parametrize(
    ("left", "own", "most", "setting", "owner"),
    [
        (None, None, None, "override.budget.max_tokens", "the recipe's budget"),
        (20, None, 20, "budget.max_tokens", "the loop's budget"),
        (20, 50, 20, "budget.max_tokens", "the loop's budget"),
        (20, 20, 20, "budget.max_tokens", "the loop's budget"),
        (50, 20, 20, "override.budget.max_tokens", "the recipe's budget"),
        (None, 20, 20, "override.budget.max_tokens", "the recipe's budget"),
    ],
)
def test_the_smaller_budget_counts_and_is_named(
    left: int | None, own: int | None, most: int | None, setting: str, owner: str
) -> None:
    assert smaller(left, own) == most
    for value in ("", "=null"):  # as if an endpoint does not tell what it took
        with pytest.raises(BudgetReached) as reached, spending(left, own, "override"):
            raise BudgetReached("spent", f"budget.max_tokens{value}")
        assert (reached.value.limit, whose(reached.value.limit)) == (f"{setting}{value}", owner)
    with pytest.raises(BudgetReached) as reached, spending(left, own, "override"):
        raise BudgetReached("spent", "budget.max_cost")
    assert (reached.value.override, whose(reached.value.limit)) == ("budget.max_cost=…", "the recipe's budget")
    loop = load_loop("delta", {} if own is None else {"override.budget.max_tokens": own})
    assert round_specification(loop, NO_LAKE, {}, 1, left).recipe.budget.max_tokens == most


def test_of_several_limits_all_are_named() -> None:
    budget = BudgetSettings(max_requests=3, max_tokens=20)
    assert limits_of(budget, 50) == "budget.max_requests=… -o override.budget.max_tokens=…"
    assert limits_of(budget, 10) == "budget.max_requests=… -o budget.max_tokens=…"
    assert limits_of(BudgetSettings(), 10) == "budget.max_tokens=…"
    assert whose(limits_of(budget, 50)) == "the recipe's budget"
    assert whose(limits_of(budget, 10)) == "the recipe's budget or the loop's budget"


def working(monkeypatch: pytest.MonkeyPatch, loop: Loop, left: int | None) -> Working:
    monkeypatch.setattr(Working, "tokens_left", lambda *_: left)
    return Working(NO_LAKE, loop, lambda progress: nullcontext(), lambda words: None, Execution())


@pytest.mark.parametrize(("left", "own", "most"), [(20, 50, 20), (50, 20, 20), (None, 20, 20), (20, None, 20)])
def test_evaluations_have_a_budget_of_their_own_too(
    monkeypatch: pytest.MonkeyPatch, left: int | None, own: int | None, most: int
) -> None:
    changes = {"evaluate": ["ifeval"]} | ({} if own is None else {"evaluate_override.budget.max_tokens": own})
    loop = load_loop("delta", changes)
    assert loop.loop_id == load_loop("delta", {"evaluate": ["ifeval"]}).loop_id
    other = {"evaluate_override.stages.sample.max_tokens": 9, **changes}
    assert load_loop("delta", other).loop_id != loop.loop_id

    def spent(*_: Any, options: Any, **__: Any) -> Any:
        assert options.overrides == {"budget.max_tokens": most}
        raise BudgetReached("spent", "budget.max_tokens")

    monkeypatch.setattr("factory.loops.measuring.bring", lambda *_: None)
    monkeypatch.setattr("factory.loops.measuring.run_benchmark", spent)
    with pytest.raises(BudgetReached) as reached:
        measure(working(monkeypatch, loop, left), Step(0, "evaluate ifeval", "actor"), {})
    of_loop = left == most
    assert reached.value.limit == ("" if of_loop else "evaluate_override.") + "budget.max_tokens"
    assert whose(reached.value.limit) == ("the loop's budget" if of_loop else "the evaluations' budget")


@pytest.mark.parametrize(("left", "own", "most"), [(20, 50, 20), (50, 20, 20), (None, 20, 20), (20, None, 20)])
def test_a_judge_that_pays_is_held_to_the_smaller_budget(
    monkeypatch: pytest.MonkeyPatch, left: int | None, own: int | None, most: int
) -> None:
    loop = load_loop("rlaif_direct", {} if own is None else {"override.budget.max_tokens": own})
    with (
        pytest.raises(BudgetReached) as reached,
        paying(working(monkeypatch, loop, left), TRAIN, {}, "judge") as (_, [config]),
    ):
        found = yaml.safe_load(Path(config).read_text("utf-8"))["online"]["reward"]["recipe"]["budget"]
        assert found == {"max_tokens": most}
        raise BudgetReached("spent")
    assert reached.value.limit == ("" if left == most else "override.") + "budget.max_tokens=…"


def by_file(file: Path, url: str, budget: dict[str, Any] | None, n: int = 1) -> dict[str, Any]:
    """A loop's settings whose payer is a judge that a file of its trainer's settings names."""
    recipe: dict[str, Any] = {
        "stage": {"stage": "judge", "kind": "score", "model": "judge", "scale": "ten", "n": n},
        "models": {"judge": {"endpoint": url, "name": "mock"}},
    }
    recipe |= {} if budget is None else {"budget": budget}
    settings = {"batch_size": 4, "reward": {"kind": "judge", "recipe": recipe}}
    file.write_text(yaml.safe_dump({"online": settings}), "utf-8")
    return {"train.actor.config": str(file), "train.actor.reward": None}


@pytest.mark.parametrize(
    ("left", "budget", "asked", "said"),
    [
        (20, {"max_tokens": 50, "max_requests": 9}, {"max_tokens": 20, "max_requests": 9},
         "spent: raise it in the file of train.actor.config, or budget.max_tokens of loop"),
        (20, {"max_tokens": 50}, {"max_tokens": 20}, None),
        (20, None, {"max_tokens": 20}, None),
        (50, {"max_tokens": 20}, None, "spent: raise it in the file of train.actor.config, then repeat the command"),
        (None, {"max_tokens": 20}, None, "spent: raise it in the file of train.actor.config, then repeat the command"),
    ],
)  # fmt: skip
def test_a_judge_of_a_trainer_s_file_is_held_to_the_loop_s_budget(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    left: int | None,
    budget: dict[str, Any] | None,
    asked: dict[str, Any] | None,
    said: str | None,
) -> None:
    loop = load_loop("rlaif_direct", by_file(tmp_path / "mine.yaml", URL, budget))
    with (
        pytest.raises(FactoryError) as reached,
        paying(working(monkeypatch, loop, left), TRAIN, {}, None) as (_, configs),
    ):
        mine = yaml.safe_load((tmp_path / "mine.yaml").read_text("utf-8"))["online"]["reward"]
        read = [yaml.safe_load(Path(one).read_text("utf-8"))["online"]["reward"] for one in configs]
        assert read == ([] if asked is None else [{**mine, "recipe": {**mine["recipe"], "budget": asked}}])
        raise BudgetReached("spent")
    if said is None:
        assert isinstance(reached.value, BudgetReached) and reached.value.limit == "budget.max_tokens"
    else:
        assert not isinstance(reached.value, BudgetReached) and str(reached.value).startswith(said)


def test_a_larger_budget_in_a_trainer_s_file_continues_the_loop(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, tmp_path: Path
) -> None:
    state = SimpleNamespace(spent=True)

    def train(command: Sequence[str], *others: Any) -> Any:
        if state.spent:
            raise BudgetReached("the judge has spent the budget")
        return trainer(command, *others)

    monkeypatch.setattr("factory.loops.steps.train", train)
    file = tmp_path / "mine.yaml"
    with running_endpoint(by_length) as endpoint:
        trainer.serving = endpoint
        plain = {**served(endpoint.url, "actor", "judge"), **all_of("actor"), "stages.judge.logprobs": True}

        def loop_paid(budget: dict[str, Any] | None, n: int = 1) -> Loop:
            return load_loop("rlaif_direct", {**plain, **by_file(file, endpoint.url, budget, n)})

        assert len({loop_paid(None).loop_id, loop_paid({"max_tokens": 5}).loop_id}) == 1
        assert loop_paid({"max_tokens": 5}, n=2).loop_id != loop_paid(None).loop_id
        loop = loop_paid({"max_tokens": 5})
        with pytest.raises(FactoryError, match=r"raise it in the file of train\.actor\.config, then repeat"):
            run(tmp_path / "lake", loop)
        assert loop_paid({"max_tokens": 500}).loop_id == loop.loop_id
        state.spent = False
        run(tmp_path / "lake", resumed_with(tmp_path / "lake", loop, {}))
    assert steps(tmp_path / "lake", loop)[-1] == (1, "keep", "actor")


def test_a_recipe_s_budget_is_named_and_with_a_larger_one_the_loop_goes_on(trainer: Trainer, tmp_path: Path) -> None:
    answers = count()
    with running_endpoint(lambda request: [f"Answer {next(answers)}." for _ in range(request.n)]) as endpoint:
        changes = delta_on(trainer, endpoint)
        changes |= {"budget.max_tokens": 10**6, "override.budget.max_tokens": 1}
        loop = load_loop("delta", changes)
        named = r"the recipe's budget is spent: continue with `factory resume \S+ -o override\.budget\.max_tokens=…`"
        with pytest.raises(BudgetReached, match=named):
            run(tmp_path / "lake", loop)
        run(tmp_path / "lake", resumed_with(tmp_path / "lake", loop, {"override.budget.max_tokens": 10**5}))
    assert steps(tmp_path / "lake", loop)[-1] == (1, "keep", "actor")
