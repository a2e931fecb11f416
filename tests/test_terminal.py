"""Nothing that comes from a model, a prompt, a server, a lake or a file's name reaches a terminal as more than text."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from factory.cli.main import main
from factory.monitor.console import Console
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.columns import columns
from schemas.streams import visible
from schemas.tables import TABLES
from stores.lake import Lake
from tests.scripted_endpoint import running_endpoint
from tests.terminals import EVIL, NAME, SHOWN_OF_FORMAT, answering, assert_only_text, hidden, shown

KEPT = {
    "recipe",
    "source",
    "templates",
    "status",
    "split",
    "kind",
    "verdict",
    "outcome",
    "parameters",
    "metrics",
    "sql",
    "flaw",
}
"""Columns that this project's own code reads, beside ids."""


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lake from a run in which everything tried; then, as in a lake of somebody else, its rows were changed."""
    folder = tmp_path_factory.mktemp("evil") / NAME
    folder.mkdir()
    prompts = folder / f"{NAME}.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"{EVIL} {i}"}) + "\n" for i in range(3)), "utf-8")
    overrides: dict[str, Any] = {"prompts.source": str(prompts), "stages.judge.votes": 1}
    with running_endpoint(answering(EVIL), models=(f"model {EVIL}",)) as endpoint:
        for role in ("actor", "refiner"):
            overrides |= {f"models.{role}.endpoint": endpoint.url, f"models.{role}.name": f"model {EVIL}"}
        run_recipe(RunSpecification(load_recipe("spar", overrides)), str(folder / NAME), Progress())
    with Lake.open(folder / NAME) as lake:
        for name, table in TABLES.items():
            for column in columns(table):
                if column.sql == "VARCHAR" and not column.name.endswith(("_id", "_hash")) and column.name not in KEPT:
                    change = f"UPDATE lake.{name} SET {column.name} = coalesce({column.name}, '') || $evil"
                    lake.connection.execute(change, {"evil": EVIL.replace("\0", "")})
    yield folder / NAME


def some(lake: Path, query: str) -> str:
    with Lake.open(lake) as opened:
        return str(opened.query(query).column(0)[0].as_py())


WORKING = [
    ["status"],
    ["status", "spar"],
    ["snapshots"],
    ["resume", "spar", "-o", "models.actor.endpoint=http://127.0.0.1:1"],  # the run is finished: nothing is asked
    ["tree", ""],
    ["tree", "", "--full"],
    ["pair", ""],
    ["pair", "", "--full"],
    ["build", "spar_rft"],
    *(
        ["sql", query, "-f", format, *more]
        for query in ("FROM responses", "FROM models", f"SELECT critique, $${EVIL}$$ AS a FROM judgements LIMIT 1")
        for format, more in (("table", []), ("table", ["--full"]), ("csv", []), ("json", []))
    ),
]
FAILING = [
    ["sql", f'SELECT nonsense AS "{EVIL}"'],
    ["sql", "FROM pairs", "-f", EVIL],
    ["tree", EVIL],
    [EVIL],
    ["sql"],
    ["sql", "--" + EVIL],
    ["build", EVIL],
    ["build", f"./{NAME}.sql"],
    ["recipes", f"{NAME}.yaml"],
    ["batch", "read", f"{NAME}.jsonl"],
    ["train", EVIL, "--set", EVIL, "--model", EVIL],
    ["run", "spar", "-o", f"name={EVIL}", "--prompts", f"{NAME}.jsonl"],
    ["run", "spar", "--log-format", EVIL],
    ["run", "spar", "--model", f"http://127.0.0.1:1/{NAME}", "--log-format", "json"],
]


@pytest.mark.parametrize(
    ("words", "works"),
    [*((words, True) for words in WORKING), *((words, False) for words in FAILING), (["doctor"], None)],
    ids=lambda words: ascii(" ".join(words))[1:60] if isinstance(words, list) else "",
)
def test_a_terminal_is_shown_text_only(
    evil: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], works: bool | None
) -> None:
    monkeypatch.setenv("FACTORY_LAKE", str(evil))
    if words[0] in ("tree", "pair") and words[1] == "":
        words = [words[0], some(evil, f"SELECT {words[0]}_id FROM {words[0]}s LIMIT 1"), *words[2:]]
    code, text = shown(monkeypatch, *words)
    assert_only_text(text)
    assert works is None or works == (code == 0), ascii(text)
    assert "Traceback" not in text


def test_a_lake_folder_with_markup_in_its_name_is_shown_by_its_name(
    evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = shown(monkeypatch, "build", "spar_rft", "--lake", evil, "--out", f"{evil}/out")
    assert code == 0, ascii(text)
    assert visible(f"wrote {evil}/out") in text.replace("\r\n", "\n")


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_a_run_in_a_terminal_shows_text_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    with running_endpoint(answering(EVIL), models=(f"model {EVIL}",)) as endpoint:
        words = ["run", "spar", "--lake", tmp_path / NAME, "--model", endpoint.url, "--model-name", f"model {EVIL}"]
        code, text = shown(monkeypatch, *words, "--limit", 2, "-o", "stages.judge.votes=1", "--log-format", log_format)
    assert code == 0
    assert_only_text(text)


def test_the_live_display_shows_text_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_endpoint(answering(EVIL), models=(f"model {EVIL}",)) as endpoint:
        words = ["run", "spar", "--lake", tmp_path / NAME, "--model", endpoint.url, "--model-name", f"model {EVIL}"]
        code, text = shown(monkeypatch, *words, "--limit", 2, "-o", "stages.judge.votes=1")
    assert code == 0 and "\x1b[?25h" in text
    assert "\x1b[2m" in text and "\ufffd[2m" not in text  # the display's own colours stay
    assert_only_text(text)


@pytest.mark.parametrize("format", ["csv", "json"])
def test_a_file_and_a_pipe_get_the_bytes_as_they_are(
    evil: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], format: str
) -> None:
    query = ["sql", "SELECT text FROM responses ORDER BY response_id", "-f", format, "--lake", str(evil)]
    for more in ([], ["--out", str(tmp_path / "rows")]):
        with pytest.raises(SystemExit) as ended:
            main([*query, *more])
        assert not ended.value.code, capfdbinary.readouterr().err
    piped = capfdbinary.readouterr().out
    assert piped == (tmp_path / "rows").read_bytes()
    rows = [json.loads(line) for line in piped.splitlines()] if format == "json" else None
    rows = rows or list(csv.DictReader(io.StringIO(piped.decode(), newline="")))
    assert rows and all(EVIL in row["text"] for row in rows)


def test_every_character_that_unicode_does_not_show_is_replaced() -> None:
    unseen = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in SHOWN_OF_FORMAT
    ]
    assert [ascii(c) for c in unseen if c not in "\t\n" and visible(f"a{c}b") != "a\ufffdb"] == []
    assert [c for c in "aé漢字🙂\u0301 \u00a0\u3000" if visible(c) != c] == []


def test_a_variation_selector_is_kept_only_after_what_it_shapes() -> None:
    assert visible("\u2764\ufe0f 葛\U000e0100") == "\u2764\ufe0f 葛\U000e0100"
    assert visible("a\ufe0f\ufe01\ufe02") == "a\ufe0f\ufffd\ufffd"
    assert visible("\ufe0f \U000e0101") == "\ufffd \ufffd"


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(EVIL + "[]/\\:\x1b")), max_size=40)


def _in_table(head: str, cell: Any) -> Table:
    table = Table(title=Text(head))
    table.add_column(Text(head))
    table.add_row(cell)
    return table


def _in_tree(root: Any, leaf: Any) -> Tree:
    tree = Tree(root)
    tree.add(leaf)
    return tree


@given(head=TEXTS, cell=TEXTS, colour=st.booleans())
def test_whatever_is_drawn_with_any_text_is_text(head: str, cell: str, colour: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=colour, color_system="truecolor" if colour else None)
    for drawn in (
        cell,
        Text(cell, "red"),
        Panel(Text(cell)),
        _in_table(head, cell),
        _in_tree(head, _in_table(head, cell)),
    ):
        console.print(drawn)
    assert hidden(file.getvalue()) == []
    if not colour:
        assert "\x1b" not in file.getvalue()


@given(text=st.text(alphabet="ab[]/ =#:@", max_size=20))
def test_markup_and_emoji_codes_are_text(text: str) -> None:
    file = io.StringIO()
    Console(file=file, width=200).print(text, soft_wrap=True)
    assert file.getvalue() == f"{text}\n"


def test_commands_make_no_console_of_their_own() -> None:
    root = Path(__file__).parents[1] / "factory"
    own = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        for text in [file.read_text("utf-8")]
        if "Console(" in text and re.search("from rich.console import .*Console[,\n]", text)
    }
    assert own == {"inference/weights.py"}  # it shows names of this project
