"""Each command does the one thing that its help says, on a small lake that a run has made."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import typer.main

from factory.cli.commands import app
from factory.cli.main import main
from schemas.errors import FactoryError
from schemas.tables import TABLES
from stores.door.checking import check
from stores.lake import Lake
from tests.command_line import told
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

PROMPTS = 4
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
Command = Callable[..., tuple[int, str, str]]
"""Runs a command; gives its exit code, standard output and standard error."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A lake with a finished run, and the run's id. Not to be changed: see `mine`."""
    lake = tmp_path_factory.mktemp("cli") / "lake"
    with running_endpoint(answer) as endpoint:
        run_id, _ = run_spar(lake, endpoint.url, PROMPTS)
    before = contents(lake)
    yield lake, run_id
    assert contents(lake) == before  # no read-only command has changed it


@pytest.fixture
def mine(made: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made[0], tmp_path / "lake"))


@pytest.fixture
def factory(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, made: tuple[Path, str]) -> Command:
    """The command line in this process; by default on the lake that must not change."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("FACTORY_LAKE", str(made[0]))

    return partial(told, capfd)


def contents(lake: Path) -> Any:
    """Rows by table, and snapshots."""
    with Lake.open(lake) as opened:
        return opened.counts(), opened.query("SELECT list(snapshot_id) FROM lake.snapshots()").to_pylist()


def one(lake: Path, query: str) -> Any:
    with Lake.open(lake) as opened:
        return opened.query(query).column(0)[0].as_py()


@pytest.fixture(scope="module")
def opened(made: tuple[Path, str]) -> Iterator[Lake]:
    with Lake.open(made[0]) as lake:
        yield lake


# Help


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal_and_explains_every_option(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    shown = capfd.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, shown.splitlines())) <= int(columns)
    assert "…\n" not in shown  # no help is cut off
    declared = typer.main.get_command(app)
    for parameter in (declared.commands[command] if command else declared).params:  # type: ignore[attr-defined]
        assert parameter.opts[0].lstrip("-").replace("_id", "") in shown.lower()
        assert getattr(parameter, "help", None), parameter.name


def test_help_needs_neither_the_database_nor_the_client() -> None:
    code = "import sys, factory.cli.main; factory.cli.main.main(['--help'])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "typer" in imported and done.returncode == 0
    assert not imported & {"duckdb", "openai", "pyarrow", "datasets", "torch", "polars", "xllamacpp"}


# sql


def test_sql_gives_the_same_rows_in_every_format(factory: Command, tmp_path: Path) -> None:
    query = "SELECT pair_id, source, similarity FROM pairs ORDER BY pair_id"
    _, table, _ = factory("sql", query)
    _, text, _ = factory("sql", query, "-f", "csv")
    _, lines, _ = factory("sql", query, "-f", "json")
    code, nothing, _ = factory("sql", query, "-f", "parquet", "--out", tmp_path / "rows.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert code == 0 and nothing == "" and rows
    assert [json.loads(line) for line in lines.splitlines()] == rows
    assert [row["pair_id"] for row in csv.DictReader(io.StringIO(text))] == [row["pair_id"] for row in rows]
    assert all(row["pair_id"] in table for row in rows)


def test_sql_writes_nested_columns_to_csv_as_json(factory: Command) -> None:
    _, text, _ = factory("sql", "SELECT messages FROM prompts LIMIT 1", "-f", "csv")
    (row,) = csv.DictReader(io.StringIO(text))
    assert json.loads(row["messages"])[0]["role"] == "user"


def test_sql_needs_a_file_for_parquet(factory: Command) -> None:
    code, _, errors = factory("sql", "SELECT 1", "-f", "parquet")
    assert code == 1 and "give --out rows.parquet" in errors


def test_sql_that_would_change_something_is_refused(factory: Command, made: tuple[Path, str]) -> None:
    code, _, errors = factory("sql", "INSERT INTO evaluations SELECT * FROM evaluations")
    assert code == 1 and errors.count("error:") == 1 and "only one read-only query at a time" in errors


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO evaluations SELECT * FROM evaluations",
        "DELETE FROM prompts",
        "UPDATE prompts SET language = 'en'",
        "DROP TABLE prompts",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE VIEW mine AS SELECT 1",
        "ALTER TABLE prompts ADD COLUMN mine INT",
        "COPY prompts TO 'prompts.parquet'",
        "ATTACH 'other.db' AS other",
        "INSTALL httpfs",
        "CALL lake.set_commit_message('me', 'mine')",
        "CALL ducklake_expire_snapshots('lake', older_than => now())",
        "SET threads = 1",
        "SELECT 1; DROP TABLE prompts",
        "WITH gone AS (SELECT 1) DELETE FROM prompts",
        "",
    ],
)
def test_only_one_reading_query_is_read(query: str) -> None:
    with pytest.raises(FactoryError, match="only one read-only query at a time"):
        check(query)


def test_a_function_that_changes_the_lake_inside_a_query_is_undone(factory: Command, mine: Path) -> None:
    before = contents(mine)
    factory("sql", "FROM ducklake_expire_snapshots('lake', older_than => now() + INTERVAL 1 DAY)", "--lake", mine)
    assert contents(mine) == before


def test_sql_reads_the_lake_as_it_was(factory: Command, made: tuple[Path, str]) -> None:
    first = one(made[0], "SELECT min(snapshot_id) FROM lake.snapshots() WHERE commit_message LIKE '%: started'")
    query = "SELECT (SELECT count(*) FROM prompts) AS prompts, (SELECT count(*) FROM pairs) AS pairs"
    _, then, _ = factory("sql", query, "--at", first, "-f", "json")
    _, now, _ = factory("sql", query, "-f", "json")
    assert json.loads(then) == {"prompts": PROMPTS, "pairs": 0}
    assert json.loads(now)["pairs"] > 0


# What a run made


def test_status_shows_how_far_a_run_is(factory: Command, made: tuple[Path, str]) -> None:
    code, shown, _ = factory("status", made[1])
    assert code == 0 and made[1] in shown and "finished" in shown and f"{PROMPTS} of {PROMPTS} done" in shown
    assert "0 rows" in factory("status", "another")[1]


def test_a_finished_run_that_is_resumed_asks_nothing(factory: Command, mine: Path, made: tuple[Path, str]) -> None:
    before = {name: count for name, count in contents(mine)[0].items() if name != "runs"}
    # The endpoint is gone: any request would fail.
    code, shown, _ = factory("resume", made[1], "--lake", mine)
    assert code == 0 and f"run {made[1]} finished" in shown
    assert {name: count for name, count in contents(mine)[0].items() if name != "runs"} == before


def test_a_misspelt_loop_or_run_is_named_and_no_lake_is_made(
    factory: Command, made: tuple[Path, str], tmp_path: Path
) -> None:
    code, _, errors = factory("resume", "nothing")
    assert code == 1 and f"no run or loop matches 'nothing' in lake {made[0]}: it has {made[1]}" in errors
    for words in (("resume", "x"), ("fork", "x", "--from-round", 1)):
        code, _, errors = factory(*words, "--lake", tmp_path / "none")
        assert code == 1 and "none" in errors and not (tmp_path / "none").exists()


def test_tree_and_pair_are_found_by_the_beginning_of_their_id(factory: Command, made: tuple[Path, str]) -> None:
    tree = one(made[0], "SELECT tree_id FROM trees WHERE outcome = 'accepted' ORDER BY 1")
    pair, text = (one(made[0], f"SELECT {what} FROM accepted_pairs ORDER BY pair_id") for what in ("pair_id", "prompt"))
    code, shown, _ = factory("tree", tree[:12])
    assert code == 0 and tree in shown and "accepted" in shown
    code, shown, _ = factory("pair", pair[:12])
    assert code == 0 and pair in shown and text.split()[0] in shown
    code, _, errors = factory("tree", "")
    assert code == 1 and "more than one row of trees matches" in errors


# Building and keeping


def test_build_pins_a_set_writes_parquet_and_makes_no_second_version_of_the_same_rows(
    factory: Command, mine: Path
) -> None:
    code, shown, _ = factory("build", "spar_dpo", "-p", "held_out=0.3", "--lake", mine)
    assert code == 0 and "spar_dpo@1" in shown and "all passing_over_failing" in shown
    folder = mine / "training_sets" / "spar_dpo@1"
    rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in folder.glob("*.parquet"))
    assert rows == one(mine, "SELECT train_rows + held_out_rows FROM training_sets") > 0
    again = factory("build", "spar_dpo", "-p", "held_out=0.3", "--lake", mine, "--out", mine / "again")
    assert again[0] == 0 and "spar_dpo@1" in again[1]
    assert one(mine, "SELECT count(*) FROM training_sets") == 1
    assert (mine / "again" / "train.parquet").read_bytes() == (folder / "train.parquet").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["spar_dop"], "no training set 'spar_dop': did you mean 'spar_dpo'?"),
        (["none.sql"], "no training set 'none.sql'"),
        (["spar_dpo", "--run", "none"], "has no such run: it has spar-"),
        (["spar_dpo", "-p", "min_similarty=1"], "unknown parameter 'min_similarty' of the training set: did you mean"),
        (["spar_dpo", "-p", "held_out=some"], "parameter held_out of the training set must be a number, got 'some'"),
        (["spar_dpo", "-p", "min_similarity=1.1"], "training set spar_dpo has no rows"),
    ],
)
def test_build_names_what_is_wrong(factory: Command, words: list[str], sentence: str) -> None:
    code, _, errors = factory("build", *words)
    assert code == 1 and sentence in errors


def test_a_query_of_the_user_s_own_that_duckdb_refuses_is_named(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text(
        "-- Out: preference;\nSELECT nothing FROM pairs WHERE len($run_ids) > 0 ORDER BY 1"
    )
    code, _, errors = factory("build", tmp_path / "mine.sql")
    assert code == 1 and 'training set mine: its query fails: Binder Error: Referenced column "nothing"' in errors
    assert "Traceback" not in errors


def test_snapshots_name_the_run_of_each_commit(factory: Command, made: tuple[Path, str]) -> None:
    code, shown, _ = factory("snapshots")
    assert code == 0 and f"run {made[1]}: started" in " ".join(shown.split())


def test_compacting_changes_no_row(factory: Command, mine: Path) -> None:
    before = contents(mine)[0]
    assert factory("compact", "--lake", mine)[0] == 0
    assert contents(mine)[0] == before


def test_expiring_keeps_the_rows_and_whatever_a_training_set_pins(factory: Command, mine: Path) -> None:
    assert factory("build", "spar_dpo", "--lake", mine)[0] == 0
    before, pinned = contents(mine)[0], one(mine, "SELECT snapshot FROM training_sets")
    code, shown, _ = factory("expire", "--older-than-days", 0, "--lake", mine)
    assert code == 0 and int(shown.split()[0]) > 0 and "snapshots expired" in shown
    assert contents(mine)[0] == before
    kept = one(mine, "SELECT list(snapshot_id ORDER BY snapshot_id) FROM lake.snapshots()")
    assert pinned in kept and len(kept) == 2
    assert "0 snapshots expired" in factory("expire", "--older-than-days", 0, "--lake", mine)[1]


def test_every_table_can_be_asked_for(factory: Command) -> None:
    query = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS rows FROM {name}" for name in TABLES)
    _, lines, _ = factory("sql", query, "-f", "json")
    assert {json.loads(line)["name"] for line in lines.splitlines()} == set(TABLES)
