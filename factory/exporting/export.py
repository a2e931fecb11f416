"""Writes a training set as the files that a trainer reads, with its configuration and a page on what they hold."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from factory.exporting.files import write_rows, write_table
from factory.exporting.formats import FORMATS, format_named
from factory.exporting.gaps import VALUES, Gap
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import ANSWERS, SLICE, Row, rows_of
from factory.monitor.plain_text import counted
from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, read_training_set
from stores.whole import whole_folder

PAGE = "EXPORT.md"
"""the page in each folder; only a folder with it is replaced"""
Tell = Callable[[str], None]


@dataclass(slots=True)
class Form:
    """One form of a set as it was written."""

    layout: Layout
    written: Written
    rows: dict[str, int]
    """file name -> rows"""
    lost: Counter[Gap] = field(default_factory=Counter)
    """what was found that it does not hold -> rows"""
    beside: list[str] = field(default_factory=list)
    """names of the files beside those with rows"""


@dataclass(frozen=True, slots=True)
class Exported:
    training_set: TrainingSet
    format: Format
    folder: Path
    forms: list[Form]

    def sentences(self) -> list[str]:
        """What the files do not hold, with the number of rows it is about."""
        return [_sentence(self.format, form, gap, count) for form in self.forms for gap, count in form.lost.items()]


def export(lake: Lake, reference: str, to: str, folder: Path | None, tell: Tell = lambda words: None) -> Exported:
    """Writes a pinned training set for a trainer.

    Args:
        reference: the set, as spar_dpo@1.
        to: a name of FORMATS.
        folder: None: `exports/NAME-VERSION-FORMAT` in the lake's folder, else in this one.
        tell: is told how many rows are done.
    Raises:
        FactoryError: no such format or set, rows that do not match the set's fingerprint, a folder with other files, or no
            row that the format can hold.
    """
    format = format_named(to)
    built = read_training_set(lake, reference)
    if built.row.format not in format.layouts:
        holding = [name for name, other in FORMATS.items() if built.row.format in other.layouts]
        raise FactoryError(
            f"{built.row.name}@{built.row.version} holds prompts without answers, which the export to {to} has no form for: "
            f"these have one: {', '.join(holding)}"
        )
    name = _plain_name(f"{built.row.name}-{built.row.version}")
    folder = folder or (lake.place.folder or Path()) / "exports" / f"{name}-{to}"
    with whole_folder(folder, _ours(folder)) as made:
        forms = [_write(built, layout, name, made, tell) for layout in format.layouts[built.row.format]]
        if not forms[0].rows[forms[0].layout.files[0]]:
            why = "; ".join(
                _sentence(format, forms[0], gap, count) for gap, count in forms[0].lost.items() if gap.left_out
            )
            raise FactoryError(
                f"{built.row.name}@{built.row.version} cannot be exported to {to}: no row to train on is left ({why or 'it has none'}); "
                "jsonl and parquet hold every row"
            )
        exported = Exported(built.row, format, folder, forms)
        (made / PAGE).write_text(_page(exported), "utf-8")
    return exported


def _write(built: TrainingSetRows, layout: Layout, name: str, made: Path, tell: Tell) -> Form:
    tables = dict(zip(layout.files, (built.train, built.held_out), strict=True))
    form = Form(layout, Written(name, *layout.files), {})
    for split, (file, table) in zip(("train", "test"), tables.items(), strict=True):
        kept = _kept(table, layout, built.row.format, form, split, tell)
        if layout.row is None:
            form.rows[file] = sum(1 for _ in kept) if layout.gaps else table.num_rows
            if table.num_rows:
                write_table(table, made / file)
        else:
            form.rows[file] = 0
            write_rows(_counted(kept, form.rows, file), layout.schema, made / file)
            if not form.rows[file]:
                (made / file).unlink()
    train, test = layout.files
    form.written = Written(name, train, test if form.rows[test] else None)
    for file, text in layout.beside(form.written).items():
        (made / file).write_text(text, "utf-8")
        form.beside.append(file)
    return form


def _kept(table: pa.Table, layout: Layout, kind: str, form: Form, split: str, tell: Tell) -> Iterator[Row]:
    """The rows that the layout can hold, as it has them; counts what they lose."""
    if layout.row is not None:
        # Others may have the names of another format's answers, or hold what Python shows at length.
        named = {"prompt", *ANSWERS[kind], "value", "points", *(column for pair in VALUES for column in pair)}
        table = table.select([column for column in table.column_names if column in named])
    place = 0
    for number, row in enumerate(rows_of(table)):
        if number % SLICE == 0:
            tell(f"{number:,} of {table.num_rows:,} rows to {form.written.train}")
        found = [gap for gap in layout.gaps if gap.found(row)]
        if out := next((gap for gap in found if gap.left_out), None):
            form.lost[out] += 1
            continue
        form.lost.update(found)
        yield row if layout.row is None else layout.row(row, split, place)
        place += 1


def _counted(rows: Iterator[Row], counts: dict[str, int], file: str) -> Iterator[Row]:
    for row in rows:
        counts[file] += 1
        yield row


def _sentence(format: Format, form: Form, gap: Gap, count: int) -> str:
    of = f" ({form.layout.of})" if form.layout.of else ""
    done = " left out" if gap.left_out else ""
    return f"{format.title}{of}: {counted(count, 'row')} {gap.words}{done}: {gap.why}"


def _plain_name(name: str) -> str:
    """A name that trainers split at no character, and that means nothing to a shell or in YAML."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("-.") or "set"


def _ours(folder: Path) -> set[str]:
    """The names of files that may be replaced; none where no export lies: they would be somebody's own."""
    if not (folder / PAGE).is_file():
        return set()
    names = {PAGE}
    written = Written("set", "train", "test")
    for format in FORMATS.values():
        for layouts in format.layouts.values():
            for layout in layouts:
                names |= {*layout.files, *layout.beside(written)}
    return names


def _page(exported: Exported) -> str:
    row = exported.training_set
    name = _plain_name(row.name)
    lines = [
        f"# {name}@{row.version} for {exported.format.title}",
        "",
        f"Training set {name}@{row.version} ({row.format}), snapshot {row.snapshot}, fingerprint {row.fingerprint}.",
        f"Rows are in the set's order. Format: {exported.format.source}.",
    ]
    for form in exported.forms:
        files = ", ".join(f"{file} ({counted(count, 'row')})" for file, count in form.rows.items() if count)
        beside = "".join(f", {file}" for file in form.beside)
        of = f" ({form.layout.of})" if form.layout.of else ""
        lines += ["", f"Files{of}: {files}{beside}. In this folder:", "", f"    {form.layout.use(form.written)}"]
    lost = exported.sentences()
    lines += ["", "What the files do not hold:", "", *(f"- {said}" for said in lost)] if lost else []
    return "\n".join(lines) + "\n"
