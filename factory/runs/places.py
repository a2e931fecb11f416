"""Where a run's files are on this machine: kept in the user's data directory, never in a row.

A lake may be given to others, so its rows hold only the last names of prompt files, templates, pairings, weights and
programs, beside their SHA-256. Who resumes the run on this machine need not say again where they are; elsewhere they are
given anew, as in `factory resume RUN -o prompts.source=PATH`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from schemas.ids import canonical_json
from stores.whole import whole_file

Places = dict[str, str]
"""paths by where they stand in the recipe, as in prompts.source"""
_PREFIXES = ("embedded:", "reward:")
"""of an endpoint that is a file or folder"""
_MOST_CHARACTERS = 4_096
_ABSOLUTE = re.compile(r"(?<![\w:/.])/[^\s:,;'\"`()]+")


def without_places(recipe: str) -> tuple[str, Places]:
    """A recipe (JSON) with each path outside the current folder reduced to its last name, and those paths."""
    places: Places = {}

    def reduce(where: str, text: str) -> str:
        prefix, path = _taken_apart(text)
        if not _is_elsewhere(path):
            return text
        places[where] = text
        return prefix + _last_name(path)

    return canonical_json(_changed(json.loads(recipe), reduce)), places


def with_places(recipe: str, run_id: str) -> Any:
    """A recipe of `without_places` with the paths that this machine remembers of the run, as plain values."""
    places = remembered(run_id)

    def restore(where: str, text: str) -> str:
        path = places.get(where)
        return path if path is not None and _last_name(path) == Path(_taken_apart(text)[1]).name else text

    return _changed(json.loads(recipe), restore)


def remember(run_id: str, places: Places) -> None:
    """Keeps a run's paths for `with_places`.

    Raises:
        OSError: they cannot be written.
    """
    if places:
        file = _file(run_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            part.write_text(json.dumps(places), "utf-8")


def without_paths(text: str) -> str:
    """A sentence for a row, in which paths that are there on this machine are reduced to their last names."""
    return _ABSOLUTE.sub(lambda found: Path(found[0]).name if _exists(found[0].rstrip(".")) else found[0], text)


def _last_name(path: str) -> str:
    try:
        return Path(_taken_apart(path)[1]).expanduser().resolve().name
    except (OSError, RuntimeError, ValueError):  # a home that is gone since
        return Path(path).name


def _taken_apart(text: str) -> tuple[str, str]:
    """An endpoint's prefix ("" if it has none of them), and what follows."""
    prefix = next((one for one in _PREFIXES if text.startswith(one)), "")
    return prefix, text.removeprefix(prefix)


def _is_elsewhere(text: str) -> bool:
    """Whether a value is a path that says where it is on this machine: absolute, of a home, or above this folder."""
    return text.startswith(("/", "~", "..")) and _exists(text)


def _exists(text: str) -> bool:
    if len(text) > _MOST_CHARACTERS or "\n" in text:
        return False
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown home, a NUL
        return False


def _changed(plain: Any, change: Callable[[str, str], str], where: str = "") -> Any:
    """The value with every text in it changed, whose place is given as `models.actor.endpoint.0`."""
    if isinstance(plain, dict):
        return {key: _changed(value, change, f"{where}.{key}".lstrip(".")) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_changed(value, change, f"{where}.{at}") for at, value in enumerate(plain)]
    return change(where, plain) if isinstance(plain, str) else plain


def remembered(run_id: str) -> Places:
    """What this machine keeps of a run or loop."""
    try:
        places = json.loads(_file(run_id).read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # another machine's run, or one without paths
    return {str(where): str(path) for where, path in places.items()} if isinstance(places, dict) else {}


def _file(run_id: str) -> Path:
    return platformdirs.user_data_path("preference-factory") / "places" / f"{Path(run_id).name}.json"
