"""What the tests of `factory view` share: a lake with a finished run, and a client of its pages in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from factory.view.app import make_app
from factory.view.readers import Readers
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

HOST = "127.0.0.1:8360"


@pytest.fixture(scope="session")
def run_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one finished run of spar on six prompts: only to be read."""
    where = tmp_path_factory.mktemp("view") / "lake"
    with running_endpoint(answer) as endpoint:
        run_spar(where, endpoint.url)
    return where


@contextmanager
def pages_of(where: Path | str, token: str | None = None) -> Iterator[TestClient]:
    """A client of a lake's pages, which sends what a browser sends for a page of ours."""
    readers = Readers(str(where))
    try:
        app = make_app(readers, frozenset({HOST}), token)
        yield TestClient(app, f"http://{HOST}", raise_server_exceptions=True, follow_redirects=False)
    finally:
        readers.close()


def stop_counting(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Facets whose query has this part take too long."""
    monkeypatch.setattr(
        "factory.view.facets.within", lambda lake, s, text, given: None if part in text else lake.query(text, given)
    )


@pytest.fixture
def pages(run_lake: Path) -> Iterator[TestClient]:
    """A client of the pages of `run_lake`."""
    with pages_of(run_lake) as client:
        yield client
