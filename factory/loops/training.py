"""Runs a trainer in its own process, as `factory train` does, and finds the row that it wrote."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factory.inference.budget import BudgetReached
from factory.inference.weights import fetch
from factory.loops.reading import Loop
from schemas.errors import FactoryError
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake

DIVERGED = 3
"""the exit code of a training that its guards ended (`trainers/command.py`)"""
SPENT = 5
"""that of an online training whose judge has spent its budget"""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights as the trainer's command line takes them."""

    path: str
    """a folder, a .gguf file or a hub id"""
    called: str | None = None
    """the name in rows, where it is not the path's last name"""


def weights_of(model: str) -> Weights:
    """The weights of a model as people name it: embedded:NAME, embedded:FOLDER, vllm:FOLDER, reward:FOLDER, a folder, a .gguf
    file or a hub id."""
    kind, _, named = model.partition(":") if model.startswith(("embedded:", "vllm:", "reward:")) else ("", "", model)
    path = Path(named).expanduser()
    if kind and path.is_dir():
        return Weights(str(path))  # as trained, not as the embedded server has it
    if kind == "embedded":
        weights = fetch(named)
        return Weights(str(weights.path), f"embedded:{weights.name}")
    return Weights(named)


def first_weights(loop: Loop, role: str) -> Weights:
    """The weights of the model that a role begins with.

    Raises:
        FactoryError: it is known by its address only.
    """
    settings, training = loop.recipe.models[role], loop.settings.train.get(role)
    if settings.embedded is not None:
        return weights_of(f"embedded:{settings.embedded}")
    if settings.vllm is not None:
        return weights_of(f"vllm:{settings.vllm.model}")
    if settings.reward_folder is not None:
        return weights_of(str(settings.reward_folder))
    if training is not None and training.weights is not None:
        return Weights(training.weights)
    if settings.name is not None:
        return Weights(settings.name if settings.revision is None else f"{settings.name}@{settings.revision}")
    raise FactoryError(
        f"models.{role} is known by its address only, and training needs its weights: give train.{role}.weights as a folder "
        "or a hub id"
    )


@dataclass(frozen=True, slots=True)
class Training:
    """What a trainer is asked for."""

    objective: str
    training_set: str
    """NAME, or NAME@VERSION"""
    start: Weights
    reference: Weights | None
    """None: the start"""
    output: Path | None
    """None: the trainer's choice"""
    seed: int
    configs: tuple[str, ...] = ()
    """presets or YAML files, later ones win"""
    reward: Path | None = None
    """online alone: the reward model's folder"""
    allow_other_template: bool = False
    """whether the answers may have been written with another chat template"""


def command_of(where: str, training: Training, launch: str | None) -> list[str]:
    """The trainer's command line on the lake at `where`.

    Args:
        launch: what starts a Python module, such as `accelerate launch --num_processes 8`; None: this Python.
    """
    started = [sys.executable, "-P"] if launch is None else shlex.split(launch)
    ends = ["--parent", str(os.getpid())] if launch is None else []
    command = [*started, "-m", f"trainers.{training.objective}", *ends, "--lake", where]
    command += ["--set", training.training_set, "--model", training.start.path, "--seed", str(training.seed)]
    command += ["--output", str(training.output)] if training.output else []
    command += ["--called", training.start.called] if training.start.called else []
    if training.reference is not None:
        command += ["--reference", training.reference.path]
        command += ["--reference-called", training.reference.called] if training.reference.called else []
    command += [word for config in training.configs for word in ("--config", config)]
    command += ["--reward", str(training.reward)] if training.reward else []
    command += ["--allow-other-template"] if training.allow_other_template else []
    return command


def train(
    command: Sequence[str], lake: Lake, training_set: TrainingSet, output: Path
) -> tuple[TrainingRun, Model | None]:
    """Trains, or goes on from the checkpoint of the same training; returns its row and the model, None if it diverged.

    Args:
        output: the folder that the command names.

    Raises:
        BudgetReached: the judge of an online training has spent its budget.
        FactoryError: the trainer failed; it has said why.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_root(), os.environ.get("PYTHONPATH")]))}
    started = datetime.now(UTC)
    code = subprocess.run(command, check=False, env=environment).returncode
    if code:
        of_set = {"set": training_set.training_set_id}
        diverged = lake.read(TrainingRun, "status = 'diverged' AND training_set_id = $set", of_set)
        # A launcher has exit codes of its own. With the trainer's, the row may be of before a kill.
        diverged = [row for row in diverged if code == DIVERGED or row.ended_at >= started]
        if diverged:
            return max(diverged, key=lambda row: row.ended_at), None
    if code == SPENT:
        raise BudgetReached("the judge of an online training has spent the budget, as is said above")
    if code:
        raise FactoryError(
            f"the training ended with exit code {code}, and says why above: mend that, then continue with `factory resume`"
        )
    rows = lake.read(TrainingRun, "output = $output AND status = 'finished'", {"output": output.name})
    run = max(rows, key=lambda row: row.ended_at)
    [model] = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    return run, model


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])
