"""How judges' words are read: verdicts, points and preferences in many wordings, and what is not readable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.inference.journal import Choice
from factory.judges.score import find_points
from factory.judges.votes import read_json_vote, read_vote
from factory.work.comparing import find_label, first_is_better
from factory.work.verdict_text import bare, without_thinking

# What follows the last marker, in the words that judges use. A turned verdict is worse than an unparsed one.
VERDICTS = [
    ("Final Judgement: **Yes**", "yes"),
    ("**Final Judgement:** No", "no"),
    ("### Final Judgement\n\n**No**", "no"),
    ("FINAL JUDGMENT - YES", "yes"),
    ("Final Judgement: \\boxed{Yes}", "yes"),
    ("Final Judgement: $\\boxed{\\text{No}}$", "no"),
    ("Final Judgement: 是 (Yes)", "yes"),
    ("Final Judgement: Yes, but no line has five words", "unparsed"),
    ("Final Judgement: Yes/No", "unparsed"),
    ("Final Judgement: Yes or No", "unparsed"),
    ("Final Judgement: N", "no"),
    ("Final Judgement: Y", "yes"),
    ("Final Judgement: N/A", "unparsed"),
    ("Final Judgement: Not met", "no"),
    ("Final Judgement: _No_", "no"),
    ("Final Judgement: __No__", "no"),
    ("Final Judgement：是", "yes"),
    ("最终判断：否", "no"),
    ("最终判断：是，因为内容是完整的", "yes"),
    ("最终判断：不符合", "no"),
    ("最终判断：符合要求", "yes"),
    ("最终判断：是否", "unparsed"),
    ("最终判断：是/否", "unparsed"),
    ("最终判断是：否", "no"),
    ("最终判断是否", "no"),
    ("最终结论：不通过", "no"),
    ("最終判断: いいえ", "no"),
    ("最終判断：はい", "yes"),
    ("Endgültiges Urteil: Ja", "yes"),
    ("Endgültiges Urteil: Nein", "no"),
    ("Verdict final : Non", "no"),
    ("Verdict final : Oui", "yes"),
    ("Veredicto final: Sí", "yes"),
    ("Veredicto final: No", "no"),
    ("Итоговый вердикт: Нет", "no"),
    ("최종 판단: 아니요", "no"),
    ("최종 판단: 예", "yes"),
    ("Final verdict: No", "no"),
    ("Final Answer: No", "no"),
    ("final_judgement: No", "no"),
    ("Verdict: No", "no"),
    ("**Verdict:** Yes", "yes"),
    ("Conclusion: No", "no"),
    ("Judgment: Yes", "yes"),
    ("My final judgement is: No.", "no"),
    ("My final judgement is No, because it is too long", "no"),
    ("Final Judgement: [[Yes]]", "yes"),
    ('Final Judgement: "No"', "no"),
    ("Final Judgement: not Yes", "unparsed"),
    ("Final Judgement: The response has no errors", "unparsed"),
    ("Final Judgement: No errors were found", "unparsed"),
    ("Final Judgement: I would say No.", "no"),
    ("Final Judgement: isn't a Yes", "unparsed"),
    ("Final Judgement: Yes\n\nThe response has no faults.", "yes"),
    ("Final Judgement: Yes\nNo, wait: the title is missing. No.", "unparsed"),
    ("Final Judgement: No\nThe title is missing.", "no"),
    ("Final Judgement: Fail", "no"),
    ("Final Judgement: Pass", "yes"),
    ("Final Judgement: Pass/Fail", "unparsed"),
    ("Final Judgement: ✅", "yes"),
    ("Final Judgement: ❌ No", "no"),
    ("Final Judgement", "unparsed"),
    ("Final Judgement:", "unparsed"),
    ("I now give my Final Judgement.\n\nThe response has no title.", "unparsed"),
    ("<think>Final Judgement: Yes</think>\nFinal Judgement: No", "no"),
    ("Final Judgement: Yes</think>It is wrong.", "unparsed"),
    ("<think>I think Final Judgement: Yes", "unparsed"),
    (
        "'Final Judgement: Yes' if the response meets every requirement, 'Final Judgement: No' if it misses any.",
        "unparsed",
    ),
    ("You ask for a 'Final Judgement: Yes or No'. I say: Final Judgement: No", "no"),
    ("Final Judgement: Yes, no doubt", "unparsed"),
    ("Final Judgement: maybe", "unparsed"),
    ("Final Judgement: Nothing is missing, yesterday", "unparsed"),
    ("Final Judgement: <b>No</b>", "no"),
    ("**Final Judgement**: The response does not follow. **No**", "no"),
    ("Final Judgement: No. Final Judgement: Yes", "yes"),
    ("Final Judgement: no problem found, Yes", "unparsed"),
    ('"final_verdict": "no"', "no"),
    ("Final judgement - No - it misses the title", "no"),
    ("Final Judgement (Yes/No): No", "no"),
    ("Final Judgement [Yes or No]: Yes", "yes"),
    ("Final Judgement: does not meet all requirements", "no"),
    ("Overall verdict: Yes", "yes"),
    ("In conclusion: No", "no"),
    ("Endurteil: **Nein**", "no"),
    ("最终判断：**否**", "no"),
    ("最终判断：【否】", "no"),
    ("最终判断：不是", "no"),
    ("Final Judgement: YES!!!", "yes"),
    ("Final Judgement:No", "no"),
    ("Final Judgement = No", "no"),
    ("Final Judgement: Yes.", "yes"),
    ("<verdict>No</verdict>", "no"),
]


@pytest.mark.parametrize(("text", "verdict"), VERDICTS)
def test_a_verdict_is_read_as_a_reader_would(text: str, verdict: str) -> None:
    assert read_vote(text) == (verdict, text)


@pytest.mark.parametrize("read", [read_vote, read_json_vote])
def test_a_vote_that_was_cut_off_is_unparsed(read: object) -> None:
    text = '{"critique": "x", "verdict": "no"}\nFinal Judgement: No'
    assert read(text, "stop")[0] == "no"  # type: ignore[operator]
    assert read(text, "length") == ("unparsed", text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "verdict", "critique"),
    [
        ('```json\n{"critique": "x", "verdict": "no"}\n```', "no", "x"),
        ('Sure: {"critique": "x {y}", "verdict": "Yes"}. Is that right?', "yes", "x {y}"),
        ('{"critique": "x", "Verdict": true}', "yes", "x"),
        ('{"critique": "x", "passed": false}', "no", "x"),
        ('  {"verdict": " NO. ", "critique": "a\nb"}  ', "no", "a\nb"),
        ('<think>{"critique": "q", "verdict": "yes"}</think>{"critique": "k", "verdict": "no"}', "no", "k"),
        ('{"critique": "q", "verdict": "yes"} or rather {"critique": "k", "verdict": "no"}', "no", "k"),
        ('{"critique": "x", "verdict": "否"}', "no", "x"),
    ],
)
def test_json_is_read_in_a_fence_or_among_other_words(text: str, verdict: str, critique: str) -> None:
    assert read_json_vote(text) == (verdict, critique)


@pytest.mark.parametrize("verdict", ["yes/no", "maybe", None, 1, ["yes"], "yes or no"])
def test_json_without_a_clear_verdict_is_unparsed(verdict: object) -> None:
    text = json.dumps({"critique": "x", "verdict": verdict})
    assert read_json_vote(text) == ("unparsed", text)


def test_a_critique_that_is_missing_is_the_whole_text() -> None:
    text = 'It lacks a title. {"verdict": "no"}'
    assert read_json_vote(text) == ("no", text)


@pytest.mark.parametrize(
    ("text", "most", "points"),
    [
        ("Score: 4", 5, 4),
        ("Score: 8/10", 10, 8),
        ("Score: 8/10", 5, None),
        ("**4**", 5, 4),
        ("4/5", 5, 4),
        ("4 out of 5", 5, 4),
        ("Score: **4**", 5, 4),
        ("**Score:** 4", 5, 4),
        ("Score: [[8]]", 10, 8),
        ("Score: 12", 10, None),
        ("12", 10, None),
        ("Score: -1", 5, None),
        ("-1", 5, None),
        ("Score - 4", 5, 4),
        ("Score: 3-4", 5, None),
        ("Score: 0 to 5", 5, None),
        ("Score (0-5): 4", 5, 4),
        ("Score: 4.5", 5, 4.5),
        ("Score: 4,5", 5, 4.5),
        ("Score: 4, because", 5, 4),
        ("Score: 4. It is good", 5, 4),
        ("Score: 80%", 100, None),
        ("评分：4", 5, 4),
        ("得分：4分", 5, 4),
        ("I give it a score of 3.", 5, 3),
        ("Score: 4\nThe score reflects two faults.", 5, 4),
        ("Score: \\boxed{4}", 5, 4),
        ("4.", 5, 4),
        ("4 points", 5, 4),
        ("Total: 3", 5, 3),
        ("Score: 4 / 5", 5, 4),
        ("The score is 4", 5, 4),
        ("The score is 4 because 3 are met", 5, 4),
        ("Score: N/A", 5, None),
        ("", 5, None),
        ("<think>Score: 1</think>Score: 2", 5, 2),
        ("Score: 4</think>3", 5, 3),
        ("Score: 1.2.3", 5, None),
        ("Score: 10", 10, 10),
        ("Final score: 5", 5, 5),
        ("Rating: 7", 10, 7),
        ("Score: '4'", 5, 4),
        ("Score: 4 or 5", 5, None),
        ("_4_", 5, 4),
        ("Score:\n4", 5, 4),
        ("Score:\n\n**4**", 5, 4),
        ("Points: 4", 5, 4),
        ("score: '\n", 5, None),
        ("1 point for x. 2 points", 5, None),
        ("Score: ４", 5, 4),
    ],
)
def test_points_are_read_as_a_reader_would(text: str, most: int, points: float | None) -> None:
    found = find_points(text, 1 if most == 10 else 0, most)
    assert (found and found[0]) == points
    assert found is None or text[found[1]].isdigit()


def test_points_that_were_cut_off_are_not_read() -> None:
    assert find_points("Score: 1", 1, 10, "length") is None
    assert find_points("A score of 3 is given. Score:", 1, 10, "length") is None
    assert find_points("Score: 4\nThis", 1, 10, "length") == (4.0, 7)
    assert find_points("1", 1, 10, "length") == (1.0, 0)  # the number alone was asked for


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Preferred response: 1", "1"),
        ("**Preferred response:** 2", "2"),
        ("Preferred: Response 2", "2"),
        ("Better response: 1", "1"),
        ("Final verdict: [[1]]", "1"),
        ("Winner: 2", "2"),
        ("Preferred response is 2", "2"),
        ("Preference: 1", "1"),
        ("I prefer response 2.", "2"),
        ("首选回答：2", "2"),
        ("更好的回答：1", "1"),
        ("Bevorzugte Antwort: 2", "2"),
        ("Réponse préférée : 1", "1"),
        ("Respuesta preferida: 2", "2"),
        ("Preferred response: 1 or 2", None),
        ("Preferred response: 1/2", None),
        ("Preferred response: neither", None),
        ("Preferred response: 1 and 2", None),
        ("1", "1"),
        ("**2**", "2"),
        ("Response 2", "2"),
        ("3", None),
        ("12", None),
        ("Preferred response: 12", None),
        ("Preferred response: 2. It is better than response 1.", "2"),
        ("'Preferred response: 1' or 'Preferred response: 2'. I say Preferred response: 1", "1"),
        ("<think>Preferred response: 2</think>Preferred response: 1", "1"),
        ("Preferred response: _2_", "2"),
        ("Preferred response:\n2", "2"),
        ("Preferred response: not 1", None),
        ("Preferred response: \\boxed{2}", "2"),
        ("Preferred answer: 2", "2"),
        ("PREFERRED RESPONSE: 1", "1"),
        ("Response 1 is better.", None),
        ("The better response is Response 1.", "1"),
    ],
)
def test_a_preference_is_read_as_a_reader_would(text: str, label: str | None) -> None:
    found = find_label(text)
    assert (found and found[0]) == label
    assert found is None or text[found[1]] == label
    assert first_is_better([Choice(text, "stop", None)]) == {"1": 1.0, "2": 0.0, None: None}[label]


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    assert len(without_thinking(text)) == len(bare(text)) == len(text)
    assert read_vote(text)[0] in ("yes", "no", "unparsed") and read_json_vote(text)[0] in ("yes", "no", "unparsed")
    points, label = find_points(text, 0, 5), find_label(text)
    assert points is None or 0 <= points[0] <= 5
    assert label is None or label[0] in "12"


@pytest.mark.parametrize(
    "odd", ["\n", " ", "_", "“", "([/", "final ", "<think>", "</think>", '{"a":', "是", "score ", "preferred "]
)
def test_a_long_odd_text_takes_no_longer_than_its_length(odd: str) -> None:
    text = "Final Judgement" + odd * 20_000  # with nested repeats, a pattern would need hours
    assert read_vote(text)[0] == read_json_vote(text)[0] == "unparsed"
    assert find_points(text, 0, 5) is None and find_label(text) is None
