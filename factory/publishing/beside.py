"""The files beside the data: the recipe of each run with its own templates and pairings, and the query with its views."""

import re
from pathlib import Path
from typing import Any

import yaml

from factory.publishing.facts import Facts, MadeBy
from factory.templates.rendering import FOLDER as TEMPLATES
from schemas.errors import FactoryError
from schemas.tables import Run
from stores.lake import Lake
from stores.pairing import known_pairings

_NAME = re.compile(r"[\w][\w.@-]{0,120}")


def write_beside(lake: Lake, facts: Facts, folder: Path) -> None:
    """Writes `NAME.sql`, `views.sql` and `recipes/RUN.yaml`, with `templates/` and `pairings/` where a run has its own.

    Raises:
        FactoryError: a name in the lake that would be no name of a file.
    """
    row = facts.row
    (folder / f"{file_name(row.name)}.sql").write_text(row.sql, "utf-8")
    if row.views is not None:
        (folder / "views.sql").write_text(row.views, "utf-8")
    pairings = _pairings_of(lake, [run.run_id for run in facts.runs])
    for run in facts.runs:
        if run.is_import:
            continue
        recipe = _with_own_files(run, pairings.get(run.run_id, {}), folder)
        file = folder / "recipes" / f"{file_name(run.run_id)}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=110), "utf-8")


def file_name(name: str) -> str:
    """The name, if it can be one of a file.

    Raises:
        FactoryError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise FactoryError(
            f"the name {name[:80]!r} cannot be a file's: it has other characters than A-Z a-z 0-9 . _ - @"
        )
    return name


def _with_own_files(run: MadeBy, pairings: dict[str, str], folder: Path) -> dict[str, Any]:
    """The run's recipe, in which files of its own are named as they lie in the folder."""
    recipe = dict(run.recipe)
    given = recipe.get("templates")
    if isinstance(given, dict):
        recipe["templates"] = {
            name: _written(folder, "templates", run, f"{name}.txt", run.templates[name])
            if name in run.templates and not _is_bundled(value)
            else value
            for name, value in given.items()
        }
    pairs = recipe.get("pairs")
    if isinstance(pairs, list):
        recipe["pairs"] = [_pairing(item, pairings, run, folder) for item in pairs]
    return recipe


def _is_bundled(name: Any) -> bool:
    return isinstance(name, str) and name in {file.stem for file in TEMPLATES.glob("*.txt")}


def _pairing(item: Any, texts: dict[str, str], run: MadeBy, folder: Path) -> Any:
    """An item of `pairs`: a name, or {pairing: name, name: what its pairs are called, ...}."""
    given = item.get("pairing") if isinstance(item, dict) else item
    if not isinstance(given, str) or given in known_pairings():
        return item
    source = str(item.get("name", Path(given).stem)) if isinstance(item, dict) else Path(given).stem
    if source not in texts:
        return item
    path = _written(folder, "pairings", run, f"{source}.sql", texts[source])
    return {**item, "pairing": path} if isinstance(item, dict) else path


def _written(folder: Path, kind: str, run: MadeBy, name: str, text: str) -> str:
    path = f"{kind}/{file_name(run.run_id)}/{file_name(name)}"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, "utf-8")
    return path


def _pairings_of(lake: Lake, run_ids: list[str]) -> dict[str, dict[str, str]]:
    where = "run_event_id IN (SELECT run_event_id FROM current_runs WHERE list_contains($runs, run_id))"
    return {run.run_id: run.pairings for run in lake.read(Run, where, {"runs": run_ids})}
