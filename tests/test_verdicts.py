"""What is parsed from critiques and refinements, and how votes are counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.judges.votes import VERDICT_FORMAT, is_settled, read_json_vote, read_vote
from factory.search.refinements import read_refinement
from factory.stages.evolve import read_evolved
from factory.work.verdicts import verdict_of
from schemas.tables import Judgement
from stores.likeness import likeness, words
from tests.rows import row

VALUES = {"yes": 1.0, "no": 0.0, "unparsed": None}


def vote(verdict: str | None, value: float | None = None, **given: object) -> Judgement:
    value = VALUES.get(verdict) if value is None and verdict else value
    return row(Judgement, "j", kind="votes", judge="votes", verdict=verdict, value=value, **given)


VOTES = st.lists(st.sampled_from(list(VALUES)).map(vote))


@pytest.mark.parametrize(
    ("critique", "verdict"),
    [
        ("All is met. Final Judgement: Yes", "yes"),
        ("The title is missing.\n**Final Judgement:** [[No]]", "no"),
        ("final judgment - NO.", "no"),
        (
            "No comma is used. Final Judgement: Yes, no doubt",
            "unparsed",
        ),  # 0.1.0 took the first word: it turns some round
        ("You ask for a 'Final Judgement: Yes or No'. I say: Final Judgement: No", "no"),
        ("Yes, it follows the instruction.", "unparsed"),
        ("Final Judgement: maybe", "unparsed"),
        ("Final Judgement: Nothing is missing, yesterday", "unparsed"),
        ("", "unparsed"),
        ("Final Judgement", "unparsed"),
    ],
)
def test_the_yes_or_no_after_the_last_final_judgement_counts(critique: str, verdict: str):
    assert read_vote(critique) == (verdict, critique)


@given(st.text())
def test_any_text_reads_as_one_of_three_verdicts(text: str):
    assert read_vote(text)[0] in ("yes", "no", "unparsed")


@given(st.text(), st.sampled_from(["Yes", "No"]))
def test_whatever_stands_before_it_the_closing_verdict_is_read(text: str, word: str):
    assert read_vote(f"{text}\nFinal Judgement: {word}")[0] == word.lower()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["yes", "no"]))
def test_a_vote_in_json_is_read_as_it_was_written(critique: str, verdict: str):
    assert read_json_vote(json.dumps({"critique": critique, "verdict": verdict})) == (verdict, critique)


@pytest.mark.parametrize(
    "text",
    [
        '{"critique": "cut short',
        '{"critique": "one field"}',
        '{"critique": "another word", "verdict": "maybe"}',
        '{"critique": 5, "verdict": "yes"}',
        '{"critique": "no word", "verdict": 1}',
        '["yes"]',
        '"yes"',
        "[" * 100_000,
        "Final Judgement: Yes",
        "",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_such_json_is_unparsed_and_kept_as_it_came(text: str):
    assert read_json_vote(text) == ("unparsed", text)


def test_half_an_emoji_spelt_in_json_does_not_reach_a_row():
    assert read_json_vote('{"critique": "\\ud83d!", "verdict": "no"}') == ("no", "?!")


def test_the_schema_asks_for_the_reasons_before_the_verdict():
    assert list(VERDICT_FORMAT["json_schema"]["schema"]["properties"]) == ["critique", "verdict"]


@given(VOTES)
def test_a_majority_ignores_unreadable_votes(votes: list[Judgement]):
    readable = [vote for vote in votes if vote.verdict != "unparsed"]
    all_of_them, only_readable = verdict_of(votes), verdict_of(readable)
    assert (all_of_them.passed, all_of_them.value) == (only_readable.passed, only_readable.value)


@given(VOTES)
def test_a_verdict_passes_exactly_when_its_value_is_over_a_half(votes: list[Judgement]):
    verdict = verdict_of(votes)
    if verdict.value is None:
        assert verdict.passed is None
    else:
        assert verdict.passed == (None if verdict.value == 0.5 else verdict.value > 0.5)


def test_a_tie_is_no_verdict_but_has_a_value():
    verdict = verdict_of([vote("yes"), vote("no")])
    assert (verdict.passed, verdict.value) == (None, 0.5)


def test_points_pass_by_their_mean_and_not_by_rounded_shares():
    scores = [vote(None, points / 5, points=points, pass_points=3.0) for points in (2.0, 3.0, 4.0)]
    assert verdict_of(scores).passed is True
    assert verdict_of(scores).points == 3.0
    assert verdict_of(scores[:2]).passed is False
    without = [vote(None, points / 5, points=points) for points in (2.0, 3.0)]
    assert (verdict_of(without).passed, verdict_of(without).points) == (None, 2.5)


@pytest.mark.parametrize(
    ("output", "text", "reflection"),
    [
        ("Reflection: add a title.\nRefined response:\n<<A>> text", "<<A>> text", "add a title."),
        ("**Reflection:** shorter.\n\n**Refined response:** Short.\n\nTwo.", "Short.\n\nTwo.", "shorter."),
        ("### Refined Answer\nHi.", "Hi.", None),
        ("**Revised response**:\nHi.", "Hi.", None),
        ("反思：缺少标题。\n改进后的回答：\n你好", "你好", "缺少标题。"),
        ("Revised response times are given.", None, None),
        ("<think>Refined response: a draft</think>\nReflection: x\nRefined response: Hi.", "Hi.", "x"),
        ("Refined response: a draft </think> Reflection: x\nRefined response: Hi.", "Hi.", "x"),
        ("Refined response: one\nRefined response: two", "one\nRefined response: two", None),
        ("Here is it: a better text", None, None),
        ("Reflection: x\nRefined response:   ", None, "x"),
        ("", None, None),
    ],
)
def test_a_refinement_is_what_follows_its_marker(output: str, text: str | None, reflection: str | None):
    read = read_refinement(output, with_reflection=True)
    assert (read.text, read.reflection) == (text, reflection)


@given(st.text())
def test_without_reflection_the_whole_output_is_the_answer(output: str):
    assert read_refinement(output, with_reflection=False).text == (output.strip() or None)


@given(st.text())
def test_no_output_breaks_the_reader(output: str):
    read = read_refinement(output, with_reflection=True)
    assert read.text is None or (read.text and read.text in output)


@pytest.mark.parametrize(
    ("output", "harder"), [("None", None), (" 'none.' ", None), ("", None), ("None of it", "None of it")]
)
def test_a_declined_evolution_is_none(output: str, harder: str | None):
    assert read_evolved(output) == harder


@given(st.text(), st.text())
def test_likeness_is_symmetric_and_bounded(a: str, b: str):
    there, back = likeness(a, b), likeness(b, a)
    assert there.similarity == back.similarity
    assert 0 <= there.similarity <= 1
    assert there.shared_prefix_words == back.shared_prefix_words <= min(len(words(a)), len(words(b)))
    assert (likeness(a, a).similarity, likeness(a, a).shared_prefix_words) == (1.0, len(words(a)))


def test_likeness_of_a_hand_worked_pair():
    alike = likeness("the red cat sat down", "the cat sat")
    assert alike.similarity == pytest.approx(1 - 2 / 5)
    assert (alike.length_ratio, alike.shared_prefix_words) == (5 / 3, 1)


def test_chinese_is_compared_by_character():
    assert likeness("我喜欢茶", "我喜欢咖啡").shared_prefix_words == 3


@given(VOTES, VOTES)
def test_a_settled_verdict_is_not_changed_by_the_votes_that_are_left(
    votes: list[Judgement], more: list[Judgement]
) -> None:
    if is_settled([vote.verdict for vote in votes], len(more)):
        assert verdict_of(votes).passed is not None
        assert verdict_of([*votes, *more]).passed == verdict_of(votes).passed


@given(VOTES)
def test_with_no_votes_left_a_verdict_is_settled_unless_they_tie(votes: list[Judgement]) -> None:
    assert is_settled([vote.verdict for vote in votes], 0) == (verdict_of(votes).passed is not None)
