"""Training sets leave out what people rejected, and take what they wrote instead."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import FactoryError
from schemas.tables import Pair, Review
from stores.lake import Lake
from stores.training_sets import NoRows, build_training_set, read_training_set
from tests.rows import fill, minutes, row
from tests.sets import ALL, answer, build, column, pair, prompts


def said(pair_id: str, verdict: str, reviewer: str = "ann", at: float = 0, edited: str | None = None) -> Review:
    return row(
        Review, f"{pair_id}/{reviewer}/{at}", pair_id=pair_id, run_id="run", reviewer=reviewer, verdict=verdict,
        reviewed_at=minutes(at), edited_pair_id=edited,
    )  # fmt: skip


ROWS = [
    *prompts(1, 2, 3),
    *(answer(f"p{n} {side}", f"p{n}") for n in (1, 2, 3) for side in ("good", "better", "bad")),
    *(pair(f"pair{n}", f"p{n}", f"p{n} good", f"p{n} bad", chosen_value=0.8) for n in (1, 2, 3)),
    # The runner-up of the first prompt.
    pair("second1", "p1", "p1 better", "p1 bad", chosen_value=0.6),
]


def ids(lake: Lake, name: str = "spar_dpo", **given: Any) -> list[str]:
    try:
        return column(build_training_set(lake, name, {**ALL, **given}, ["run"]), "pair_id")
    except NoRows:
        return []


@pytest.mark.parametrize(
    ("reviews", "expected", "reviewed", "as_if_none"),
    [
        ([], ["pair1", "pair2", "pair3"], [], []),
        ([said("pair2", "accept")], ["pair1", "pair2", "pair3"], ["pair2"], ["pair2"]),
        # A rejected pair's prompt keeps its runner-up.
        ([said("pair1", "reject")], ["pair2", "pair3", "second1"], [], ["pair1"]),
        ([said("pair2", "reject"), said("pair2", "accept", "ben")], ["pair1", "pair3"], [], ["pair2"]),
        # A reviewer's newest review counts.
        ([said("pair2", "reject"), said("pair2", "accept", at=1)], ["pair1", "pair2", "pair3"], ["pair2"], ["pair2"]),
        ([said("pair2", "accept"), said("pair2", "reject", at=1)], ["pair1", "pair3"], [], ["pair2"]),
    ],
)  # fmt: skip
def test_reviews_decide_which_pairs_are_left(
    lake: Lake, reviews: Sequence[Review], expected: list[str], reviewed: list[str], as_if_none: list[str]
) -> None:
    assert column(build(lake, "spar_dpo", [*ROWS, *reviews]), "pair_id") == expected
    assert ids(lake, reviewed_only=True) == reviewed
    assert ids(lake, exclude_rejected=False) == ["pair1", "pair2", "pair3"]
    assert ids(lake, exclude_rejected=False, reviewed_only=True) == as_if_none


def edit(
    pair_id: str, into: str, reviewer: str = "ann", at: float = 0, source: str = "refined_over_failed"
) -> list[Any]:
    """What an edit writes: answer, pair and review."""
    return [
        answer(f"{into} text", "p2", kind="edited"),
        pair(into, "p2", f"{into} text", "p2 bad", chosen_value=None, source=source),
        said(pair_id, "edit", reviewer, at, into),
    ]


@pytest.mark.parametrize(
    ("reviews", "of_second"),
    [
        (edit("pair2", "new"), ["new"]),
        # Somebody else's rejection of the original does not touch what was written in its place; one of that does.
        ([*edit("pair2", "new"), said("pair2", "reject", "ben")], ["new"]),
        ([*edit("pair2", "new"), said("new", "reject", "ben")], []),
        ([*edit("pair2", "new"), said("new", "accept", "ben")], ["new"]),
        # Edited once more; by two people; taken back, also where it had been edited once more.
        ([*edit("pair2", "new"), *edit("new", "newer", "ben")], ["newer"]),
        ([*edit("pair2", "new"), *edit("pair2", "other", "ben", 1)], ["other"]),
        ([*edit("pair2", "new"), said("pair2", "accept", at=1)], ["pair2"]),
        ([*edit("pair2", "new"), *edit("new", "newer", "ben"), said("pair2", "accept", at=1)], ["pair2"]),
    ],
)
def test_an_edited_pair_takes_the_place_of_the_one_it_was_made_from(
    lake: Lake, reviews: list[Any], of_second: list[str]
) -> None:
    built = build(lake, "spar_dpo", [*ROWS, *reviews])
    pairs = column(built, "pair_id")
    assert sorted(pairs) == sorted(["pair1", *of_second, "pair3"])
    for row_class, id, value in zip(column(built, "class"), pairs, column(built, "chosen_value"), strict=True):
        # No judge has read what a person wrote.
        assert (value is None) == (row_class == "edited") == (not id.startswith("pair"))
    assert ids(lake, exclude_rejected=False) == ["pair1", "pair2", "pair3"]
    assert ids(lake, reviewed_only=True) == of_second


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("independent_dpo", "passing_over_failing"),
        ("best_over_worst", "best_over_worst"),
        ("imported_dpo", "imported"),
    ],
)
def test_every_set_of_pairs_follows_the_reviews(lake: Lake, name: str, source: str) -> None:
    given = [
        replace(one, source=source) if isinstance(one, Pair) else one
        for one in ROWS
        if getattr(one, "pair_id", "") != "second1"
    ]
    built = build(lake, name, [*given, said("pair1", "reject"), *edit("pair2", "new", source=source)])
    assert sorted(column(built, "pair_id")) == ["new", "pair3"]
    assert ids(lake, name, reviewed_only=True) == ["new"]
    assert ids(lake, name, exclude_rejected=False) == ["pair1", "pair2", "pair3"]


def test_a_set_built_before_a_review_reads_the_same_after_it(lake: Lake) -> None:
    before = build(lake, "spar_dpo", ROWS)
    fill(lake, said("pair2", "reject"))
    assert build_training_set(lake, "spar_dpo", ALL, ["run"]).row.version == 2
    assert read_training_set(lake, "spar_dpo@1").train.equals(before.train)


def test_a_users_own_set_takes_reviews_by_reading_another_table(lake: Lake, tmp_path: Any) -> None:
    file = tmp_path / "mine.sql"
    file.write_text(
        "-- In: $run_ids VARCHAR[], $held_out DOUBLE = 0.1, $reviewed_only BOOLEAN = false, $exclude_rejected BOOLEAN = true.\n"
        "-- Out: preference; one row per pair.\n"
        "WITH picked AS (\n"
        "  FROM reviewed_pairs($reviewed_only, $exclude_rejected) WHERE list_contains($run_ids, run_id)\n)\n"
        "FROM preference_rows('picked', 'mine', $held_out)\nORDER BY split DESC, pair_id;\n"
    )
    build(lake, "spar_dpo", [*ROWS, *edit("pair2", "new"), said("pair1", "reject")])
    assert ids(lake, str(file)) == ["new", "pair3", "second1"]
    assert ids(lake, str(file), exclude_rejected="false") == ["pair1", "pair2", "pair3", "second1"]


def test_a_parameter_that_is_neither_true_nor_false_is_refused(lake: Lake) -> None:
    with pytest.raises(FactoryError, match=r"reviewed_only of the training set must be true or false, got 'perhaps'"):
        build_training_set(lake, "spar_dpo", {"reviewed_only": "perhaps"}, ["run"])
