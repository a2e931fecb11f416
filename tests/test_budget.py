"""Budgets, estimates and fresh runs: what a run may cost, what it would cost, and what it pays for again."""

import gc
import re
from pathlib import Path

import pytest
from rich.console import Console

from factory.inference.budget import BudgetReached
from factory.monitor.estimate import estimate, print_estimate
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification, asked_afresh, specification_of
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import PRICES, answer, assert_ids_unique, assert_same_tables, run_spar, spar_overrides, tables
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint


def paid(endpoint: ScriptedEndpoint) -> int:
    return endpoint.stats().outcomes["ok"]


def test_a_run_stops_at_its_budget_and_ends_as_if_it_had_not_when_given_more(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        with pytest.raises(BudgetReached, match=r"max_requests of 30 is reached .* -o budget.max_requests="):
            run_spar(tmp_path / "lake", endpoint.url, budget__max_requests=30)
        assert paid(endpoint) == 30
        with Lake.open(tmp_path / "lake") as lake:
            (run,) = lake.query("FROM current_runs").to_pylist()
            assert run["status"] == "stopped" and "max_requests" in run["reason"]
            spec = specification_of(lake, "spar", {"budget.max_requests": 1000})
        run_recipe(spec, str(tmp_path / "lake"), Progress())
        run_spar(tmp_path / "undisturbed", endpoint.url)
        assert endpoint.stats().repeated_answers == paid(endpoint) / 2  # the second lake's, and none of the first's
    assert_same_tables(tables(tmp_path / "lake"), tables(tmp_path / "undisturbed"))
    assert_ids_unique(tmp_path / "lake")


@pytest.mark.parametrize(
    ("limit", "most"), [("max_tokens", 500), ("max_cost", 0.001), ("max_hours", 0.0001)], ids=lambda value: str(value)
)
def test_tokens_cost_and_hours_stop_a_run_too(
    tmp_path: Path, limit: str, most: float, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        running_endpoint(answer, latency_ms=100) as endpoint,
        pytest.raises(BudgetReached, match=f"{limit} of {most:g} is reached"),
    ):
        run_spar(tmp_path / "lake", endpoint.url, **{f"budget__{limit}": most}, **PRICES)
    gc.collect()  # asyncio speaks of an error that nobody took when it forgets the task
    assert not caplog.messages


def test_what_was_paid_before_counts_against_the_budget_of_a_resumed_run(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        for most in (10, 20):
            with pytest.raises(BudgetReached):
                run_spar(tmp_path / "lake", endpoint.url, budget__max_requests=most)
            assert paid(endpoint) == most


def test_a_budget_of_money_needs_prices() -> None:
    with pytest.raises(FactoryError, match=r"max_cost needs prices: set models\.actor\.prompt_price"):
        load_recipe("spar", {"budget.max_cost": 1})


def test_a_resumed_run_may_not_change_what_is_asked(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, prompts=1)
    with Lake.open(tmp_path / "lake") as lake, pytest.raises(FactoryError, match=r"cannot continue: its settings"):
        specification_of(lake, "spar", {"stages.sample.n": 3})


def test_asked_afresh_nothing_is_taken_from_the_journal_and_the_rows_stand_beside_the_old_ones(tmp_path: Path) -> None:
    where = str(tmp_path / "lake")
    with running_endpoint(answer) as endpoint:
        first, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2)
        once = paid(endpoint)
        spec = RunSpecification(load_recipe("spar", spar_overrides(endpoint.url, 2)))
        second = run_recipe(asked_afresh(spec, where), where, Progress())
        third = run_recipe(asked_afresh(spec, where), where, Progress())
        assert len({first, second, third}) == 3
        assert paid(endpoint) > 2 * once
        with Lake.open(where) as lake:
            assert lake.query("SELECT count(*) AS n FROM calls WHERE from_journal").to_pylist() == [{"n": 0}]
            assert specification_of(lake, third).fresh == 2
    assert_ids_unique(tmp_path / "lake")


def test_an_estimate_pays_for_its_sample_only_and_the_run_does_not_pay_that_again(tmp_path: Path) -> None:
    where = str(tmp_path / "lake")
    with running_endpoint(answer) as endpoint:
        spec = RunSpecification(load_recipe("spar", spar_overrides(endpoint.url, 12, **PRICES)))
        estimated = estimate(spec, where, Progress(), sample=4)
        assert (estimated.prompts, estimated.sampled) == (12, 4)
        sampled = paid(endpoint)
        assert estimated.requests.mean == pytest.approx(sampled * 12 / 4)
        assert estimate(spec, where, Progress(), sample=4).requests == estimated.requests
        assert paid(endpoint) == sampled
        run_recipe(spec, where, Progress())
        with Lake.open(where) as lake:
            counted = lake.query(
                "SELECT count(*) AS calls, sum(prompt_tokens + completion_tokens)::BIGINT AS tokens FROM calls"
            ).to_pylist()[0]
        assert paid(endpoint) == counted["calls"]
        of_all = estimate(spec, where, Progress(), sample=12)
    assert of_all.requests.mean == counted["calls"] and of_all.requests.error == 0
    assert of_all.cost is not None and of_all.cost.mean == pytest.approx(counted["tokens"] * 2 / 1e6)


def test_an_estimate_says_what_it_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_endpoint(answer) as endpoint:
        spec = RunSpecification(load_recipe("spar", spar_overrides(endpoint.url, 6)))
        print_estimate(estimate(spec, str(tmp_path / "lake"), Progress(), sample=3), Console(width=100))
    said = capsys.readouterr().out
    assert re.search(r"6 prompts +estimate +± \(95%\)", said)
    assert re.search(r"requests +\d+ +\d+", said) and "no price in the recipe" in said
    assert "with 64 requests in flight" in said and "From 3 prompts" in said
