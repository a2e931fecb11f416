"""A short version of the damages in `make torture`: what is damaged is told, and never read as something else."""

from tests.damages import run_damages


def test_a_damaged_lake_is_never_read_as_something_else() -> None:
    said: list[str] = []
    held, failed = run_damages(8, first_seed=100, show=said.append)
    assert not failed, "\n".join(said)
    assert held.total() == 8
