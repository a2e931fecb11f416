"""Settings without where their files are on this machine, as rows hold them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Places = dict[str, str]
"""paths by where they stand in the settings, as in prompts.source"""
_PREFIXES = ("embedded:", "reward:", "vllm:")
"""of an endpoint that is a file or folder"""
_MOST_CHARACTERS = 4_096


def reduced(plain: Any) -> tuple[Any, Places]:
    """Plain values with each path outside the current folder reduced to its last name, and those paths."""
    places: Places = {}

    def reduce(where: str, text: str) -> str:
        prefix, path = taken_apart(text)
        if not _is_elsewhere(path):
            return text
        places[where] = text
        return prefix + last_name(path)

    return changed(plain, reduce), places


def changed(plain: Any, change: Callable[[str, str], str], where: str = "") -> Any:
    """The value with every text in it changed, whose place is given as `models.actor.endpoint.0`."""
    if isinstance(plain, dict):
        return {key: changed(value, change, f"{where}.{key}".lstrip(".")) for key, value in plain.items()}
    if isinstance(plain, list):
        return [changed(value, change, f"{where}.{at}") for at, value in enumerate(plain)]
    return change(where, plain) if isinstance(plain, str) else plain


def taken_apart(text: str) -> tuple[str, str]:
    """An endpoint's prefix ("" if it has none of them), and what follows."""
    prefix = next((one for one in _PREFIXES if text.startswith(one)), "")
    return prefix, text.removeprefix(prefix)


def last_name(path: str) -> str:
    try:
        return Path(taken_apart(path)[1]).expanduser().resolve().name
    except (OSError, RuntimeError, ValueError):  # a home that is gone since
        return Path(path).name


def _is_elsewhere(text: str) -> bool:
    """Whether a value is a path that says where it is on this machine: absolute, of a home, or above this folder."""
    return text.startswith(("/", "~", "..")) and exists(text)


def exists(text: str) -> bool:
    """Whether a text is the path of something."""
    if len(text) > _MOST_CHARACTERS or "\n" in text:
        return False
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown home, a NUL
        return False
