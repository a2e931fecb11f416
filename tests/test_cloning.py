"""`factory clone` and `factory gc`: a copy reads back to the same fingerprints, and nothing pinned is ever removed."""

import itertools
import json
import os
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import stores.cloning
from schemas.errors import FactoryError
from schemas.ids import model_id
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.cloning import TABLES_OF_DUCKLAKE, clone
from stores.lake import Lake
from stores.locks import run_lock
from stores.maintenance import compact
from stores.reclaiming import EXPIRED, LEFT, MODEL, ORPHANED, find_scrap, reclaim
from stores.training_sets import read_training_set
from tests.command_line import told
from tests.rows import row
from tests.runs import assert_same_tables, tables
from tests.whole_lakes import copied as copied
from tests.whole_lakes import whole as whole

_numbers = itertools.count()


def fingerprints(where: str | Path) -> dict[str, tuple[int, str]]:
    with Lake.open(where) as lake:
        names = [f"{row.name}@{row.version}" for row in lake.read(TrainingSet)]
        return {name: ((read := read_training_set(lake, name)).row.snapshot, read.row.fingerprint) for name in names}


@pytest.fixture(params=["folder", "postgresql", "postgresql and s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "copy")
    name = f"clone_{next(_numbers)}"
    data = f"{request.getfixturevalue('bucket')}/{name}" if "s3" in request.param else tmp_path / "copied-data"
    return f"postgresql://{request.getfixturevalue('postgres')}?data_path={data}&metadata_schema={name}"


def test_a_copy_has_the_snapshots_and_its_sets_read_back(
    whole: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, errors = told(capsys, "clone", whole, target)
    assert code == 0, errors
    assert "spar_dpo@1, spar_rft@1 read back to the same fingerprints" in said
    assert fingerprints(target) == fingerprints(whole)
    assert_same_tables(tables(whole), tables(target))
    with Lake.open(whole) as one, Lake.open(target) as other:
        assert one.snapshots().to_pylist() == other.snapshots().to_pylist()
        # It is a lake like any other: it can be written, and be copied back.
        assert other.append([row(Model, model_id("new", None), name="new")], message="later")
    code, said, errors = told(capsys, "verify", target)
    assert code == 0, said + errors


def test_a_copy_on_a_server_is_copied_back_to_a_folder(whole: Path, postgres: str, tmp_path: Path) -> None:
    server = f"postgresql://{postgres}?data_path={tmp_path / 'data'}&metadata_schema=back"
    clone(str(whole), server, lambda words: None)
    clone(server, str(tmp_path / "back"), lambda words: None)
    assert fingerprints(tmp_path / "back") == fingerprints(whole)


@pytest.mark.parametrize("version", [pytest.param("v1", marks=pytest.mark.heavy), "v6"])
def test_a_lake_of_an_earlier_version_is_copied_and_verified_as_it_is(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(Path(__file__).parent / "old_lakes" / f"lake-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    old, copy = tmp_path / "lake", tmp_path / "copy"
    code, said, errors = told(capsys, "clone", old, copy)
    assert code == 0, errors
    assert fingerprints(copy) == fingerprints(old) != {}
    for where in (old, copy):
        code, said, errors = told(capsys, "verify", where)
        assert code == 0, said + errors
    code, _, errors = told(capsys, "gc", "--delete", "--lake", copy)
    assert code == 1 and "which can only be read; `factory migrate" in " ".join(errors.split())


def test_the_journal_of_a_folder_comes_along(whole: Path, tmp_path: Path) -> None:
    clone(str(whole), str(tmp_path / "copy"), lambda words: None)
    count = []
    for folder in (whole, tmp_path / "copy"):
        with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
            count.append(journal.execute("SELECT count(*) FROM replies").fetchone())
    assert count[0] == count[1] != (0,)


@pytest.mark.parametrize("where", ["_copy_files", "_checked"])
def test_a_copy_that_is_broken_off_is_not_there(
    whole: Path, target: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stores.cloning, where, broken)
        with pytest.raises(KeyboardInterrupt):
            clone(str(whole), target, lambda words: None)
    with pytest.raises(FactoryError, match=r"no lake in|not one made by this factory"):
        Lake.open(target)
    clone(str(whole), target, lambda words: None)
    assert fingerprints(target) == fingerprints(whole)


def test_a_damaged_lake_is_not_copied(copied: Path, tmp_path: Path) -> None:
    file = max((copied / "data" / "main" / "responses").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(FactoryError, match=r"is not as it was written, and nothing was copied: `factory verify"):
        clone(str(copied), str(tmp_path / "copy"), lambda words: None)
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_nothing_is_copied_over_something(whole: Path, target: str) -> None:
    clone(str(whole), target, lambda words: None)
    with pytest.raises(FactoryError, match=r"is not empty|there is a lake"):
        clone(str(whole), target, lambda words: None)


def test_the_tables_of_a_catalog_are_those_that_are_copied(empty_lake: Path) -> None:
    with closing(sqlite3.connect(empty_lake / "catalog.sqlite")) as catalog:
        found = {name for (name,) in catalog.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {name for name in found if name.startswith("ducklake_")} == set(TABLES_OF_DUCKLAKE)


# gc


@pytest.fixture
def scrap(copied: Path) -> Iterator[dict[str, Any]]:
    """A lake with an expired snapshot's files, an orphaned file, a leftover, and models known and unknown."""
    models = copied / "models"
    with Lake.open(copied) as lake:
        [known] = lake.read(TrainingRun)
        lake.append([row(Model, model_id(f"m{n}", None), name=f"m{n}") for n in range(3)], message="later")
        lake.connection.execute("DELETE FROM lake.models WHERE name = 'm1'")
    for name, training in (("kept", known.training_run_id), ("forgotten", "f" * 32), ("foreign", None)):
        (models / name).mkdir(parents=True)
        (models / name / "model.safetensors").write_bytes(b"12345")
        if training is not None:
            (models / name / "training.json").write_text(json.dumps({"run": {"training_run_id": training}}))
    for name in (".kept.part", ".stopped.part"):  # of a complete model, and of a training that can go on
        (models / name / "checkpoints").mkdir(parents=True)
    orphan = copied / "data" / "main" / "responses" / "ducklake-orphan.parquet"
    orphan.write_bytes(b"123")
    yield {"folder": copied, "orphan": orphan}


def test_gc_tells_by_default_and_removes_only_what_nobody_needs(
    scrap: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = scrap["folder"], fingerprints(scrap["folder"])
    everything = sorted(folder.rglob("*"))
    code, said, _ = told(capsys, "gc", "--lake", folder, "--older-than-hours", 0)
    assert code == 0 and "would free" in said and "--delete removes them" in said
    for line in (
        f"responses: 1 {ORPHANED}, 3 bytes",
        f"models: 1 {LEFT}, 0 bytes",
        rf"models: 1 {MODEL}, \d+ bytes",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), said
    assert "ducklake-orphan" not in said
    code, said, _ = told(capsys, "gc", "--lake", folder, "--older-than-hours", 0, "--files")
    for path, why in {
        "main/responses/ducklake-orphan.parquet": ORPHANED,
        "models/forgotten": MODEL,
        "models/.kept.part": LEFT,
    }.items():
        assert [line for line in said.splitlines() if line.startswith(f"{path}: ") and line.endswith(why)], said
    assert sorted(folder.rglob("*")) == everything
    code, said, _ = told(capsys, "gc", "--lake", folder, "--older-than-hours", 0, "--delete")
    assert code == 0 and said.splitlines()[-1].startswith("freed ")
    assert {path.name for path in (folder / "models").iterdir()} == {"kept", "foreign", ".stopped.part"}
    assert not scrap["orphan"].exists()
    assert fingerprints(folder) == before
    code, said, errors = told(capsys, "verify", folder)
    assert code == 0, said + errors
    assert "nothing to remove" in told(capsys, "gc", "--lake", folder, "--older-than-hours", 0)[1]


def test_files_of_expired_snapshots_go_and_pinned_ones_stay(scrap: dict[str, Any]) -> None:
    folder, before = scrap["folder"], fingerprints(scrap["folder"])
    with Lake.open(folder) as lake:
        newest = lake.latest_snapshot()
        pinned = {snapshot for snapshot, _ in before.values()}
        doomed = [s["snapshot_id"] for s in lake.snapshots().to_pylist() if s["snapshot_id"] not in {newest, *pinned}]
        compact(lake)
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => {doomed})")
        found = [each for each in find_scrap(lake, 1e9) if each.why == EXPIRED]
        assert {each.why for each in find_scrap(lake, 1e9)} <= {EXPIRED}  # what is young stays
        reclaim(lake, 1e9)
        assert all(not (folder / "data" / each.path).exists() for each in found)
    assert fingerprints(folder) == before


def test_gc_waits_for_no_run_and_follows_no_link(scrap: dict[str, Any], tmp_path: Path) -> None:
    folder = scrap["folder"]
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(folder / "models" / "forgotten" / "training.json", tmp_path / "elsewhere" / "training.json")
    (folder / "models" / "linked").symlink_to(tmp_path / "elsewhere")
    with Lake.open(folder) as lake:
        assert "models/linked" not in {each.path for each in find_scrap(lake, 0)}
        with run_lock(lake.place), pytest.raises(FactoryError, match="another run is using"):
            reclaim(lake, 0)
    assert scrap["orphan"].exists()


def test_a_lake_that_may_only_be_read_is_told_of_and_not_cleaned(
    scrap: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, allowed = scrap["folder"], os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: allowed(path, mode) and not (mode == os.W_OK and folder in [path, *Path(path).parents]),
    )
    with Lake.open(folder) as lake, pytest.raises(FactoryError, match="can only be read"):
        reclaim(lake, 0)
    assert scrap["orphan"].exists()
    clone(str(folder), str(tmp_path / "copy"), lambda words: None)  # but it can be copied
    assert fingerprints(tmp_path / "copy") == fingerprints(folder)


def test_a_copy_into_the_lakes_own_data_is_refused(whole: Path, tmp_path: Path) -> None:
    lake = tmp_path / "own"
    shutil.copytree(whole, lake)
    before = sorted((file.name, file.stat().st_size) for file in (lake / "data").rglob("*.parquet"))
    data = lake / "data"
    for target in (
        str(data / "copy"),
        f"postgresql://nobody@127.0.0.1:1/db?data_path={data}",
        f"postgresql://nobody@127.0.0.1:1/db?data_path={data}/x/",
    ):
        with pytest.raises(FactoryError, match="would lie in the data of lake"):
            clone(str(lake), target, lambda _: None)
    assert sorted((file.name, file.stat().st_size) for file in data.rglob("*.parquet")) == before


def test_gc_touches_nothing_behind_a_link(whole: Path, tmp_path: Path) -> None:
    lake, outside = tmp_path / "own", tmp_path / "outside"
    shutil.copytree(whole, lake)
    (outside / "actor").mkdir(parents=True)
    (outside / "actor" / "training.json").write_text(json.dumps({"run": {"training_run_id": "of another lake"}}))
    shutil.rmtree(lake / "models", ignore_errors=True)
    (lake / "models").symlink_to(outside)
    with Lake.open(lake) as opened:
        assert MODEL not in {each.why for each in find_scrap(opened, 0)}
        (lake / "data" / "linked").symlink_to(outside)
        with pytest.raises(FactoryError, match="a link in its data"):
            reclaim(opened, 0)
    assert (outside / "actor" / "training.json").exists()
