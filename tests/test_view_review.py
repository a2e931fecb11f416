"""Reviewing in the browser: who is asked what next, what a blind page may not tell, what a post keeps, and agreement."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from factory.view.review_figures import between_reviewers, with_judges
from factory.view.reviewing import Opinion, first_side, review
from schemas.tables import Pair, Response, Review
from stores.lake import Lake
from tests.reviews import lake_of_pairs
from tests.view_pages import ORIGIN, check_harmless, pages_of


@pytest.fixture
def place(empty_lake: Path, tmp_path: Path) -> Path:
    import shutil

    where = tmp_path / "lake"
    shutil.copytree(empty_lake, where)
    with Lake.open(where) as lake:
        lake_of_pairs(lake, 4)
    return where


@pytest.fixture
def pages(place: Path) -> Iterator[TestClient]:
    with pages_of(place) as client:
        yield client


def pair_at(address: object) -> str:
    return parse_qs(urlsplit(str(address)).query)["pair"][0]


def say(pages: TestClient, address: object, **form: str) -> Any:
    return pages.post(str(address), data=form, headers=ORIGIN)


def reviews_in(place: Path) -> list[Review]:
    with Lake.open(place) as lake:
        return sorted(lake.read(Review), key=lambda one: one.reviewed_at)


def test_the_most_doubtful_pair_comes_first_and_each_answer_leads_to_the_next(pages: TestClient, place: Path) -> None:
    at = pages.get("/review?reviewer=ann&run=run")
    seen = []
    for said in ("accept", "reject", "first", "second"):
        seen.append(pair_at(at.url))
        at = say(pages, at.url, said=said, reason="because\r\nof this", shown_at="0")
    assert seen == ["pair1", "pair2", "pair3", "pair4"]
    assert "you have reviewed 4" in at.text
    assert [(one.pair_id, one.verdict, one.preferred) for one in reviews_in(place)] == [
        ("pair1", "accept", None), ("pair2", "reject", None), ("pair3", "accept", "chosen"), ("pair4", "reject", "rejected"),
    ]  # fmt: skip
    assert {(one.reason, one.seconds, one.blind) for one in reviews_in(place)} == {("because\nof this", None, False)}
    # Another reviewer sees them all, unless only those that nobody has reviewed are asked for.
    assert pair_at(pages.get("/review?reviewer=ben").url) == "pair1"
    assert "No pair is left" in pages.get("/review?reviewer=ben&unseen=1").text


def test_a_pair_that_is_put_off_comes_last(pages: TestClient) -> None:
    at = pages.get("/review?reviewer=ann")
    later = re.search(r'data-key="n" href="([^"]+)"', at.text)
    assert later is not None
    assert pair_at(pages.get(later[1].replace("&amp;", "&")).url) == "pair2"


def test_an_edit_keeps_every_character_but_the_browsers_line_ends(pages: TestClient, place: Path) -> None:
    at = pages.get("/review?reviewer=ann&pair=pair1")
    say(pages, at.url, said="edit", edited="\r\nfirst line\r\n\u200dsecond <b>", shown_at="x")
    with Lake.open(place) as lake:
        (text,) = lake.read(Response, "kind = 'edited'")
        assert text.text == "\nfirst line\n\u200dsecond <b>"
        assert len(lake.read(Pair)) == 5
    assert "\u200d" in pages.get(f"/review?reviewer=ben&pair={reviews_in(place)[0].edited_pair_id}").text
    # Neither the pair that was edited nor the one in its place is asked of its author again.
    assert pair_at(pages.get("/review?reviewer=ann").url) == "pair2"
    page = pages.get(f"/pair/{reviews_in(place)[0].edited_pair_id}").text
    assert "a person" in page and 'href="/pair/pair1"' in page


def test_what_cannot_be_kept_leads_back_with_what_was_written(pages: TestClient, place: Path) -> None:
    at = pages.get("/review?reviewer=ann&pair=pair1")
    answer = say(pages, at.url, said="edit", edited="The answer 1 is wrong", reason="my <i>reason")
    assert answer.status_code == 400 and "Not kept" in answer.text
    assert "The answer 1 is wrong</textarea>" in answer.text and "my &lt;i&gt;reason" in answer.text
    check_harmless(answer.text)
    assert say(pages, at.url, said="maybe").status_code == 400
    assert say(pages, "/review?reviewer=ann%0A&pair=pair1", said="accept").status_code == 400
    assert say(pages, "/review?reviewer=ann&pair=none", said="accept").status_code == 404
    assert reviews_in(place) == []


def test_only_a_post_from_our_own_page_changes_anything(pages: TestClient, place: Path) -> None:
    address = "/review?reviewer=ann&pair=pair1"
    assert pages.get(f"{address}&said=accept").status_code == 200
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        assert pages.post(address, data={"said": "accept"}, headers=headers).status_code == 403
    assert reviews_in(place) == []


def shape(page: str) -> str:
    """A blind page without what has to differ: the texts' own words."""
    return re.sub(r"right( and goes on and on)*|wrong", "WORD", re.sub(r'name="shown_at" value="[^"]*"', "", page))


