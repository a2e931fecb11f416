"""A short version of `make torture`: a few random points of each kind of disturbance."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import PostgresServer
from tests.torture import Calm, Scene, database_dies, disturb, endpoint_dies, full_disk, kill, sleep, undisturbed


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    return undisturbed(tmp_path_factory.mktemp("calm"))


@pytest.mark.parametrize(
    ("disturbance", "seed"),
    [
        (kill, 1),
        (kill, 2),
        pytest.param(kill, 3, marks=pytest.mark.heavy),
        (sleep, 1),
        (full_disk, 1),
        (endpoint_dies, 1),
    ],
)
def test_a_disturbed_run_ends_as_if_it_had_not_been(
    disturbance: Callable[[Scene], None], seed: int, tmp_path: Path, calm: Calm
) -> None:
    assert "paid twice" in disturb(seed, disturbance, tmp_path, calm, None)


def test_a_run_whose_database_dies_ends_as_if_it_had_not(
    tmp_path: Path, calm: Calm, postgres_to_kill: PostgresServer
) -> None:
    assert "paid twice" in disturb(5, database_dies, tmp_path, calm, postgres_to_kill)
