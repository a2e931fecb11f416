"""Reviews as rows: what may be said, what an edit writes, and nothing lost where several write."""

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from factory.view.reviewing import Opinion, first_side, review
from schemas.errors import FactoryError
from schemas.tables import Pair, Response, Review
from stores.lake import Lake
from stores.likeness import likeness
from stores.training_sets import build_training_set
from tests.reviews import lake_of_pairs
from tests.runs import answer, start_command
from tests.scripted_endpoint import running_endpoint
from tests.sets import ALL, column


def test_a_review_is_a_row_with_the_pairs_lineage_and_the_newest_counts(lake: Lake) -> None:
    lake_of_pairs(lake)
    review(lake, "pair1", Opinion(reviewer="ann", verdict="reject", reason="it rambles", seconds=4.5))
    review(lake, "pair1", Opinion(reviewer="ann", verdict="accept", preferred="chosen", first_side="rejected"))
    review(lake, "pair1", Opinion(reviewer="ben", verdict="reject", preferred="neither"))
    rows = sorted(lake.read(Review), key=lambda one: one.reviewed_at)
    assert [(one.reviewer, one.verdict, one.preferred, one.blind) for one in rows] == [
        ("ann", "reject", None, False),
        ("ann", "accept", "chosen", True),
        ("ben", "reject", "neither", False),
    ]
    assert {(one.run_id, one.prompt_id) for one in rows} == {("run", "p1")}
    assert (rows[0].reason, rows[0].seconds, rows[1].first_side) == ("it rambles", 4.5, "rejected")
    current = lake.query("SELECT reviewer, verdict FROM current_reviews ORDER BY reviewer").to_pylist()
    assert current == [{"reviewer": "ann", "verdict": "accept"}, {"reviewer": "ben", "verdict": "reject"}]


def test_an_edit_writes_answer_pair_and_review_in_one_commit_and_trains_in_the_old_ones_place(lake: Lake) -> None:
    lake_of_pairs(lake)
    before = lake.latest_snapshot()
    made = review(lake, "pair1", Opinion(reviewer="ann", verdict="edit", edited="Brief and right", reason="too long"))
    assert lake.latest_snapshot() == before + 1
    (text,) = lake.read(Response, "kind = 'edited'")
    (pair,) = lake.read(Pair, "pair_id = $id", {"id": made.edited_pair_id})
    old = lake.read(Pair, "pair_id = 'pair1'")[0]
    assert (text.response_id, text.text, text.model_id, text.call_id) == (
        made.edited_response_id,
        "Brief and right",
        None,
        None,
    )
    assert pair.chosen_response_id == text.response_id
    same = ("run_id", "prompt_id", "source", "tree_id", "node_id", "rejected_response_id", "rejected_value")
    assert [getattr(pair, name) for name in same] == [getattr(old, name) for name in same]
    assert (pair.chosen_value, pair.similarity) == (
        None,
        likeness("Brief and right", "The answer 1 is wrong").similarity,
    )
    built = build_training_set(lake, "spar_dpo", ALL, ["run"])
    chosen = {turns[0]["content"] for turns in column(built, "chosen")}
    assert "Brief and right" in chosen and not any("on and on" in one for one in chosen)
    # The same edit again is another review of the same answer and pair.
    again = review(lake, "pair1", Opinion(reviewer="ann", verdict="edit", edited="Brief and right"))
    assert again.review_id != made.review_id and again.edited_pair_id == made.edited_pair_id
    assert len(lake.read(Response, "kind = 'edited'")) == 1 and len(lake.read(Review)) == 2
    assert lake.query("SELECT count(*) FROM accepted_pairs").column(0)[0].as_py() == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"verdict": "maybe"}, "a review's verdict is not 'maybe'"),
        ({"verdict": "edit"}, "comes with the new text"),
        ({"verdict": "accept", "edited": "x"}, "comes with the new text"),
        ({"verdict": "accept", "preferred": "rejected"}, "cannot be accepted"),
        ({"verdict": "reject", "preferred": "chosen"}, "cannot be rejected"),
        ({"verdict": "accept", "preferred": "left"}, "preferred side is not 'left'"),
        ({"verdict": "accept", "reviewer": ""}, "a reviewer's name is one line"),
        ({"verdict": "accept", "reviewer": "ann\u202e"}, "a reviewer's name is one line"),
        ({"verdict": "accept", "reviewer": "a" * 81}, "at most 80"),
        ({"verdict": "accept", "reason": "x" * 10_001}, "at most 10,000"),
        ({"verdict": "edit", "edited": "a\0b"}, "no text"),
        ({"verdict": "edit", "edited": "a\ud83d"}, "no text"),
    ],
)
def test_an_opinion_that_contradicts_itself_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(FactoryError, match=told):
        Opinion(**{"reviewer": "ann", **given})


