"""The lake's guarantees: all or nothing, each id once, any snapshot readable; with each catalog and data path."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.columns import columns
from schemas.errors import FactoryError
from schemas.tables import TABLES, Judgement, Pair, Prompt, Response, Run
from stores.attach import attach
from stores.attach import place as place_of
from stores.lake import Lake
from stores.maintenance import compact, expire
from stores.training_sets import build_training_set, read_training_set
from tests.rows import any_row, asked, row, votes

FEW = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


def responses(*ids: object) -> list[Response]:
    return [row(Response, str(id), text=f"text {id}") for id in ids]


def ids_in(lake: Lake, table: str = "responses") -> list[str]:
    key = "judgement_id" if table == "judgements" else "response_id"
    found: list[str] = lake.query(f"SELECT {key} FROM {table} ORDER BY ALL").column(0).to_pylist()
    return found


# With each catalog and data path


def test_rows_of_several_tables_come_back_as_they_were(place: str) -> None:
    answers = responses(*range(100))
    with Lake.open(place, create=True) as lake:
        assert lake.append([*answers, *votes("0", "yn")], message="both") == 102
    with Lake.open(place) as lake:
        assert lake.read(Response) == sorted(answers, key=lambda r: r.response_id)
        assert lake.read(Judgement) == votes("0", "yn")


def test_one_append_is_one_snapshot_that_names_run_and_stage(place: str) -> None:
    with Lake.open(place, create=True) as lake:
        before = lake.latest_snapshot()
        lake.append(
            [*responses(1), *votes("1", "yn")],
            message="run spar-1: judge",
            details={"run_id": "spar-1", "stage": "judge"},
        )
        (made,) = [s for s in lake.snapshots().to_pylist() if s["snapshot_id"] > before]
    assert made["commit_message"] == "run spar-1: judge"
    assert json.loads(made["commit_extra_info"]) == {"run_id": "spar-1", "stage": "judge"}


def test_a_snapshot_shows_what_was_there_then_and_cannot_be_written(place: str) -> None:
    with Lake.open(place, create=True) as lake:
        lake.append(responses(1), message="first")
        then = lake.latest_snapshot()
        lake.append(responses(*range(2, 60)), message="second")
    with Lake.open(place, at=then) as lake:
        assert ids_in(lake) == ["1"]
        with pytest.raises(duckdb.Error, match=r"read-only|read only"):
            lake.append(responses(3), message="not now")


def test_what_is_read_at_one_snapshot_does_not_change_under_anothers_writing(place: str) -> None:
    with Lake.open(place, create=True) as lake, Lake.open(place) as other:
        lake.append(responses(1), message="before")
        with lake.one_snapshot() as snapshot:
            before = ids_in(lake)
            other.append(responses(2), message="meanwhile")
            assert ids_in(lake) == before == ["1"]
        assert ids_in(lake) == ["1", "2"] and lake.latest_snapshot() == snapshot + 1


def test_a_pinned_snapshot_outlives_expiry_and_the_rest_does_not(place: str) -> None:
    with Lake.open(place, create=True) as lake:
        lake.append(responses(*range(40)), message="earlier")
        earlier = lake.latest_snapshot()
        lake.append(one_pair(), message="a pair")
        built = build_training_set(lake, "spar_dpo", {"held_out": 0}, ["run"])
        lake.append(responses(*range(40, 80)), message="later")
        compact(lake)
        expired = expire(lake, datetime.now(UTC) + timedelta(hours=1))
        assert earlier in expired
        assert [s["snapshot_id"] for s in lake.snapshots().to_pylist()] == [built.row.snapshot, lake.latest_snapshot()]
        assert read_training_set(lake, "spar_dpo@1").train == built.train
        assert len(ids_in(lake)) == 82
        assert expire(lake, datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(FactoryError, match=rf"no snapshot {earlier}: `factory snapshots`"):
        Lake.open(place, at=earlier)


def one_pair() -> list[Any]:
    return [
        row(Run, "event", run_id="run"),
        row(Prompt, "p", messages=asked("Say hello.")),
        row(Response, "good", prompt_id="p", text="Hello!"),
        row(Response, "bad", prompt_id="p", text="Bye!"),
        row(Pair, "pair", run_id="run", prompt_id="p", source="refined_over_failed", chosen_response_id="good",
            rejected_response_id="bad", chosen_value=1.0, similarity=0.5),
    ]  # fmt: skip


COMMITS = """
import sys
from schemas.tables import Judgement, Response
from stores.lake import Lake
from tests.rows import row
place, first, count, size = sys.argv[1], *map(int, sys.argv[2:])
with Lake.open(place) as lake:
    print("open", flush=True)
    for number in range(first, first + count):
        ids = [f"{number}-{i}" for i in range(size if number % 2 else 1)]
        lake.append([row(t, id) for t in (Response, Judgement) for id in ids], message=f"commit {number}")
        print(number, flush=True)
