"""A query is asked in a process of its own: it ends in time, within its memory, and leaves the lake as it was."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import FactoryError
from stores.door.asking import ask, asking
from stores.door.question import Limits, Question
from stores.lake import Lake
from tests.sets import RUN, prompts

FACTORY = [sys.executable, "-m", "factory.cli", "sql"]


@pytest.fixture
def where(lake: Lake) -> str:
    lake.append([RUN, *prompts(*range(40))], message="by hand")
    return str(lake.place.where)


def files(where: str) -> dict[str, bytes]:
    kept = [path for path in Path(where).rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): path.read_bytes() for path in kept}


def test_rows_come_as_the_lake_has_them(lake: Lake, where: str) -> None:
    assert ask(Question(where, "SELECT * FROM prompts ORDER BY prompt_id")) == lake.query(
        "SELECT * FROM prompts ORDER BY prompt_id"
    )
    first = lake.snapshots()["snapshot_id"][0].as_py() + 1
    assert ask(Question(where, "SELECT count(*) AS n FROM prompts", at=first)).to_pylist() == [{"n": 0}]
    assert ask(Question(where, "SELECT $a AS a", {"a": 2, "unused": 3})).to_pylist() == [{"a": 2}]
    assert ask(Question(where, "SELECT likeness('a b', 'a c').similarity AS s")).to_pylist() == [{"s": 0.5}]


def test_a_lake_behind_a_server_and_in_an_object_store_is_read_and_no_more(place: str) -> None:
    with Lake.open(place, create=True) as lake:
        lake.append([RUN, *prompts(1, 2)], message="by hand")
    assert ask(Question(place, "SELECT count(*) AS n FROM prompts")).to_pylist() == [{"n": 2}]
    for query in (
        "FROM postgres_query('lake', 'SELECT 1')",
        "FROM read_parquet('http://127.0.0.1/x')",
        "FROM 's3://bucket/x.parquet'",
    ):
        with pytest.raises(FactoryError, match="may not"):
            ask(Question(place, query))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "EXPLAIN ANALYZE COPY (SELECT 'gone' AS x) TO '{where}/catalog.sqlite' (FORMAT csv)",
            "only one read-only query",
        ),
        ("FROM enable_logging(storage_path = '{where}/logs')", "may not call enable_logging"),
        (
            "FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
            "may not call ducklake_delete_orphaned_files",
        ),
        ("FROM sqlite_scan('{where}/catalog.sqlite', 'ducklake_table')", "may not call sqlite_scan"),
        ("FROM read_text('{where}/catalog.sqlite')", "may not call read_text"),
        ("SELECT $a", "uses $a, which has no value: write the value itself"),
        ("SELECT nothing", "the query fails: Binder Error"),
        ("SELECT error('mine')", "the query fails: Invalid Input Error: mine"),
        ("SELECT repeat('x', 4000000000) || repeat('y', 4000000000)", "the query "),
    ],
)
def test_a_refused_query_is_one_sentence_and_changes_nothing(where: str, query: str, said: str) -> None:
    before = files(where)
    for snapshot in (None, 1):
        with pytest.raises(FactoryError) as refused:
            ask(Question(where, query.format(where=where), at=snapshot, limits=Limits(30, 300)))
        assert said in str(refused.value) and "\n" not in str(refused.value)
    assert files(where) == before


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM range(100000000000) WHERE hash(range) = 1",
        # One long call, which DuckDB cannot interrupt.
        "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
        "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t",
    ],
)
def test_a_query_that_takes_too_long_is_ended(where: str, query: str) -> None:
    with pytest.raises(FactoryError, match="the query took longer than 3 s and was stopped"):
        ask(Question(where, query, limits=Limits(3, 200)))


def test_a_query_that_needs_too_much_memory_is_ended(where: str) -> None:
    grouping = "SELECT count(*) FROM (SELECT range, hash(range), count(*) FROM range(100000000) GROUP BY ALL)"
    with pytest.raises(FactoryError, match="memory"):
        ask(Question(where, grouping, limits=Limits(60, 100)))


def test_rows_are_passed_on_as_they_come(where: str) -> None:
    with asking(Question(where, "SELECT range AS a, repeat('x', 1000) AS b FROM range(1000000000)")) as answer:
        batches = iter(answer.batches)
        assert next(batches)["a"][0].as_py() == 0 and next(batches).num_rows > 0


def test_a_fault_half_way_is_told_and_leaves_no_file(where: str, tmp_path: Path) -> None:
    query = "SELECT CASE WHEN range = 500000 THEN error('half-way') ELSE repeat('x', 100) END AS a FROM range(1000000)"
    out = tmp_path / "rows.csv"
    done = subprocess.run(
        [*FACTORY, query, "-f", "csv", "--out", out, "--lake", where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "half-way" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.glob("rows*")) == []


@pytest.fixture
def endless(where: str) -> Iterator[subprocess.Popen[str]]:
    query = "SELECT count(*) FROM range(100000000000) WHERE hash(range) = 1"
    with subprocess.Popen([*FACTORY, query, "--lake", where], stderr=subprocess.PIPE, text=True) as process:
        while not children_of(process.pid):
            time.sleep(0.02)
        time.sleep(1)
        yield process
        process.kill()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the process in /proc")
def test_ctrl_c_ends_a_query_and_its_process(endless: subprocess.Popen[str]) -> None:
    (asked,) = children_of(endless.pid)
    endless.send_signal(signal.SIGINT)
    _, errors = endless.communicate(timeout=30)
    assert endless.returncode != 0 and "Traceback" not in errors
    assert not Path(f"/proc/{asked}").exists()


def test_a_reader_that_stops_early_is_no_fault(where: str) -> None:
    for shape in ("csv", "json"):
        query = f"{sys.executable} -m factory.cli sql 'FROM range(10000000)' -f {shape} --lake {where} | head -1"
        done = subprocess.run(["bash", "-c", query], capture_output=True, text=True, check=False)
        assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr


def test_nothing_in_the_current_folder_is_executed(where: str, tmp_path: Path) -> None:
    for name in ("json.py", "stores.py", "duckdb.py", "duckdb_extension_sqlite_scanner.py"):
        (tmp_path / name).write_text("print('taken'); raise SystemExit(7)")
    code = f"from stores.door.asking import ask; from stores.door.question import Question; import os; os.chdir({str(tmp_path)!r});"
    code += f"print(ask(Question({str(Path(where).resolve())!r}, 'SELECT 42 AS a')).to_pylist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[{'a': 42}]\n", done.stderr


def test_a_table_shows_its_first_rows_and_counts_them_all(where: str) -> None:
    done = subprocess.run(
        [*FACTORY, "FROM range(100000)", "--rows", "3", "--lake", where], capture_output=True, text=True, check=False
    )
    assert "100,000 rows, the first 3 shown" in done.stdout and done.stdout.count("\n") < 10
    lines = subprocess.run(
        [*FACTORY, "FROM range(5000)", "-f", "json", "--lake", where], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert [json.loads(line)["range"] for line in lines] == list(range(5000))
