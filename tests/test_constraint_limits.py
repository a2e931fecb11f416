"""Where IFEval's checkers err, the verdict is theirs, but a critique says nothing untrue; the impossible is named."""

import json
from typing import Any

import pytest

from factory.verifier.constraints import verify
from factory.verifier.never import why_never
from schemas.errors import FactoryError
from schemas.tables import Constraint
from tests.constraint_examples import CHINESE, EXAMPLES

FIRST_WORD = "length_constraints:nth_paragraph_first_word"


def constraint(id: str, **kwargs: Any) -> Constraint:
    return Constraint(id, json.dumps(kwargs))


@pytest.mark.parametrize(
    ("given", "text", "said", "unsaid"),
    [
        (
            constraint(FIRST_WORD, num_paragraphs=2, nth_paragraph=2, first_word="don't"),
            "Rain falls.\n\nDon't go.",
            "No answer can meet length_constraints:nth_paragraph_first_word, because the checker reads a first word only",
            "instead of",
        ),
        (
            constraint(FIRST_WORD, num_paragraphs=2, nth_paragraph=2, first_word="snow"),
            "Rain falls.\r\n\r\nSnow stays.",
            "Its lines end in carriage returns",
            "1 paragraph",
        ),
        (
            constraint("keywords:frequency", keyword="art", relation="less than", frequency=1),
            "We start. A part.",
            'The word "art" appears 2 times (counted inside longer words, too)',
            "appears 2 times,",
        ),
        (
            constraint("length_constraints:number_words", relation="less than", num_words=5),
            "don't can't won't isn't",
            '8 words, but less than 5 were asked for: take out at least 4. (Words are counted without marks: "don\'t"',
            "",
        ),
        (
            constraint("length_constraints:number_words", relation="at least", num_words=8),
            "今天下雪了，我们都很高兴。",
            "(Letters without a space or mark between them are counted as one word.)",
            "",
        ),
        (
            constraint("startend:quotation"),
            "“All of this is quoted.”",
            "no straight double quotation mark at the start and at the end",
            "no double quotation mark",
        ),
        (
            constraint("detectable_content:postscript", postscript_marker="P.P.S"),
            "Dear all.\n\nP.S. I was late.",
            "The response has no postscript of this kind",
            "no postscript:",
        ),
        (
            constraint("detectable_format:number_bullet_lists", num_bullets=2),
            "* one\n* two\n\n---\nend",
            'A line such as "---" is counted, too.',
            "",
        ),
        (
            constraint("language:response_language", language="pt"),
            "Good day to you.",
            "(a guess: a text of a few words is often misread)",
            "",
        ),
    ],
)
def test_a_critique_says_nothing_untrue(given: Constraint, text: str, said: str, unsaid: str) -> None:
    found = verify([given], text)
    assert not found.passed and said in found.critique
    assert not unsaid or unsaid not in found.critique


@pytest.mark.parametrize(
    "given",
    [
        constraint(FIRST_WORD, num_paragraphs=2, nth_paragraph=2, first_word="don't"),
        constraint(FIRST_WORD, num_paragraphs=2, nth_paragraph=2, first_word="e.g."),
        constraint(FIRST_WORD, num_paragraphs=2, nth_paragraph=2, first_word="in short"),
        constraint("length_constraints:number_paragraphs", num_paragraphs=0),
        constraint("length_constraints:number_sentences", relation="less than", num_sentences=1),
        constraint("keywords:frequency", keyword="art", relation="less than", frequency=0),
    ],
)
def test_what_no_answer_can_meet_is_named(given: Constraint) -> None:
    assert why_never(given)
    for text in (
        "Don't.\n\nDon't go.",
        "E.g. this\n\ne.g. that",
        "In short\n\nIn short, yes",
        "x",
        "One. Two.",
        "\n\n",
    ):
        assert not verify([given], text).passed


def test_what_an_answer_can_meet_is_not_called_impossible() -> None:
    assert not [example.kind for example in EXAMPLES + CHINESE if why_never(example.constraint())]


@pytest.mark.parametrize("odd", [3, -1.5, "", "x", [], [3], [[1]], {}, {"a": 1}, True, float("inf")])
def test_arguments_of_another_type_are_refused_before_an_answer_is_read(odd: Any) -> None:
    for example in EXAMPLES:
        for name in example.kwargs:
            given = Constraint(example.kind, json.dumps({**example.kwargs, name: odd}))
            try:
                verify([given], example.failing)
                verify([given], example.passing)
            except FactoryError as error:
                assert example.kind in str(error)


def test_a_sign_is_counted_as_a_letter_as_the_data_of_ifeval_ask() -> None:
    given = constraint("keywords:letter_frequency", letter="#", let_relation="at least", let_frequency=2)
    assert verify([given], "#tea #rain").passed
    assert 'The letter "#" appears 1 time' in verify([given], "#tea").critique
