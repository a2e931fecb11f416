"""Constraints: each kind is asked for, and a failure is told in words that help to mend it."""

import importlib
import json
import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.constraint_conflicts import why_impossible
from factory.constraints import describe, join_prompt, read_constraint_table, verify
from factory.ifeval_checkers import known_kinds, required_arguments, split_sentences, split_words
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from schemas.tables import Constraint


@dataclass(frozen=True)
class Example:
    """One kind of constraint with an answer on either side of it."""

    kind: str
    asked: str  # part of the sentence in the prompt
    passing: str
    failing: str
    critique: str  # part of what is said of the failing answer
    kwargs: dict[str, Any] = field(default_factory=dict)


EXAMPLES = [
    Example(
        "keywords:existence",
        '"bread", "salt"',
        "Bake the bread with a little salt.",
        "Bake the bread slowly.",
        'does not contain "salt"',
        {"keywords": ["bread", "salt"]},
    ),
    Example(
        "keywords:frequency",
        '"oven" should appear less than 2 times',
        "Heat the oven first.",
        "Heat the oven. Open the oven. Clean the oven.",
        '"oven" appears 3 times, but less than 2 were asked for',
        {"keyword": "oven", "frequency": 2, "relation": "less than"},
    ),
    Example(
        "keywords:forbidden_words",
        '"just", "very"',
        "It is every bit as good.",
        "It is very, very good.",
        'uses "very" (2 times)',
        {"forbidden_words": ["just", "very"]},
    ),
    Example(
        "keywords:letter_frequency",
        '"e" should appear at least 4 times',
        "We need the bees.",
        "We nod.",
        '"e" appears 1 time, but at least 4 were asked for',
        {"letter": "e", "let_frequency": 4, "let_relation": "at least"},
    ),
    Example(
        "language:response_language",
        "in French",
        "Le chat est assis dans le jardin et il regarde les oiseaux.",
        "The cat is sitting in the garden and looking at the birds.",
        "reads as English, but it should be in French",
        {"language": "fr"},
    ),
    Example(
        "length_constraints:number_sentences",
        "less than 3 sentences",
        "Dr. Grey paid 3.50 for it. He was content.",
        "One came. Two came. Three came.",
        "has 3 sentences, but less than 3 were asked for: take out at least 1",
        {"num_sentences": 3, "relation": "less than"},
    ),
    Example(
        "length_constraints:number_paragraphs",
        "exactly 2 paragraphs",
        "Water the seeds.\n***\nThen wait a week.",
        "Water the seeds.\n\nThen wait a week.",
        "has 1 paragraph, but exactly 2 were asked for: add 1",
        {"num_paragraphs": 2},
    ),
    Example(
        "length_constraints:number_words",
        "at least 6 words",
        "Six words are enough for this.",
        "Four words, no more.",
        "has 4 words, but at least 6 were asked for: add at least 2",
        {"num_words": 6, "relation": "at least"},
    ),
    Example(
        "length_constraints:nth_paragraph_first_word",
        'paragraph 2 with the word "finally"',
        "Dig a hole.\n\nFinally, plant the tree.",
        "Dig a hole.\n\nThen plant the tree.",
        'Paragraph 2 starts with "Then" instead of "finally"',
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "finally"},
    ),
    Example(
        "detectable_content:number_placeholders",
        "at least 2 placeholders",
        "Dear [name], see you on [date].",
        "Dear [name], see you soon.",
        "has 1 placeholder, but at least 2 were asked for",
        {"num_placeholders": 2},
    ),
    Example(
        "detectable_content:postscript",
        '"P.S."',
        "See you soon.\nP.S. Bring the keys.",
        "See you soon. Bring the keys.",
        'no postscript: add one at the end that starts with "P.S."',
        {"postscript_marker": "P.S."},
    ),
    Example(
        "detectable_format:number_bullet_lists",
        "exactly 3 bullet points",
        "Pack these:\n* socks\n* a map\n* water",
        "Pack these:\n* socks\n* a map\n* water\n- tea\n- soap",
        "has 5 bullet points, but exactly 3 were asked for: take out 2",
        {"num_bullets": 3},
    ),
    Example(
        "detectable_format:constrained_response",
        '"My answer is maybe."',
        "My answer is no. It is too cold.",
        "No, it is too cold.",
        'none of the sentences "My answer is yes."',
    ),
    Example(
        "detectable_format:number_highlighted_sections",
        "at least 2 parts",
        "First *stretch* and then **walk slowly**.",
        "First *stretch* and then walk slowly.",
        "has 1 highlighted part, but at least 2 were asked for",
        {"num_highlights": 2},
    ),
    Example(
        "detectable_format:multiple_sections",
        '"Part 1", "Part 2" and so on',
        "Part 1\nMix it.\nPart 2\nBake it.",
        "Part 1\nMix it.\nThen bake it.",
        "has 1 section, but at least 2 were asked for",
        {"section_spliter": "Part", "num_sections": 2},
    ),
    Example(
        "detectable_format:json_format",
        "valid JSON",
        '```json\n{"items": ["hammer", "tape"]}\n```',
        'Here you are: {"items": []}',
        "not valid JSON (Expecting value at line 1, column 1)",
    ),
    Example(
        "detectable_format:title",
        "<<title>>",
        "<<Rain>>\nIt rains.",
        "Rain\nIt rains.",
        "no title in double angle brackets",
    ),
    Example(
        "combination:two_responses",
        "******",
        "Call her.\n******\nWrite to her.",
        "Call her.",
        "has 1 answer, but exactly 2 were asked for",
    ),
    Example(
        "combination:repeat_prompt",
        "word for word",
        "Why is the sky blue? Because air scatters blue light.",
        "Why is the sea blue? Because water takes up red light.",
        'right up to "Why is the s"',
        {"prompt_to_repeat": "Why is the sky blue?"},
    ),
    Example(
        "startend:end_checker",
        '"I hope this helps." exactly',
        "Oil the hinge. I hope this helps.",
        "Oil the hinge.",
        'ends with "Oil the hinge.", but its last words should be "I hope this helps."',
        {"end_phrase": "I hope this helps."},
    ),
    Example(
        "change_case:capital_word_frequency",
        "at least 2 words",
        "NEVER mix these. DANGER of fire.",
        "Never mix these. DANGER of fire.",
        'has 1 all-capital word, but at least 2 were asked for: add at least 1. Found: "DANGER"',
        {"capital_frequency": 2, "capital_relation": "at least"},
    ),
    Example(
        "change_case:english_capital",
        "capital letters only",
        "PLEASE COME HOME BEFORE THE RAIN STARTS TONIGHT.",
        "PLEASE COME HOME before the rain STARTS TONIGHT.",
        'in capital letters only, but 3 words are not: "before", "the", "rain"',
    ),
    Example(
        "change_case:english_lowercase",
        "lower-case letters only",
        "please come home before the rain starts tonight.",
        "Please come home before the rain starts tonight.",
        'in lower-case letters only, but 1 word is not: "Please"',
    ),
    Example(
        "punctuation:no_comma",
        "any commas",
        "Bring bread and salt.",
        "Bring bread, salt, and oil.",
        'has 2 commas, at "bread,", "salt,"',
    ),
    Example(
        "startend:quotation",
        "double quotation marks",
        '"The bus is late."',
        '"The bus" is late.',
        "no double quotation mark at the end",
    ),
]

