"""Imports corpora: each row of a file, or each text or Markdown file, becomes a document. One commit, or none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from factory.prompts.files import Row, rows_of
from factory.prompts.packing import KINDS, PACKED, kind_of, text_of
from factory.prompts.turns import is_empty, shown, whole_text
from schemas.columns import arrow_schema, to_arrow
from schemas.errors import FactoryError, nearest
from schemas.ids import content_id, sha256_text
from schemas.tables import Document
from stores.attach import place
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.locks import run_lock

COLUMNS = ("text", "title")
TEXT_KINDS = (".txt", ".md", ".markdown")
"""files of these names are one document each"""
Tell = Callable[[str, int], None]
"""Is told what is being done, and to how many rows so far."""
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class ImportedCorpus:
    """What an import found in one source."""

    source: str
    documents: int
    """distinct ones with a text"""
    added: int
    """of them, those that the lake did not have"""
    empty: int
    """rows or files without a text, which are left out"""


@dataclass(slots=True)
class _Corpus:
    source: str
    parts: list[pa.Table] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    empty: int = 0


def import_documents(
    where: str,
    sources: Sequence[str],
    named: str | None,
    licence: str | None,
    columns: Mapping[str, str],
    tell: Tell,
) -> list[ImportedCorpus]:
    """Imports files or folders as documents into the lake at `where`, made if it is not there.

    Args:
        named: the corpus's name; None: that of each file or folder, without its ending.
        licence: SPDX identifier of all of them.
        columns: what the files call our columns, `text` and `title`.
    Raises:
        FactoryError: a row that cannot be kept, with its place, or a document that is there with another licence; nothing
            is imported then.
    """
    if unknown := set(columns) - set(COLUMNS):
        raise FactoryError(f"-c: unknown column {min(unknown)!r}: {nearest(min(unknown), COLUMNS)}")
    corpora: dict[str, _Corpus] = {}
    read = 0
    for given in sources:
        name = whole_text(named or _name_of(Path(given)), given, "source")
        corpus = corpora.setdefault(name, _Corpus(name))
        waiting: list[Document] = []
        for place_in_file, row in _rows(given, columns):
            document = _document(row, columns, name, licence, place_in_file)
            read += 1
            if read % 500 == 0:
                tell("documents read", read)
            if document is None:
                corpus.empty += 1
            elif document.document_id not in corpus.ids:
                corpus.ids.add(document.document_id)
                waiting.append(document)
            if len(waiting) >= _AT_ONCE:
                corpus.parts.append(to_arrow(Document, waiting))
                waiting = []
        corpus.parts.append(to_arrow(Document, waiting))
    if not any(corpus.ids for corpus in corpora.values()):
        raise FactoryError(
            f"{', '.join(sources)}: there is no document with a text in it: give a file with at least one"
        )
    return _commit(where, list(corpora.values()), licence, tell)


def _commit(where: str, corpora: Sequence[_Corpus], licence: str | None, tell: Tell) -> list[ImportedCorpus]:
    rows = pa.concat_tables([part for corpus in corpora for part in corpus.parts])
    assert rows.schema == arrow_schema(Document)
    tell("documents being committed", rows.num_rows)
    with Lake.open(where, create=True) as lake, run_lock(lake.place):
        lake.connection.register("given_documents", rows)
        there = lake.query(
            "SELECT d.source, d.title, d.licence, d.document_id FROM documents AS d "
            "JOIN given_documents USING (document_id) ORDER BY document_id"
        )
        lake.connection.unregister("given_documents")
        for known in there.to_pylist() if licence is not None else ():
            if known["licence"] != licence:
                raise FactoryError(
                    f"document {known['title'] or known['document_id']} of {known['source']} was imported with the "
                    f"licence {known['licence'] or 'unknown'}, and rows are never changed: leave out --licence, or give "
                    "the corpus another name with --source"
                )
        before = set(there.column("document_id").to_pylist())
        if rows.num_rows > len(before):
            names = ", ".join(corpus.source for corpus in corpora)
            lake.append_arrow({"documents": rows}, message=f"documents of {names}", details={"sources": names})
            keep_checksums(lake)
    return [
        ImportedCorpus(corpus.source, len(corpus.ids), len(corpus.ids - before), corpus.empty) for corpus in corpora
    ]


def list_sources(where: str) -> pa.Table:
    """source, licence, documents, words, by source, of the lake at `where`."""
    with Lake.open(where, create=place(where).folder is None) as lake:
        return lake.query(
            "SELECT source, licence, count(*) AS documents, sum(len(regexp_split_to_array(trim(text), '\\s+')))::BIGINT AS words "
            "FROM documents GROUP BY ALL ORDER BY source, licence"
        )


def copy_documents(lake: Lake, new: Lake) -> None:
    """Copies all documents of a lake into another."""
    rows = lake.query("SELECT * FROM documents")
    if rows.num_rows:
        new.append_arrow({"documents": rows.cast(arrow_schema(Document))}, message="documents")


def _name_of(found: Path) -> str:
    name = found.resolve().name.encode("utf-8", "replace").decode()
    if found.is_dir():
        return name
    for ending in PACKED:
        name = name.removesuffix(ending)
    return Path(name).stem


def _rows(given: str, columns: Mapping[str, str]) -> Iterator[Row]:
    for file in _files(Path(given)):
        if file.suffix.lower() in TEXT_KINDS:
            yield str(file), _text_file(file, columns)
        else:
            yield from rows_of(file, [columns.get(name, name) for name in COLUMNS])


def _files(found: Path) -> list[Path]:
    """A file, or a folder's files at any depth, by name."""
    endings = ", ".join((*KINDS, *TEXT_KINDS))
    if found.is_dir():
        inside = (
            file for file in found.rglob("*") if not any(part[0] == "." for part in file.relative_to(found).parts)
        )
        files = sorted(file for file in inside if file.is_file() and _is_read(file))
        if not files:
            raise FactoryError(f"folder {found} has no file that ends in {endings}: give another")
        for file in files:
            # A table needs our columns; a text can be any file of this machine, and models are shown it.
            if file.suffix.lower() in TEXT_KINDS and not file.resolve().is_relative_to(found.resolve()):
                raise FactoryError(
                    f"{file} is a link to a file outside the folder: give that file itself if it is to be imported, and "
                    "remove the link"
                )
        return files
    if not found.is_file():
        raise FactoryError(f"no file {found}: give a file that ends in {endings}, or a folder of them")
    if not _is_read(found):
        raise FactoryError(f"file {found}: give one that ends in {endings}")
    return [found]


