"""Lakes of earlier schema versions, made by the code of their time: read as they are, and migrated to today's."""

import json
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import stores.migrate
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import specification_of
from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TABLES, Pair, TrainingSet
from stores.attach import attach, connect, load_extensions
from stores.attach import place as place_of
from stores.lake import Lake
from stores.locks import run_lock
from stores.maintenance import compact
from stores.migrate import migrate
from stores.training_sets import build_training_set, read_training_set
from tests.rows import sampled
from tests.runs import answer, assert_ids_unique
from tests.scripted_endpoint import running_endpoint

OLD_LAKES = sorted((Path(__file__).parent / "old_lakes").glob("*.tar.gz"))
VIEWS = ("verdicts", "failed_responses", "call_messages", "tree_paths", "accepted_pairs", "run_progress", "run_cost")
NEW_TABLES = dict.fromkeys(
    (
        *("comparisons", "checks", "loops", "loop_steps", "reviews", "reruns"),
        *("documents", "claims", "checklist_items", "meta_judgements"),
    ),
    0,
)
"""tables that some old lake lacks: each is empty there"""
COPY = "catalog-before-migration.sqlite"


def unpack(file: Path, folder: Path) -> Path:
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    return folder / "lake"


def name_of(file: Path) -> str:
    return file.name.split(".")[0]


EACH_VERSION = [
    # The oldest one takes every step that the others take.
    pytest.param(file, id=name_of(file), marks=[] if file in (OLD_LAKES[0], OLD_LAKES[-1]) else [pytest.mark.heavy])
    for file in OLD_LAKES
]


@pytest.fixture(scope="module", params=EACH_VERSION)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    file: Path = request.param
    return unpack(file, tmp_path_factory.mktemp("old")), json.loads(
        file.with_name(file.name.replace(".tar.gz", ".json")).read_text()
    )


