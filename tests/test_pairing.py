"""Pairings: the pairs each rule makes, none of them twice, and a user's own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Node, Pair, Response, Tree
from stores.lake import Lake
from stores.likeness import likeness
from stores.pairing import known_pairings, load_pairing, unpaired
from tests.rows import compared, fill, row, sampled, scores, votes

PAIRING = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pairs(lake: Lake, name: str, prompt_ids: list[str] | None = None, **given: Any) -> list[Pair]:
    return unpaired(lake, "run", load_pairing(name, given), prompt_ids)


def sides(found: Iterable[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen_response_id, pair.rejected_response_id) for pair in found]


def answers(*ids: str, **given: Any) -> list[Response]:
    return [sampled(id, text=f"text {id}", **given) for id in ids]


# What a pair is


def test_a_pair_has_its_values_likeness_and_an_id_of_its_sides(lake: Lake) -> None:
    fill(
        lake,
        sampled("good", text="the red cat sat down"), *votes("good", "yyn"),
        sampled("bad", text="the cat sat"), *votes("bad", "nnn"),
    )  # fmt: skip
    (pair,) = pairs(lake, "passing_over_failing")
    alike = likeness("the red cat sat down", "the cat sat")
    assert pair == Pair(
        pair_id=content_id("pair", "run", "passing_over_failing", "good", "bad"),
        run_id="run",
        prompt_id="p1",
        chosen_response_id="good",
        rejected_response_id="bad",
        chosen_value=pytest.approx(2 / 3),
        rejected_value=0.0,
        source="passing_over_failing",
        tree_id=None,
        node_id=None,
        similarity=alike.similarity,
        length_ratio=alike.length_ratio,
        shared_prefix_words=1,
    )


@pytest.mark.parametrize("name", known_pairings())
def test_pairs_that_are_there_are_not_given_again(lake: Lake, name: str) -> None:
    fill(lake, *for_every_pairing())
    found = pairs(lake, name)
    assert found and len({pair.pair_id for pair in found}) == len(found)
    lake.append(found[:1], message="one of them")
    assert pairs(lake, name) == found[1:]
    lake.append(found, message="all")
    assert pairs(lake, name) == []


@pytest.mark.parametrize("name", known_pairings())
def test_only_the_prompts_that_are_asked_for_are_paired(lake: Lake, name: str) -> None:
    for number in (1, 2):
        fill(lake, *for_every_pairing(f"p{number}"))
    assert {pair.prompt_id for pair in pairs(lake, name, ["p2", "p3"])} == {"p2"}
    assert {pair.prompt_id for pair in pairs(lake, name)} == {"p1", "p2"}
    assert pairs(lake, name, []) == [] == unpaired(lake, "other run", load_pairing(name))


# Each rule


def searched(prompt: str = "p1") -> list[Any]:
    """A prompt with a failed and a passed answer, and a tree from the failed one."""
    of = {"run_id": "run", "prompt_id": prompt}
    return [
        *answers(f"{prompt}/bad", f"{prompt}/good", prompt_id=prompt),
        *votes(f"{prompt}/bad", "nny", prompt_id=prompt), *votes(f"{prompt}/good", "yyy", prompt_id=prompt),
        row(Response, f"{prompt}/mended", kind="refined", text="mended", **of),
        row(Tree, f"{prompt}/t", root_response_id=f"{prompt}/bad", outcome="accepted", accepted_node_id=f"{prompt}/n1", **of),
        row(Node, f"{prompt}/n0", tree_id=f"{prompt}/t", response_id=f"{prompt}/bad", value=1 / 3, **of),
        row(Node, f"{prompt}/n1", tree_id=f"{prompt}/t", parent_node_id=f"{prompt}/n0", depth=1,
            response_id=f"{prompt}/mended", value=0.8, **of),
    ]  # fmt: skip


def for_every_pairing(prompt: str = "p1") -> list[Any]:
    """A prompt with a tree, a reference answer, a comparison, and the answers of two more stages."""
    of = {"run_id": "run", "prompt_id": prompt}
    return [
        *searched(prompt),
        row(Response, f"{prompt}/ref", kind="reference", text="reference", **of),
        compared(f"{prompt}/good", f"{prompt}/bad", 0.8, prompt_id=prompt),
        *(sampled(f"{prompt}/{stage}", prompt_id=prompt, stage=stage, text=stage) for stage in ("stronger", "weaker")),
    ]


def test_what_a_search_accepted_is_over_what_it_began_with(lake: Lake) -> None:
    fill(lake, *searched(), row(Tree, "exhausted", run_id="run", prompt_id="p1", outcome="exhausted"))
    (pair,) = pairs(lake, "refined_over_failed")
    assert sides([pair]) == [("p1/mended", "p1/bad")]
    assert (pair.chosen_value, pair.rejected_value, pair.tree_id, pair.node_id) == (0.8, 1 / 3, "p1/t", "p1/n1")


def test_the_least_passing_is_over_the_least_failing_answer(lake: Lake) -> None:
    cast = {"a": "n", "b": "y", "c": "yyn", "d": "nny", "tied": "yn", "unread": "u"}
    fill(lake, *answers(*cast), *(vote for id, said in cast.items() for vote in votes(id, said)))
    fill(lake, *answers("e", "f", prompt_id="p2"), *votes("e", "y", prompt_id="p2"), *votes("f", "y", prompt_id="p2"))
    assert sides(pairs(lake, "passing_over_failing")) == [("b", "a")]


def test_the_judge_that_decides_ranks_unless_another_is_named(lake: Lake) -> None:
    beside = {"judge": "mild", "kind": "votes", "decides": False}
    fill(
        lake,
        *answers("a", "b"),
        *votes("a", "n"),
        *votes("b", "y"),
        *votes("a", "y", **beside),
        *votes("b", "n", **beside),
    )
    for name in ("passing_over_failing", "best_over_worst", "all_ordered"):
        assert sides(pairs(lake, name)) == [("b", "a")]
        assert sides(pairs(lake, name, judge="mild")) == [("a", "b")]
        assert sides(pairs(lake, name, judge="nobody")) == []


def test_points_rank_before_values_and_values_before_win_rates(lake: Lake) -> None:
    fill(
        lake,
        # By points b is the best, by value and win rate a; c has no points.
        *answers("a", "b", "c"), *votes("c", "y"),
        *scores("a", 3), *scores("b", 9), compared("a", "b", 1.0), compared("a", "c", 1.0),
        # By votes e is better, by win rate d.
        *answers("d", "e", prompt_id="p2"), *votes("d", "n", prompt_id="p2"), *votes("e", "y", prompt_id="p2"),
        compared("d", "e", 1.0, prompt_id="p2"),
        *answers("f", "g", prompt_id="p3"), compared("f", "g", 0.25, prompt_id="p3"),
    )  # fmt: skip
    found = pairs(lake, "best_over_worst")
    assert sides(found) == [("b", "a"), ("e", "d"), ("g", "f")]
    assert [(pair.chosen_value, pair.rejected_value) for pair in found] == [(0.9, 0.3), (1.0, 0.0), (0.625, 0.375)]
    assert sides(pairs(lake, "best_over_worst", judge="compare")) == [("a", "b"), ("d", "e"), ("g", "f")]


def test_the_reference_is_over_every_other_text(lake: Lake) -> None:
    fill(
        lake,
        row(Response, "ref", run_id="run", prompt_id="p1", kind="reference", text="Yes."),
        sampled("same", text="Yes."), sampled("other", text="No."), *votes("other", "n"), sampled("p2", prompt_id="p2"),
        sampled("refined", kind="refined"),
    )  # fmt: skip
    (pair,) = pairs(lake, "reference_over_sampled")
    assert sides([pair]) == [("ref", "other")] and (pair.chosen_value, pair.rejected_value) == (None, 0.0)


RANKS = st.lists(st.tuples(st.none() | st.integers(0, 3), st.sampled_from("xyz")), min_size=1, max_size=6)


@PAIRING
@given(prompts=st.lists(RANKS, min_size=1, max_size=3))
def test_the_rules_hold_whatever_was_judged(lake: Lake, prompts: list[Any]) -> None:
    lake.connection.execute("DELETE FROM lake.responses; DELETE FROM lake.judgements")
    points: dict[str, int | None] = {}
    texts: dict[str, str] = {}
    rows: list[Any] = []
    for number, judged in enumerate(prompts):
        for index, (given_points, text) in enumerate(judged):
            id, of = f"{number}-{index}", {"prompt_id": f"p{number}"}
            points[id], texts[id] = given_points, text
            rows += [sampled(id, text=text, **of), *scores(id, given_points, **of)]
    fill(lake, *rows)
    ranked = {id: p for id, p in points.items() if p is not None}
    ordered = {
        (better, worse)
        for better in ranked
        for worse in ranked
        if better[0] == worse[0] and ranked[better] > ranked[worse] and texts[better] != texts[worse]
    }
    every = pairs(lake, "all_ordered")
    assert sorted(sides(every)) == sorted(ordered)
    best = dict(sides(pairs(lake, "best_over_worst")))
    assert best.items() <= ordered
    for better, worse in best.items():
        of_prompt = [p for id, p in ranked.items() if id[0] == better[0]]
        assert (ranked[better], ranked[worse]) == (max(of_prompt), min(of_prompt))
    assert all(pair.similarity < 1 for pair in every)


# A user's own, and refusals


def test_a_pairing_of_ones_own_may_ask_how_alike_texts_are(lake: Lake, tmp_path: Path) -> None:
    own = tmp_path / "near.sql"
    own.write_text(
        "-- $at_least DOUBLE = 0.5, $by VARCHAR = 'votes', $unused BIGINT = 3\n"
        "SELECT c.prompt_id, c.response_id AS chosen_response_id, r.response_id AS rejected_response_id,\n"
        "  1.0::DOUBLE AS chosen_value, NULL::DOUBLE AS rejected_value\n"
        "FROM responses AS c JOIN responses AS r USING (run_id, prompt_id)\n"
        "JOIN verdicts AS v ON v.response_id = c.response_id AND v.judge = $by\n"
        "WHERE run_id = $run_id AND passed AND c.response_id <> r.response_id\n"
        "  AND likeness(c.text, r.text).similarity >= $at_least;  -- a word of five may differ\n"
    )
    fill(
        lake, sampled("a", text="one two three"), *votes("a", "y"), sampled("b", text="one two"), sampled("c", text="x")
    )
    assert sides(pairs(lake, str(own))) == [("a", "b")]
    (pair,) = pairs(lake, str(own), at_least="0.6")
    assert (pair.source, pair.shared_prefix_words) == ("near", 2)
    assert pairs(lake, str(own), at_least=0.7) == []


def test_what_cannot_be_paired_is_one_clear_error(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="no pairing 'best_over_wurst': did you mean 'best_over_worst'"):
        load_pairing("best_over_wurst")
    with pytest.raises(FactoryError, match="parameter 'juge' of the pairing best_over_worst: did you mean 'judge'"):
        load_pairing("best_over_worst", {"juge": "votes"})
    with pytest.raises(FactoryError, match="unknown parameter 'run_id' of the pairing"):
        load_pairing("best_over_worst", {"run_id": "run"})
    own = tmp_path / "mine.sql"
    own.write_text("SELECT $run_id AS prompt_id")
    with pytest.raises(FactoryError, match="pairing mine: its rows lack chosen_response_id, chosen_value, rejected"):
        pairs(lake, str(own))
    own.write_text("SELECT nothing FROM nowhere")
    with pytest.raises(FactoryError, match="pairing mine: its query reads nowhere, which is no table or view"):
        pairs(lake, str(own))


def test_likeness_is_there_in_any_query_that_calls_it(lake: Lake) -> None:
    query = "SELECT likeness('one two', 'one three four') AS alike, likeness(NULL, 'a') AS unknown"
    (found,) = lake.query(query).to_pylist()
    assert found["alike"] == {
        "similarity": pytest.approx(1 / 3),
        "length_ratio": pytest.approx(2 / 3),
        "shared_prefix_words": 1,
    }
    assert found["unknown"] is None


def test_the_stronger_models_answer_is_over_the_weaker_ones_unless_it_is_flawed_or_the_same(lake: Lake) -> None:
    def two(prompt: str, stronger: str, weaker: str, flaw: str | None = None) -> list[Response]:
        return [
            sampled(f"{prompt}/s", prompt_id=prompt, stage="stronger", text=stronger, flaw=flaw),
            sampled(f"{prompt}/w", prompt_id=prompt, stage="weaker", text=weaker, flaw="repetitive"),
        ]

    fill(lake, *two("p1", "yes", "no"), *two("p2", "yes", "yes"), *two("p3", "yes", "no", flaw="unended"))
    fill(lake, sampled("p4/s", prompt_id="p4", stage="stronger", text="alone"))
    assert sides(pairs(lake, "stronger_over_weaker")) == [("p1/s", "p1/w")]
    assert sides(pairs(lake, "stronger_over_weaker", stronger="weaker", weaker="stronger")) == []


def test_every_two_answers_are_shown_to_people_once(lake: Lake) -> None:
    fill(lake, *answers("a", "b", "c"), sampled("d", text="text a"), sampled("e", text="cut", flaw="unended"))
    assert sides(pairs(lake, "two_answers")) == [("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d")]


def test_a_comparison_in_one_order_alone_counts_and_one_that_cannot_be_read_does_not(lake: Lake) -> None:
    fill(
        lake, *answers("a", "b", "c", "d"), sampled("e", text="cut", flaw="unended"),
        compared("a", "b", 0.3), compared("b", "a", None), compared("a", "c", None), compared("c", "a", None),
        compared("a", "d", 0.9), compared("d", "a", 0.9), compared("e", "a", 0.8), compared("a", "e", 0.2),
    )  # fmt: skip
    found = {(p.chosen_response_id, p.rejected_response_id): p.chosen_value for p in pairs(lake, "preferred")}
    # The flawed answer is better than `a`, and is not chosen; of two equally good ones the smaller id is.
    assert found == {("b", "a"): pytest.approx(0.7), ("a", "d"): 0.5}
    assert sides(pairs(lake, "preferred", min_probability=0.6)) == [("b", "a")]


def test_sides_may_come_from_two_sampling_stages(lake: Lake) -> None:
    fill(
        lake, *(sampled(f"new{n}", stage="sample", text=f"new {n}") for n in (1, 2)),
        *(sampled(f"old{n}", stage="anchor", text=f"old {n}") for n in (1, 2)),
        *scores("new1", 4), *scores("new2", 2), *scores("old1", 9), *scores("old2", 3),
    )  # fmt: skip
    assert sides(pairs(lake, "best_over_worst", chosen_from="sample", rejected_from="anchor")) == [("new1", "old2")]
    assert sides(pairs(lake, "best_over_worst", chosen_from="anchor", rejected_from="sample")) == [("old1", "new2")]
    assert sides(pairs(lake, "best_over_worst")) == [("old1", "new2")]
    fill(lake, *scores("old2", 9, judge="late"))
    assert sides(pairs(lake, "best_over_worst", chosen_from="sample", rejected_from="sample")) == [("new1", "new2")]
