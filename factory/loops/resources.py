"""Whether a round fits on this machine, reckoned before it begins."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from factory.inference.memory import check_memory, parameters_of, training_parts
from factory.loops.plan import Step
from factory.loops.reading import Loop, trainer_of
from factory.loops.rounds import Done, models_folder
from factory.loops.settings import trainer_settings
from factory.loops.training import first_weights
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from stores.lake import Lake

FLOAT32_BYTES = 4
CHECKPOINT_COPIES = 3
"""A checkpoint holds the weights and Adam's two moments, each as large as the weights in float32."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What a round's trainings write, in bytes."""

    models: int
    """the models that stay"""
    checkpoint: int
    """of one training at a time, and gone when it ends"""


def disk_of(parameters: dict[str, int]) -> Disk:
    """
    Args:
        parameters: the number of weights of each trained role's model.
    """
    largest = max(parameters.values(), default=0) * FLOAT32_BYTES
    return Disk(sum(parameters.values()) * FLOAT32_BYTES, CHECKPOINT_COPIES * largest)


def parameters_by_role(loop: Loop) -> dict[str, int]:
    """The number of weights of each trained role's model; without those whose weights are not on this machine."""
    paths = {role: Path(first_weights(loop, role).path) for role in loop.settings.train}
    return {role: parameters_of(path) for role, path in paths.items() if path.exists()}


def _has_lora(config: str) -> bool:
    file = trainer_settings(config)
    try:
        settings = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # the trainer says what is wrong with it
    return isinstance(settings, dict) and any(isinstance(one, dict) and one.get("lora") for one in settings.values())


def folder_bytes(folder: Path) -> int:
    """The size of all files below a folder; 0 if there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def free_bytes(folder: Path) -> int:
    """Free space where a folder is, or will be."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def check_resources(lake: Lake, loop: Loop, number: int, done: Done) -> None:
    """
    Raises:
        FactoryError: a training does not fit into the memory, or the round's models on the disk or into the loop's share.
    """
    trained = loop.settings.train if number else loop.settings.start_with
    left = {role for role in trained if Step(number, "train", role) not in done}
    parameters = {role: count for role, count in parameters_by_role(loop).items() if role in left}
    if not parameters:
        return
    for role, count in parameters.items():
        training = loop.settings.train[role] if number else None
        reference = training is not None and OBJECTIVES[trainer_of(training)].reference
        parts = training_parts(count, reference=reference, lora=any(map(_has_lora, trained[role].configs)))
        remedy = "take a smaller model, LoRA in the trainer's configuration, or a machine with more memory"
        check_memory(f"round {number}: training {role}", parts, remedy)
    disk = disk_of(parameters)
    folder = models_folder(lake)
    need = disk.models + disk.checkpoint
    if (free := free_bytes(folder)) < need:
        raise FactoryError(
            f"round {number} needs {need / 1e9:.1f} GB of disk ({disk.models / 1e9:.1f} for its models, "
            f"{disk.checkpoint / 1e9:.1f} for a checkpoint), and {free / 1e9:.1f} GB are free: free some space, or keep fewer "
            "rounds (-o keep_rounds=1)"
        )
    limit = loop.settings.budget.disk_gb
    used = sum(map(folder_bytes, folder.glob(f"{loop.loop_id}-round*"))) if limit is not None else 0
    if limit is not None and used + need > limit * 1e9:
        raise FactoryError(
            f"round {number} needs {need / 1e9:.1f} GB of disk beside the {used / 1e9:.1f} GB that the loop's models take, and "
            f"budget.disk_gb is {limit:g}: raise it, or keep fewer rounds (-o keep_rounds=1)"
        )