@pytest.fixture
def old(packed: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    shutil.copytree(packed[0], tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def about(packed: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return packed[1]


def quietly(_: str) -> None:
    """Discards progress."""


def all_of(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    tables = {name: lake.read(table) for name, table in TABLES.items()}
    return {**tables, **{view: lake.query(f"FROM {view} ORDER BY ALL").to_pylist() for view in VIEWS}}


def pinned(lake: Lake) -> dict[str, Any]:
    names = [f"{row.name}@{row.version}" for row in lake.read(TrainingSet)]
    return {name: read_training_set(lake, name) for name in names}  # which checks the fingerprint


def shapes(lake: Lake) -> dict[str, set[tuple[Any, ...]]]:
    """Name, type and nullability of every table's columns, in any order: a column added later has another position."""
    return {name: {c[:3] for c in lake.connection.execute(f"DESCRIBE lake.{name}").fetchall()} for name in TABLES}


# Read as it is


def test_an_old_lake_is_read_in_todays_shape(old: Path, about: dict[str, Any]) -> None:
    with Lake.open(old) as lake:
        assert lake.version == about["schema_version"] < SCHEMA_VERSION
        assert lake.counts() == {**about["rows"], **NEW_TABLES}
        found = all_of(lake)
        assert {pair.source for pair in lake.read(Pair)} == {"refined_over_failed", "passing_over_failing"}
        same = "SELECT bool_and(sha256(to_json(messages)::VARCHAR) = messages_hash) AS same FROM call_messages"
        assert lake.query(same).to_pylist() == [{"same": True}]
        roles = lake.query("SELECT DISTINCT stage, template, role FROM calls ORDER BY ALL").to_pylist()
    assert all(found[view] for view in VIEWS)
    assert [tuple(row.values()) for row in roles] == [
        ("judge", "judge", "refiner"), ("sample", None, "actor"), ("search", "judge", "refiner"), ("search", "refine", "refiner"),
    ]  # fmt: skip


def test_an_old_lakes_training_sets_and_snapshots_are_read(old: Path, about: dict[str, Any]) -> None:
    with Lake.open(old) as lake:
        sizes = {name: (built.train.num_rows, built.held_out.num_rows) for name, built in pinned(lake).items()}
    assert sizes == {
        f"{t['name']}@{t['version']}": (t["train_rows"], t["held_out_rows"]) for t in about["training_sets"]
    }
    for snapshot, rows in about["rows_at_pinned_snapshots"].items():
        with Lake.open(old, at=int(snapshot)) as then:
            assert then.counts() == {**rows, **NEW_TABLES} and all_of(then)["verdicts"]


def test_an_old_lake_is_not_written(old: Path, about: dict[str, Any]) -> None:
    sentence = rf"has schema version {about['schema_version']}, .*; `factory migrate --lake \S+lake` brings it to {SCHEMA_VERSION}"
    with Lake.open(old) as lake:
        with pytest.raises(FactoryError, match=sentence):
            lake.append([sampled("new")], message="not here")
        with pytest.raises(FactoryError, match=sentence):
            build_training_set(lake, "spar_dpo", {}, ["run"])
    with pytest.raises(FactoryError, match=sentence):
        Lake.open(old, create=True)


# Migrated to today's


def test_a_migrated_lake_has_what_it_had_and_takes_rows(old: Path, empty_lake: Path) -> None:
    said: list[str] = []
    with Lake.open(old) as lake:
        before, sets = all_of(lake), pinned(lake)
    migrate(str(old), said.append)
    assert f"has schema version {SCHEMA_VERSION}; its rows and training sets" in said[-1]
    with Lake.open(old, create=True) as lake, Lake.open(empty_lake) as new:
        assert lake.version == SCHEMA_VERSION
        assert all_of(lake) == before and pinned(lake) == sets
        assert shapes(lake) == shapes(new)
        assert lake.append([sampled("new"), *before["responses"]], message="on it goes") == 1
        compact(lake)
        assert pinned(lake) == sets
    assert not (old / COPY).exists()
    migrate(str(old), said.append)
    assert said[-1].endswith(f"already has schema version {SCHEMA_VERSION}")


def test_a_run_of_an_old_version_goes_on_in_the_migrated_lake(old: Path, about: dict[str, Any]) -> None:
    migrate(str(old), quietly)
    stopped = next(run["run_id"] for run in about["runs"] if run["status"] == "stopped")
    with running_endpoint(answer) as endpoint:
        moved = {f"models.{role}.endpoint": endpoint.url for role in ("actor", "refiner")}
        with Lake.open(old) as lake:
            before = lake.counts()
            spec = specification_of(lake, stopped, {**moved, "budget": {}})
        assert run_recipe(spec, str(old), Progress()) == stopped
        paid = endpoint.stats().received
    with Lake.open(old) as lake:
        (state,) = lake.query("FROM run_progress WHERE run_id = $id", {"id": stopped}).to_pylist()
        calls = lake.counts()["calls"] - before["calls"]
        ours = lake.query("SELECT DISTINCT source FROM pairs WHERE run_id = $id ORDER BY 1", {"id": stopped}).column(0)
    assert (state["status"], state["prompts"], state["answered"], state["judged"]) == ("finished", 4, 4, 4)
    assert state["trees"] == state["failing"] and 0 < paid <= calls
    assert ours.to_pylist() == ["passing_over_failing", "refined_over_failed"]
    assert_ids_unique(old)


def test_a_lake_behind_postgresql_is_migrated_without_a_copy(postgres: str, tmp_path: Path) -> None:
    old = place_of(str(unpack(OLD_LAKES[0], tmp_path)))
    where = f"postgresql://{postgres}?data_path={tmp_path / 'data'}&metadata_schema=old_lake"
    with connect() as connection:
        attach(connection, place_of(where), snapshot=None, create=True)
        load_extensions(connection, old.extensions)
        files = f"DATA_PATH '{old.data_path}', OVERRIDE_DATA_PATH true"
        connection.execute(f"ATTACH 'ducklake:{old.catalog}' AS old ({files})")
        for (name,) in connection.execute("SHOW TABLES FROM old").fetchall():
            if name in (*TABLES, "schema_version"):
                # A training set's snapshot is another there.
                connection.execute(f"CREATE TABLE lake.{name} AS FROM old.{name} WHERE '{name}' <> 'training_sets'")
    said: list[str] = []
    with Lake.open(where) as lake:
        before = all_of(lake)
    migrate(where, said.append)
    assert "the server's catalog is not copied" in said[0]
    with Lake.open(where) as lake:
        assert lake.version == SCHEMA_VERSION and all_of(lake) == before
        assert lake.append([sampled("new")], message="on it goes") == 1


def test_a_run_that_is_at_work_is_waited_for(old: Path) -> None:
    with run_lock(place_of(str(old))), pytest.raises(FactoryError, match="another run is using lake"):
        migrate(str(old), quietly)


def test_a_migration_that_fails_leaves_the_old_lake(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lake.open(old) as lake:
        before = lake.counts(), lake.latest_snapshot()
    steps = stores.migrate.steps
    monkeypatch.setattr("stores.migrate.steps", lambda version: [*steps(version), ("", "SELECT nothing")])
    with pytest.raises(FactoryError, match="could not be migrated and is unchanged: Binder Error"):
        migrate(str(old), quietly)
    with Lake.open(old) as lake:
        assert (lake.counts(), lake.latest_snapshot()) == before
    assert not (old / COPY).exists()


def test_a_lake_that_is_not_the_same_afterwards_is_put_back(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lake.open(old) as lake:
        before = lake.counts(), lake.latest_snapshot()
    steps = stores.migrate.steps
    loses = "DELETE FROM lake.pairs WHERE source = 'refined_over_failed'"
    monkeypatch.setattr("stores.migrate.steps", lambda version: [*steps(version), ("", loses)])
    with pytest.raises(FactoryError, match=r"pairs had \d+ rows and has \d+; the earlier catalog was restored"):
        migrate(str(old), quietly)
    with Lake.open(old) as lake:
        assert (lake.counts(), lake.latest_snapshot()) == before and pinned(lake)


KILLED = """
import os, signal, sys
import stores.migrate as m
from stores.lake import Lake
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
when = sys.argv[2]
if when == "copied": m._write = die
if when == "written": Lake.roll_back = die; real = m.steps; m.steps = lambda version: [*real(version), ("", "SELECT nothing")]
if when == "committed": m._check = die
m.migrate(sys.argv[1], print)
"""


@pytest.mark.parametrize("when", ["copied", "written", "committed"])
def test_a_killed_migration_is_done_again(tmp_path: Path, when: str) -> None:
    old = unpack(OLD_LAKES[0], tmp_path)
    with Lake.open(old) as lake:
        version, rows, sets = lake.version, lake.counts(), pinned(lake)
    ended = subprocess.run([sys.executable, "-c", KILLED, old, when], cwd=Path(__file__).parents[1], check=False)
    assert ended.returncode == -signal.SIGKILL and (old / COPY).exists()
    with Lake.open(old) as lake:
        assert lake.version == (SCHEMA_VERSION if when == "committed" else version)
        assert lake.counts() == rows and pinned(lake) == sets
    migrate(str(old), quietly)
    with Lake.open(old) as lake:
        assert lake.version == SCHEMA_VERSION and lake.counts() == rows
    assert not (old / COPY).exists()
