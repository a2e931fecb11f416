"""A run done again: the same specification into a new lake, from the journal where it has the answers, else anew."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory.documents.importing import copy_documents
from factory.inference.journal import Journal, journal_file
from factory.monitor.plain_text import counted
from factory.reruns.environments import Differences, differences, in_words
from factory.reruns.offline import unasked
from factory.runs.loop import Execution, run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification, specification_of
from schemas.columns import arrow_schema
from schemas.errors import FactoryError
from schemas.tables import TABLES, Run
from stores.catalog_file import copy_database, may_write
from stores.lake import Lake
from stores.sql import sql

VOLATILE = frozenset({"latency_s", "started_at", "retries", "from_journal", "endpoint", "origin"})
"""columns that say when, how long, how often and from where"""
MADE = (
    "prompts",
    "run_prompts",
    "calls",
    "responses",
    "checklist_items",
    "judgements",
    "comparisons",
    "meta_judgements",
    "claims",
    "trees",
    "nodes",
    "pairs",
    "checks",
)
"""the tables of a run's rows, each made from those before it"""
_OF_RUN = {
    "prompts": "prompt_id IN (SELECT prompt_id FROM run_prompts WHERE run_id = $run_id)",
    "responses": "run_id = $run_id AND kind <> 'edited'",
    "pairs": "run_id = $run_id AND chosen_response_id NOT IN (SELECT response_id FROM responses WHERE kind = 'edited')",
}
"""What a reviewer has edited is no run's."""
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class TableCompared:
    """How a table's rows of a run compare."""

    table: str
    same: int
    missing: int
    """original rows that are missing now"""
    new: int
    changed: int
    first: str | None
    """the smallest id that differs"""

    @property
    def differing(self) -> int:
        return self.missing + self.new + self.changed


