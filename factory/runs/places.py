"""Where a run's files are on this machine: kept in the user's data directory, never in a row.

A lake may be given to others, so its rows hold only the last names of prompt files, templates, pairings, weights and
programs, beside their SHA-256. Who resumes the run on this machine need not say again where they are; elsewhere they are
given anew, as in `factory resume RUN -o prompts.source=PATH`.
"""

import json
import re
from pathlib import Path
from typing import Any

import platformdirs

from schemas.ids import canonical_json
from schemas.places import Places, changed, exists, last_name, reduced, taken_apart
from stores.whole import whole_file

_ABSOLUTE = re.compile(r"(?<![\w:/.])/[^\s:,;'\"`()]+")


def without_places(recipe: str) -> tuple[str, Places]:
    """A recipe (JSON) with each path outside the current folder reduced to its last name, and those paths."""
    plain, places = reduced(json.loads(recipe))
    return canonical_json(plain), places


def with_places(recipe: str, run_id: str) -> Any:
    """A recipe of `without_places` with the paths that this machine remembers of the run, as plain values."""
    places = remembered(run_id)

    def restore(where: str, text: str) -> str:
        path = places.get(where)
        return path if path is not None and last_name(path) == Path(taken_apart(text)[1]).name else text

    return changed(json.loads(recipe), restore)


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
    return _ABSOLUTE.sub(lambda found: Path(found[0]).name if exists(found[0].rstrip(".")) else found[0], text)


def remembered(run_id: str) -> Places:
    """What this machine keeps of a run or loop."""
    try:
        places = json.loads(_file(run_id).read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # another machine's run, or one without paths
    return {str(where): str(path) for where, path in places.items()} if isinstance(places, dict) else {}


def _file(run_id: str) -> Path:
    return platformdirs.user_data_path("preference-factory") / "places" / f"{Path(run_id).name}.json"
