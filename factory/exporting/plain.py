"""All columns of a set, for whatever reads JSON lines, CSV or Parquet."""

from factory.exporting.gaps import Gap
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import Row


def _empty_text(row: Row) -> bool:
    return any(value == "" for value in row.values())


def _formula(row: Row) -> bool:
    return any(isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())


_CSV = (
    Gap("with an empty text", "it is read as NULL", _empty_text),
    Gap("with a cell that begins as a formula does", "a spreadsheet would compute it", _formula),
)


def _load(kind: str) -> Layout:
    def use(written: Written) -> str:
        files = {"train": written.train} | ({"test": written.test} if written.test else {})
        return f'datasets.load_dataset("{"json" if kind == "jsonl" else kind}", data_files={files})'

    return Layout(None, kind, use, _CSV if kind == "csv" else ())


def _format(kind: str, title: str, source: str) -> Format:
    layouts = (_load(kind),)
    return Format(title, source, dict.fromkeys(("preference", "prompt_completion", "prompt"), layouts))


JSONL = _format("jsonl", "JSON lines", "a JSON object a line, with all columns of the set")
CSV = _format("csv", "CSV", "all columns of the set; conversations, which CSV has not, are JSON in their cell")
PARQUET = _format("parquet", "Parquet", "all columns of the set, as `factory build` writes them")
