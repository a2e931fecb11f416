"""The pages of a hostile lake in a real Chromium: nothing of a row runs, nothing leaves the machine, nothing breaks."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import browser, served, wait_for_parts
from tests.hostile import MARK, TEXTS, fill_hostile

__all__ = ["browser"]

PAGES_VISITED = 45
PAGES_OF_EACH_KIND = 22
ENDINGS = (".json", ".csv", ".parquet", ".svg")
LINKS = "all => all.map(one => new URL(one.getAttribute('href'), document.baseURI).href)"
FOREIGN = """document.querySelectorAll('main script, main style, main iframe, main meta, main link').length +
  [...document.querySelectorAll('*')].filter(one => [...one.attributes].some(a => /^on/i.test(a.name))).length"""
"""how many elements and attributes there are that no template makes"""
LARGEST_PAGE = 2_000_000
"""characters of a page's HTML, where a lake has texts of 1 MB"""


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    where = tmp_path_factory.mktemp("hostile") / "lake"
    fill_hostile(where)
    with served(where) as address:
        yield address


def crawl(page: Page, start: str, most: int) -> Iterator[str]:
    """Opens pages that links lead to from `start`, those of a new kind first; yields each one's address while it is open."""
    waiting, seen, kinds = [start], {start}, set()
    for _ in range(most):
        # One of each kind of page first: /run/1, /tree/1, ... before /tree/1?node=2, and that before /run/2.
        pages = {kind.partition("?")[0] for kind in kinds}
        waiting.sort(key=lambda address: (kind_of(address).partition("?")[0] in pages, kind_of(address) in kinds))
        if not waiting:
            return
        address = waiting.pop(0)
        kinds.add(kind_of(address))
        opened(page, address)
        yield address
        for link in page.eval_on_selector_all("a[href]", LINKS):
            parts = urlsplit(link)
            assert parts.netloc == urlsplit(start).netloc, f"{address} links to {link[:200]}"
            bare = link.partition("#")[0]
            if bare not in seen and not parts.path.endswith(ENDINGS):
                seen.add(bare)
                waiting.append(bare)


def opened(page: Page, address: str) -> None:
    answer = page.goto(address)
    assert answer is not None and answer.status < 500, f"{address}: {answer and answer.status}"
    wait_for_parts(page)


def kind_of(address: str) -> str:
    parts = urlsplit(address)
    return parts.path.split("/")[1] + "?" + ",".join(sorted(one.partition("=")[0] for one in parts.query.split("&")))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_nothing_of_a_hostile_lake_runs(hostile_pages: str, browser: Browser, whole: bool) -> None:
    context = browser.new_context()
    page = context.new_page()
    strangers: list[str] = []
    said: list[str] = []
    host = urlsplit(hostile_pages).netloc
    page.on("request", lambda request: strangers.append(request.url) if urlsplit(request.url).netloc != host else None)
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    page.on("dialog", lambda dialog: said.append(f"{page.url}: dialog {dialog.message}"))

    def check(address: str) -> None:
        assert page.evaluate(f"window.{MARK}") is None, address
        assert page.evaluate(FOREIGN) == 0, address
        assert page.evaluate("document.documentElement.outerHTML.length") < LARGEST_PAGE, address

    visited = set()
    for address in crawl(page, hostile_pages, PAGES_VISITED if whole else PAGES_OF_EACH_KIND):
        check(address)
        visited.add(kind_of(address).partition("?")[0])
    for at in range(len(TEXTS)):
        paths = (f"tree/tree_id{at}?node=node_id{at}", f"pair/pair_id{at}")
        for path in paths if whole else paths[at % 2 :][:1]:
            opened(page, hostile_pages + path)
            check(path)
    assert not strangers
    # A Content-Security-Policy that had to block something would say so here.
    assert not [words for words in said if "404" not in words and "400" not in words]
    every = {
        "",
        "run",
        "loop",
        "trees",
        "tree",
        "prompt",
        "pairs",
        "pair",
        "review",
        "reviews",
        "compare",
        "corpus",
        "sql",
    }
    assert visited >= every
    context.close()


