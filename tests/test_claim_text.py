"""What models write about claims: lists, questions, verdicts and short answers, as they come."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from factory.inference.journal import Choice
from factory.inference.logprobs import TokenLogprob
from factory.recipes.reading import all_settings
from factory.stages.claims import agreement
from factory.work.claim_text import group_answers, normalised, read_claims, read_question, read_support
from schemas.tables import Evidence

TWO = ["The Elbe is a river.", "It is long."]


@pytest.mark.parametrize(
    "text",
    [
        "- The Elbe is a river.\n- It is long.",
        "Here are the claims:\n\n* The Elbe is a river.\n* It is long.\n\nI hope this helps!",
        "1. The Elbe is a river.\n2. It is long.",
        "(1) The Elbe is a river.\n(2) It is long.",
        "1) **The Elbe is a river.**\n2) It is long.",
        "• “The Elbe is a river.”\n• It is long.",
        "The Elbe:\n  - The Elbe is a river.\n  - It is long.\n  - the elbe is a river.",
        '["The Elbe is a river.", "It is long."]',
        '```json\n["The Elbe is a river.", "It is long."]\n```',
        "The Elbe is a river.\nIt is long.",
        "- Of the Elbe:\n  - The Elbe is a river.\n  - It is long.",
    ],
)
def test_a_list_of_claims_is_read_however_it_is_written(text: str) -> None:
    assert read_claims(text) == TWO


@pytest.mark.parametrize(
    "text",
    ["", "None", "- None.", "none", "The response makes no factual claims.", "No claims are made.", "- No factual claims", "[]",
     "[1, 2]", "无", "- \n-"],
)  # fmt: skip
def test_a_reply_without_claims_gives_none(text: str) -> None:
    assert read_claims(text) == []


def test_the_last_line_of_a_list_that_was_cut_off_is_left_out() -> None:
    assert read_claims("- The Elbe is a river.\n- The Elbe is not", "length") == TWO[:1]


def test_numbers_and_signs_within_a_claim_stay() -> None:
    lines = [
        "The Elbe is 1,094 km long.",
        "1848 was a year of revolutions.",
        "3.5 million people live there.",
        "-3 °C is cold.",
    ]
    assert read_claims("\n".join(f"- {line}" for line in lines)) == lines


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Where does it rise?", "Where does it rise?"),
        ("Question: Where does it rise?\nAnswer: there", "Where does it rise?"),
        ("Here is one:\n\n**Where does it rise?**", "Where does it rise?"),
        ("它从哪里来？", "它从哪里来？"),
        ("State its source.", "State its source."),
        (" \n", None),
    ],
)
def test_questions(text: str, question: str | None) -> None:
    assert read_question(text) == question


def vote(text: str, shares: Mapping[str, float] | None = None) -> Choice:
    top = {word: math.log(share) for word, share in (shares or {}).items()}
    return Choice(text, "stop", 1, [TokenLogprob(text, top[text], top)] if shares else None)


@pytest.mark.parametrize(
    ("votes", "support"),
    [
        ([vote("True")], 1.0),
        ([vote("False.")], 0.0),
        ([vote("Unknown")], None),
        ([vote("The claim is true.")], 1.0),
        ([vote("The claim is not true.")], None),
        ([vote("It is true or false.")], None),
        ([vote("maybe")], None),
        ([vote("")], None),
        ([], None),
        ([vote("**True**"), vote("false"), vote("gibberish")], 0.5),
        ([vote("True"), vote("Unknown")], None),  # half of the votes: not said
        ([vote("True"), vote("True"), vote("Unknown")], 1.0),
        ([vote("True", {" True": 0.1, "True": 0.5, "F": 0.2, "Unknown": 0.2})], 0.75),
        ([vote("Unknown", {"True": 0.3, "False": 0.2, "Unknown": 0.5})], None),
        ([vote("Unknown", {"True": 0.3, "False": 0.3, "Unknown": 0.4})], 0.5),
    ],
)
def test_support_is_the_probability_of_true_among_true_and_false(votes: list[Choice], support: float | None) -> None:
    found = read_support(votes)
    assert found == (None if support is None else pytest.approx(support, abs=1e-3))


def test_a_vote_without_log_probabilities_counts_only_where_they_are_not_required() -> None:
    votes = [vote("True", {"True": 0.6, "False": 0.4}), vote("False")]
    assert read_support(votes) == pytest.approx(0.3)
    assert read_support(votes, required=True) == pytest.approx(0.6)
    assert read_support(votes[1:], required=True) is None


def test_equal_short_answers_are_grouped() -> None:
    texts = ["Paris", "paris.", "The Paris", "Paris. It is", "Lyon", "Lyon\nbecause", " ", "1,094 km", "St. Gallen"]
    assert group_answers(texts) == [
        Evidence(None, "Paris", 0.5), Evidence(None, "Lyon", 0.25), Evidence(None, "1,094 km", 0.125),
        Evidence(None, "St. Gallen", 0.125),
    ]  # fmt: skip
    assert group_answers([]) == group_answers(["", "…"]) == []
    assert normalised("The  U.S.A.") == "u s a" and normalised("theatre") == "theatre"


@pytest.mark.parametrize(
    ("how", "value"),
    [("largest", 0.5), ("squares", 0.375), ("entropy", 1 - 1.5 / 2)],  # of 4 samples; entropy: 1.5 bits of at most 2
)
def test_how_far_answers_agree(how: str, value: float) -> None:
    settings: Any = all_settings()["claims"](method="samples", samples=4, agreement=how)
    assert agreement([0.5, 0.25, 0.25], settings) == pytest.approx(value)
    assert agreement([1.0], settings) == 1.0
    assert agreement([0.25] * 4, settings) == pytest.approx({"largest": 0.25, "squares": 0.25, "entropy": 0.0}[how])
    assert agreement([], settings) is None