@pytest.mark.parametrize(
    ("edited", "told"),
    [
        ("The answer 2 is right", "the same as before"),
        ("The answer 2 is wrong", "is the rejected one"),
        (" \n\u200b", "nothing to read"),
    ],
)
def test_an_edit_that_changes_nothing_or_leaves_nothing_is_refused(lake: Lake, edited: str, told: str) -> None:
    lake_of_pairs(lake)
    with pytest.raises(FactoryError, match=told):
        review(lake, "pair2", Opinion(reviewer="ann", verdict="edit", edited=edited))
    assert lake.read(Review) == []


def test_a_pair_that_is_not_there_cannot_be_reviewed(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="has no pair 'nothing'"):
        review(lake, "nothing", Opinion(reviewer="ann", verdict="accept"))


def test_the_side_shown_first_differs_by_pair_and_by_reviewer() -> None:
    by_pair = {first_side(f"pair {n}", "ann") for n in range(20)}
    by_reviewer = {first_side("pair", f"reviewer {n}") for n in range(20)}
    assert by_pair == by_reviewer == {"chosen", "rejected"}
    assert first_side("pair", "ann") == first_side("pair", "ann")


REVIEWS = 6
WRITES = """
import sys
from factory.view.reviewing import Opinion, review
from stores.lake import Lake
where, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Lake.open(where) as lake:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        review(lake, f"pair{1 + number % 3}", Opinion(reviewer=name, verdict=("accept", "reject")[number % 2]))
        review(lake, "pair1", Opinion(reviewer="both", verdict="edit", edited=f"by {name}, {number}"))
"""


def test_nothing_is_lost_where_two_people_review_while_a_run_writes(tmp_path: Path) -> None:
    """Both also review one pair under one name: each of these reviews has a number of its own."""
    place = tmp_path / "lake"
    with Lake.open(place, create=True) as lake:
        lake_of_pairs(lake)
    pipe = subprocess.PIPE
    people = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES, str(place), name, str(REVIEWS)], stdin=pipe, stdout=pipe, text=True
        )
        for name in ("ann", "ben")
    ]
    for person in people:
        assert person.stdout is not None and person.stdout.readline() == "ready\n"
    with running_endpoint(answer) as endpoint:
        run = start_command(place, endpoint.url, prompts=6)
        while endpoint.stats().received < 3:  # the run has begun to write
            time.sleep(0.02)
        for person in people:
            assert person.stdin is not None
            person.stdin.close()
        assert [person.wait() for person in people] == [0, 0]
        _, said = run.communicate()
        assert run.returncode == 0, said
    with Lake.open(place) as lake:
        rows = lake.read(Review)
        counts = {name: sum(one.reviewer == name for one in rows) for name in ("ann", "ben", "both")}
        assert counts == {"ann": REVIEWS, "ben": REVIEWS, "both": 2 * REVIEWS}
        assert len({one.review_id for one in rows}) == len(rows)
        assert len(lake.read(Response, "kind = 'edited'")) == 2 * REVIEWS
        states = lake.query("SELECT run_id, status FROM current_runs WHERE run_id <> 'run'").to_pylist()
        assert [one["status"] for one in states] == ["finished"]
    for person in people:
        assert person.stdout is not None
        person.stdout.close()


def test_the_newest_review_counts_whatever_the_clock_of_the_one_before(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Ahead":
            return cls.fromtimestamp(datetime.now(tz).timestamp() + 300, tz)

    lake_of_pairs(lake)
    with monkeypatch.context() as patch:
        patch.setattr("factory.view.reviewing.datetime", Ahead)
        review(lake, "pair1", Opinion(reviewer="ann", verdict="accept"))
    review(lake, "pair1", Opinion(reviewer="ann", verdict="reject"))
    assert lake.query("SELECT verdict FROM current_reviews").column(0).to_pylist() == ["reject"]
