"""A loop's steps in order, and what is left of them: the plan without the rows of `loop_steps`."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.ids import content_id
from schemas.tables import LoopStep
from stores.lake import Lake

JUDGING, REFINING, ANSWERING = "judge", "refine", "sample"
"""Evaluations of the judging and of the refining model, and what every other one is of: the answering model."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a round."""

    round: int
    step: str
    """run, build, train, evaluate BENCHMARK or keep"""
    role: str | None = None

    def id(self, loop_id: str) -> str:
        return content_id("loop_step", loop_id, self.round, self.step, self.role)

    def __str__(self) -> str:
        return f"{self.step} {self.role}" if self.role else self.step


def steps_of(
    rounds: int, started_with: list[str], trained: list[str], evaluations: list[tuple[str, str]]
) -> list[Step]:
    """All steps of a loop, in order. Round 0 measures the models that the loop starts from.

    Args:
        started_with: roles that are fine-tuned before the first round.
        trained: roles that are trained in each round.
        evaluations: benchmark and role.
    """
    return [step for number in range(rounds + 1) for step in _of_round(number, started_with, trained, evaluations)]


def _of_round(
    number: int, started_with: list[str], trained: list[str], evaluations: list[tuple[str, str]]
) -> Iterator[Step]:
    if number:
        yield Step(number, "run")
        yield from (Step(number, "build", role) for role in trained)
    yield from (Step(number, "train", role) for role in (trained if number else started_with))
    yield from (Step(number, f"evaluate {benchmark}", role) for benchmark, role in evaluations)
    if number:
        yield from (Step(number, "keep", role) for role in trained)


def finished(lake: Lake, loop_id: str) -> dict[Step, LoopStep]:
    """The steps that are done, with their rows."""
    rows = lake.read(LoopStep, "loop_id = $loop_id", {"loop_id": loop_id})
    return {Step(row.round, row.step, row.role): row for row in rows}
