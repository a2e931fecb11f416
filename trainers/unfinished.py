"""A training that has begun: what was asked for, beside its checkpoints. Whoever asks for the same goes on with it.

All of it lies in a folder beside the output, `.NAME.part`: `asked.json`, `lock`, `checkpoints/`, and at the end the
model, which is renamed to the output. The output keeps `training.json`: what was asked for, and the rows.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from safetensors import SafetensorError

from schemas.errors import FactoryError
from schemas.tables import Model, TrainingRun
from stores.whole import whole_file
from trainers.rewards import deciding
from trainers.settings import NOT_IN_WEIGHTS, as_now

RECORD = "training.json"
_SHOWN = 3
_TORCH_S_WRITER = ("PytorchStreamWriter", "inline_container")
"""What stands in the RuntimeError of a file that torch could not write"""

Wanted = Mapping[str, Any]
"""All that decides which weights come out, by name and without a path: equal ones are the same training."""


class Record(msgspec.Struct, frozen=True):
    """What a complete model's folder says of its training, so that its rows can be written from it alone."""

    wanted: dict[str, Any]
    run: TrainingRun
    models: list[Model]


@dataclass(frozen=True, slots=True)
class Part:
    """The folder of a training that has begun."""

    folder: Path
    started_at: datetime
    configuration: str
    """both of its first start, and so part of its id"""
    lock: IO[str] | None
    """held while this process trains; None: another process of the same training holds it"""

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def saving(self) -> Path:
        """Where a checkpoint lies until it is whole."""
        return self.folder / "saving"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.lock is not None:
            self.lock.close()


def finished(output: Path, wanted: Wanted) -> Record | None:
    """The record of the training asked for, if its model is complete; None: `output` is empty or not there.

    Raises:
        FactoryError: there is something else in `output`.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    record = _record(output / RECORD)
    if record is None:
        raise FactoryError(f"{output} is not empty: give another folder with --output, or remove it")
    if others := _differences(record.wanted, wanted):
        raise FactoryError(
            f"{output} is not empty: it holds a model that was trained otherwise ({others}): give another folder with "
            "--output, or remove it"
        )
    return record


def part_folder(output: Path) -> Path:
    return output.resolve().with_name(f".{output.resolve().name}.part")


def begin(output: Path, wanted: Wanted, configuration: str, now: datetime, main_process: bool) -> Part:
    """The folder of the training asked for, new or as an earlier process has left it.

    Args:
        configuration: as its row is to have it, if this is its first start.
    Raises:
        FactoryError: another process trains there, or another training was left there with checkpoints.
    """
    folder = part_folder(output)
    before = _asked(folder / "asked.json")
    if before is not None and not _differences(before["wanted"], wanted):
        now = datetime.fromisoformat(before["started_at"])
        configuration = before.get("configuration", configuration)
    elif before is not None and any((folder / "checkpoints").glob("step-*")):
        raise FactoryError(
            f"{folder} holds the checkpoints of another training that has not ended "
            f"({_differences(before['wanted'], wanted)}): ask for that one again to go on with it, give another "
            "--output, or remove the folder"
        )
    if not main_process:
        return Part(folder, now, configuration, None)
    with writing("a training", folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = Part(folder, now, configuration, _locked(folder / "lock", output))
        for half_written in (part.model, part.saving):
            shutil.rmtree(half_written, ignore_errors=True)
        with whole_file(folder / "asked.json") as file:
            asked = {"wanted": wanted, "configuration": configuration, "started_at": now.isoformat()}
            file.write_text(json.dumps(asked), encoding="utf-8")
    return part


@contextmanager
def writing(what: str, folder: Path, now: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """A block that writes: a full disk, or a folder that is not ours, becomes a sentence.

    Args:
        now: whether it is writing at the moment; otherwise an error is none of its own.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        others = isinstance(error, RuntimeError) and not any(name in str(error) for name in _TORCH_S_WRITER)
        if others or not now():
            raise
        raise FactoryError(
            f"{what} cannot be written to {folder} ({' '.join(str(error).split())[:200]}): free some space or give "
            "another --output, and start the training again: it goes on from its last checkpoint"
        ) from error


def _locked(file: Path, output: Path) -> IO[str]:
    lock = file.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise FactoryError(f"another process is training {output} right now: wait until it ends") from None
    return lock


def _record(file: Path) -> Record | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def _asked(file: Path) -> dict[str, Any] | None:
    try:
        asked = json.loads(file.read_text("utf-8"))
        return asked if {"wanted", "started_at"} <= asked.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _differences(one: Wanted, other: Wanted) -> str:
    """The first few names whose values differ, with those of `one`, perhaps an earlier version's; empty: none does."""
    one = {key: value for key, value in as_now(str(one.get("objective")), one).items() if key not in NOT_IN_WEIGHTS}
    one, other = ({**wanted, "reward": deciding(wanted.get("reward"))} for wanted in (one, other))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {one.get(name)}" for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
