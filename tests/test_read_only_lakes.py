"""A lake that one may read but not write, on a read-only mount or another user's, can be read, and is left alone."""

import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.errors import FactoryError
from schemas.tables import Pair
from stores.lake import Lake
from stores.maintenance import compact, expire
from stores.training_sets import read_training_set
from tests.servers import missing
from tests.sets import RUN, build, prompts
from tests.test_training_sets import many

PAIRS = sum(isinstance(row, Pair) for row in many(3))


@pytest.fixture
def mine_to_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed lake of some pairs and a set, in which nothing may be written."""
    build(lake, "spar_dpo", many(3))
    lake.close()
    folder = lake.place.folder
    assert folder is not None
    allowed = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: allowed(path, mode) and not (mode == os.W_OK and folder in [path, *Path(path).parents]),
    )
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_read_through_a_copy_of_its_catalog(
    mine_to_read: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = contents(mine_to_read)
    with Lake.open(mine_to_read) as lake:
        assert lake.query("FROM pairs").num_rows == PAIRS
        assert read_training_set(lake, "spar_dpo").train.num_rows > 0
        (copied,) = tmp_path.glob("factory-catalog-*")
        assert copied.stat().st_mode & 0o077 == 0
    assert contents(mine_to_read) == before and list(tmp_path.glob("factory-catalog-*")) == []


def test_what_was_not_yet_in_the_main_file_is_read_too(mine_to_read: Path) -> None:
    """A writer that was killed leaves its last commits in the log."""
    catalog = mine_to_read / "catalog.sqlite"
    with closing(sqlite3.connect(catalog)) as holder:
        holder.execute("INSERT INTO ducklake_metadata VALUES ('in_the_log', 'yes', NULL, NULL)")
        holder.commit()
        left = {end: Path(f"{catalog}{end}").read_bytes() for end in ("", "-wal")}
        with Lake.open(mine_to_read) as lake:  # while somebody has it open
            assert in_the_log(lake)
    for ending, kept in left.items():
        Path(f"{catalog}{ending}").write_bytes(kept)
    Path(f"{catalog}-shm").unlink(missing_ok=True)
    with Lake.open(mine_to_read) as lake:
        assert in_the_log(lake)


def in_the_log(lake: Lake) -> bool:
    asked = "SELECT value FROM __ducklake_metadata_lake.ducklake_metadata WHERE key = 'in_the_log'"
    return lake.connection.execute(asked).fetchall() == [("yes",)]


def test_writing_is_refused_in_a_sentence(mine_to_read: Path) -> None:
    said = "can only be read, as you may not write there: copy the folder"
    with Lake.open(mine_to_read) as lake:
        for write in (
            lambda: lake.append([RUN, *prompts(1)], message="x"),
            lambda: build(lake, "spar_dpo"),
            lambda: compact(lake),
            lambda: expire(lake, datetime.now(UTC)),
        ):
            with pytest.raises(FactoryError, match=said):
                write()
    with pytest.raises(FactoryError, match=said):
        Lake.open(mine_to_read, create=True)


def test_a_catalog_that_cannot_be_read_is_one_sentence(mine_to_read: Path) -> None:
    (mine_to_read / "catalog.sqlite").write_bytes(b"no catalog" * 100)
    with pytest.raises(FactoryError, match=r"lake .* cannot be opened"):
        Lake.open(mine_to_read)


def test_the_commands_that_look_work_on_a_read_only_mount(lake: Lake) -> None:
    lake.append([RUN, *many(3)], message="by hand")
    lake.close()
    folder = shlex.quote(str(lake.place.folder))
    factory = f"{shlex.quote(sys.executable)} -m factory.cli"
    locked = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && ! touch {folder}/x 2>/dev/null"
    apart = next(
        (words for words in (["unshare", "-m"], ["unshare", "-rm"]) if works([*words, "bash", "-c", locked])), []
    )
    if not apart and os.geteuid():  # without a mount, a folder in which nobody may write is as good
        locked = f"chmod -R a-w {folder} && ! touch {folder}/x 2>/dev/null"
    elif not apart:
        missing("a mount, for root may write everywhere else: give CAP_SYS_ADMIN")
    script = f"{locked} && {factory} sql 'SELECT count(*) AS n FROM pairs' -f csv --lake {folder} && "
    script += f"{factory} status --lake {folder} && ! {factory} build spar_dpo --lake {folder} && {factory} snapshots --lake {folder}"
    done = subprocess.run([*apart, "bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.startswith(f'"n"\n{PAIRS}\n')
        and done.stderr.count("error:") == 1
        and "can only be read" in done.stderr
    )


def works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
