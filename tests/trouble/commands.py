"""What the trouble tests share: starting commands, the one sentence they end with, and the lake's state afterwards."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stores.lake import Lake

Command = Callable[..., tuple[int, str]]
"""Runs a command; gives its exit code and what it wrote to standard error."""


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    """The command line in its own process."""
    command = [sys.executable, "-m", "factory.cli.main", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def in_process_of_its_own(*words: object, **options: Any) -> tuple[int, str]:
    process = start(*words, **options)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def sentence(outcome: tuple[int, str], expected: int = 1) -> str:
    """The one sentence of a command that failed as it should, with its exit code."""
    code, errors = outcome
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == expected and len(said) == 1 and "Traceback" not in errors, errors
    assert errors.rstrip().endswith(said[0])  # nothing after it, not even a second line of its own
    return said[0].removeprefix("error: ")


def write_prompts(file: Path, *subjects: str) -> Path:
    file.write_text("".join(json.dumps({"prompt": f"Write about {subject}."}) + "\n" for subject in subjects))
    return file


def run_words(place: Path, url: str, prompts: Path, *more: object) -> list[object]:
    return ["run", "spar", "--lake", place, "--model", url, "--prompts", prompts, *more]


def state(place: Path) -> dict[str, tuple[str, int]]:
    """Runs with their status and how many of their prompts are answered."""
    with Lake.open(place) as lake:
        return {run["run_id"]: (run["status"], run["answered"]) for run in lake.query("FROM run_progress").to_pylist()}
