"""What is skipped because it could change nothing, and what the summary says about it."""

from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.mock_endpoint import JUDGE_MARK, answer_factory
from stores.lake import Lake
from stores.sql import sql
from tests.runs import answer, run_spar
from tests.scripted_endpoint import Request, running_endpoint


def searched(folder: Path, url: str, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    run_id, _ = run_spar(folder, url, prompts=6, **changes)
    with Lake.open(folder) as lake:
        (savings,) = lake.query(sql("report/savings"), {"run_id": run_id}).to_pylist()
        return savings, lake.query("SELECT prompt_id, outcome FROM trees ORDER BY prompt_id").to_pylist()


def test_eager_expansion_accepts_the_same_trees_and_tells_what_it_spared(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        full, trees = searched(tmp_path / "full", endpoint.url, stages__search__one_request=False)
        eager, same_trees = searched(tmp_path / "eager", endpoint.url, stages__search__expansion="eager")
    assert same_trees == trees
    assert full["spared_refinements"] == 0 < eager["spared_refinements"]
    assert eager["refinements"] + eager["spared_refinements"] == full["refinements"]
    assert eager["requests"] < full["requests"] and eager["tokens"] < full["tokens"]


def test_votes_in_rounds_leave_out_those_that_cannot_change_a_verdict(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        savings, _ = searched(tmp_path / "lake", endpoint.url, stages__judge__first_votes=3)
    with Lake.open(tmp_path / "lake") as lake:
        votes = lake.query(
            "SELECT count(*) AS votes, count(DISTINCT verdict) AS verdicts, count(*) FILTER (verdict = 'unparsed') AS unparsed "
            "FROM judgements GROUP BY response_id"
        ).to_pylist()
    few = [row for row in votes if row["votes"] == 3]
    assert few and all(row["verdicts"] == 1 and row["unparsed"] == 0 for row in few)  # three that agree settle it
    assert savings["spared_votes"] == 2 * len(few)


def test_requests_with_a_common_prefix_follow_each_other(tmp_path: Path) -> None:
    def passes_all(request: Request) -> Any:
        return answer_factory(request, yes_rate=1.0)

    with running_endpoint(passes_all, latency_ms=20) as endpoint:
        run_spar(
            tmp_path / "lake", endpoint.url, prompts=6, models__actor__concurrency=2, models__refiner__concurrency=2
        )
        asked = [str(request.messages[-1]["content"]) for request in endpoint.requests]
    prefixes = [text.split("[Response]")[0] for text in asked if JUDGE_MARK in text]
    assert len(prefixes) == 6 * 5
    assert len(list(groupby(prefixes))) == 6  # a prompt's answers are judged one after another, not among others'
