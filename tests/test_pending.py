"""Pending prompts are a query: which prompts lack something of a stage."""

import re
from typing import Any

import pytest

from factory.recipes.reading import load_recipe
from factory.runs.pending import pending_parameters
from schemas.tables import Call, Constraint, Pair, Prompt, Response, RunPrompt, Tree
from stores.lake import Lake
from stores.sql import sql
from tests.rows import compared, fill, row, sampled, votes


def pending(lake: Lake, stage: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
    text = sql(f"pending/{stage}")
    usual = {"judges": ["votes"], "kind": "votes", "answers_of": None, "kinds": ["sampled"], "which": "every"}
    given = {"run_id": "run", "stage": stage, "evolved": False, **usual, **parameters}
    query = "\n".join(line for line in text.split("\n") if not line.startswith("--"))
    asked = {name: given[name] for name in re.findall(r"\$(\w+)", query)}
    return [tuple(r.values()) for r in lake.query(text, asked).to_pylist()]


@pytest.fixture
def begun(lake: Lake) -> Lake:
    """Prompts p3, p2, p1 of a run in this order, and one that another run takes."""
    fill(
        lake,
        *(row(RunPrompt, f"rp{i}", run_id="run", prompt_id=f"p{i}", position=3 - i) for i in (1, 2, 3)),
        row(RunPrompt, "theirs", run_id="other", prompt_id="p9"),
    )
    return lake


def test_prompts_without_answers_are_pending_for_sample(begun: Lake) -> None:
    fill(begun, sampled("a2", prompt_id="p2"), sampled("theirs", run_id="other", prompt_id="p1"))
    assert pending(begun, "sample", evolved=False) == [("p3", 0), ("p1", 2)]
    assert pending(begun, "sample", evolved=True) == []
    fill(begun, row(Call, "c", run_id="run", prompt_id="p3", error="refused: no"))
    assert pending(begun, "sample", evolved=False) == [("p1", 2)]


def test_prompts_with_an_unjudged_answer_are_pending_for_judge(begun: Lake) -> None:
    fill(
        begun,
        sampled("a1"), sampled("a1b"), *votes("a1", "y"),
        sampled("a2", prompt_id="p2"), *votes("a2", "n", prompt_id="p2"),
        sampled("a3", prompt_id="p3", kind="refined"),
    )  # fmt: skip
    assert pending(begun, "judge") == [("p1", 2)]


def test_prompts_not_tried_are_pending_for_evolve(begun: Lake) -> None:
    fill(
        begun,
        row(Call, "c", run_id="run", prompt_id="p2", stage="evolve"),
        row(RunPrompt, "harder", run_id="run", prompt_id="p2+", position=1, evolved=True),
    )
    assert pending(begun, "evolve") == [("p3", 0), ("p1", 2)]
    assert pending(begun, "sample", evolved=True) == [("p2+", 1)]


def test_failed_answers_without_a_tree_are_pending_for_search(begun: Lake) -> None:
    fill(
        begun,
        sampled("a1"), *votes("a1", "n"), sampled("b1"), *votes("b1", "n"),
        sampled("a3", prompt_id="p3"), *votes("a3", "n", prompt_id="p3"),
        sampled("a2", prompt_id="p2"), *votes("a2", "y", prompt_id="p2"),
    )  # fmt: skip
    assert pending(begun, "search", roots="one") == [("p3", 0), ("p1", 2)]
    fill(begun, row(Tree, "t", run_id="run", prompt_id="p1", root_response_id="a1", stage="search"))
    assert pending(begun, "search", roots="one") == [("p3", 0)]
    assert pending(begun, "search", roots="every") == [("p3", 0), ("p1", 2)]
    assert pending(begun, "search", roots="one", stage="again") == [("p3", 0), ("p1", 2)]


def test_a_search_is_begun_by_the_first_of_its_judges_that_has_judged(begun: Lake) -> None:
    fill(
        begun,
        sampled("a1"), *votes("a1", "n"), *votes("a1", "y", judge="strict", kind="votes"),
        sampled("a2", prompt_id="p2"), *votes("a2", "n", judge="strict", kind="votes", prompt_id="p2"),
    )  # fmt: skip
    assert pending(begun, "search", roots="one", judges=["votes", "strict"]) == [("p2", 1), ("p1", 2)]
    assert pending(begun, "search", roots="one", judges=["strict", "votes"]) == [("p2", 1)]
    assert pending(begun, "search", roots="one", judges=["votes"]) == [("p1", 2)]


def test_another_judge_has_prompts_pending_that_the_first_has_judged(begun: Lake) -> None:
    fill(begun, sampled("a1"), *votes("a1", "y"))
    assert pending(begun, "judge") == []
    assert pending(begun, "judge", judges=["strict"]) == [("p1", 2)]


def test_the_verifier_has_only_prompts_with_constraints_pending(begun: Lake) -> None:
    fill(
        begun,
        row(Prompt, "p1", constraints=[]), sampled("a1"),
        row(Prompt, "p2", constraints=[Constraint("punctuation:no_comma", "{}")]), sampled("a2", prompt_id="p2"),
    )  # fmt: skip
    assert pending(begun, "judge", judges=["verifier"], kind="verifier") == [("p2", 1)]


def test_answers_that_are_not_compared_in_both_orders_are_pending_for_compare(begun: Lake) -> None:
    fill(begun, sampled("a1"), sampled("b1"), sampled("a2", prompt_id="p2"), compared("a1", "b1", 0.5))
    assert pending(begun, "compare") == [("p1", 2)]
    fill(begun, compared("b1", "a1", None))
    assert pending(begun, "compare") == []


def test_answers_of_another_run_are_pending_until_this_one_has_judged_and_compared_them(begun: Lake) -> None:
    theirs = {"run_id": "their", "kind": "imported"}
    fill(
        begun,
        *(sampled(f"t{i}", **theirs) for i in (1, 2, 3)), sampled("a2", prompt_id="p2"), *votes("t1", "y", run_id="their"),
        row(Pair, "pair", run_id="their", prompt_id="p1", chosen_response_id="t1", rejected_response_id="t2"),
        row(Pair, "other way", run_id="their", prompt_id="p1", chosen_response_id="t2", rejected_response_id="t1"),
    )  # fmt: skip
    given = {"answers_of": "their", "kinds": ["imported"]}
    assert pending(begun, "judge", **given) == [("p1", 2)]
    assert pending(begun, "judge", answers_of="their") == []  # none of them is sampled
    fill(begun, *(judgement for i in (1, 2, 3) for judgement in votes(f"t{i}", "y", judge="a gain", kind="votes")))
    assert pending(begun, "judge", judges=["a gain"], **given) == []
    fill(begun, compared("t1", "t2", 0.5), compared("t2", "t1", 0.5))
    assert pending(begun, "compare", which="paired", **given) == []
    assert pending(begun, "compare", which="every", **given) == [("p1", 2)]


def test_reference_answers_are_pending_until_they_are_responses(begun: Lake) -> None:
    fill(begun, row(Prompt, "p1", reference="Yes."), row(Prompt, "p2", reference=""), row(Prompt, "p3"))
    assert pending(begun, "reference") == [("p1", 2)]
    fill(begun, row(Response, "r1", run_id="run", prompt_id="p1", kind="reference"))
    assert pending(begun, "reference") == []


def test_a_setting_of_a_stage_can_be_asked_for_by_its_name() -> None:
    recipe = load_recipe("spar")
    given = [pending_parameters(recipe, entry) for entry in recipe.stages]
    assert given[0]["n"] == 5 and given[1]["kind"] == "votes" and given[2]["roots"] == "one"
    assert [one["judges"] for one in given] == [[], ["votes"], ["votes"]]


def test_prompts_with_an_answer_whose_claims_are_not_taken_out_are_pending_for_claims(begun: Lake) -> None:
    call = {"run_id": "run", "stage": "claims"}
    fill(
        begun,
        sampled("a1", text="same"), sampled("a1b", text="same"), row(Call, "c1", prompt_id="p1", response_ids=["a1"], **call),
        sampled("a2", prompt_id="p2"), sampled("a2b", prompt_id="p2", text="other"),
        row(Call, "c2", prompt_id="p2", response_ids=["a2"], **call),
        sampled("a3", prompt_id="p3", flaw="empty"),
    )  # fmt: skip
    assert pending(begun, "claims") == [("p2", 1)]  # equal answers share a call, and an answer may make no claim
    fill(begun, row(Call, "c3", prompt_id="p2", response_ids=["a2b"], error="refused: no", **call))
    assert pending(begun, "claims") == []
