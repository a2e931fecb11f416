"""What is left to do is a query: which prompts still lack something of a stage."""

from typing import Any

import pytest

from schemas.tables import Call, RunPrompt, Tree
from stores.lake import Lake
from stores.sql import sql
from tests.rows import fill, row, sampled, votes


def left(lake: Lake, stage: str, **parameters: Any) -> list[tuple[Any, ...]]:
    asked_for = {"run_id": "run", **parameters}
    return [tuple(r.values()) for r in lake.query(sql(f"pending/{stage}"), asked_for).to_pylist()]


@pytest.fixture
def begun(lake: Lake) -> Lake:
    """Prompts p3, p2, p1 of a run in this order, and one that another run takes."""
    fill(
        lake,
        *(row(RunPrompt, f"rp{i}", run_id="run", prompt_id=f"p{i}", position=3 - i) for i in (1, 2, 3)),
        row(RunPrompt, "theirs", run_id="other", prompt_id="p9"),
    )
    return lake


def test_prompts_without_answers_are_left_to_sample(begun: Lake) -> None:
    fill(begun, sampled("a2", prompt_id="p2"), sampled("theirs", run_id="other", prompt_id="p1"))
    assert left(begun, "sample", evolved=False) == [("p3", 0), ("p1", 2)]
    assert left(begun, "sample", evolved=True) == []
    fill(begun, row(Call, "c", run_id="run", prompt_id="p3", error="refused: no"))
    assert left(begun, "sample", evolved=False) == [("p1", 2)]


def test_prompts_with_an_unjudged_answer_are_left_to_judge(begun: Lake) -> None:
    fill(
        begun,
        sampled("a1"), sampled("a1b"), *votes("a1", "y"),
        sampled("a2", prompt_id="p2"), *votes("a2", "n", prompt_id="p2"),
        sampled("a3", prompt_id="p3", kind="refined"),
    )  # fmt: skip
    assert left(begun, "judge") == [("p1", 2)]


def test_prompts_not_tried_are_left_to_evolve(begun: Lake) -> None:
    fill(
        begun,
        row(Call, "c", run_id="run", prompt_id="p2", stage="evolve"),
        row(RunPrompt, "harder", run_id="run", prompt_id="p2+", position=1, evolved=True),
    )
    assert left(begun, "evolve") == [("p3", 0), ("p1", 2)]
    assert left(begun, "sample", evolved=True) == [("p2+", 1)]


def test_failed_answers_without_a_tree_are_left_to_search(begun: Lake) -> None:
    fill(
        begun,
        sampled("a1"), *votes("a1", "n"), sampled("b1"), *votes("b1", "n"),
        sampled("a3", prompt_id="p3"), *votes("a3", "n", prompt_id="p3"),
        sampled("a2", prompt_id="p2"), *votes("a2", "y", prompt_id="p2"),
    )  # fmt: skip
    assert left(begun, "search", every=False) == [("p3", 0), ("p1", 2)]
    fill(begun, row(Tree, "t", run_id="run", prompt_id="p1", root_response_id="a1"))
    assert left(begun, "search", every=False) == [("p3", 0)]
    assert left(begun, "search", every=True) == [("p3", 0), ("p1", 2)]
