"""Log-probabilities: read as endpoints give them, kept in the journal, and used by judges."""

import asyncio
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from factory.inference.connect import connect
from factory.inference.endpoints import Sampling
from factory.inference.journal import Journal, Reply
from factory.inference.logprobs import TokenLogprob, digit_expectation, label_probabilities, read_tokens
from factory.inference.replies import read_completion
from factory.inference.settings import ModelSettings
from schemas.tables import Message
from tests.scripted_endpoint import Request, Tokens, running_endpoint

SCORE = Tokens([("Score", {}), (":", {":": 1.0}), (" 7", {" 7": 0.5, " 8": 0.25, "7": 0.125, " many": 0.125})])


def token(text: str, /, **alternatives: float) -> TokenLogprob:
    """A token with the probabilities of its alternatives; _7 is '7', and an underscore inside is a space."""
    top = {name[1:].replace("_", " "): math.log(value) for name, value in alternatives.items()}
    return TokenLogprob(text, top.get(text, 0.0), top)


def given(text: str, logprob: float = -0.5, **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, **more}


# Read


def test_tokens_and_their_alternatives_are_read() -> None:
    tokens = read_tokens(SCORE.logprobs(2), SCORE.text)
    assert tokens is not None
    assert [token.token for token in tokens] == ["Score", ":", " 7"]
    assert tokens[0].top == {}
    assert tokens[2].logprob == pytest.approx(math.log(0.5), abs=1e-6)
    assert tokens[2].top == pytest.approx({" 7": math.log(0.5), " 8": math.log(0.25)}, abs=1e-6)


def test_the_token_that_was_taken_is_always_among_the_alternatives() -> None:
    (found,) = read_tokens({"content": [given("x", -4.0, top_logprobs=[given("y", -0.1)])]}, "x") or []
    assert found.top == {"y": -0.1, "x": -4.0}


def test_alternatives_of_one_text_are_added_up() -> None:
    twice = [given("1", math.log(0.25)), given("1", math.log(0.5)), given("2", math.log(0.25))]
    (found,) = read_tokens({"content": [given("1", math.log(0.5), top_logprobs=twice)]}, "1") or []
    assert found.top == pytest.approx({"1": math.log(0.75), "2": math.log(0.25)}, abs=1e-6)


def test_a_character_of_several_tokens_is_in_the_last_of_them() -> None:
    parts = [given("\ufffd", bytes=list(part)) for part in ("👍".encode()[:2], "👍".encode()[2:], b" 7")]
    tokens = read_tokens({"content": parts}, "👍 7")
    assert tokens is not None and [token.token for token in tokens] == ["", "👍", " 7"]


@pytest.mark.parametrize("before", ["<think>7</think>", " ", "```json\n"])
def test_what_an_endpoint_cuts_off_before_the_text_is_left_out(before: str) -> None:
    content = [given(before), given("\n 4"), given("2"), given("<|end|>")]
    tokens = read_tokens({"content": content}, "42")
    assert tokens is not None and [token.token for token in tokens] == ["4", "2", "<|end|>"]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        {},
        {"content": None},
        {"content": "x"},
        {"content": [None]},
        {"content": [{"token": "x"}]},
        {"content": [given("y")]},
        {"content": [given("x", None)]},  # type: ignore[arg-type]
        {"content": [given("x", True)]},
        {"content": [given("x", 1.0)]},
        {"content": [given("x", 10**400)]},
        {"content": [given("x", float("-inf"))]},
        {"content": [given("x", float("nan"))]},
        {"content": [given("x", bytes=[300])]},
        {"content": [given(None)]},  # type: ignore[arg-type]
        {"content": [given("x", top_logprobs=[given("y", float("nan"))])]},
        {"content": [given("x", top_logprobs=["y"])]},
        {"content": [given("x", top_logprobs=3)]},
    ],
    ids=repr,
)
def test_odd_shapes_are_none_and_the_answer_is_taken(odd: Any) -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "stop", "logprobs": odd}
    ((read,), _, _) = read_completion({"choices": [choice]})
    assert (read.text, read.logprobs) == ("x", None)


