"""Long texts are cut with a note of what is left out, and shown whole with --full."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.monitor.console import Console
from factory.monitor.plain_text import cut
from factory.monitor.table import table_of
from factory.view.in_terminal import print_pair, print_tree
from stores.lake import Lake
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

LINES = 3_000


def printed(write: Any) -> str:
    file = StringIO()
    write(Console(file=file, width=200))
    return file.getvalue()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("long") / "lake"
    with running_endpoint(answer) as endpoint:
        run_spar(place, endpoint.url, 4)
    with Lake.open(place) as opened:
        many = "".join(f"\n{i}" for i in range(LINES)) + " the end"
        opened.connection.execute("UPDATE lake.responses SET text = text || $many", {"many": many})
        opened.connection.execute("UPDATE lake.nodes SET output = output || $many", {"many": many})
    return place


@pytest.mark.parametrize(("noun", "show"), [("pair", print_pair), ("tree", print_tree)])
def test_a_pair_and_a_tree_are_short_unless_asked_for_in_full(lake: Path, noun: str, show: Any) -> None:
    with Lake.open(lake) as opened:
        id = opened.query(f"SELECT {noun}_id FROM pairs WHERE tree_id IS NOT NULL").column(0)[0].as_py()
        short = printed(lambda console: show(opened, id, console))
        whole = printed(lambda console: show(opened, id, console, full=True))
    assert len(short.splitlines()) < 200 and len(whole.splitlines()) > LINES
    assert "the end" not in short and "the end" in whole
    if noun == "pair":
        notes = re.findall(
            r"(rejected|chosen): … [\d,]+ more characters in ([\d,]+) more lines \(--full shows them\)", short
        )
        assert [side for side, _ in notes] == ["rejected", "chosen"]


def test_a_table_cuts_cells_and_says_so_once() -> None:
    rows = pa.table({"n": [1, 2], "text": ["word " * 2_000, "short"]})
    short = printed(lambda console: table_of(rows, console))
    assert "2 rows, long texts are cut (`factory sql` has --full)" in short and len(short) < 2_000
    whole = printed(lambda console: table_of(rows, console, full=True))
    assert whole.count("word") == 2_000 and "cut" not in whole


def test_the_only_row_is_shown_at_length_but_not_without_end() -> None:
    rows = pa.table({"text": ["a line\n" * LINES]})
    short = printed(lambda console: table_of(rows, console))
    assert 50 < short.count("a line") < 100 and "more lines (--full shows them)" in short
    assert printed(lambda console: table_of(rows, console, full=True)).count("a line") == LINES


@given(text=st.text(alphabet="ab \n", max_size=60), characters=st.integers(1, 40), lines=st.integers(1, 5))
def test_what_is_kept_is_a_beginning_and_the_note_counts_the_rest(text: str, characters: int, lines: int) -> None:
    kept, note = cut(text, characters, lines)
    assert text.startswith(kept) and len(kept) <= characters and kept.count("\n") < lines
    assert bool(note) == (kept != text)
