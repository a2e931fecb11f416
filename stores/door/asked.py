"""The process that asks a question: confined first, then the question is checked, then asked; run by `stores/door/asking.py`.

Standard input: the question. Standard output: the rows, as an Arrow stream. Standard error, with exit code REFUSED: one
sentence. It ends itself: the kernel sends SIGALRM when the time is up, whatever DuckDB is doing.
"""

import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from schemas.errors import FactoryError, own_words
from stores.confining import refuse_links
from stores.door.checking import Known, check
from stores.door.definitions import check_definitions, names_of_functions, read_definitions
from stores.door.question import Limits, Question, from_json
from stores.lake import Lake
from stores.sql import views

REFUSED = 3
ROWS_A_BATCH = 2_048
_MB = 1_000_000
_TO_START_MB = 1_500
"""address space of the interpreter, DuckDB, its extensions and pyarrow, little of which is used"""
_A_THREAD_MB = 160
_LIKENESS = Known(macros=frozenset({"likeness"}))


def main() -> None:
    question = from_json(sys.stdin.buffer.read())
    try:
        _answer(question)
    except FactoryError as error:
        _refuse(str(error))
    except (MemoryError, duckdb.OutOfMemoryException):
        _refuse(
            f"{question.what} needs more than {question.limits.memory_mb:,} MB of memory: read fewer rows or columns"
        )
    except (duckdb.Error, pa.ArrowException) as error:
        _refuse(f"{question.subject} fails: {own_words(error)}")


def _refuse(sentence: str) -> None:
    sys.stderr.write(sentence)
    sys.stderr.flush()
    os._exit(REFUSED)


def _answer(question: Question) -> None:
    threads = question.threads or min(os.cpu_count() or 1, 4)
    _limit(question.limits, threads)
    with Lake.open(question.where, at=question.at, as_stored=question.stored, read_only=True) as lake:
        refuse_links(lake.place)
        known = _define(lake, question)
        try:
            used = judge(question, known)
        except FactoryError:  # perhaps for a table that this lake has beside ours: finding out takes a while
            used = judge(question, known.and_those(_names_in(lake)))
        lake.offer_likeness(question.query)
        _lock(lake.connection, question.limits, threads)
        with lake.explained():
            asked = lake.connection.execute(question.query, used)
            try:
                _write(asked.to_arrow_reader(ROWS_A_BATCH))
            except OSError as error:
                # A row's error in one of DuckDB's threads interrupts the others, and may arrive as an interruption.
                if "INTERRUPT" in str(error):
                    lake.connection.execute(question.query, used).to_arrow_table()
                raise


def _limit(limits: Limits, threads: int) -> None:
    for ending in (signal.SIGALRM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ending, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    space = (2 * limits.memory_mb + _TO_START_MB + _A_THREAD_MB * threads) * _MB
    processor_s = int(limits.seconds * threads) + 10
    for kind, most in (
        (resource.RLIMIT_AS, space),
        (resource.RLIMIT_CPU, processor_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, ceiling = resource.getrlimit(kind)
        most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(kind, (most, most))


def _define(lake: Lake, question: Question) -> Known:
    """Makes the question's views and macros; the names it may use."""
    if question.definitions is not None:
        of = f"{question.what}, in its views"
        definitions = read_definitions(question.definitions, of)
        known = check_definitions(definitions, Known(), names_of_functions(lake.connection), of)
        for definition in definitions:
            lake.connection.execute(definition.statement())
        return known.and_those(_LIKENESS)
    if question.stored:
        return Known().and_those(_LIKENESS)
    ours = {
        kind: frozenset(re.findall(rf"^CREATE TEMP {kind} (\w+)", views(), re.MULTILINE)) for kind in ("VIEW", "MACRO")
    }
    return Known().and_those(Known(ours["VIEW"], ours["MACRO"])).and_those(_LIKENESS)


def judge(question: Question, known: Known) -> dict[str, Any]:
    """The parameters that the query uses, once it is found to be harmless and, if it must be, steady."""
    checked = check(question.query, known, question.subject)
    if missing := sorted(checked.parameters - question.parameters.keys()):
        mend = (
            f"declare it in the header, as in `${missing[0]} DOUBLE = 0.5`"
            if question.steady
            else "write the value itself"
        )
        raise FactoryError(f"{question.subject} uses ${missing[0]}, which has no value: {mend}")
    if question.steady and not checked.ordered:
        raise FactoryError(f"{question.subject} gives its rows no order: end it with ORDER BY split DESC and an id")
    if question.steady and checked.unsteady:
        raise FactoryError(
            f"{question.subject} would give other rows each time, as it uses {', '.join(sorted(checked.unsteady))}: leave it "
            "out, or choose by an id's hash"
        )
    return {name: question.parameters[name] for name in checked.parameters}


def _names_in(lake: Lake) -> Known:
    """Tables, views and macros that the lake itself holds; `refuse_foreign_code` has checked their bodies."""
    asked = lake.connection.execute(
        "SELECT lower(table_name), false FROM system.main.duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'main' "
        "UNION ALL SELECT lower(view_name), false FROM system.main.duckdb_views() WHERE database_name = 'lake' "
        "UNION ALL SELECT lower(function_name), true FROM system.main.duckdb_functions() WHERE database_name = 'lake' "
        "AND function_type IN ('macro', 'table_macro')"
    ).fetchall()
    return Known(
        frozenset(n for n, is_macro in asked if not is_macro), frozenset(n for n, is_macro in asked if is_macro)
    )


def _lock(connection: duckdb.DuckDBPyConnection, limits: Limits, threads: int) -> None:
    for setting in (
        f"memory_limit = '{limits.memory_mb}MB'",
        f"threads = {threads}",
        "max_temp_directory_size = '0MB'",
        "python_enable_replacements = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _write(rows: pa.RecordBatchReader) -> None:
    schema = _with_unique_names(rows.schema)
    with os.fdopen(os.dup(1), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for batch in rows:
            with _clock_stopped():
                stream.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                sink.flush()


def _with_unique_names(schema: pa.Schema) -> pa.Schema:
    """Columns of one name, as a join of two tables gives, as `name`, `name_1`, ...: readers know columns by name."""
    names: list[str] = []
    for name in schema.names:
        unique, number = name, 0
        while unique in names or (number and unique in schema.names):
            number += 1
            unique = f"{name}_{number}"
        names.append(unique)
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


@contextmanager
def _clock_stopped() -> Iterator[None]:
    """Time in which the reader takes the rows, perhaps a person with a pager, is not the query's."""
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))


if __name__ == "__main__":
    main()
