"""A run's report is one file that loads nothing, says what the lake says, and shows nothing of a row as markup."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from factory.view.run_report import page_of, read_report
from schemas.tables import Pair, Prompt, Response, Run
from stores.lake import Lake
from tests.rows import asked, fill, row, sampled
from tests.views import run_lake

__all__ = ["run_lake"]
HOSTILE = "<script>alert(1)</script><a href='javascript:x'>\x1b[31m\u202e{{ 7 * 7 }}"


class Parts(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def page(run_lake: Path) -> str:
    with Lake.open(run_lake, read_only=True) as lake:
        (run_id,) = lake.query("SELECT run_id FROM current_runs").column(0).to_pylist()
        text = page_of(read_report(lake, run_id))
        assert page_of(read_report(lake, run_id)) == text
    return text


def test_nothing_is_loaded_and_links_stay_in_the_file(page: str) -> None:
    parts = Parts(page)
    assert not parts.tags & {"script", "link", "img", "iframe", "object", "form"}
    targets = {value for name, value in parts.attributes if name == "href"}
    ids = {value for name, value in parts.attributes if name == "id"}
    assert targets and all(target and target[0] == "#" and target[1:] in ids for target in targets)
    assert not {name for name, _ in parts.attributes if name in ("src", "style", "action") or name.startswith("on")}
    assert "url(" not in page and "@import" not in page


def test_examples_have_anchors_made_of_their_ids_and_figures_are_the_lakes(page: str, run_lake: Path) -> None:
    with Lake.open(run_lake, read_only=True) as lake:
        trees = {id[:12] for id in lake.query("SELECT tree_id FROM trees").column(0).to_pylist()}
        pairs = {id[:12] for id in lake.query("SELECT pair_id FROM pairs").column(0).to_pylist()}
        accepted = lake.query("SELECT count(*) FROM trees WHERE outcome = 'accepted'").column(0)[0].as_py()
        calls = lake.query("SELECT count(*) FROM calls").column(0)[0].as_py()
    shown = set(re.findall(r'id="tree-(\w+)"', page))
    assert shown and shown <= trees
    assert set(re.findall(r'id="pair-(\w+)"', page)) <= pairs and 'id="pair-' in page
    assert f"{accepted} accepted" in page and f"{calls} calls" in unescape(page)
    assert str(run_lake) not in page


def test_a_run_of_hostile_rows_without_trees_is_a_page_of_text(lake: Lake) -> None:
    fill(
        lake,
        row(Run, "e", run_id=HOSTILE, recipe_name=HOSTILE, reason=HOSTILE, status="failed", templates={HOSTILE: HOSTILE}),
        row(Prompt, "p1", messages=asked(HOSTILE), source=HOSTILE),
        sampled("r0", text=HOSTILE, run_id=HOSTILE),
        row(Response, "r1", run_id=HOSTILE, prompt_id="p1", kind="sampled", text=HOSTILE + " more"),
        row(Pair, "x", run_id=HOSTILE, prompt_id="p1", chosen_response_id="r1", rejected_response_id="r0", source=HOSTILE),
    )  # fmt: skip
    text = page_of(read_report(lake, HOSTILE))
    parts = Parts(text)
    assert "script" not in parts.tags and not any(
        (value or "").startswith("javascript") for _, value in parts.attributes
    )
    assert "\x1b" not in text and "\u202e" not in text and "49" not in re.findall(r"<h1>(.*)</h1>", text)[0]
