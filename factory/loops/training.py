"""Runs a trainer in its own process, as `factory train` does, and finds the row that it wrote."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factory.inference.weights import fetch
from schemas.errors import FactoryError
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake

DIVERGED = 3
"""the trainer's exit code where its guards ended the training"""
NEEDED = ("torch", "transformers", "trl", "datasets", "peft")


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights as the trainer's command line takes them."""

    path: str
    """a folder, a .gguf file or a hub id"""
    called: str | None = None
    """the name in rows, where it is not the path's last name"""


def weights_of(model: str) -> Weights:
    """The weights of a model as people name it: embedded:NAME, a folder, a .gguf file or a hub id."""
    if not model.startswith("embedded:"):
        return Weights(model)
    named = model.removeprefix("embedded:")
    if Path(named).expanduser().exists():
        return Weights(str(Path(named).expanduser()))
    weights = fetch(named)
    return Weights(str(weights.path), f"embedded:{weights.name}")


def check_packages() -> None:
    """
    Raises:
        FactoryError: a package that the trainers need is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise FactoryError(f"training needs {missing[0]}, which is not installed: pip install 'preference-factory[train]'")


def command_of(
    where: str,
    training_set: TrainingSet,
    start: Weights,
    reference: Weights | None,
    output: Path,
    seed: int,
    config: str | None,
) -> list[str]:
    """The trainer's command line: dpo for a preference set, rft for others."""
    objective = "dpo" if training_set.format == "preference" else "rft"
    command = [sys.executable, "-P", "-m", f"trainers.{objective}", "--parent", str(os.getpid())]
    command += ["--lake", where, "--set", f"{training_set.name}@{training_set.version}"]
    command += ["--model", start.path, "--seed", str(seed), "--output", str(output)]
    command += ["--called", start.called] if start.called else []
    command += ["--reference", reference.path] if reference is not None else []
    command += ["--config", config] if config else []
    return command


def train(command: Sequence[str], lake: Lake, training_set: TrainingSet, output: str) -> tuple[TrainingRun, Model | None]:
    """Trains, or goes on from the checkpoint of the same training; returns its row and the model, None if it diverged.

    Raises:
        FactoryError: the trainer failed; it has said why.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_root(), os.environ.get("PYTHONPATH")]))}
    began = datetime.now(UTC)
    code = subprocess.run(command, check=False, env=environment).returncode
    if code == DIVERGED:
        rows = lake.read(
            TrainingRun,
            "status = 'diverged' AND training_set_id = $set AND ended_at >= $began",
            {"set": training_set.training_set_id, "began": began},
        )
        return max(rows, key=lambda row: row.ended_at), None
    if code:
        raise FactoryError(
            f"the training ended with exit code {code}, and says why above: mend that, then continue with `factory resume`"
        )
    rows = lake.read(TrainingRun, "output = $output AND status = 'finished'", {"output": output})
    run = max(rows, key=lambda row: row.ended_at)
    [model] = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    return run, model


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])
