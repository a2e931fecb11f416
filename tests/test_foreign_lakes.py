"""A lake from somebody else runs nothing on the reader's machine, and shows no file but its own."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest

from schemas.errors import FactoryError
from schemas.tables import Pair, TrainingSet
from stores.checksums import verify_files
from stores.door.asking import ask
from stores.door.question import Question
from stores.lake import Lake
from stores.pairing import Pairing, unpaired
from stores.training_sets import read_training_set, training_set_sql
from tests.sets import build
from tests.test_training_sets import many

PAIRS = sum(isinstance(row, Pair) for row in many(3))


@pytest.fixture
def foreign(lake: Lake) -> Path:
    """A lake with a pinned training set, closed, to be doctored."""
    build(lake, "spar_dpo", many(3))
    lake.close()
    assert lake.place.folder is not None
    return lake.place.folder


def doctor(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        for statement in statements:
            catalog.execute(statement)
        catalog.commit()


def view(name: str, body: str) -> str:
    text = body.replace("'", "''")
    return f"INSERT INTO ducklake_view VALUES (900, '{name}', 1, NULL, 0, '{name}', 'duckdb', '{text}', '')"


def macro(name: str, body: str, kind: str = "scalar") -> tuple[str, str]:
    text = body.replace("'", "''")
    return (
        f"INSERT INTO ducklake_macro VALUES (0, 901, '{name}', 1, NULL)",
        f"INSERT INTO ducklake_macro_impl VALUES (901, 0, 'duckdb', '{text}', '{kind}')",
    )


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ([view("mine", "FROM read_text('/etc/passwd')")], "may not call read_text"),
        ([view("mine", "FROM '/etc/passwd'")], "may not read /etc/passwd"),
        ([view("pairs", "FROM sqlite_scan('journal.sqlite', 'replies')")], "may not call sqlite_scan"),
        ([view("pairs", "FROM enable_logging(storage_path = '/tmp/x')")], "may not call enable_logging"),
        ([view("mine", "SELECT 1; COPY (SELECT 1) TO '/tmp/x'")], "only one read-only query"),
        ([*macro("mine", "getvariable('x')")], "may not call getvariable"),
        ([*macro("mine", "SELECT content FROM read_text('/etc/passwd')", "table")], "may not call read_text"),
        ([*macro("mine", "FROM query_table(a)", "table")], "may not call query_table"),
        # It would stand before DuckDB's own function in our views.
        ([*macro("list_contains", "true")], "is a function of DuckDB"),
        ([*macro("read_text", "1")], "is a function of DuckDB"),
        (["UPDATE ducklake_sort_expression SET expression = 'getvariable(''x'')'"], "may not call getvariable"),
        (
            ["UPDATE ducklake_column SET default_value = 'getvariable(1)', default_value_type = 'expression'"],
            "may not call getvariable",
        ),
        (["UPDATE ducklake_data_file SET path = '../../../../secret.parquet'"], "a file outside its data folder"),
        (
            ["UPDATE ducklake_data_file SET path = '/etc/x.parquet', path_is_relative = 0"],
            "a file outside its data folder",
        ),
        (
            ["UPDATE ducklake_data_file SET path = 'http://a/x.parquet', path_is_relative = 0"],
            "outside its data folder",
        ),
        (["UPDATE ducklake_table SET path = '../../../'"], "a file outside its data folder"),
        (["UPDATE ducklake_schema SET path = '/etc/', path_is_relative = 0"], "a file outside its data folder"),
        (
            [
                "ALTER TABLE ducklake_view RENAME TO kept",
                "CREATE VIEW ducklake_view AS SELECT * FROM kept WHERE random() > 0",
            ],
            "views, triggers or computed columns",
        ),
        (
            ["CREATE TRIGGER t AFTER INSERT ON ducklake_snapshot BEGIN DELETE FROM ducklake_view; END"],
            "views, triggers or computed columns",
        ),
    ],
)
def test_a_catalog_that_holds_more_than_ours_is_not_opened(foreign: Path, statements: list[str], said: str) -> None:
    doctor(foreign, *statements)
    with pytest.raises(FactoryError) as refused:
        Lake.open(foreign)
    assert said in str(refused.value)
    with pytest.raises(FactoryError):
        ask(Question(str(foreign), "FROM pairs"))


def test_an_open_lake_reads_and_writes_below_its_data_alone(foreign: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1]}), outside)
    with Lake.open(foreign) as lake:
        for text in (
            f"FROM read_parquet('{outside}')",
            f"COPY (SELECT 1) TO '{outside}'",
            f"ATTACH '{tmp_path}/x.db'",
            f"LOAD '{tmp_path}/x.duckdb_extension'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET allow_unsigned_extensions = true",
        ):
            with pytest.raises(duckdb.Error):
                lake.connection.execute(text)
        assert lake.query("FROM pairs").num_rows == PAIRS


def test_a_link_in_the_data_leads_nowhere(foreign: Path, tmp_path: Path) -> None:
    file = next((foreign / "data").rglob("*.parquet"))
    shutil.move(file, tmp_path / "elsewhere.parquet")
    file.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(FactoryError, match="holds a link in its data"):
        ask(Question(str(foreign), "FROM pairs"))


def pin(folder: Path, **changed: object) -> None:
    """Replaces the pinned set by a changed one, as whoever made the lake could."""
    with Lake.open(folder) as lake:
        (row,) = lake.read(TrainingSet)
        lake.connection.execute("DELETE FROM training_sets")
        lake.append([replace(row, **changed)], message="doctored")  # type: ignore[arg-type]


OURS = training_set_sql("spar_dpo")


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{folder}/written.csv'; " + OURS,
        "DELETE FROM pairs; COMMIT; BEGIN; " + OURS,
        "LOAD '{folder}/x.duckdb_extension'",
        "FROM read_text('/etc/passwd')",
        "SELECT content AS split FROM read_text('/etc/passwd') ORDER BY 1",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/written.csv'",
    ],
)
def test_a_pinned_set_of_somebody_else_can_only_read(foreign: Path, query: str) -> None:
    pin(foreign, sql=query.format(folder=foreign))
    before = sorted(foreign.rglob("*"))
    with Lake.open(foreign) as lake:
        with pytest.raises(FactoryError, match=r"training set spar_dpo: its query (may not|is refused)"):
            read_training_set(lake, "spar_dpo")
        assert lake.query("FROM pairs").num_rows == PAIRS
    assert [path for path in foreign.rglob("*") if path not in before and path.suffix == ".csv"] == []


@pytest.mark.parametrize(
    "definition",
    [
        "COPY (SELECT 1) TO 'written.csv'",
        "LOAD './x.duckdb_extension'",
        "CREATE OR REPLACE TEMP VIEW pairs AS FROM read_text('/etc/passwd')",
        "CREATE TEMP VIEW pairs AS FROM read_text('/etc/passwd')",
        "CREATE TEMP MACRO read_text(a) AS 1",
        "SET threads = 1",
    ],
)
def test_the_views_of_a_pinned_set_can_only_read(foreign: Path, definition: str) -> None:
    with Lake.open(foreign) as lake:
        (row,) = lake.read(TrainingSet)
    pin(foreign, views=f"{row.views}\n{definition};")
    with Lake.open(foreign) as lake, pytest.raises(FactoryError, match="training set spar_dpo, in its views"):
        read_training_set(lake, "spar_dpo")


def test_a_set_with_views_of_another_version_is_read_as_it_was_built(foreign: Path) -> None:
    with Lake.open(foreign) as lake:
        (row,) = lake.read(TrainingSet)
        before = read_training_set(lake, "spar_dpo")
    assert row.views is not None
    pin(foreign, views=row.views + "\nCREATE TEMP VIEW of_then AS SELECT 1 AS a;", sql=row.sql + "-- as it was then\n")
    with Lake.open(foreign) as lake:
        assert read_training_set(lake, "spar_dpo").train == before.train


@pytest.mark.parametrize("parameters", ["", "[1]", "{", '{"held_out": {}}', '{"run_ids": "x"}', "{}"])
def test_parameters_that_make_no_sense_end_in_a_sentence(foreign: Path, parameters: str) -> None:
    for query in (OURS, OURS + "-- mine\n"):
        pin(foreign, parameters=parameters, sql=query)
        with Lake.open(foreign) as lake, pytest.raises(FactoryError, match="training set spar_dpo"):
            read_training_set(lake, "spar_dpo")


def test_a_pairing_that_a_lake_brings_along_can_only_read(foreign: Path) -> None:
    with Lake.open(foreign) as lake:
        for query in ("DELETE FROM pairs", "FROM read_text('/etc/passwd')", "SELECT 1; DELETE FROM pairs"):
            with pytest.raises(FactoryError, match=r"pairing mine: its query (may not|is refused)"):
                unpaired(lake, "run", Pairing("mine", query, {}))
        assert lake.query("FROM pairs").num_rows == PAIRS


@pytest.mark.parametrize(
    "reach", ["ATTACH '{victim}' AS v (TYPE sqlite); DELETE FROM v.mine", "DELETE FROM lake.pairs"]
)
def test_a_table_of_the_catalog_whose_name_is_sql_is_only_a_name(foreign: Path, tmp_path: Path, reach: str) -> None:
    victim = tmp_path / "victim.db"
    with closing(sqlite3.connect(victim)) as opened:
        opened.executescript("CREATE TABLE mine (a INTEGER); INSERT INTO mine VALUES (1);")
    name = f"ducklake_a', 'x'; {reach.format(victim=victim)}; --"
    doctor(foreign, 'CREATE TABLE "{}" (a INTEGER)'.format(name.replace('"', '""')))
    with Lake.open(foreign) as lake:
        verify_files(lake)
        assert lake.counts()["pairs"] == PAIRS
    with closing(sqlite3.connect(victim)) as opened:
        assert opened.execute("SELECT count(*) FROM mine").fetchone() == (1,)
