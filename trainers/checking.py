"""The settings of trainings that are still to come: `python -m trainers.checking`, started by `factory`.

`factory` imports nothing of the trainers, so a loop asks a process what its trainers will read, before it pays for data.
A line of JSON each way: a list of `Asked`, answered with a list of `Found`. Imports no torch, so it takes well under a second.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from trainers.scoring import check_reward_model
from trainers.settings import check_batches, load_settings, plain


class Asked(msgspec.Struct, frozen=True):
    """A training's settings, as a trainer's command line names them."""

    objective: str
    configs: tuple[str, ...]
    paid: bool = False
    """online: whether somebody else pays than the settings name"""


class Found(msgspec.Struct, frozen=True):
    """All of them with their defaults; or, in a sentence, why the trainer would refuse them."""

    settings: dict[str, Any] | None = None
    error: str | None = None


def check(asked: Asked) -> Found:
    """What a trainer would make of its settings, without its set or its model."""
    assert asked.objective in OBJECTIVES
    kind = import_module(f"trainers.{asked.objective}").SETTINGS
    try:
        settings = load_settings(kind, asked.objective, asked.configs)
        check_batches(settings, processes=1)
        reward = getattr(settings, "reward", None)
        if not asked.paid and reward is not None and reward.kind == "reward_model":
            check_reward_model(Path(reward.model or "").expanduser(), "reward.model")
    except FactoryError as error:
        return Found(error=str(error))
    return Found(plain(settings))


def main() -> None:
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=list[Asked])
    sys.stdout.buffer.write(msgspec.json.encode([check(one) for one in asked]) + b"\n")


if __name__ == "__main__":
    main()
