"""Votes and labels of one word, read from log-probabilities whatever was written, else from the word itself."""

import math
from typing import Any

import pytest

from factory.inference.journal import Choice
from factory.inference.logprobs import TokenLogprob, opening_probabilities
from factory.judges.votes import read_word_vote
from factory.recipes.reading import recipe_of
from factory.work.comparing import first_is_better
from schemas.errors import FactoryError


def tokens(written: str, shares: dict[str, float]) -> list[TokenLogprob]:
    return [TokenLogprob(written, 0.0, {text: math.log(share) for text, share in shares.items()})]


@pytest.mark.parametrize(
    ("shares", "found"),
    [
        ({"Yes": 0.3, "No": 0.1}, {"yes": 0.75, "no": 0.25}),
        ({"Yes": 0.2, " yes": 0.1, "YES": 0.1, "no": 0.1, "The": 0.5}, {"yes": 0.8, "no": 0.2}),
        ({"Y": 0.3, "N": 0.1}, {"yes": 0.75, "no": 0.25}),
        ({"Not": 0.5, "Nothing": 0.2, "Yes": 0.1}, {"yes": 1.0}),
        ({"The": 0.9, "": 0.1}, None),
        ({}, None),
    ],
)
def test_labels_are_read_at_the_first_word(shares: dict[str, float], found: dict[str, float] | None) -> None:
    assert opening_probabilities(tokens("The", shares), ("yes", "no")) == (found and pytest.approx(found))


def test_white_space_before_the_word_is_passed_over() -> None:
    assert opening_probabilities([TokenLogprob("\n", 0.0, {"No": -1.0}), *tokens("1", {"1": 1.0})], ("1", "2")) == {
        "1": 1.0
    }
    assert opening_probabilities([], ("1", "2")) is None


@pytest.mark.parametrize(
    ("text", "verdict", "value"),
    [
        ("Yes", "yes", 1.0),
        ("**No.**", "no", 0.0),
        (" yes, it does", "yes", 1.0),
        ("Nothing", "unparsed", None),
        ("It is", "unparsed", None),
    ],
)
def test_without_log_probabilities_the_word_itself_counts(text: str, verdict: str, value: float | None) -> None:
    vote = read_word_vote(Choice(text, "length", None))
    assert (vote.verdict, vote.value, vote.critique) == (verdict, value, text)


def test_the_likelier_word_counts_even_if_another_was_drawn() -> None:
    vote = read_word_vote(Choice("No", "stop", None, logprobs=tokens("No", {"Yes": 0.6, "No": 0.4})))
    assert (vote.verdict, vote.value) == ("yes", pytest.approx(0.6))
    assert (
        read_word_vote(Choice("No", "stop", None, logprobs=tokens("No", {"Yes": 0.4, "No": 0.4}))).verdict == "unparsed"
    )


def test_a_label_without_reasons_counts_even_if_it_was_not_written() -> None:
    choice = Choice("The", "length", None, logprobs=tokens("The", {"The": 0.8, "1": 0.03, "2": 0.01}))
    assert first_is_better([choice], reasons=False) == pytest.approx(0.75)
    assert first_is_better([choice]) is None
    assert first_is_better([Choice("2", "stop", None)], reasons=False) == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answers": None}, r"stages\.compare\.which is paired, but a run's own pairs are made after its stages"),
        ({"stages": [{"stage": "sample"}]}, r"stages\.sample cannot work on answers of another run"),
        ({"pairs": ["all_ordered"]}, r"pairs are made of a run's own answers, not of another's"),
        ({"answers": {"of": "x"}}, r"answers: unknown key 'of'"),
    ],
)
def test_answers_of_another_run_are_only_judged_and_compared(changes: dict[str, Any], said: str) -> None:
    document: dict[str, Any] = {
        "name": "x",
        "models": {"refiner": {"endpoint": "http://127.0.0.1:1/v1"}, "actor": {"endpoint": "http://127.0.0.1:1/v1"}},
        "answers": {"run": "r"},
        "stages": [{"stage": "compare", "which": "paired"}],
        "pairs": [],
    }
    recipe = recipe_of(document, "recipe x")
    assert recipe.hash() != recipe_of({**document, "answers": {"run": "s"}}, "recipe x").hash()
    sampled = {"stages": [{"stage": "sample"}, *document["stages"]]} if "answers" in changes else {}
    with pytest.raises(FactoryError, match=said):
        recipe_of({**document, **sampled, **changes}, "recipe x")
