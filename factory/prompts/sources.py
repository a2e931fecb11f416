"""Reads prompts from the bundled set, the user's files, or a `datasets` id."""

import csv
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet

from factory.prompts.settings import PromptSettings
from factory.verifier.constraints import verify
from schemas.errors import FactoryError
from schemas.ids import canonical_json, prompt_id
from schemas.tables import Constraint, Message, Prompt

COLUMNS = ("prompt", "messages", "system", "language", "subject", "licence", "constraints", "reference")
"""The columns that an import can fill: `prompt` (one user turn) or `messages`, and optionally the others."""


def read_prompts(settings: PromptSettings, seed: int) -> Iterator[Prompt]:
    """Streams a source's prompts in order: only those in `settings.language`, at most `settings.limit`.

    Raises:
        FactoryError: a missing file, a broken line (with its number), an empty prompt, an unknown column.
    """
    unknown = set(settings.columns) - set(COLUMNS)
    if unknown:
        raise FactoryError(f"prompts.columns: unknown column {min(unknown)!r}: it takes {', '.join(COLUMNS)}")
    wanted = (p for p in _source(settings, seed) if settings.language in (None, p.language))
    yield from islice(wanted, settings.limit)


def _source(settings: PromptSettings, seed: int) -> Iterator[Prompt]:
    if settings.source == "bundled":
        from factory.prompts.bundled import bundled_prompts  # the checkers are slow to load

        yield from bundled_prompts(seed)
        return
    if settings.source.startswith("datasets:"):
        name = settings.source.removeprefix("datasets:")
        yield from _prompts(_dataset_rows(name, settings.split), f"datasets:{name}/{settings.split}", settings)
        return
    file = Path(settings.source)
    if not file.is_file():
        raise FactoryError(f"no prompt file {file}: give a .jsonl, .csv or .parquet file, or 'bundled'")
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    if file.suffix not in readers:
        raise FactoryError(f"prompt file {file}: give one that ends in {', '.join(readers)}")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    yield from _prompts(readers[file.suffix](file), f"{file.name}#sha256:{digest}", settings)


def _jsonl_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.rstrip().decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:
                # json's 'line 1' would be mistaken for the file's.
                reason = (
                    f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
                )
                raise FactoryError(f"{where}: this is not JSON ({reason}): fix or remove the line") from error
            if not isinstance(row, dict):
                raise FactoryError(f"{where}: a line must be a JSON object with a key 'prompt' or 'messages'")
            yield where, row


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        ended = 0  # a quoted value may span several lines
        while True:
            where = f"{file}, line {max(ended + 1, 2)}"
            try:
                row = next(rows, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise FactoryError(f"{where}: this is not CSV in UTF-8 ({error}): fix or remove the line") from error
            if row is None:
                return
            ended = rows.line_num
            yield where, {key: value or None for key, value in row.items()}


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        opened = pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise FactoryError(f"prompt file {file} is not Parquet: {error}") from error
    number = 0
    for batch in opened.iter_batches(1_000):
        for row in batch.to_pylist():
            yield f"{file}, row {number}", row
            number += 1


def _dataset_rows(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets  # slow to import, and rarely needed

    # Without a network it logs every attempt.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        dataset = datasets.load_dataset(name, split=split, streaming=True)
    except (ValueError, OSError) as error:
        raise FactoryError(
            f"dataset {name!r} (split {split!r}) cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    for number, row in enumerate(dataset):
        yield f"dataset {name}, row {number}", dict(row)


def _prompts(rows: Iterable[tuple[str, dict[str, Any]]], source: str, settings: PromptSettings) -> Iterator[Prompt]:
    for number, (where, row) in enumerate(rows):
        values = {ours: row.get(settings.columns.get(ours, ours)) for ours in COLUMNS}
        if number == 0:
            _check_columns(settings.columns, row, where)
        for name in ("system", "language", "subject", "licence", "reference"):
            if not isinstance(values[name], str | None):
                raise FactoryError(f"{where}: {name} must be text, got {values[name]!r}")
        messages = _messages(values, where)
        constraints = _constraints(values["constraints"], where)
        reference = values["reference"]
        yield Prompt(
            prompt_id=prompt_id(messages, constraints, reference, None),
            messages=messages,
            language=values["language"],
            subject=values["subject"],
            source=source,
            licence=values["licence"],
            constraints=constraints,
            reference=reference,
            evolved_from=None,
        )


def _check_columns(named: dict[str, str], row: dict[str, Any], where: str) -> None:
    """Checks in the first row that the named columns and the prompt column exist."""
    there = ", ".join(map(str, row))
    for ours, theirs in named.items():
        if theirs not in row:
            raise FactoryError(f"{where}: there is no column {theirs!r} (prompts.columns.{ours}): use one of {there}")
    if not {"prompt", "messages"} & {*named, *row}:
        raise FactoryError(
            f"{where}: there is no column 'prompt' or 'messages', only {there}: name the right one, as in "
            "-o prompts.columns.prompt=question"
        )


def _messages(values: dict[str, Any], where: str) -> list[Message]:
    given = values["messages"]
    if given is None:
        text = values["prompt"] or ""
        if not isinstance(text, str):
            raise FactoryError(f"{where}: the prompt must be text, got {text!r}")
        given = [{"role": "user", "content": text}]
        if values["system"]:
            given.insert(0, {"role": "system", "content": values["system"]})
    try:
        turns = json.loads(given) if isinstance(given, str) else given
        messages = [Message(turn["role"], turn["content"]) for turn in turns]
        "".join(part for m in messages for part in (m.role, m.content)).encode()
    except (TypeError, KeyError, ValueError) as error:
        raise FactoryError(
            f"{where}: messages must be a list of objects with 'role' and 'content', both text"
        ) from error
    if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
        raise FactoryError(f"{where}: the prompt is empty: its last turn must be the user's, with text")
    return messages


def _constraints(given: Any, where: str) -> list[Constraint]:
    if given is None:
        return []
    try:
        members = json.loads(given) if isinstance(given, str) else given
        constraints = []
        for member in members:
            kwargs = member.get("kwargs") or {}
            plain = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
            constraints.append(Constraint(member["id"], canonical_json(plain)))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise FactoryError(f"{where}: constraints must be a list of objects with 'id' and 'kwargs'") from error
    if constraints:
        try:
            verify(constraints, "a text to try the checkers on")
        except FactoryError as error:
            raise FactoryError(f"{where}: {error}") from error
    return constraints
