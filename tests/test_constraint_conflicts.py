"""Conflicting constraints are detected before they are combined in a prompt."""

from typing import Any

import pytest

from factory.verifier.conflicts import why_impossible
from schemas.ids import canonical_json
from schemas.tables import Constraint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            ("keywords:existence", {"keywords": ["salt"]}),
            ("keywords:forbidden_words", {"forbidden_words": ["salt"]}),
        ),
        (
            ("keywords:existence", {"keywords": ["salt"]}),
            ("keywords:frequency", {"keyword": "salt", "frequency": 1, "relation": "less than"}),
        ),
        (("startend:end_checker", {"end_phrase": "Well, bye."}), ("punctuation:no_comma", {})),
        (
            ("combination:repeat_prompt", {"prompt_to_repeat": "If so, why?"}),
            ("punctuation:no_comma", {}),
        ),
        (
            ("combination:repeat_prompt", {"prompt_to_repeat": "Why is it so?"}),
            ("keywords:forbidden_words", {"forbidden_words": ["so"]}),
        ),
        (
            ("startend:end_checker", {"end_phrase": "The end."}),
            ("keywords:forbidden_words", {"forbidden_words": ["end"]}),
        ),
        (
            (
                "length_constraints:nth_paragraph_first_word",
                {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "also"},
            ),
            ("keywords:forbidden_words", {"forbidden_words": ["also"]}),
        ),
        (
            ("keywords:existence", {"keywords": ["kick", "knock"]}),
            (
                "keywords:letter_frequency",
                {"letter": "k", "let_frequency": 4, "let_relation": "less than"},
            ),
        ),
        (
            ("length_constraints:number_paragraphs", {"num_paragraphs": 4}),
            ("length_constraints:number_words", {"num_words": 40, "relation": "less than"}),
        ),
        (
            ("detectable_format:number_bullet_lists", {"num_bullets": 5}),
            ("length_constraints:number_sentences", {"num_sentences": 5, "relation": "less than"}),
        ),
        (
            ("length_constraints:number_words", {"num_words": 100, "relation": "at least"}),
            ("length_constraints:number_sentences", {"num_sentences": 4, "relation": "less than"}),
        ),
        (("change_case:english_capital", {}), ("change_case:english_lowercase", {})),
        (
            ("change_case:english_capital", {}),
            ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}),
        ),
        (("startend:quotation", {}), ("detectable_format:json_format", {})),
        (("detectable_format:title", {}), ("detectable_format:title", {})),
    ],
)
def test_the_impossible_is_seen_from_both_sides(
    first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]]
) -> None:
    a, b = (Constraint(id=kind, kwargs=canonical_json(kwargs)) for kind, kwargs in (first, second))
    assert why_impossible([a, b]) is not None
    assert why_impossible([b, a]) is not None


def test_what_can_stand_together_is_let_through() -> None:
    constraints = [
        Constraint(id="punctuation:no_comma", kwargs="{}"),
        Constraint(id="startend:end_checker", kwargs='{"end_phrase":"The end."}'),
        Constraint(id="length_constraints:number_words", kwargs='{"num_words":60,"relation":"less than"}'),
    ]
    assert why_impossible(constraints) is None
