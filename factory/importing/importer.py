"""Imports files of preferences and scores: one commit with all of them, or nothing. No model is asked."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from typing import Any

import pyarrow as pa

from factory.importing.rows import Imported
from factory.importing.shapes import sample_of
from factory.prompts.files import rows_of
from factory.prompts.packing import content_of, files_of
from factory.prompts.questions import ANSWERS, COLUMNS, Columns, check_columns, columns_of
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import prompt_of, source_name
from schemas.columns import to_arrow
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id, sha256_text
from schemas.tables import TABLE_OF, Run
from stores.attach import place
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.locks import run_lock

RECIPE = {"name": "import", "training_sets": ["imported_dpo"]}
"""What an import has for a recipe: `factory build` reads from it which set to build."""
Tell = Callable[[str, int], None]
"""Is told what is being done, and to how many rows so far."""
_TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class Options:
    """What an import's user says of all its sources."""

    licence: str | None = None
    """of prompts whose rows name none"""
    best_by: str | None = None
    """the score by which answers are ranked"""
    purpose: str = "data"
    """data, or evaluation: no training set takes them"""


@dataclass(frozen=True, slots=True)
class ImportedSource:
    """What an import added of one file or folder."""

    source: str
    run_id: str
    samples: int
    """rows read; 0: all was there before"""
    rows: dict[str, int]
    """rows by table, equal ones counted once"""
    equal: int
    """preferences left out, whose sides are equal or empty"""
    scores: dict[str, int]
    """by judge"""


def import_files(where: str, sources: Sequence[PromptSettings], options: Options, tell: Tell) -> list[ImportedSource]:
    """Imports sources (files or folders) into the lake at `where`, made if it is not there.

    Args:
        sources: like those of prompts, with the further columns `chosen` and `rejected`.
        options: the same for all of them.
    Raises:
        FactoryError: a row that cannot be kept, with its place; nothing is imported then.
    """
    read: list[tuple[Run, Imported, dict[str, pa.Table]]] = []
    known = _known(where)
    for settings in sources:
        run = _run_of(settings, options)
        if _is_there(run, known):
            read.append((run, Imported(run.run_id), {}))
            continue
        imported = _read(run, settings, options, tell)
        read.append((run, imported, imported.tables()))
    _commit(where, [(run, tables) for run, _, tables in read if tables], tell)
    return [
        ImportedSource(
            json.loads(run.parameters)["name"],
            run.run_id,
            imported.samples,
            {name: table.num_rows for name, table in tables.items()},
            imported.equal,
            dict(imported.scores),
        )
        for run, imported, tables in read
    ]


def _read(run: Run, settings: PromptSettings, options: Options, tell: Tell) -> Imported:
    columns = columns_of(settings, (*COLUMNS, *ANSWERS))
    source = source_name(settings.source)
    imported = Imported(run.run_id, options.best_by)
    rows = (row for file in files_of(settings.source) for row in _checked(rows_of(file, columns.wanted()), columns))
    for where, row in islice(rows, settings.limit):
        sample = sample_of(row, columns, where)
        prompt = prompt_of(row, sample.messages, None, columns, source, where)
        imported.add(replace(prompt, licence=prompt.licence or options.licence), sample)
        if imported.samples % _TELL_EVERY == 0:
            tell("rows read", imported.samples)
    if not imported.samples:
        raise FactoryError(f"{settings.source} has no rows: give a file with at least one")
    return imported


def _checked(rows: Any, columns: Columns) -> Any:
    """A file's rows, the first with its columns checked."""
    for number, (where, row) in enumerate(rows):
        if number == 0:
            check_columns(columns, row, where)
        yield where, row


def _run_of(settings: PromptSettings, options: Options) -> Run:
    """An import's run: the same content, read in the same way, is the same run, whatever its name and limit."""
    files_of(settings.source)  # says what is missing
    content = content_of(settings.source)
    read = {
        "columns": settings.columns,
        "keys": settings.keys,
        "leave_out": settings.leave_out,
        "best_by": options.best_by,
    }
    if options.purpose != "data":
        read["purpose"] = options.purpose
    run_id = f"import-{content_id('import', content, read)[:10]}"
    now = datetime.now(UTC)
    parameters = {
        "source": f"sha256:{content}",
        "name": source_name(settings.source).partition("#")[0],
        "licence": options.licence,
        "limit": settings.limit,
    }
    recipe = canonical_json(RECIPE)
    return Run(
        run_event_id=content_id("run_event", run_id, 0, "finished"),
        run_id=run_id,
        attempt=0,
        status="finished",
        reason=None,
        recipe_name="import",
        purpose=options.purpose,
        recipe=recipe,
        recipe_hash=sha256_text(recipe),
        templates={},
        pairings={},
        parameters=canonical_json(parameters | read),
        seed=0,
        iteration=0,
        parent_run_id=None,
        code_version=version("preference-factory"),
        package_versions={name: version(name) for name in ("duckdb", "pyarrow", "rapidfuzz")},
        started_at=now,
        ended_at=now,
    )


def _known(where: str) -> list[Run]:
    """The lake's imports; none if there is no lake yet."""
    found = place(where)
    if found.folder is not None and not (found.folder / "catalog.sqlite").exists():
        return []
    with Lake.open(where, create=found.folder is None) as lake:
        return lake.read(Run, "recipe_name = 'import'")


def _is_there(run: Run, known: Sequence[Run]) -> bool:
    """Whether an earlier import brought all that this one would."""
    now = json.loads(run.parameters)
    for earlier in known:
        then = json.loads(earlier.parameters)
        if earlier.run_id == run.run_id and now["licence"] not in (None, then["licence"]):
            raise FactoryError(
                f"{now['name']} was imported with the licence {then['licence']}, and rows are never changed: leave out "
                "--licence, or import it into another lake"
            )
        limits = then["limit"], now["limit"]
        if earlier.run_id == run.run_id and (limits[0] is None or (limits[1] is not None and limits[1] <= limits[0])):
            return True
    return False


def _commit(where: str, read: Sequence[tuple[Run, dict[str, pa.Table]]], tell: Tell) -> None:
    if not read:
        return
    with Lake.open(where, create=True) as lake, run_lock(lake.place):
        known = lake.read(Run, "recipe_name = 'import'")
        tables: dict[str, list[pa.Table]] = {}
        for run, rows in read:
            attempt = sum(earlier.run_id == run.run_id for earlier in known)
            run = replace(
                run,
                attempt=attempt,
                run_event_id=content_id("run_event", run.run_id, attempt, "finished"),
                ended_at=datetime.now(UTC),
            )
            for name, table in {**rows, TABLE_OF[Run]: to_arrow(Run, [run])}.items():
                tables.setdefault(name, []).append(table)
        whole = {name: pa.concat_tables(parts) for name, parts in tables.items()}
        tell("rows being committed", sum(table.num_rows for table in whole.values()))
        ids = [run.run_id for run, _ in read]
        lake.append_arrow(whole, message=f"import {', '.join(ids)}", details={"run_ids": ids})
        keep_checksums(lake)
