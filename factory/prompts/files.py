"""Rows of the user's files: JSON lines, JSON, CSV and Parquet. Each row comes with its place, for errors."""

import contextlib
import csv
import itertools
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from factory.prompts.packing import PACKED_STARTS, kind_of, text_lines, text_of
from schemas.errors import FactoryError

Row = tuple[str, dict[str, Any]]
"""Where it stands, and its columns."""

_DELIMITERS = (",", ";", "\t", "|")


def rows_of(file: Path, wanted: Collection[str]) -> Iterator[Row]:
    """Streams a file's rows.

    Args:
        wanted: columns, any of which shows that a CSV file's delimiter is the right one.
    Raises:
        FactoryError: a line that cannot be read, with its number and the cause.
    """
    kind = kind_of(file)
    if kind == ".parquet":
        return _parquet_rows(file)
    if kind in (".csv", ".tsv"):
        return _csv_rows(file, wanted)
    return _json_rows(file) if kind == ".json" else _jsonl_rows(file)


def read_json(text: str, where: str, what: str = "this") -> Any:
    """A JSON value. NaN and infinities, which JSON does not have, are null.

    Raises:
        FactoryError: not JSON, or nested too deep.
    """
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except RecursionError as error:
        raise FactoryError(f"{where}: {what} is nested too deep to be read: remove it") from error
    except ValueError as error:
        # json's 'line 1' would be mistaken for the file's.
        reason = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
        raise FactoryError(f"{where}: {what} is not JSON ({reason}): fix or remove the line") from error


def _jsonl_rows(file: Path) -> Iterator[Row]:
    for number, line in text_lines(file):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        if number == 1 and line.strip() in ("[", "{"):
            raise FactoryError(f"{where}: this is one JSON text over several lines: name the file .json, not .jsonl")
        yield where, _object(read_json(line.rstrip(), where), where, "a line")


def _json_rows(file: Path) -> Iterator[Row]:
    """A list of objects, read as a whole; or lines, as many files named .json have."""
    lines = text_lines(file)
    first = next((line for _, line in lines if line.strip()), "")
    if not first.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(first)
            yield from _jsonl_rows(file)
            return
        raise FactoryError(f"{file}: this is neither a list of objects nor one object per line: write one of them")
    found = read_json(text_of(file), str(file))
    for number, row in enumerate(found, 1):
        where = f"{file}, item {number}"
        yield where, _object(row, where, "an item")


def _object(row: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise FactoryError(f"{where}: {what} must be a JSON object whose keys are the columns")
    return row


def _csv_rows(file: Path, wanted: Collection[str]) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the module's own limit is 131,072 characters
    numbered = text_lines(file)
    number, first = next(((number, line) for number, line in numbered if line.strip()), (0, ""))
    given = _separator(first)
    if given:
        number, first = next(numbered, (number + 1, ""))
    delimiter = given or ("\t" if kind_of(file) == ".tsv" else _delimiter(first, wanted))
    lines = itertools.chain([first], (line for _, line in numbered))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        where = f"{file}, line {number + rows.line_num}"
        try:
            cells = next(rows, None)
        except csv.Error as error:
            fault = "a quotation mark is never closed" if "unexpected end" in str(error) else error
            raise FactoryError(f"{where}: this is not CSV ({fault}): fix or remove the line") from error
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if twice := next((name for name in header if name and header.count(name) > 1), None):
                raise FactoryError(f"{where}: the header names column {twice!r} twice: rename one")
            continue
        if len(cells) > len(header):
            raise FactoryError(
                f"{where}: this row has {len(cells)} cells, but the header names {len(header)}: quote cells that hold "
                f"{'a tab' if delimiter == chr(9) else repr(delimiter)}"
            )
        yield where, {name: cell or None for name, cell in itertools.zip_longest(header, cells, fillvalue="")}


def _separator(line: str) -> str | None:
    """The delimiter that Excel writes as a line of its own before the header: sep=;"""
    plain = line.strip("\r\n")
    return plain[4] if len(plain) == 5 and plain.startswith("sep=") else None


def _delimiter(header: str, wanted: Collection[str]) -> str:
    """The first delimiter with which the header names a wanted column, else the one with the most columns."""
    found = {}
    for delimiter in _DELIMITERS:
        try:
            found[delimiter] = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error:
            found[delimiter] = []
    known = [delimiter for delimiter, names in found.items() if set(names) & set(wanted)]
    return max(known or _DELIMITERS, key=lambda delimiter: len(found[delimiter]))


def _parquet_rows(file: Path) -> Iterator[Row]:
    number = 0
    with file.open("rb") as raw:
        if raw.read(4).startswith(PACKED_STARTS):
            raise FactoryError(f"{file} is packed with gzip or zstd, in which Parquet cannot be read: unpack it first")
    try:
        with pyarrow.parquet.ParquetFile(file, page_checksum_verification=True) as opened:
            for batch in opened.iter_batches(1_000):
                for row in _batch_rows(batch, file, number):
                    yield f"{file}, row {number}", row
                    number += 1
    except pa.ArrowException as error:
        what = f"is damaged after row {number}" if number else "is not Parquet, or damaged"
        raise FactoryError(f"{file} {what}: {' '.join(str(error).split())}") from error
    except OSError as error:
        if error.errno is not None:  # the system's own, such as a disk's
            raise
        raise FactoryError(f"{file} is damaged after row {number}: fetch it again") from error


def _batch_rows(batch: pa.RecordBatch, file: Path, first: int) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError as error:
        number = next((n for n in range(batch.num_rows) if not _is_text(batch.slice(n, 1))), 0)
        raise FactoryError(f"{file}, row {first + number}: a text is not UTF-8: write it as UTF-8") from error


def _is_text(row: pa.RecordBatch) -> bool:
    try:
        row.to_pylist()
    except UnicodeDecodeError:
        return False
    return True