def test_hostile_results_of_the_console_are_text(hostile_pages: str, browser: Browser) -> None:
    page = browser.new_page()
    literals = ["'" + text.replace("'", "''") + "'" for text in TEXTS[:-2]]
    rows = ", ".join(f"({literal}, {literal})" for literal in literals)
    page.goto(f"{hostile_pages}sql?sql=" + quote(f'FROM (VALUES {rows}) AS t(x, "<b>y</b>")'))
    assert page.evaluate(f"window.{MARK}") is None
    assert page.locator("main table td").count() == 2 * len(literals)
    assert page.evaluate(FOREIGN) == 0
    page.close()


def test_keys_and_parts_that_come_later(hostile_pages: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(hostile_pages)
    page.wait_for_selector("#figures:not([data-load])")
    assert "acceptance" in page.content()
    page.keyboard.press("?")
    assert page.locator("#keys[open]").count() == 1
    assert "corpus" in page.locator("#keys dl").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("6")
    page.wait_for_url("**/corpus")
    page.close()


def test_a_pages_own_key_comes_before_the_navigations(hostile_pages: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{hostile_pages}review?reviewer=ann&pair=pair_id1")
    page.keyboard.press("?")
    keys = page.locator("#keys dt").all_inner_texts()
    assert keys.count("1") == keys.count("2") == keys.count("7") == 1
    assert "is better" in page.locator("#keys dt:has(kbd:text-is('2')) + dd").inner_text()
    page.close()


def test_completion_and_ctrl_enter(hostile_pages: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{hostile_pages}sql")
    page.wait_for_selector("#schema details")
    page.locator("textarea").press_sequentially("SELECT count(*) AS n FROM respo")
    page.wait_for_selector(".offers:not([hidden]) li")
    page.keyboard.press("Tab")
    assert page.locator("textarea").input_value().endswith("FROM responses")
    assert page.locator(".editor .word").count() >= 2
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("td")
    assert page.locator("td").inner_text() == str(len(TEXTS))
    assert "sql=SELECT" in page.url and "at=" not in page.url
    page.close()


def test_another_sites_page_can_neither_read_nor_frame(hostile_pages: str, browser: Browser) -> None:
    page = browser.new_page()
    page.route("http://evil.example/**", lambda route: route.fulfill(content_type="text/html", body="<p>evil</p>"))
    page.goto("http://evil.example/")
    read = "async (address) => { try { return (await fetch(address)).status } catch { return 'blocked' } }"
    assert page.evaluate(read, f"{hostile_pages}index.json") == "blocked"
    sent = "async (address) => { try { return (await fetch(address, {method: 'POST', mode: 'no-cors'})).type } catch { return 'blocked' } }"
    assert page.evaluate(sent, hostile_pages) in ("opaque", "blocked")
    framed = """async (address) => { const frame = document.createElement('iframe'); frame.src = address; document.body.append(frame);
      await new Promise((done) => { frame.onload = done; setTimeout(done, 3000); });
      try { return frame.contentDocument === null ? 'no' : frame.contentDocument.body.innerText } catch { return 'no' } }"""
    assert "overview" not in page.evaluate(framed, hostile_pages)
    page.close()


def test_dark_and_narrow(hostile_pages: str, browser: Browser) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 380, "height": 700})
    page = context.new_page()
    page.goto(hostile_pages)
    page.wait_for_selector("#figures:not([data-load])")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(22, 24, 28)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    context.close()


def test_a_lake_is_not_changed_by_looking(hostile_pages: str, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    before = page.request.get(
        f"{hostile_pages}sql.json?sql=" + quote("SELECT max(snapshot_id) AS n FROM lake.snapshots()")
    ).json()
    for path in ("", "?figures=1", "sql?name=flaws"):
        page.goto(hostile_pages + path)
    after = page.request.get(
        f"{hostile_pages}sql.json?sql=" + quote("SELECT max(snapshot_id) AS n FROM lake.snapshots()")
    ).json()
    assert before == after
    page.close()
