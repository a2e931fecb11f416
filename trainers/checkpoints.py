"""Checkpoints: TRL writes them, and they appear here whole or not at all, a few at a time.

They are read by the training that wrote them (`unfinished.py`), and torch's files with `weights_only`: a lake from somebody
else may bring some, which are data and no code. A
checkpoint is renamed to its name, `step-N`, when all its files are on the disk; the ones before it go afterwards.
"""

import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from stores.whole import put_folder

SHARE = 50
"""Without a setting, at least so many times the seconds that the last checkpoint took lie between two of them."""
LEAST_S = 600.0


class Checkpoints(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Asks for a checkpoint when one is due, puts it in its place and removes older ones."""

    def __init__(self, folder: Path, every: int | None, keep: int, accelerator: Any) -> None:
        self.folder, self.every, self.keep, self.accelerator = folder, every, keep, accelerator
        self.saving = False
        self.due_s = time.monotonic() + LEAST_S
        self.began_s = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        # Not at the end: the model is written next.
        self.saving = state.global_step < state.max_steps and self._is_due(state.global_step)
        control.should_save = self.saving
        self.began_s = time.monotonic()

    def _is_due(self, step: int) -> bool:
        if self.every is not None:
            return self.every > 0 and step % self.every == 0
        due = time.monotonic() >= self.due_s
        if self.accelerator.num_processes == 1:
            return due
        from accelerate.utils import broadcast_object_list

        return bool(broadcast_object_list([due])[0])  # clocks differ, and either all processes save or none

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (written / "training_args.bin").unlink(missing_ok=True)  # a pickle that going on does not need
            self.folder.mkdir(exist_ok=True)
            put_folder(written, self.folder / f"step-{state.global_step}")
            for old in _by_step(self.folder)[self.keep :]:
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.saving = False
        ended_s = time.monotonic()
        self.due_s = ended_s + max(LEAST_S, SHARE * (ended_s - self.began_s))


def newest(folder: Path) -> Path | None:
    """The checkpoint to go on from."""
    return next(iter(_by_step(folder)), None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _by_step(folder: Path) -> list[Path]:
    """Whole checkpoints, the newest first."""
    return sorted(folder.glob("step-*"), key=step_of, reverse=True)
