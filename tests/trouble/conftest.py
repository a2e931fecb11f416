"""A command line in this process, an endpoint that answers, a lake without rows and a file of three prompts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.inference import failures, servers
from tests.command_line import told
from tests.runs import answer
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint
from tests.trouble.commands import Command, write_prompts


@pytest.fixture
def factory(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in this process, which saves the seconds that imports take."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str]:
        code, _, errors = told(capfd, *words)
        return code, errors

    return run


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as running:
        yield running


@pytest.fixture
def place(empty_lake: Path, tmp_path: Path) -> Path:
    shutil.copytree(empty_lake, tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_prompts(tmp_path / "mine.jsonl", "tea", "rain", "snow")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight attempts within a moment instead of a minute."""
    monkeypatch.setattr(failures, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(servers, "PROBE_S", 0.3)