@dataclass(frozen=True, slots=True)
class RepeatedRun:
    """What came out of a run's repetition."""

    run_id: str
    started_at: datetime
    ended_at: datetime
    tables: list[TableCompared]
    asked: int
    """requests that the journal could not answer"""
    requests: int
    environment: Differences
    reason: str | None
    """why it differs, as far as it is known; None: it does not"""

    @property
    def first_difference(self) -> str | None:
        return next((f"{each.table}: {each.first}" for each in self.tables if each.first), None)


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run is done again."""

    into: Path | None = None
    """a folder for the new lake; None: one that is removed at the end"""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """changes that no answer depends on, such as endpoints"""
    anew: bool = False
    """every request is asked again, although the journal has its answer"""
    offline: bool = False
    """nobody is asked, so that what the journal does not answer is missing"""


def repeat_run(
    lake: Lake, run_id: str, asked: Asked, watched: Callable[[Progress], AbstractContextManager[object]]
) -> RepeatedRun:
    """Runs it again and compares every row.

    Args:
        watched: shows the run's progress while the context is open.
    Raises:
        FactoryError: `specification_of` and `run_recipe` say when; or there is something in `asked.into`.
    """
    if asked.anew and asked.offline:
        raise FactoryError("--anew asks everything again, and --offline nobody: give one of them")
    started = datetime.now(UTC)
    spec = specification_of(lake, run_id, asked.overrides, asks=not asked.offline)
    assert spec.begun is not None
    with _folder(asked.into) as folder:
        progress = Progress()
        with Lake.open(folder, create=True) as new:
            if not asked.anew:
                _bring_answers(lake, spec.begun.run_id, folder)
            _bring_answered(lake, new, spec)
            if any(entry.settings.reads_documents() for entry in spec.recipe.stages):
                copy_documents(lake, new)
            missing: set[str] = set()
            deferral = unasked(lake, spec.begun.run_id, spec, missing) if asked.offline else None
            with watched(progress):
                run_on(new, spec, progress, Execution(deferral=deferral, asks=not asked.offline))
            return _compared(lake, new, spec.begun, started, len(missing))


@contextmanager
def _folder(into: Path | None) -> Iterator[Path]:
    if into is None:
        with tempfile.TemporaryDirectory(prefix="factory-rerun-") as temporary:
            yield Path(temporary)
        return
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise FactoryError(f"--into {into} is not empty: give a new folder for the repetition's lake")
    into.mkdir(parents=True, exist_ok=True)
    yield into


def _bring_answers(lake: Lake, run_id: str, folder: Path) -> None:
    """Copies the run's answers into the new lake's journal, so that the first one is neither changed nor needed."""
    source = journal_file(lake.place)
    if not source.exists():
        return
    hashes = lake.query("SELECT DISTINCT request_hash FROM calls WHERE run_id = $id", {"id": run_id}).column(0)
    Journal(folder / "journal.sqlite").close()
    copy = folder / "journal-of-then.sqlite"
    try:
        if not may_write(lake.place):  # SQLite would have to write beside it
            copy_database(source, copy)
            source = copy
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as there,
            closing(sqlite3.connect(folder / "journal.sqlite")) as here,
            here,
        ):
            columns = [row[1] for row in here.execute("PRAGMA table_info(replies)")]
            # Nobody has paid for them here: what the repetition pays for is told apart.
            named = ", ".join("NULL" if column == "run_id" else column for column in columns)
            marks = ", ".join("?" * len(columns))
            wanted = hashes.to_pylist()
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                found = there.execute(
                    f"SELECT {named} FROM replies WHERE request_hash IN ({', '.join('?' * len(part))})", part
                )
                here.executemany(f"INSERT OR IGNORE INTO replies ({', '.join(columns)}) VALUES ({marks})", found)
    except (sqlite3.Error, OSError) as error:
        raise FactoryError(
            f"the journal {source} cannot be read ({error}): restore it from a backup, or ask everything again with --anew"
        ) from error
    finally:
        copy.unlink(missing_ok=True)


def _bring_answered(lake: Lake, new: Lake, spec: RunSpecification) -> None:
    """The rows of the run whose answers this one takes, if its recipe says so."""
    given = spec.recipe.answers
    if given is None:
        return
    run = {"run_id": given.run}
    rows = {table: lake.query(f"SELECT * FROM {table} WHERE {_condition(table)}", run) for table in MADE}
    rows["models"] = lake.query("SELECT * FROM models")
    rows["runs"] = lake.query("SELECT * FROM runs WHERE run_id = $run_id", run)
    new.append_arrow(
        {name: table.cast(arrow_schema(TABLES[name])) for name, table in rows.items() if table.num_rows},
        message=f"rows of run {given.run}",
    )


def _condition(table: str) -> str:
    return _OF_RUN.get(table, "run_id = $run_id")


def _compared(lake: Lake, new: Lake, run: Run, started: datetime, missing: int) -> RepeatedRun:
    tables = [_compare(lake, new, table, run.run_id) for table in MADE]
    counts = new.query(
        "SELECT count(*) AS requests, count(*) FILTER (NOT from_journal) AS asked FROM calls WHERE run_id = $id",
        {"id": run.run_id},
    ).to_pylist()[0]
    [now] = new.read(
        Run, "run_event_id IN (SELECT run_event_id FROM current_runs WHERE run_id = $id)", {"id": run.run_id}
    )
    apart = differences(
        {"preference-factory": run.code_version, **run.package_versions},
        {"preference-factory": now.code_version, **now.package_versions},
    )
    reason = None
    if any(table.differing for table in tables):
        reason = _why(lake, new, run, counts["asked"], counts["requests"], apart)
    if missing:
        reason = (
            f"the journal does not answer {counted(missing, 'request')}, and --offline asks nobody: leave it out to ask"
        )
    return RepeatedRun(
        run.run_id, started, datetime.now(UTC), tables, counts["asked"], counts["requests"], apart, reason
    )


def _compare(lake: Lake, new: Lake, table: str, run_id: str) -> TableCompared:
    key, *columns = (name for name in arrow_schema(TABLES[table]).names if name not in VOLATILE)
    text = f"SELECT {key} AS id, md5(to_json([{', '.join(f'to_json({name})' for name in columns)}])) AS content "
    text += f"FROM {table} WHERE {_condition(table)} ORDER BY {key}"
    then, now = (each.query(text, {"run_id": run_id}) for each in (lake, new))
    new.connection.register("rows_of_then", then)
    new.connection.register("rows_of_now", now)
    try:
        [found] = new.query(sql("rows_compared")).to_pylist()
    finally:
        new.connection.unregister("rows_of_then")
        new.connection.unregister("rows_of_now")
    return TableCompared(table, **found)


def _why(lake: Lake, new: Lake, run: Run, asked: int, requests: int, apart: Differences) -> str:
    if run.status != "finished":
        return f"the original run had not ended ({run.status}), and its repetition has"
    models = (
        "SELECT DISTINCT role, name, revision FROM calls JOIN models USING (model_id) WHERE run_id = $id ORDER BY ALL"
    )
    then, now = (each.query(models, {"id": run.run_id}).to_pylist() for each in (lake, new))
    if then != now:
        other = next((one for one in now if one not in then), None)
        if other is not None:
            return f"the {other['role']} is another model: {other['name']}, revision {other['revision'] or 'not known'}"
    if asked:
        return (
            f"{asked:,} of {requests:,} requests were not in the journal and were asked anew: a server does not promise the "
            "same tokens for the same seed"
        )
    if apart:
        return f"the answers are the journal's, but not the packages that read them: {in_words(apart)}"
    return "the answers are the journal's and the packages the same: the code or the prompts have changed"
