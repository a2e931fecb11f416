"""Ctrl-C, SIGTERM and SIGHUP end every command at any moment: quietly, with nothing left behind and nothing paid."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stores.lake import Lake
from tests.runs import answer, assert_same_tables, run_spar, tables
from tests.scripted_endpoint import Faults, running_endpoint

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
ROOT = Path(__file__).parents[1]
TOLD = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


def start(*words: Any, python: tuple[str, ...] = (), **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *python, "-m", "factory.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"env": {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}, **settings},
    )


def run_words(lake: Path, url: str) -> list[Any]:
    return ["run", "spar", "--lake", lake, "--model", url, "--limit", 4]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_a_run_in_its_row_with_a_sentence_and_it_can_be_resumed(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_endpoint(answer, faults=Faults(hang=1)) as endpoint:
        run = start(*run_words(tmp_path / "lake", endpoint.url))
        while endpoint.stats().in_flight < 3:
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(number)
        out, errors = run.communicate(timeout=60)
        assert run.returncode == 128 + number and out == ""
        with Lake.open(tmp_path / "lake") as lake:
            [row] = lake.query("SELECT run_id, status, reason FROM current_runs").to_pylist()
        assert (row["status"], row["reason"]) == ("stopped", f"stopped by {TOLD[number]}")
        said = f"error: stopped; no answer is lost: continue with `factory resume {row['run_id']} --lake "
        assert errors.splitlines()[-1].startswith(said) and "Traceback" not in errors
        endpoint.faults = Faults()
        resumed = start("resume", row["run_id"], "--lake", tmp_path / "lake")
        _, errors = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, errors
        run_spar(tmp_path / "other", endpoint.url, 4)
    assert_same_tables(tables(tmp_path / "other"), tables(tmp_path / "lake"))


@pytest.mark.parametrize("imports", [1, 30, 100, 200, 400, 600, 800, 1000])
@pytest.mark.parametrize("words", [["run"], ["sql", "SELECT 1"]], ids=lambda words: words[0])
def test_ctrl_c_counts_while_modules_are_imported(tmp_path: Path, words: list[str], imports: int) -> None:
    """After so many imports from the first that this project causes; Python's own start is not ours to mend."""
    with running_endpoint(answer, faults=Faults(hang=1)) as endpoint:
        words = run_words(tmp_path / "lake", endpoint.url) if words == ["run"] else [*words, "--lake", str(tmp_path)]
        command = start(*words, python=("-X", "importtime"))
        assert command.stderr is not None
        seen = 0
        for line in command.stderr:
            seen += seen > 0 or line.rstrip().endswith("factory.cli.main")
            if seen > imports:
                break
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60)
        paid = endpoint.stats().received
    told = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert "Traceback" not in errors and "Error" not in errors, told
    if seen > imports:  # else it was over before
        assert command.returncode == 130, told
        assert paid == 0


def program(text: str, **settings: Any) -> subprocess.Popen[str]:
    """A Python program that heeds signals."""
    begin = (
        "import os, signal, sys, time\nfrom contextlib import suppress\nfrom schemas import signals\nsignals.listen()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin + text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **settings,
    )


SWALLOWED = "with suppress(KeyboardInterrupt):\n  os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", ""),
        ("with signals.raised():\n" + indented(SWALLOWED + "time.sleep(60)"), ""),
        # A block that has rows to write learns of it, and takes the time it needs.
        (
            "with signals.raised():\n  try:\n    with signals.in_order():\n"
            + indented(indented(indented(SWALLOWED)))
            + "      time.sleep(1.5)\n  except KeyboardInterrupt as stop:\n    print(stop, flush=True)\n",
            "stopped by Ctrl-C\n",
        ),
        (
            "with signals.raised():\n  try:\n    with signals.in_order():\n"
            + indented(indented(indented(SWALLOWED)))
            + "      raise RuntimeError('Query interrupted')\n"
            "  except KeyboardInterrupt as stop:\n    print(stop, flush=True)\n",
            "stopped by Ctrl-C\n",
        ),
        # A second signal, well after the first, cuts it short.
        (
            "signals.ONE_PRESS_S = 0\nwith signals.raised(), signals.in_order():\n"
            + indented(SWALLOWED + "time.sleep(0.01)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)"),
            "",
        ),
    ],
    ids=["at once", "swallowed", "swallowed in order", "another error", "a second signal"],
)
def test_a_signal_that_was_swallowed_still_ends_the_process(text: str, out: str) -> None:
    done = program(text)
    written, errors = done.communicate(timeout=60)
    number = signal.SIGTERM if "SIGTERM" in text else signal.SIGINT
    assert (done.returncode, written, errors) == (128 + number, out, "")


def test_a_signal_that_the_parent_ignores_is_ignored() -> None:
    text = "os.kill(os.getpid(), signal.SIGHUP); print(signals.received())"
    done = program(text, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert done.communicate(timeout=60) == ("None\n", "") and done.returncode == 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"  # dead, and nobody asked
    except OSError:
        return False


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_training_ends_with_the_command_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    package = tmp_path / "trainers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "dpo.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}  # the current folder is not looked into
    command = start("train", "dpo", "--set", "some@1", "--model", "some", cwd=tmp_path, env=env)
    assert command.stdout is not None
    pid = int(command.stdout.readline())
    command.send_signal(number)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 128 + number and errors == ""
    while is_alive(pid):
        time.sleep(0.02)


def test_a_trainer_ends_at_once_and_quietly_while_it_imports(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "trainers.dpo", "--set", "some@1", "--model", "some"]
    trainer = subprocess.Popen([*command, "--lake", tmp_path], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert trainer.stderr is not None
    for line in trainer.stderr:
        if line.rstrip().endswith(" duckdb"):
            break
    trainer.send_signal(signal.SIGINT)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 130 and "Traceback" not in errors
