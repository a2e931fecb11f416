"""The tree pages in a real Chromium: facets that come later, keys, the slider."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from factory.view.tree_list import FACETS, HISTOGRAMS
from schemas.tables import Run, Tree
from stores.lake import Lake
from tests.browser import browser, served, wait_for_parts
from tests.rows import fill, row
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    where = tmp_path_factory.mktemp("trees") / "lake"
    with running_endpoint(answer) as endpoint:
        run_spar(where, endpoint.url, 4)
    with Lake.open(where) as lake:
        first = lake.query("SELECT * FROM trees WHERE outcome = 'accepted' ORDER BY tree_id LIMIT 1").to_pylist()[0]
        fill(
            lake,
            row(Run, "later", run_id="later", status="finished", recipe_name="spar", iteration=1),
            row(Tree, "again", run_id="later", prompt_id=first["prompt_id"], strategy="bfs", outcome="exhausted", parameters="{}"),
        )  # fmt: skip
    with served(where) as found:
        yield found


def test_facets_arrive_and_filter(address: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{address}trees")
    for name in (*FACETS, *HISTOGRAMS):
        page.wait_for_selector(f"#facet-{name}:not([data-load])")
    page.locator("#facet-outcome a", has_text="accepted").click()
    assert page.url.endswith("/trees?outcome=accepted")
    assert set(page.locator("tbody tr td:nth-child(3)").all_inner_texts()) == {"accepted"}
    page.close()


def test_keys_move_through_a_tree_and_a_slider_through_rounds(address: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{address}tree/again")
    page.locator("input[type=range]").fill("0")
    page.wait_for_url(re.compile(r"/tree/(?!again)"))
    here = page.locator(".drawing [aria-current]")
    assert "accepted" in (here.get_attribute("aria-label") or "")
    for key, told in (("g", "root"), ("l", "level 1"), ("h", "root"), ("a", "accepted")):
        before = page.url
        page.keyboard.press(key)
        page.wait_for_url(lambda url, before=before: url != before)  # type: ignore[misc]
        assert told in (page.locator(".drawing [aria-current]").get_attribute("aria-label") or "")
    page.keyboard.press("d")
    page.wait_for_url(re.compile("diff=root"))
    assert page.locator("ins").count() and page.locator("del").count()
    page.close()


def test_a_tree_fits_a_phone(address: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 700})
    page.goto(f"{address}trees?outcome=accepted")
    tree = str(page.locator("tbody a").first.get_attribute("href"))
    for path in ("trees", "tree/again", tree[1:], f"{tree[1:]}&diff=root&space=1"):
        page.goto(address + path)
        wait_for_parts(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()
