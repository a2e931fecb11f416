"""A short version of the damages in `make torture`: what is damaged is told, and never read as something else."""

from pathlib import Path

import pytest

from tests.damages import run_damages


@pytest.mark.parametrize(("damages", "first"), [(4, 144), pytest.param(8, 100, marks=pytest.mark.heavy)])
def test_a_damaged_lake_is_never_read_as_something_else(tmp_path: Path, damages: int, first: int) -> None:
    said: list[str] = []
    held, failed = run_damages(damages, first, said.append, tmp_path)
    assert not failed, "\n".join(said)
    assert held.total() == damages
