"""Reads prompts from the bundled set, the user's files, or a `datasets` id."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from factory.prompts.constraints import constraints_of
from factory.prompts.files import Row, rows_of
from factory.prompts.packing import content_of, files_of
from factory.prompts.questions import Columns, check_columns, columns_of, question_of
from factory.prompts.settings import PromptSettings
from factory.prompts.turns import shown, whole_text
from schemas.errors import FactoryError
from schemas.ids import prompt_id
from schemas.tables import Message, Prompt

TEXTS = ("language", "subject", "licence", "reference")


def read_prompts(settings: PromptSettings, seed: int) -> Iterator[Prompt]:
    """Streams a source's prompts in order: only those in `settings.language`, `settings.limit` after `settings.skip`.

    Raises:
        FactoryError: a missing file, a broken line (with its number), an empty prompt, an unknown column.
    """
    columns = columns_of(settings)
    wanted = (p for p in _source(settings, columns, seed) if settings.language in (None, p.language))
    end = None if settings.limit is None else settings.skip + settings.limit
    yield from islice(wanted, settings.skip, end)


def source_name(source: str | Path) -> str:
    """A file or folder as rows name it: without its path, by its content."""
    found = Path(source)
    name = found.resolve().name.encode("utf-8", "replace").decode()  # a name need not be UTF-8, but rows are
    return f"{name}{'/' if found.is_dir() else ''}#sha256:{content_of(found)}"


def prompt_of(
    row: Mapping[str, Any], messages: list[Message], reference: str | None, columns: Columns, source: str, where: str
) -> Prompt:
    """A row's prompt with its other columns.

    Args:
        reference: the answer that closes the row's dialogue, if it is to be the reference.
    Raises:
        FactoryError: a column that is not text, or constraints that cannot be checked.
    """
    texts = {name: _text(columns.value(row, name), where, name) for name in TEXTS}
    own = texts["reference"]
    if reference and own and own != reference and "reference" not in columns.named:
        raise FactoryError(
            f"{where}: both the column reference and the assistant's last turn give an answer: say which with "
            "-o prompts.columns.reference=reference, or remove one"
        )
    reference = own or reference
    constraints = constraints_of(row, columns, where)
    return Prompt(
        prompt_id=prompt_id(messages, constraints, reference, None),
        messages=messages,
        language=texts["language"],
        subject=texts["subject"],
        source=source,
        licence=texts["licence"],
        constraints=constraints,
        reference=reference,
        evolved_from=None,
    )


def _source(settings: PromptSettings, columns: Columns, seed: int) -> Iterator[Prompt]:
    if settings.source == "bundled":
        from factory.prompts.bundled import bundled_prompts  # the checkers are slow to load

        yield from bundled_prompts(seed)
        return
    if settings.source == "bundled:development":
        from factory.prompts.bundled import development_prompts

        yield from development_prompts()
        return
    if settings.source.startswith("datasets:"):
        name = settings.source.removeprefix("datasets:")
        yield from _prompts(_dataset_rows(name, settings.split), f"datasets:{name}/{settings.split}", columns)
        return
    files = files_of(settings.source)
    source = source_name(settings.source)
    for file in files:
        yield from _prompts(rows_of(file, columns.wanted()), source, columns)


def _dataset_rows(name: str, split: str) -> Iterator[Row]:
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


def _prompts(rows: Iterable[Row], source: str, columns: Columns) -> Iterator[Prompt]:
    for number, (where, row) in enumerate(rows):
        if number == 0:
            check_columns(columns, row, where)
        question = question_of(row, columns, where)
        yield prompt_of(row, question.messages, question.answer, columns, source, where)


def _text(value: Any, where: str, name: str) -> str | None:
    if not isinstance(value, str | None):
        raise FactoryError(f"{where}: {name} must be text, got {shown(value)}")
    return value if value is None else whole_text(value, where, name)
