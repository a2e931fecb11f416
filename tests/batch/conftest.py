"""A service and a written batch, made once; each test has a copy of the lake, and the service as new."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.batch import collecting, submitting
from tests.batch.desk import Desk
from tests.batch.service import KEY, BatchService, running_service
from tests.batches import specification, write


@pytest.fixture(scope="module")
def running() -> Iterator[BatchService]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def written(running: BatchService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake and the batch that was written for it."""
    folder = tmp_path_factory.mktemp("written")
    write(folder / "lake", folder / "requests.jsonl", specification(running.url))
    return folder


@pytest.fixture
def desk(
    running: BatchService,
    written: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    pytest.importorskip("openai", reason="these need openai: pip install 'preference-factory[batch]'")
    fresh = BatchService(running.url)
    for each in dataclasses.fields(BatchService):
        setattr(running, each.name, getattr(fresh, each.name))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(collecting, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(submitting, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0, raising=True)
    shutil.copytree(written, tmp_path / "desk")
    return Desk(running, tmp_path / "desk", capsys)