CHINESE = [
    Example(
        "keywords:existence",
        "“面粉”、“鸡蛋”",
        "先把面粉和鸡蛋拌在一起。",
        "先把面粉放好。",
        '"鸡蛋"',
        {"keywords": ["面粉", "鸡蛋"]},
    ),
    Example(
        "keywords:frequency",
        "不要出现“盐”",
        "放一点糖。",
        "放一点盐。",
        '"盐" appears 1 time, but it should not appear at all',
        {"keyword": "盐", "frequency": 1, "relation": "less than"},
    ),
    Example(
        "detectable_content:postscript",
        "“附言”",
        "明天见。\n附言 记得带伞。",
        "明天见。",
        '"附言"',
        {"postscript_marker": "附言"},
    ),
    Example(
        "detectable_format:multiple_sections",
        "“小节 1”、“小节 2”",
        "小节 1 洗菜。\n小节 2 下锅。",
        "小节 1 洗菜。",
        "has 1 section",
        {"section_spliter": "小节", "num_sections": 2},
    ),
    Example(
        "startend:end_checker",
        "“希望对你有帮助。”",
        "多喝水。希望对你有帮助。",
        "多喝水。",
        '"希望对你有帮助。"',
        {"end_phrase": "希望对你有帮助。"},
    ),
]