def test_a_blind_page_does_not_tell_which_side_is_chosen(pages: TestClient, place: Path) -> None:
    shapes: dict[str, set[str]] = {"chosen": set(), "rejected": set()}
    for number in range(12):
        page = pages.get(f"/review?reviewer=r{number:02}&blind=1&pair=pair4").text
        for word in ("chosen", "rejected", "accept", "<ins", "<del", "p4 good", "p4 bad", "votes", "value 1"):
            assert word not in page, word
        first = first_side("pair4", f"r{number:02}")
        assert (page.index("right") < page.index("wrong")) == (first == "chosen")
        shapes[first].add(shape(page).replace(f"r{number:02}", "NAME"))
    assert shapes["chosen"] == shapes["rejected"] and len(shapes["chosen"]) == 1


def test_the_order_of_a_blind_queue_is_not_that_of_the_doubts_and_no_filter_tells(pages: TestClient) -> None:
    orders = set()
    for name in ("ann", "ben"):
        at, seen = pages.get(f"/review?reviewer={name}&blind=1"), []
        for _ in range(4):
            seen.append(pair_at(at.url))
            at = say(pages, at.url, said="neither")
        orders.add(tuple(seen))
    assert len(orders) == 1 and orders != {("pair1", "pair2", "pair3", "pair4")}
    for doubt in ("longer", "flawed", "disputed"):
        assert pages.get(f"/review?reviewer=cid&blind=1&doubt={doubt}").status_code == 400


def test_a_blind_answer_is_kept_as_the_side_that_it_was(pages: TestClient, place: Path) -> None:
    for name in ("ann", "ben", "cid", "dan"):
        for number, said in ((1, "first"), (2, "second"), (3, "neither")):
            say(pages, f"/review?reviewer={name}&blind=1&pair=pair{number}", said=said)
    assert say(pages, "/review?reviewer=ann&blind=1&pair=pair4", said="accept").status_code == 400
    for one in reviews_in(place):
        first = first_side(one.pair_id, one.reviewer)
        second = "rejected" if first == "chosen" else "chosen"
        assert one.blind and one.first_side == first
        assert one.preferred == {"pair1": first, "pair2": second, "pair3": "neither"}[one.pair_id]
        assert one.verdict == ("accept" if one.preferred == "chosen" else "reject")


def test_agreement_of_two_reviewers_and_of_each_with_the_judges(pages: TestClient, place: Path) -> None:
    said = {"ann": ("accept", "accept", "reject", "reject"), "ben": ("accept", "accept", "accept", "reject")}
    with Lake.open(place) as lake:
        for name, verdicts in said.items():
            for number, verdict in enumerate(verdicts, 1):
                preferred = "chosen" if verdict == "accept" else "rejected"
                review(lake, f"pair{number}", Opinion(reviewer=name, verdict=verdict, preferred=preferred))
        (both,) = between_reviewers(lake)
        assert (both.one, both.other, both.pairs) == ("ann", "ben", 4)
        assert (both.agreement.value, both.kappa.value) == (0.75, 0.5)
        low, high = both.kappa.low, both.kappa.high
        assert low is not None and high is not None and low < 0.5 < high
        by_judge = {(one.one, one.other): one for one in with_judges(lake)}
    assert by_judge["ann", "votes"].agreement.value == 0.5 and by_judge["ben", "votes"].agreement.value == 0.75
    strict = by_judge["ann", "strict (votes)"]
    assert (strict.pairs, strict.agreement.value) == (1, 1.0)
    rows = pages.get("/reviews.json?table=agreement").json()
    assert rows[0]["kappa"] == 0.5 and rows[0]["pairs"] == 4
    assert len(pages.get("/reviews.json?table=reviews").json()) == 8
    assert pages.get("/reviews.json?table=judges").json()[0]["reviewer"] == "ann"
    check_harmless(pages.get("/reviews").text)


def test_a_lake_that_may_only_be_read_says_so(pages: TestClient, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas.errors import FactoryError

    def refuse(lake: Lake) -> None:
        raise FactoryError("lake x may only be read")

    monkeypatch.setattr(Lake, "check_writable", refuse)
    answer = say(pages, "/review?reviewer=ann&pair=pair1", said="accept")
    assert answer.status_code == 400 and "may only be read" in answer.text
