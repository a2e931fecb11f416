"""What a loop reads in the files of its trainers' settings; the trainers say what is wrong with them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from factory.loops.settings import trainer_settings
from factory.prompts.packing import content_of
from schemas.ids import sha256_text


def reward_in(configs: Iterable[str]) -> dict[str, Any]:
    """What pays an online training by its presets and files, the last of which counts; empty: they do not say."""
    rewards = [_inside(_document(trainer_settings(one)), "online", "reward") for one in configs]
    return next((one for one in reversed(rewards) if one), {})


def identity_of(file: Path) -> str | None:
    """What identifies a file of settings: its content, without the budget of a judge that pays, which decides nothing."""
    document = _document(file)
    judge = _inside(document, "online", "reward", "recipe")
    if not judge:
        return content_of(file)
    judge.pop("budget", None)
    return sha256_text(yaml.safe_dump(document))


def _document(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def _inside(document: Any, *keys: str) -> dict[str, Any]:
    """The mapping below these keys; empty: there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}