by_kind = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind)
in_chinese = pytest.mark.parametrize("example", CHINESE, ids=lambda example: example.kind)
texts = st.text(alphabet="*-[]<>#\"',. \n\tABab1一SectionP.", max_size=60) | st.text(max_size=40)


def _constraint(example: Example) -> Constraint:
    return Constraint(id=example.kind, kwargs=canonical_json(example.kwargs))


def test_there_is_an_example_of_every_kind() -> None:
    assert sorted(example.kind for example in EXAMPLES) == known_kinds()


@by_kind
def test_each_kind_is_asked_for(example: Example) -> None:
    assert example.asked in describe(_constraint(example), "en")


@in_chinese
def test_a_chinese_prompt_asks_in_chinese(example: Example) -> None:
    assert example.asked in describe(_constraint(example), "zh")


@pytest.mark.parametrize("example", EXAMPLES + CHINESE, ids=lambda example: example.kind)
def test_an_answer_that_follows_passes(example: Example) -> None:
    verification = verify([_constraint(example)], example.passing)
    assert verification.passed
    assert verification.score == 1.0
    assert verification.critique == "The response follows the constraint."


@pytest.mark.parametrize("example", EXAMPLES + CHINESE, ids=lambda example: example.kind)
def test_an_answer_that_does_not_follow_fails_and_is_told_why(example: Example) -> None:
    verification = verify([_constraint(example)], example.failing)
    assert not verification.passed
    assert verification.score == 0.0
    assert example.critique in verification.critique


@by_kind
def test_arguments_survive_json_and_are_all_named(example: Example) -> None:
    constraint = _constraint(example)
    assert json.loads(constraint.kwargs) == example.kwargs
    assert sorted(example.kwargs) == required_arguments(example.kind)


@by_kind
def test_an_empty_answer_follows_nothing(example: Example) -> None:
    for text in ("", " \n\t"):
        verification = verify([_constraint(example)], text)
        assert (verification.passed, verification.score) == (False, 0.0)
        assert "empty" in verification.critique


@given(text=texts, state=st.integers())
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_verdict_that_chance_does_not_change(text: str, state: int) -> None:
    for example in EXAMPLES:
        random.seed(state)
        first = verify([_constraint(example)], text)
        random.seed(state + 1)
        assert verify([_constraint(example)], text) == first
        assert first.critique


@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_counts_in_a_critique_contradict_what_was_asked(text: str) -> None:
    exact = {
        "detectable_format:number_bullet_lists": ("num_bullets", "bullet point"),
        "length_constraints:number_paragraphs": ("num_paragraphs", "paragraph"),
    }
    at_least = {
        "detectable_content:number_placeholders": ("num_placeholders", "placeholder"),
        "detectable_format:number_highlighted_sections": ("num_highlights", "highlighted part"),
    }
    for kind, (name, noun) in {**exact, **at_least}.items():
        for asked in (1, 2, 3):
            constraint = Constraint(id=kind, kwargs=canonical_json({name: asked}))
            critique = verify([constraint], text).critique
            told = [n for n in range(50) if f" {n} {noun}{'s' * (n != 1)}, but" in critique]
            assert len(told) <= 1
            assert all(n != asked if kind in exact else n < asked for n in told)


def test_verifying_leaves_the_global_random_state_alone() -> None:
    random.seed(3)
    before = random.getstate()
    for example in EXAMPLES:
        verify([_constraint(example)], example.failing)
    assert random.getstate() == before


def test_the_score_is_the_share_of_constraints_followed() -> None:
    constraints = [
        Constraint(id="punctuation:no_comma", kwargs="{}"),
        Constraint(id="detectable_format:title", kwargs="{}"),
        Constraint(id="keywords:existence", kwargs='{"keywords":["rain"]}'),
    ]
    verification = verify(constraints, "The rain stops.")
    assert verification.score == pytest.approx(2 / 3)
    assert "title" in verification.critique
    assert "The other 2 constraints are followed" in verification.critique
    assert verify(constraints, "<<Rain>> It stops.").critique == "The response follows all 3 constraints."


def test_keywords_are_words_and_not_patterns() -> None:
    constraint = Constraint(id="keywords:existence", kwargs='{"keywords":["C++ (a.b)"]}')
    assert verify([constraint], "Learn c++ (a.b) first.").passed
    assert not verify([constraint], "Learn C (axb) first.").passed


