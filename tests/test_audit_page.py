"""The audit's page and table: whatever rows hold is shown as text, and the docs list every check as it is."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from factory.audit.audit import Report
from factory.audit.checks import CHECKS, findings
from factory.audit.finding import Bars, Check, Measured, judged
from factory.audit.page import page_of
from factory.monitor.audit import print_audit
from factory.monitor.console import Console
from schemas.tables import TrainingSet
from tests.audits import whole
from tests.rows import row

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e"
DOCS = (Path(__file__).parents[1] / "docs" / "audit.md").read_text("utf-8")


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def report() -> Report:
    made = row(TrainingSet, "set", name=HOSTILE, version=1, train_rows=48, held_out_rows=12, parameters="{}")
    check = Check("style_features", "Hostile.", lambda given: Measured(0.5), 0.0)
    plot = Bars(HOSTILE, (HOSTILE,), (0.9,), (0.8,), (1.0,), 0.5)
    hostile = Measured(0.9, 0.8, 1.0, 60, (HOSTILE,), {HOSTILE: HOSTILE}, plots=(plot,))
    reason = judged(check, Measured(None, why_not=HOSTILE))
    return Report(made, (*findings(whole()), judged(check, hostile), reason), ())


def test_nothing_of_the_rows_is_markup_on_the_page(report: Report) -> None:
    text = page_of(report)
    seen = Seen()
    seen.feed(text)
    assert "script" not in seen.tags and "svg" in seen.tags
    names = {name for name, _ in seen.attributes}
    assert not {name for name in names if name.startswith("on")} | ({"src", "srcset", "style"} & names)
    assert all(str(value).startswith("#") for name, value in seen.attributes if name == "href")
    assert "\x1b" not in text and "\u202e" not in text and "&lt;script&gt;" in text


def test_the_page_is_whole_and_loads_nothing(report: Report) -> None:
    text = page_of(report)
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert not re.search(r"<link|<img|@import|url\(|<iframe", text)
    assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text
    for found in report.findings:
        assert found.name in text


def test_a_terminal_is_shown_text_only(report: Report) -> None:
    out = io.StringIO()
    print_audit(report, Console(file=out, width=100), full=True)
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    assert "style_features" in out.getvalue() and f"{report.count('pass')} pass" in out.getvalue()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_page_of_docs_lists_every_check_as_it_is(check: Check) -> None:
    bound = f"{check.beyond} {'above' if check.most else 'below'} {check.threshold:g}"
    bound = "no threshold: set one" if check.name == "likeness" else bound
    assert f"| `{check.name}` | {check.about} | {bound} |" in DOCS