def _is_read(file: Path) -> bool:
    return file.suffix.lower() in TEXT_KINDS or bool(kind_of(file))


def _text_file(file: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    """A text file as a row; its title is a Markdown heading that opens it, else the file's name."""
    text = text_of(file).strip()
    first = text.partition("\n")[0]
    title = first.lstrip("#").strip() if first.startswith("# ") else file.stem.encode("utf-8", "replace").decode()
    return {columns.get("text", "text"): text, columns.get("title", "title"): title}


def _document(
    row: Mapping[str, Any], columns: Mapping[str, str], source: str, licence: str | None, where: str
) -> Document | None:
    """None if the row has no text."""
    column = columns.get("text", "text")
    if column not in row:
        raise FactoryError(
            f"{where}: there is no column {column!r}, only {', '.join(map(str, row))}: name the right one, as in -c text=body"
        )
    if "title" in columns and columns["title"] not in row:
        raise FactoryError(f"{where}: there is no column {columns['title']!r}, only {', '.join(map(str, row))}")
    text = _text(row[column], where, column)
    title = _text(row.get(columns.get("title", "title")), where, columns.get("title", "title"))
    if text is None:
        return None
    return Document(
        document_id=content_id("document", source, title, text),
        source=source,
        title=title,
        text=text,
        sha256=sha256_text(text),
        licence=licence,
    )


def _text(value: Any, where: str, name: str) -> str | None:
    if is_empty(value):
        return None
    if not isinstance(value, str):
        raise FactoryError(f"{where}: {name} must be text, got {shown(value)}")
    return whole_text(value, where, name).strip() or None
