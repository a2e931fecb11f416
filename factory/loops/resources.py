"""Whether a round fits on this machine, reckoned before it begins."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from factory.loops.reading import Loop
from factory.loops.rounds import models_folder
from schemas.errors import FactoryError
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
        parameters: of each trained role's model.
    """
    largest = max(parameters.values(), default=0) * FLOAT32_BYTES
    return Disk(sum(parameters.values()) * FLOAT32_BYTES, CHECKPOINT_COPIES * largest)


def folder_bytes(folder: Path) -> int:
    """The size of all files below a folder; 0 if there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def check_resources(lake: Lake, loop: Loop, number: int) -> None:
    """
    Raises:
        FactoryError: the round's models do not fit on the disk, or into the loop's share of it.
    """
    raise NotImplementedError