"""


@contextmanager
def committing(place: str, *arguments: tuple[int, int, int]) -> Iterator[list["subprocess.Popen[str]"]]:
    """A process for each (first, count, size) that commits to two tables at a time; none outlives the block."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COMMITS, place, *map(str, given)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for given in arguments
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            with process:  # waits, and closes the pipe
                pass


def expected_ids(numbers: Iterable[int], size: int) -> list[str]:
    return sorted(f"{number}-{i}" for number in numbers for i in range(size if number % 2 else 1))


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_four_writing_processes_lose_no_row_and_add_none_twice(place: str) -> None:
    Lake.open(place, create=True).close()
    # Each process's numbers overlap with the next one's: what both add must be there once.
    with committing(place, *((first, 8, 25) for first in (0, 4, 8, 12))) as writers:
        for writer in writers:
            said, _ = writer.communicate()
            assert writer.returncode == 0, said
    with Lake.open(place) as lake:
        assert ids_in(lake) == ids_in(lake, "judgements") == expected_ids(range(20), 25)


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_a_killed_writer_leaves_whole_commits_and_the_next_one_adds_the_rest(place: str) -> None:
    Lake.open(place, create=True).close()
    chance = random.Random(7)
    for _ in range(3):
        with committing(place, (0, 60, 30)) as (writer,):
            assert writer.stdout is not None and writer.stdout.readline() == "open\n"
            time.sleep(chance.uniform(0.0, 0.4))
            writer.send_signal(signal.SIGKILL)
            said, _ = writer.communicate()
        with Lake.open(place) as lake:
            found = ids_in(lake)
            assert ids_in(lake, "judgements") == found
            committed = {int(id.split("-")[0]) for id in found}
            assert found == expected_ids(committed, 30)
            assert committed >= set(map(int, said.split()))
    with committing(place, (0, 12, 30)) as (writer,):
        writer.communicate()
    with Lake.open(place) as lake:
        found = ids_in(lake)
        assert found == ids_in(lake, "judgements") == sorted(set(found))
        assert set(expected_ids(range(12), 30)) <= set(found)


# On disk


def test_appending_again_adds_nothing(lake: Lake) -> None:
    rows = [*responses(*range(30)), *votes("1", "yyn")]
    assert lake.append(rows, message="once") == 33
    assert lake.append(rows, message="again") == 0
    assert lake.append([*rows, *responses("new")], message="and one more") == 1


@FEW
@given(batches=st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=4))
def test_ids_stay_unique_and_complete_whatever_batches_overlap(lake: Lake, batches: list[list[int]]) -> None:
    there = set(ids_in(lake))
    for batch in batches:
        new = {str(i) for i in batch} - there
        assert lake.append(responses(*batch), message="batch") == len(new)
        there |= new
    assert ids_in(lake) == sorted(there)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@FEW
@given(data=st.data())
def test_any_row_comes_back_from_the_lake_as_it_was(lake: Lake, table: type, data: st.DataObject) -> None:
    (key, *_) = (column.name for column in columns(table))
    given_row = replace(data.draw(any_row(table)), **{key: str(uuid.uuid4())})
    lake.append([given_row], message="a row")
    assert lake.read(table, f"{key} = $id", {"id": getattr(given_row, key)}) == [given_row]


def test_compaction_changes_no_row_and_no_earlier_snapshot(lake: Lake) -> None:
    lake.append(responses(1, 2), message="a small file")
    then = lake.latest_snapshot()
    for number in range(3, 6):
        lake.append(responses(*(f"{number}-{i}" for i in range(30))), message="a file")
    before = lake.read(Response)
    compact(lake)
    assert lake.read(Response) == before
    assert lake.append(responses(1, "3-0"), message="again") == 0
    with Lake.open(lake.place.where, at=then) as earlier:
        assert ids_in(earlier) == ["1", "2"]


