"""Reviewing with the keyboard alone, in a real Chromium."""

from collections.abc import Callable
from pathlib import Path

from schemas.tables import Response, Review
from stores.lake import Lake
from tests.browser import chromium, served
from tests.reviews import lake_of_pairs


def next_pair_after(address: str) -> Callable[[str], bool]:
    return lambda url: url != address and "pair=" in url


def test_pairs_are_reviewed_by_keys(tmp_path: Path) -> None:
    where = tmp_path / "lake"
    with Lake.open(where, create=True) as lake:
        lake_of_pairs(lake, 5)
    with served(where) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(f"{address}review?reviewer=ann")
        for keys in (["a"], ["w", *"too wordy", "Enter", "Escape", "r"], ["2"], ["n"]):
            at = page.url
            for key in keys:
                page.keyboard.press(key)
            page.wait_for_url(next_pair_after(at))
        assert "pair=pair5" in page.url  # the fourth was put off
        page.keyboard.press("e")
        page.locator("textarea:focus").wait_for()
        page.keyboard.press("Control+A")
        page.keyboard.type("<b>Mine</b>\nwas better")
        page.keyboard.press("Escape")
        page.keyboard.press("s")
        page.wait_for_url(lambda url: "pair=pair4" in url)
        # Blind: the page has no key that accepts.
        page.goto(f"{address}review?reviewer=ben&blind=1&pair=pair4")
        page.keyboard.press("a")
        page.keyboard.press("1")
        page.wait_for_url(lambda url: "done=pair4" in url)
    with Lake.open(where) as lake:
        rows = {(one.reviewer, one.pair_id): one for one in lake.read(Review)}
        verdicts = {key: (one.verdict, one.preferred, one.reason) for key, one in rows.items()}
        blind = rows.pop(("ben", "pair4"))
        assert {key: verdicts[key] for key in rows} == {
            ("ann", "pair1"): ("accept", None, None),
            ("ann", "pair2"): ("reject", None, "too wordy"),
            ("ann", "pair3"): ("reject", "rejected", None),
            ("ann", "pair5"): ("edit", None, None),
        }
        assert all(one.seconds is not None and one.seconds >= 0 for one in rows.values())
        assert blind.blind and blind.preferred == blind.first_side
        assert [one.text for one in lake.read(Response, "kind = 'edited'")] == ["<b>Mine</b>\nwas better"]
