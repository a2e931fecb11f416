"""An endpoint that does not tell its tokens: unknown is not 0, and no budget of tokens is kept by it."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.inference.budget import BudgetReached
from factory.monitor.estimate import estimate, print_estimate
from factory.monitor.report import print_summary
from factory.monitor.status import picture_of, read_status
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import specification_of
from stores.lake import Lake
from tests.completions import completion_body
from tests.runs import PRICES, answer, run_spar, spar_specification
from tests.scripted_endpoint import Reply, Request, running_endpoint


def without_usage(request: Request) -> Any:
    body = completion_body(request, answer(request))
    body["usage"] = None
    return Reply(200, body)


def printed(show: Any) -> str:
    console = Console(file=StringIO(), width=300, record=True)
    show(console)
    return " ".join(console.export_text().split())


def test_summary_status_and_estimate_say_that_it_is_not_told(tmp_path: Path) -> None:
    with running_endpoint(without_usage) as endpoint:
        spec = spar_specification(endpoint.url, 2, **PRICES)
        estimated = estimate(spec, str(tmp_path / "other"), Progress())
        run_id, progress = run_spar(tmp_path / "lake", endpoint.url, 2, **PRICES)
    assert progress.cost is None and progress.untold == progress.requests > 0
    with Lake.open(tmp_path / "lake") as lake:
        assert "tokens generated: not told by the endpoint" in printed(
            lambda console: print_summary(lake, run_id, console)
        )
        (status,) = read_status(lake)
        assert status.tokens is None and status.cost is None
        assert "tokens not told by the endpoint" in printed(lambda console: console.print(picture_of(status)))
    assert estimated.completion_tokens is None and estimated.cost is None and estimated.requests.mean > 0
    said = printed(lambda console: print_estimate(estimated, console))
    assert "generated tokens not told by the endpoint" in said and "cost, at the recipe's prices not told" in said


@pytest.mark.parametrize("limit", ["max_tokens", "max_cost"])
def test_a_budget_that_cannot_be_kept_ends_the_run_which_goes_on_without_it(tmp_path: Path, limit: str) -> None:
    place = tmp_path / "lake"
    with running_endpoint(without_usage) as endpoint:
        changes = {
            f"budget__{limit}": 100,
            "models__actor__concurrency": 1,
            "models__refiner__concurrency": 1,
            **PRICES,
        }
        with pytest.raises(BudgetReached, match=rf"{limit} of 100 cannot be kept.*-o budget\.{limit}=null`"):
            run_spar(place, endpoint.url, 3, **changes)
        first = endpoint.stats().received
        assert first <= 3
        # What an earlier start did not learn is not learnt by starting again.
        with pytest.raises(BudgetReached, match="cannot be kept"):
            run_spar(place, endpoint.url, 3, **changes)
        assert endpoint.stats().received == first
        with Lake.open(place) as lake:
            spec = specification_of(lake, "spar", {f"budget.{limit}": None})
        run_recipe(spec, str(place), Progress())
        assert endpoint.stats().repeated_answers == 0


def test_a_free_model_that_tells_nothing_costs_nothing(tmp_path: Path) -> None:
    free = dict.fromkeys(PRICES, 0.0)
    with running_endpoint(without_usage) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 1, budget__max_cost=1, **free)
    assert progress.cost == 0.0


def test_what_some_replies_do_not_tell_is_said_beside_the_sum(tmp_path: Path) -> None:
    def sometimes(request: Request) -> Any:
        return without_usage(request) if "Final Judgement" in str(request.messages) else answer(request)

    with running_endpoint(sometimes) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, 1)
    with Lake.open(tmp_path / "lake") as lake:
        said = printed(lambda console: print_summary(lake, run_id, console))
    assert "tokens generated (not told by the endpoint for" in said and "not told" in said