def test_a_text_without_letters_is_in_no_language() -> None:
    constraint = Constraint(id="language:response_language", kwargs='{"language":"es"}')
    verification = verify([constraint], "1 2 3")
    assert not verification.passed
    assert "is in no language" in verification.critique


def test_brackets_without_end_are_not_json() -> None:
    verification = verify([Constraint(id="detectable_format:json_format", kwargs="{}")], "[" * 100_000)
    assert not verification.passed
    assert "not valid JSON" in verification.critique


def test_sentences_and_words_are_split_without_nltk_data() -> None:
    assert split_sentences("Dr. Lee left at 5 p.m. on Monday. Why?") == [
        "Dr. Lee left at 5 p.m. on Monday.",
        "Why?",
    ]
    assert split_words("I can't. USA!") == ["I", "ca", "n't", ".", "USA", "!"]


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        ("no:such_kind", "{}", "no:such_kind is unknown"),
        ("punctuation:no_comma", "not json", "not valid JSON"),
        ("punctuation:no_comma", "[]", "write a JSON object"),
        (
            "length_constraints:number_words",
            '{"num_words":50}',
            "it takes ['num_words', 'relation']",
        ),
        (
            "length_constraints:number_words",
            '{"num_words":-1,"relation":"at least"}',
            "out of range",
        ),
        ("length_constraints:number_words", '{"num_words":9,"relation":"about"}', "is of no use"),
        (
            "keywords:letter_frequency",
            '{"let_frequency":2,"let_relation":"at least","letter":"#"}',
            "out of range",
        ),
        ("language:response_language", '{"language":"zh"}', "is of no use"),
    ],
)
def test_a_constraint_that_the_checker_would_guess_at_is_refused(kind: str, kwargs: str, said: str) -> None:
    with pytest.raises(FactoryError) as raised:
        verify([Constraint(id=kind, kwargs=kwargs)], "Some text.")
    assert said in str(raised.value)


def test_null_arguments_count_as_absent() -> None:
    kwargs = '{"keywords":null,"num_bullets":1}'
    assert verify([Constraint(id="detectable_format:number_bullet_lists", kwargs=kwargs)], "* tea").passed


def test_a_prompt_without_constraints_is_refused() -> None:
    with pytest.raises(FactoryError, match="without constraints"):
        verify([], "Some text.")


def test_a_kind_without_chinese_wording_is_refused_with_the_reason() -> None:
    with pytest.raises(FactoryError, match="no capital letters"):
        describe(Constraint(id="change_case:english_capital", kwargs="{}"), "zh")


def test_a_prompt_is_the_task_and_its_constraints() -> None:
    constraints = [
        Constraint(id="punctuation:no_comma", kwargs="{}"),
        Constraint(id="detectable_format:number_bullet_lists", kwargs='{"num_bullets":3}'),
    ]
    assert join_prompt("How do I cook rice?", constraints, "en") == (
        "How do I cook rice?\n\n"
        "Do not use any commas in your answer. "
        "Your answer must contain exactly 3 bullet points, "
        'each on its own line that starts with "* ".'
    )


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


def test_every_wording_is_a_full_sentence() -> None:
    for entry in read_constraint_table()["kinds"].values():
        for language, stops in (("en", '."'), ("zh", "。")):
            wordings = entry.get(language, [])
            for wording in wordings.values() if isinstance(wordings, dict) else [wordings]:
                assert not wording or wording[-1] in stops


def test_verifying_is_quiet_and_imports_no_data_set_library() -> None:
    code = (
        "import sys\n"
        "import factory.bundled\n"
        "assert 'if_verifiable.ifeval' not in sys.modules\n"
        "from factory.constraints import verify\n"
        "from schemas.tables import Constraint\n"
        'kwargs = \'{"language":"es"}\'\n'
        "verify([Constraint(id='language:response_language', kwargs=kwargs)], '123')\n"
        "assert 'if_verifiable.ifeval' in sys.modules\n"
        "assert 'datasets' not in sys.modules and 'pandas' not in sys.modules\n"
        "import logging\n"
        "assert not logging.getLogger().handlers\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_package_can_still_be_imported_whole_afterwards() -> None:
    known_kinds()
    package = importlib.import_module("if_verifiable")
    assert callable(package.get_eval_data)