# What judges make of them


def test_labels_are_added_up_over_their_spellings_and_normalised() -> None:
    tokens = read_tokens(SCORE.logprobs(20), SCORE.text)
    assert tokens is not None
    found = label_probabilities(tokens, SCORE.text.index("7"), ["7", "8", "9"])
    assert found == pytest.approx({"7": 0.625 / 0.875, "8": 0.25 / 0.875}, abs=1e-6)


def test_a_label_may_be_glued_to_what_stands_before_it_and_begun_by_its_token_alone() -> None:
    tokens = [
        TokenLogprob("Better", 0.0),
        token(":fir", **{"_:fir": 0.6, "_:_second": 0.2, "_first": 0.2}),
        token("st"),
    ]
    assert label_probabilities(tokens, 7, ["first", "second"]) == pytest.approx({"first": 0.75, "second": 0.25})


@pytest.mark.parametrize(
    ("tokens", "offset"),
    [
        ([], 0),
        ([token("1", _1=0.5, _2=0.5)], 1),  # the text ends before
        ([TokenLogprob("1", -0.1)], 0),  # no alternatives
        ([token("3", _1=0.5, _3=0.5)], 0),  # another word stands there
        ([token("s", _s=0.5, _1=0.5)], 0),
    ],
    ids=["nothing", "too short", "no alternatives", "no label", "no label's beginning"],
)
def test_without_a_label_or_alternatives_there_are_no_probabilities(tokens: list[TokenLogprob], offset: int) -> None:
    assert label_probabilities(tokens, offset, ["1", "2"]) is None
    assert digit_expectation(tokens, offset, 1, 2) is None or tokens[0].token == "3"


def test_a_beginning_that_two_labels_share_is_none_of_them() -> None:
    found = label_probabilities([token("sec", _s=0.5, _sec=0.25, _sc=0.25)], 0, ["second", "score"])
    assert found == pytest.approx({"second": 0.5, "score": 0.5})


def test_an_expectation_is_the_sum_over_digits() -> None:
    tokens = [TokenLogprob("Points:", 0.0), token(" 8", **{"__8": 0.5, "_9": 0.2, "__7": 0.2, "_0": 0.1})]
    probabilities, expected = digit_expectation(tokens, 8) or ({}, 0)
    assert probabilities == pytest.approx({"7": 0.2 / 0.9, "8": 0.5 / 0.9, "9": 0.2 / 0.9})
    assert list(probabilities) == ["7", "8", "9"]
    assert expected == pytest.approx((7 * 0.2 + 8 * 0.5 + 9 * 0.2) / 0.9)


def test_ten_as_one_token_is_ten_and_one_is_one() -> None:
    probabilities, expected = digit_expectation([token("8", _8=0.5, _10=0.3, _1=0.2)], 0) or ({}, 0)
    assert probabilities == pytest.approx({"1": 0.2, "8": 0.5, "10": 0.3})
    assert expected == pytest.approx(0.2 + 4 + 3)


@pytest.mark.parametrize("second", ["0", "."])
def test_where_the_answer_took_1_the_next_token_divides_it_into_1_and_10(second: str) -> None:
    first = token("1", **{"_1": 0.5, "__1": 0.1, "_7": 0.3, "_9": 0.1})
    tokens = [first, token(second, **{"_0": 0.7, "_.": 0.1, "_5": 0.1})]  # 15 is no label; a tenth is not listed
    probabilities, expected = digit_expectation(tokens, 0) or ({}, 0)
    shares = {"1": 0.6 * 0.2, "7": 0.3, "9": 0.1, "10": 0.6 * 0.7}
    total = sum(shares.values())
    assert probabilities == pytest.approx({label: share / total for label, share in shares.items()})
    assert expected == pytest.approx((0.12 + 2.1 + 0.9 + 4.2) / total)


