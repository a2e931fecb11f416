"""What the tests of loops share: SPaR against the scripted endpoint, and a trainer that writes its rows and no weights."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from factory.loops.forking import find_loop
from factory.loops.plan import Step
from factory.loops.reading import Loop, load_loop, resumed
from factory.loops.running import run_loop
from factory.runs.loop import Execution
from schemas.ids import content_id, folder_model_name, model_id
from schemas.tables import LoopStep, Model, TrainingRun, TrainingSet
from stores.lake import Lake
from tests.rows import row
from tests.runs import answer, spar_overrides
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint


def spar_loop(url: str, prompts: int = 4, **changes: Any) -> Loop:
    overrides = spar_overrides(url, prompts)
    del overrides["prompts.limit"]
    return load_loop(
        "spar",
        overrides
        | {
            "rounds": 2,
            "prompts.each_round": prompts,
            "models.actor.name": "mock",
            "models.refiner.name": "mock",
            **changes,
        },
    )


def option(command: Sequence[str], name: str) -> str | None:
    return command[command.index(name) + 1] if name in command else None


class Trainer:
    """Stands for the trainers: a model is a folder with one file, whose content is what it was trained from."""

    def __init__(self) -> None:
        self.serving: ScriptedEndpoint | None = None
        self.commands: list[Sequence[str]] = []
        self.diverges: Callable[[Sequence[str]], bool] = lambda command: False

    def __call__(
        self, command: Sequence[str], lake: Lake, training_set: TrainingSet, folder: Path
    ) -> tuple[TrainingRun, Model | None]:
        output = folder.name
        self.commands.append(command)
        assert option(command, "--output") == str(folder)
        folder.mkdir(parents=True)
        start = str(option(command, "--model"))
        weights = hashlib.sha256(f"{training_set.fingerprint} {Path(start).name}".encode()).hexdigest()
        (folder / "config.json").write_text(weights)
        diverged = self.diverges(command)
        run = row(
            TrainingRun,
            content_id("training run", training_set.training_set_id, output),
            training_set_id=training_set.training_set_id,
            start_model_id=Path(start).name,
            reference_model_id=None,
            status="diverged" if diverged else "finished",
            reason="the loss is not a number" if diverged else None,
            weights_sha256=None if diverged else weights,
            output=None if diverged else output,
        )
        name = folder_model_name(folder, weights)
        model = row(Model, model_id(name, weights), name=name, revision=weights, training_run_id=run.training_run_id)
        rows = [run] if diverged else [run, model]
        lake.append(rows, message="trained")
        if self.serving is not None and not diverged:
            self.serving.models = (*self.serving.models, name)  # as a user's own command would
        return run, None if diverged else model


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = Trainer()
    monkeypatch.setattr("factory.loops.steps.train", stand_in)
    monkeypatch.setattr("factory.loops.checking.TRAINERS_NEED", ())
    return stand_in


def quietly(step: Step, row: LoopStep | None) -> None:
    """Told of every step, says nothing."""


def run(lake: Path, loop: Loop, tell: Callable[[Step, LoopStep | None], None] = quietly) -> None:
    with Lake.open(lake, create=True) as opened:
        run_loop(opened, loop, lambda progress: nullcontext(), tell, lambda words: None, Execution())


def steps(lake: Path, loop: Loop) -> list[tuple[int, str, str | None]]:
    """Finished steps in the order in which they ended."""
    with Lake.open(lake) as opened:
        rows = opened.read(LoopStep, "loop_id = $id", {"id": loop.loop_id})
    return [(one.round, one.step, one.role) for one in sorted(rows, key=lambda one: one.recorded_at)]


@pytest.fixture
def endpoint(trainer: Trainer) -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as running:
        trainer.serving = running
        yield running


def delta_on(trainer: Trainer, endpoint: ScriptedEndpoint) -> dict[str, Any]:
    """Settings of a loop of `delta`: one round of two prompts, all its models behind an endpoint."""
    trainer.serving = endpoint
    changes: dict[str, Any] = {"prompts.each_round": 2, "rounds": 1, "train.actor.parameters": {"held_out": 0}}
    for role in ("actor", "stronger", "weaker"):
        changes |= {f"models.{role}.endpoint": endpoint.url, f"models.{role}.name": "mock"}
    return changes


def resumed_with(lake: Path, loop: Loop, changes: Mapping[str, Any]) -> Loop:
    """A lake's loop as `factory resume` reads it, with changed settings."""
    with Lake.open(lake) as opened:
        found = find_loop(opened, loop.loop_id)
        assert found is not None
        return resumed(found, changes)
