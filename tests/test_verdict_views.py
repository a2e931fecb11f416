"""What judgements and comparisons come to: verdicts, agreement, preferences, win rates."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.work.judging import Assessment
from factory.work.verdicts import verdict_of
from schemas.columns import to_arrow
from schemas.tables import Judgement
from stores.lake import Lake
from stores.sql import sql
from tests.rows import compared, fill, row, rows_of, sampled, scores, votes

# Verdicts


def test_verdicts_count_each_kind_of_vote(lake: Lake) -> None:
    fill(
        lake,
        *votes("passes", "nyyuy"),
        *votes("fails", "unn"),
        *votes("tied", "yn"),
        *votes("unreadable", "uu"),
        *votes("agreed", "yy"),
    )
    assert rows_of(lake, "verdicts", "response_id, yes_votes, no_votes, unparsed_votes, passed, value, unanimous") == [
        ("agreed", 2, 0, 0, True, 1.0, True),
        ("fails", 0, 2, 1, False, 0.0, True),
        ("passes", 3, 1, 1, True, 0.75, False),
        ("tied", 1, 1, 0, None, 0.5, False),
        ("unreadable", 0, 0, 2, None, None, True),
    ]
    assert rows_of(lake, "verdicts", "response_id, critique_judgement_id") == [
        ("agreed", "agreed/0"),
        ("fails", "fails/1"),
        ("passes", "passes/1"),
        ("tied", None),
        ("unreadable", None),
    ]


def test_a_verifiers_no_is_worth_half_the_share_that_is_followed(lake: Lake) -> None:
    verifier = {"judge": "verifier", "kind": "verifier", "vote": 0, "decides": True, "run_id": "run"}
    fill(
        lake,
        row(Judgement, "a", response_id="most", verdict="no", points=0.75, value=0.375, **verifier),
        row(Judgement, "b", response_id="all", verdict="yes", points=1.0, value=1.0, **verifier),
        row(Judgement, "c", response_id="none", verdict="no", points=0.0, value=0.0, **verifier),
    )
    assert rows_of(lake, "verdicts", "response_id, passed, value, points") == [
        ("all", True, 1.0, 1.0),
        ("most", False, 0.375, 0.75),
        ("none", False, 0.0, 0.0),
    ]


def test_points_pass_by_their_mean_where_the_recipe_says_from_which_on(lake: Lake) -> None:
    fill(
        lake,
        *scores("reaches", 6, 8, pass_points=7),
        *scores("misses", None, 6, 7, pass_points=7),
        *scores("unreadable", None, pass_points=7),
        *scores("undecided", 9),
    )
    assert rows_of(lake, "verdicts", "response_id, points, value, passed, critique_judgement_id") == [
        ("misses", 6.5, pytest.approx(0.65), False, "misses/score/1"),
        ("reaches", 7.0, pytest.approx(0.7), True, "reaches/score/0"),
        ("undecided", 9.0, 0.9, None, "undecided/score/0"),
        ("unreadable", None, None, None, None),
    ]


def test_two_judges_of_a_kind_have_a_verdict_each(lake: Lake) -> None:
    fill(lake, *votes("a", "yyn", judge="strict", kind="votes"), *votes("a", "n", judge="mild", kind="votes"))
    assert rows_of(lake, "verdicts", "judge, passed") == [("mild", False), ("strict", True)]


def judgement(vote: int, verdict: str | None, points: float | None, pass_points: float | None) -> Judgement:
    """One as a judge of any kind may write it; an unparsed one has neither value nor points."""
    readable = verdict != "unparsed" and (verdict is not None or points is not None)
    value = {"yes": 1.0, "no": (points or 0.0) / 2, None: points}.get(verdict) if readable else None
    given = {"points": points if readable else None, "pass_points": pass_points, "value": value, "decides": True}
    return row(Judgement, str(vote), run_id="r", judge="j", kind="k", vote=vote, verdict=verdict, **given)


@given(
    st.lists(
        st.tuples(st.sampled_from(["yes", "no", "unparsed", None]), st.none() | st.floats(0, 1)), min_size=1, max_size=7
    ),
    st.none() | st.floats(0, 1),
)
def test_sql_and_the_factory_come_to_the_same_verdict(
    macros: Any, cast: list[tuple[str | None, float | None]], pass_points: float | None
) -> None:
    judgements = [judgement(vote, *one, pass_points) for vote, one in enumerate(cast)]
    expected, critique = verdict_of(judgements), Assessment(judgements, []).critique
    query = sql("views/verdicts").split("CREATE TEMP VIEW verdicts AS")[1].rstrip().rstrip(";")
    macros.register("cast_rows", to_arrow(Judgement, judgements))
    macros.execute(
        f"WITH judgements AS (FROM cast_rows) SELECT passed, value, points, critique_judgement_id FROM ({query})"
    )
    ((passed, value, points, critique_id),) = macros.fetchall()
    assert passed == expected.passed
    assert value == (None if expected.value is None else pytest.approx(expected.value))
    assert points == (None if expected.points is None else pytest.approx(expected.points))
    if passed is False and pass_points is None:
        assert critique is not None and critique_id == critique.judgement_id


def test_failed_responses_are_sampled_ones_that_the_deciding_judge_failed(lake: Lake) -> None:
    fill(
        lake,
        sampled("failed"), *votes("failed", "nyn"),
        sampled("passed"), *votes("passed", "y"),
        sampled("tied"), *votes("tied", "ny"),
        sampled("advised"), *votes("advised", "n", decides=False),
        sampled("refined", kind="refined"), *votes("refined", "n"),
    )  # fmt: skip
    assert rows_of(lake, "failed_responses", "run_id, prompt_id, response_id, value, critique_judgement_id") == [
        ("run", "p1", "failed", pytest.approx(1 / 3), "failed/0")
    ]


def test_judge_agreement_compares_majority_and_verifier(lake: Lake) -> None:
    verdicts = {"a": ("yyn", "y"), "b": ("nny", "n"), "c": ("yyy", "n"), "d": ("nnn", "n"), "e": ("yn", "y")}
    for id, (said, verified) in verdicts.items():
        fill(lake, *votes(id, said, decides=False), *votes(id, verified, judge="verifier"))
    fill(lake, *votes("not verified", "y"), *votes("other run", "y", run_id="other"))
    # Four of five have a majority, three agree: 0.75; by chance 0.5 * 0.25 + 0.5 * 0.75 = 0.5.
    assert rows_of(
        lake,
        "judge_agreement",
        "run_id, judge, other_judge, responses, ties, agreement, pass_rate, other_pass_rate, kappa",
    ) == [("run", "votes", "verifier", 5, 1, 0.75, 0.5, 0.25, 0.5)]


def test_judge_agreement_compares_every_two_judges_of_a_run(lake: Lake) -> None:
    beside = {"kind": "votes", "decides": False}
    for id in "ab":
        fill(lake, *votes(id, "y", judge="first"), *votes(id, "y", judge="z", **beside))
        fill(lake, *votes(id, "n" if id == "a" else "y", judge="other", **beside))
    assert rows_of(lake, "judge_agreement", "judge, other_judge, agreement") == [
        ("other", "first", 0.5),
        ("other", "z", 0.5),
        ("z", "first", 1.0),
    ]


def test_kappa_is_unknown_where_chance_alone_agrees(lake: Lake) -> None:
    fill(lake, *votes("a", "y", decides=False), *votes("a", "y", judge="verifier"))
    assert rows_of(lake, "judge_agreement", "agreement, kappa") == [(1.0, None)]


# Comparisons


def test_both_orders_of_a_comparison_are_averaged(lake: Lake) -> None:
    fill(
        lake,
        compared("a", "b", 0.9), compared("b", "a", 0.3),
        compared("c", "a", 0.25), compared("a", "c", None),
        compared("b", "c", None), compared("c", "b", None),
    )  # fmt: skip
    columns = "prompt_id, stage, response_id, other_response_id, probability, orders"
    assert rows_of(lake, "preferences", columns) == [
        ("p1", "compare", "a", "b", pytest.approx(0.8), 2),
        ("p1", "compare", "a", "c", 0.75, 1),
        ("p1", "compare", "b", "c", None, 0),
    ]


def test_a_win_rate_is_the_mean_over_all_that_were_compared_and_itself(lake: Lake) -> None:
    fill(
        lake,
        compared("a", "b", 1.0), compared("b", "a", 0.5), compared("a", "c", 0.0), compared("b", "c", None),
        compared("x", "y", 1.0, prompt_id="p2"),
    )  # fmt: skip
    assert rows_of(lake, "win_rates", "prompt_id, response_id, win_rate, compared") == [
        ("p1", "a", pytest.approx((0.75 + 0.0 + 0.5) / 3), 2),
        ("p1", "b", pytest.approx((0.25 + 0.5) / 2), 1),
        ("p1", "c", pytest.approx((1.0 + 0.5) / 2), 1),
        ("p2", "x", 0.75, 1),
        ("p2", "y", 0.25, 1),
    ]


@given(st.dictionaries(st.sampled_from(["ab", "ba", "ac", "ca", "bc", "cb"]), st.floats(0, 1), min_size=1))
def test_what_one_answer_wins_the_other_loses(macros: Any, given_probabilities: dict[str, float]) -> None:
    rows = [{"f": pair[0], "s": pair[1], "p": p} for pair, p in given_probabilities.items()]
    query = sql("views/win_rates").split("CREATE TEMP VIEW win_rates AS")[1].rstrip().rstrip(";")
    preferences = sql("views/preferences").split("CREATE TEMP VIEW preferences AS")[1].rstrip().rstrip(";")
    found = macros.execute(
        """WITH comparisons AS (SELECT 'run' AS run_id, 'p' AS prompt_id, 's' AS stage, c.f AS first_response_id,
          c.s AS second_response_id, c.p AS probability
          FROM (SELECT unnest($1::STRUCT(f VARCHAR, s VARCHAR, p DOUBLE)[]) AS c)),
        preferences AS ("""
        + preferences
        + ") SELECT win_rate, compared FROM ("
        + query
        + ")",
        [rows],
    ).fetchall()
    assert all(0 <= rate <= 1 for rate, _ in found)
    # Each pair shares out one win, and each answer has half a win over itself.
    assert sum(rate * (n + 1) for rate, n in found) == pytest.approx(sum(n for _, n in found) / 2 + len(found) / 2)
