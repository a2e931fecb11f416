"""What tests share: a fresh lake in a folder, and servers that start once, when a test asks for them."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import pytest
from hypothesis import settings

from factory.inference.memory import available_bytes
from stores.lake import Lake
from tests.servers import PostgresServer, object_store, postgres_server

# No test is timed: CI machines are slow and shared.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

LONGEST_FIRST = [
    "test_readme",
    "training",
    "test_vllm",
    "test_ray",
    "test_loops",
    "test_view_browser",
    "test_torture",
    "test_lake",
    "test_embedded",
]
"""Groups of tests that would leave all but one worker idle if they came last."""


MEMORY = Path("/dev/shm")
ROOM_BYTES = 8_000_000_000
"""many times what the tests' folders hold at once"""


def pytest_configure(config: pytest.Config) -> None:
    """Tests' folders are in memory where there is plenty: a lake's commits wait for the disk, half of most tests' time."""
    if config.option.basetemp is None and MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        room = os.statvfs(MEMORY)
        free = min(room.f_bavail * room.f_frsize, available_bytes() or 0)
        if free > ROOM_BYTES and not room.f_flag & os.ST_NOEXEC:  # tests write scripts
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def group_of(node_id: str) -> str:
    """One group per file, and one for all training tests: what a group shares is made once, by one worker."""
    file = Path(node_id.partition("::")[0])
    return "training" if file.parent.name == "training" else file.stem


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # Not `--dist loadgroup`, which groups nothing with pytest 9.2: github.com/pytest-dev/pytest-xdist/issues/1386
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


@pytest.fixture(scope="session", autouse=True)
def own_data_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs keep outside of their lakes is not written into the home of who tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_pages() -> Iterator[None]:
    """What a page leaves out where it takes too long is there also on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory.view.readers.Timer", lambda seconds, interrupt: Timer(seconds * 100, interrupt))
        yield


@pytest.fixture(scope="session")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake without rows, to be copied: making one takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty") / "lake"
    Lake.open(folder, create=True).close()
    return folder


@pytest.fixture
def lake(empty_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    shutil.copytree(empty_lake, tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as opened:
        yield opened


@pytest.fixture(scope="session")
def macros(empty_lake: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the lake's views and macros, for tests that ask it many times and change nothing."""
    with Lake.open(empty_lake) as opened:
        yield opened.connection


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as server:
        yield server.address


@pytest.fixture
def postgres_to_kill() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    with object_store() as address:
        yield address


_schemas = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql", "postgresql and s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a lake can be made, for each kind of catalog and data path."""
    if request.param == "sqlite":
        return str(tmp_path / "lake")
    schema = f"lake_{next(_schemas)}"
    data = f"{request.getfixturevalue('bucket')}/{schema}" if "s3" in request.param else tmp_path / "data"
    return f"postgresql://{request.getfixturevalue('postgres')}?data_path={data}&metadata_schema={schema}"