def test_answers_and_votes_lie_sorted_by_response_in_every_file(lake: Lake) -> None:
    assert lake.place.folder is not None
    ids = [uuid.uuid5(uuid.NAMESPACE_OID, str(n)).hex for n in range(120)]
    for first in range(0, 90, 30):
        batch = ids[first : first + 30]
        lake.append([*responses(*batch), *(vote for id in batch for vote in votes(id, "yn"))], message="a file")
    before = files_in(lake.place.folder)
    compact(lake)
    lake.append([*responses(*ids[90:]), *(vote for id in ids[90:] for vote in votes(id, "yn"))], message="later")
    after = files_in(lake.place.folder)
    assert len(before) == 6 and len(after - before) == 4
    for file in after:
        found = pyarrow.parquet.read_table(file, partitioning=None).column("response_id").to_pylist()
        assert found == sorted(found)
    assert ids_in(lake) == sorted(ids) and len(lake.read(Judgement)) == 240


def files_in(folder: Path) -> set[Path]:
    return {file for table in ("responses", "judgements") for file in folder.rglob(f"{table}/*.parquet")}


@contextmanager
def held_catalog(lake: Lake) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the catalog for writing until a line comes in: within one process SQLite's locks mean nothing."""
    assert lake.place.folder is not None
    script = (
        "import sqlite3, sys; holder = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "holder.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(lake.place.folder / "catalog.sqlite")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline() == "held\n"
        yield holder
        if not holder.stdin.closed:
            holder.stdin.close()


def test_a_locked_catalog_is_waited_for(lake: Lake) -> None:
    with held_catalog(lake) as holder:
        assert holder.stdin
        release = threading.Timer(0.3, holder.stdin.close)
        release.start()
        assert lake.append(responses(1), message="when it is free") == 1
        release.join()


def test_a_catalog_that_stays_locked_is_one_clear_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.lake.RETRIES", 2)
    with held_catalog(lake), pytest.raises(FactoryError, match="stayed locked by another process: try again"):
        lake.append(responses(1), message="never")
    assert lake.append(responses(1), message="now") == 1


def test_a_reader_is_not_kept_waiting_by_a_writer(lake: Lake) -> None:
    lake.append(responses("first"), message="first")
    lake.connection.execute("BEGIN")
    lake.connection.execute("INSERT INTO schema_version SELECT version FROM schema_version")
    with Lake.open(lake.place.where) as reader:
        assert ids_in(reader) == ["first"]
    lake.connection.execute("ROLLBACK")


def test_a_lake_may_be_moved_and_reached_by_any_path(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.append(responses(*range(50)), message="in a file")
    lake.close()
    (tmp_path / "lake").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for where in ("moved", tmp_path / "moved", "./moved/"):
        with Lake.open(where) as moved:
            assert moved.counts()["responses"] == 50


# Refusals


def test_a_missing_lake_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"there is no lake in .*nowhere: `factory run` makes one"):
        Lake.open(tmp_path / "nowhere")


def test_a_lake_of_a_later_schema_version_is_refused(lake: Lake) -> None:
    lake.connection.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(FactoryError, match=r"has schema version 99, but this factory only knows \d+: update"):
        Lake.open(lake.place.where)


def test_a_ducklake_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        attach(connection, place_of(str(tmp_path)), snapshot=None, create=True)
        connection.execute("CREATE TABLE theirs (number INTEGER)")
    with pytest.raises(FactoryError, match="is a DuckLake, but not one made by this factory"):
        Lake.open(tmp_path)


def test_a_file_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("not a database, " * 100)
    with pytest.raises(FactoryError, match="cannot be opened"):
        Lake.open(tmp_path)


def test_a_snapshot_that_is_not_there_is_refused(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="has no snapshot 4711"):
        Lake.open(lake.place.where, at=4711)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(FactoryError, match="PGPASSWORD") as refused:
        place_of("postgresql://me:hunter2@host/db?data_path=/data")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("query", ["", "?metadata_schema=a", "?data_path=/data&datapath=/data"])
def test_a_url_lacks_nothing_and_holds_nothing_unknown(query: str) -> None:
    with pytest.raises(FactoryError, match="takes data_path"):
        place_of(f"postgresql://me@host/db{query}")


def test_an_object_store_without_keys_says_which_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(FactoryError, match="AWS_ACCESS_KEY_ID is not set"):
        Lake.open("postgresql://me@127.0.0.1:1/db?data_path=s3://bucket/data/")


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="cannot be opened"):
        Lake.open(f"postgresql://me@127.0.0.1:1/db?data_path={tmp_path}")


def test_no_bar_is_drawn_on_standard_output_while_a_query_takes_long(lake: Lake) -> None:
    # DuckDB's default is to draw it after two seconds; setting a shorter time would turn it on again.
    assert lake.query("SELECT current_setting('enable_progress_bar') AS bar").to_pylist() == [{"bar": False}]


def test_rows_of_another_shape_are_refused(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="rows for models have schema"):
        lake.append_arrow({"models": pa.table({"model_id": ["a"]})}, message="wrong")