@pytest.mark.parametrize("after", [[], [TokenLogprob("0", -0.1)]], ids=["the end", "no alternatives"])
def test_where_nothing_divides_the_1_that_was_taken_it_is_what_was_written(after: list[TokenLogprob]) -> None:
    probabilities, _ = digit_expectation([token("1", _1=0.5, _7=0.5), *after], 0) or ({}, 0)
    assert probabilities == pytest.approx({"10" if after else "1": 0.5, "7": 0.5})


@pytest.mark.parametrize("second", [".", ""])
def test_the_end_of_the_answer_ends_a_number_too(second: str) -> None:
    tokens = [token("1", _1=0.5, _7=0.5), token(second, **{"_.": 0.5, "_": 0.5})]
    probabilities, _ = digit_expectation(tokens, 0) or ({}, 0)
    assert probabilities == pytest.approx({"1": 0.5, "7": 0.5})


def test_a_1_that_nobody_can_divide_is_left_out() -> None:
    probabilities, expected = digit_expectation([token("7", _7=0.5, _8=0.25, _1=0.25)], 0) or ({}, 0)
    assert probabilities == pytest.approx({"7": 2 / 3, "8": 1 / 3})
    assert expected == pytest.approx(22 / 3)
    _, expected = digit_expectation([token("2", _1=0.45, _2=0.5, _3=0.05)], 0) or ({}, 0)
    assert round(expected, 2) == 2.09, "the example of docs/methods/rlaif.md"


def test_a_scale_of_a_hundred_goes_three_digits_deep() -> None:
    tokens = [token("1", _1=0.8, _9=0.2), token("0", _0=0.5, _2=0.5), token("0", **{"_0": 0.25, "_.": 0.75})]
    probabilities, _ = digit_expectation(tokens, 0, 0, 100) or ({}, 0)
    # After 9 more digits might follow; 12 is 12.
    assert probabilities == pytest.approx({"10": 0.3 / 0.8, "12": 0.4 / 0.8, "100": 0.1 / 0.8})


# Asked for, answered, kept


def test_parameters_and_hashes_change_only_where_log_probabilities_are_asked_for() -> None:
    plain = Sampling(temperature=0.7, top_p=0.9, max_tokens=10, n=5)
    assert plain.parameters() == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 10}
    asked = Sampling(temperature=0.7, top_p=0.9, max_tokens=10, n=5, logprobs=True)
    assert asked.parameters() == plain.parameters() | {"logprobs": True}
    with_top = Sampling(temperature=0.7, top_p=0.9, max_tokens=10, n=5, top_logprobs=3)
    assert with_top.parameters() == plain.parameters() | {"logprobs": True, "top_logprobs": 3}


def test_an_endpoint_is_asked_for_them_and_the_journal_keeps_them(tmp_path: Path) -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=10, n=2, logprobs=True, top_logprobs=3)
    bodies: list[dict[str, Any]] = []

    def score(request: Request) -> list[Tokens]:
        bodies.append(request.body)
        return [SCORE] * request.n

    async def ask(journal: Journal) -> Reply:
        async def write_down(reply: Reply) -> None:
            await journal.record("hash", reply, "run", "refiner")

        async with connect("refiner", ModelSettings(endpoint=(endpoint.url,))) as model:
            return await model.ask([Message("user", "Points?")], sampling, 1, write_down)

    with running_endpoint(score) as endpoint, closing(Journal(tmp_path / "journal.sqlite")) as journal:
        reply = asyncio.run(ask(journal))
        assert journal.find("hash") == reply
    assert (bodies[0]["logprobs"], bodies[0]["top_logprobs"]) == (True, 3)
    for choice in reply.choices:
        assert choice.logprobs is not None and len(choice.logprobs[2].top) == 3
