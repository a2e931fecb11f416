"""A lake whose files are gone, empty or damaged, or whose disk is full: one sentence, the right advice, nothing replaced."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stores.lake import Lake
from tests.scripted_endpoint import ScriptedEndpoint
from tests.sets import RUN, pair, prompts
from tests.sets import answer as response
from tests.trouble.commands import Command, run_words, sentence


def made(place: Path) -> Path:
    """The lake with one pair."""
    with Lake.open(place) as lake:
        lake.append(
            [RUN, *prompts(1), response("good", "p1"), response("bad", "p1"), pair("a", "p1", "good", "bad")],
            message="by hand",
        )
    return place


def files_of(place: Path) -> list[Path]:
    """Without what SQLite keeps beside an open database."""
    return sorted(file for file in place.rglob("*") if not file.name.endswith(("-shm", "-wal")))


def removed(catalog: Path) -> None:
    catalog.unlink()


def emptied(catalog: Path) -> None:
    catalog.write_bytes(b"")


def without_tables(catalog: Path) -> None:
    catalog.unlink()
    with closing(sqlite3.connect(catalog)) as opened:
        opened.execute("PRAGMA journal_mode = WAL")


LOST = pytest.mark.parametrize("lose", [removed, emptied, without_tables])


@LOST
def test_a_catalog_that_is_lost_beside_data_is_never_replaced(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    lose(made(place) / "catalog.sqlite")
    before = files_of(place)
    asked = tmp_path / "mine.jsonl"
    asked.write_text('{"prompt": "Hello."}\n')
    for words in (
        run_words(place, endpoint.url, asked),
        run_words(place, endpoint.url, asked, "--fresh"),
        ["status", "--lake", place],
        ["sql", "FROM runs", "--lake", place],
        ["build", "spar_dpo", "--lake", place],
        ["migrate", "--lake", place],
    ):
        said = sentence(factory(*words))
        assert f"lake {place} has lost its catalog" in said and "beside data/" in said and "backup" in said, words
    assert files_of(place) == before and endpoint.stats().received == 0


@LOST
@pytest.mark.parametrize("left", ["journal.sqlite", "training_sets"])
def test_answers_and_training_sets_are_remains_too(
    factory: Command, place: Path, tmp_path: Path, lose: Callable[[Path], None], left: str
) -> None:
    shutil.rmtree(place / "data")
    lose(place / "catalog.sqlite")
    if left == "training_sets":
        (place / left / "spar_dpo@1").mkdir(parents=True)
        (place / left / "spar_dpo@1" / "train.parquet").write_bytes(b"PAR1")
    else:
        with closing(sqlite3.connect(place / left)) as journal:
            journal.execute("CREATE TABLE replies (request_hash TEXT)")
            journal.execute("INSERT INTO replies VALUES ('paid for')")
            journal.commit()
    said = sentence(factory("run", "spar", "--model", "http://127.0.0.1:9/v1", "--lake", place))
    assert "has lost its catalog" in said and left in said


@LOST
def test_a_folder_with_no_remains_becomes_a_lake(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    Lake.open(tmp_path, create=True).close()
    lose(tmp_path / "catalog.sqlite")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:  # as `factory batch write` makes it first
        journal.execute("CREATE TABLE replies (request_hash TEXT)")
    with Lake.open(tmp_path, create=True) as lake:
        assert lake.counts()["runs"] == 0


def test_a_link_that_leads_nowhere_and_a_file_are_no_lakes(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "file").write_text("hello")
    for command in (["status"], ["run", "spar", "--model", "http://127.0.0.1:9/v1"]):
        said = sentence(factory(*command, "--lake", tmp_path / "dangling"))
        assert f"is a symbolic link to {tmp_path / 'gone'}, which is not there" in said
        assert "is a file, not a folder" in sentence(factory(*command, "--lake", tmp_path / "file"))
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000],
        lambda content: content[:200] + random.Random(1).randbytes(60_000) + content[60_200:],
        lambda content: random.Random(2).randbytes(len(content)),
    ],
    ids=["half", "a page", "pages overwritten", "all overwritten"],
)
def test_a_damaged_catalog_is_said_to_be_damaged_with_no_word_of_room(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    with closing(sqlite3.connect(made(place) / "catalog.sqlite")) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for beside in place.glob("catalog.sqlite-*"):
        beside.unlink()
    catalog = place / "catalog.sqlite"
    catalog.write_bytes(damage(catalog.read_bytes()))
    asked = tmp_path / "mine.jsonl"
    asked.write_text('{"prompt": "Hello."}\n')
    for words in (["status", "--lake", place], run_words(place, endpoint.url, asked)):
        said = sentence(factory(*words))
        assert "catalog" in said and "backup" in said and "free space" not in said


def data_file(place: Path, table: str) -> Path:
    (file,) = (place / "data" / "main" / table).glob("*.parquet")
    return file


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-50]),
    "overwritten": lambda file: file.write_bytes(b"PAR1" + b"\xff" * (file.stat().st_size - 8) + b"PAR1"),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("table", ["runs", "responses"])
def test_a_damaged_data_file_is_one_sentence_in_every_command(
    factory: Command, place: Path, table: str, damage: Callable[[Path], object]
) -> None:
    made(place)
    assert factory("build", "spar_dpo", "--lake", place)[0] == 0
    damage(data_file(place, table))
    commands = {
        "runs": [["status"], ["sql", "SELECT run_id, recipe FROM runs"], ["build", "spar_dpo"], ["resume", "run"]],
        "responses": [
            ["sql", "SELECT text FROM responses"],
            ["build", "spar_dpo", "-p", "held_out=0.5"],
            ["pair", "a"],
            ["train", "dpo", "--set", "spar_dpo@1", "--model", place / "none"],
        ],
    }
    for words in commands[table]:
        if words[0] == "sql" and damage is DAMAGES["deleted"]:
            pass
        said = sentence(factory(*words, "--lake", place))
        assert str(place) in said and f"`factory verify --lake {place}`" in said, words
        assert "build it anew" not in said and "rebuild" not in said


def test_on_a_full_disk_reading_commands_say_that_it_is_full(place: Path, tmp_path: Path) -> None:
    """In a mount namespace of its own, which root may make, and on most machines any user."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    made(place)
    (tmp_path / "small").mkdir()
    script = """
        mount -t tmpfs -o size=2m none "$SMALL"
        cp -r "$PLACE" "$SMALL/lake"
        rm -f "$SMALL"/lake/catalog.sqlite-*
        cat /dev/zero > "$SMALL/filler" 2>/dev/null
        for words in "status" "sql FROM(runs)" "build spar_dpo" "compact"; do
            "$PYTHON" -m factory.cli.main $words --lake "$SMALL/lake"; echo "exit $?" >&2
        done
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        env={**os.environ, "SMALL": str(tmp_path / "small"), "PLACE": str(place), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    *ended, _ = done.stderr.split("exit ")
    for number, part in enumerate(ended):
        text = part.partition("\n")[2] if number else part
        assert "is full: free some space" in sentence((1, text)), (number, text)
