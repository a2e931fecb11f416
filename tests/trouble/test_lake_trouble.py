"""Trouble with the lake: one sentence (what, where, how to fix it), exit code 1, no traceback, and nothing lost."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stores.lake import Lake
from tests.scripted_endpoint import Faults, ScriptedEndpoint
from tests.trouble.commands import (
    Command,
    in_process_of_its_own,
    run_words,
    sentence,
    start,
    state,
    write_prompts,
)


def test_a_lake_of_another_schema_version_is_refused_and_left_as_it_is(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    with Lake.open(place) as lake:
        lake.connection.execute("UPDATE schema_version SET version = 99")
    for words in (run_words(place, endpoint.url, prompts), ["status", "--lake", place]):
        said = sentence(factory(*words))
        assert f"lake {place} has schema version 99" in said and "update preference-factory" in said
    assert endpoint.stats().received == 0


def test_a_second_run_on_a_lake_is_refused_and_the_first_one_can_be_stopped_and_resumed(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    endpoint.faults = Faults(hang=1)
    first = start(*run_words(place, endpoint.url, prompts))
    try:
        while endpoint.stats().in_flight < 3:
            assert first.poll() is None
            time.sleep(0.02)
        said = sentence(factory(*run_words(place, endpoint.url, prompts, "--seed", 1)))
        assert f"another run is using lake {place}" in said and "--lake" in said
        assert factory("status", "--lake", place)[0] == 0
        assert [status for status, _ in state(place).values()] == ["running"]
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    (run_id,) = state(place)
    assert f"`factory resume {run_id} --lake {place}`" in sentence((first.returncode, errors), 130)
    assert state(place) == {run_id: ("stopped", 0)}
    endpoint.faults = Faults()
    assert factory("resume", run_id, "--lake", place)[0] == 0
    assert state(place) == {run_id: ("finished", 3)}


def test_a_resumed_run_whose_prompts_have_changed_says_so(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    write_prompts(prompts, "something else")
    said = sentence(factory("resume", "spar", "--lake", place))
    assert str(prompts) in said and "restore them" in said
    assert list(state(place).values()) == [("finished", 3)]


def test_a_training_set_whose_rows_have_changed_is_not_trained_on(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    assert factory("build", "spar_dpo", "--lake", place)[0] == 0
    with Lake.open(place) as lake:
        lake.connection.execute("UPDATE training_sets SET fingerprint = repeat('0', 64)")
    words = ["train", "dpo", "--set", "spar_dpo@1", "--model", "base", "--lake", place, "--output", place / "model"]
    said = sentence(factory(*words))
    assert "training set spar_dpo@1 has fingerprint" in said and "000000000000 was built" in said
    assert "`factory verify --lake" in said and "`factory build" not in said  # what is damaged is never built anew
    assert not (place / "model").exists()


# How much fits: after the lake is made and before the run is done.
TOO_SMALL_BYTES = 700_000


def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, endpoint: ScriptedEndpoint
) -> None:
    """In a mount namespace of its own, which root may make, and on most machines any user."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system: the file size limit below is tried alone")
    prompts = write_prompts(tmp_path / "mine.jsonl", *(f"{number} {'words ' * 200}" for number in range(40)))
    (tmp_path / "small").mkdir()
    lake = tmp_path / "small" / "lake"
    script = """
        mount -t tmpfs -o size=$SIZE none "$SMALL"
        "$@"; echo "exit $?" >&2
        mount -o remount,size=300m "$SMALL"
        "$PYTHON" -m factory.cli.main resume spar --lake "$SMALL/lake"; echo "exit $?" >&2
        "$PYTHON" -m factory.cli.main sql "FROM run_progress" -f json --lake "$SMALL/lake"
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-m", "factory.cli.main"]
        + [str(word) for word in run_words(lake, endpoint.url, prompts)],
        env={**os.environ, "SIZE": str(TOO_SMALL_BYTES), "SMALL": str(lake.parent), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, _ = done.stderr.split("exit ")
    said = sentence((int(second.splitlines()[0]), first))
    assert str(lake) in said and "factory resume" in said and "full" in said
    run = json.loads(done.stdout.splitlines()[-1])
    assert (run["status"], run["answered"]) == ("finished", 40)
    # Once for each answer, except those that arrived when there was no room to record them.
    assert endpoint.stats().repeated_answers <= 64 * 2


def limited_to(size_bytes: int) -> Callable[[], None]:
    """Like a quota, but needs no privilege: no file of the process may exceed a size."""
    limit = (size_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize("size_bytes", [0, 120_000], ids=["at the first file", "at the tables"])
def test_a_lake_that_cannot_be_made_says_so_and_is_made_when_there_is_room(
    tmp_path: Path, endpoint: ScriptedEndpoint, prompts: Path, size_bytes: int
) -> None:
    lake = tmp_path / "new"
    words = run_words(lake, endpoint.url, prompts)
    said = sentence(in_process_of_its_own(*words, preexec_fn=limited_to(size_bytes)))
    assert str(lake) in said and "check that there is free space" in said
    Lake.open(lake, create=True).close()
    assert state(lake) == {}
    with closing(sqlite3.connect(lake / "catalog.sqlite")) as catalog:
        assert catalog.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_a_disk_that_refuses_to_write_loses_nothing(
    factory: Command, tmp_path: Path, place: Path, endpoint: ScriptedEndpoint
) -> None:
    prompts = write_prompts(tmp_path / "mine.jsonl", *(f"{number} {'words ' * 200}" for number in range(40)))
    words = run_words(place, endpoint.url, prompts)
    said = sentence(in_process_of_its_own(*words, preexec_fn=limited_to(TOO_SMALL_BYTES)))
    assert str(place) in said and "cannot be written" in said and "factory resume" in said
    assert factory("resume", "spar", "--lake", place)[0] == 0
    assert list(state(place).values()) == [("finished", 40)]
