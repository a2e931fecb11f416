"""Constraints: each kind is worded in the prompt, and a failure is described in words that help to fix it."""

import importlib
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.verifier.checkers import known_kinds, required_arguments, split_sentences, split_words
from factory.verifier.constraints import describe, join_prompt, read_constraint_table, verify
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from schemas.tables import Constraint
from tests.constraint_examples import CHINESE, EXAMPLES, Example

by_kind = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind)
in_chinese = pytest.mark.parametrize("example", CHINESE, ids=lambda example: example.kind)
texts = st.text(alphabet="*-[]<>#\"',. \n\tABab1一SectionP.", max_size=60) | st.text(max_size=40)


def test_there_is_an_example_of_every_kind() -> None:
    assert sorted(example.kind for example in EXAMPLES) == known_kinds()


@by_kind
def test_each_kind_is_asked_for(example: Example) -> None:
    assert example.asked in describe(example.constraint(), "en")


@in_chinese
def test_a_chinese_prompt_asks_in_chinese(example: Example) -> None:
    assert example.asked in describe(example.constraint(), "zh")


@pytest.mark.parametrize("example", EXAMPLES + CHINESE, ids=lambda example: example.kind)
def test_an_answer_that_follows_passes(example: Example) -> None:
    verification = verify([example.constraint()], example.passing)
    assert verification.passed
    assert verification.score == 1.0
    assert verification.critique == "The response follows the constraint."


@pytest.mark.parametrize("example", EXAMPLES + CHINESE, ids=lambda example: example.kind)
def test_an_answer_that_does_not_follow_fails_and_is_told_why(example: Example) -> None:
    verification = verify([example.constraint()], example.failing)
    assert not verification.passed
    assert verification.score == 0.0
    assert example.critique in verification.critique


@by_kind
def test_arguments_survive_json_and_are_all_named(example: Example) -> None:
    constraint = example.constraint()
    assert json.loads(constraint.kwargs) == example.kwargs
    assert sorted(example.kwargs) == required_arguments(example.kind)


@by_kind
def test_an_empty_answer_follows_nothing(example: Example) -> None:
    for text in ("", " \n\t"):
        verification = verify([example.constraint()], text)
        assert (verification.passed, verification.score) == (False, 0.0)
        assert "empty" in verification.critique


@given(text=texts, state=st.integers())
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_verdict_that_chance_does_not_change(text: str, state: int) -> None:
    for example in EXAMPLES:
        random.seed(state)
        first = verify([example.constraint()], text)
        random.seed(state + 1)
        assert verify([example.constraint()], text) == first
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
        verify([example.constraint()], example.failing)
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
        ("no:such_kind", "{}", "unknown constraint no:such_kind"),
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
        ("length_constraints:number_words", '{"num_words":9,"relation":"about"}', "is invalid"),
        (
            "keywords:letter_frequency",
            '{"let_frequency":2,"let_relation":"at least","letter":"ab"}',
            "out of range",
        ),
        ("language:response_language", '{"language":"zh"}', "is invalid"),
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


def test_every_wording_is_a_full_sentence() -> None:
    for entry in read_constraint_table()["kinds"].values():
        for language, stops in (("en", '."'), ("zh", "。")):
            wordings = entry.get(language, [])
            for wording in wordings.values() if isinstance(wordings, dict) else [wordings]:
                assert not wording or wording[-1] in stops


def test_verifying_is_quiet_and_imports_no_data_set_library() -> None:
    code = (
        "import sys\n"
        "import factory.prompts.bundled\n"
        "assert 'if_verifiable.ifeval' not in sys.modules\n"
        "from factory.verifier.constraints import verify\n"
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
