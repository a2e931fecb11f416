"""Files of labelled pairs: two outputs to an input, and which is better, as LLMBar has them (arXiv:2310.07641)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.importing.importer import Options, Tell, import_files
from factory.importing.rows import imported_response_id
from factory.importing.shapes import sample_of
from factory.prompts.files import rows_of
from factory.prompts.packing import content_of, files_of
from factory.prompts.questions import Columns
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import prompt_of, source_name
from factory.prompts.turns import shown
from schemas.errors import FactoryError
from stores.likeness import words

INPUT, OUTPUTS, LABEL = "input", ("output_1", "output_2"), "label"
_COLUMNS = {"prompt": INPUT}


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two outputs, and which is better."""

    prompt_id: str
    texts: tuple[str, str]
    label: int
    """1 or 2"""
    where: str
    output_ids: tuple[str, str] = ("", "")
    """their responses, once the file is imported"""

    @property
    def words(self) -> tuple[int, int]:
        return len(words(self.texts[0])), len(words(self.texts[1]))


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file of labelled pairs, equal ones once."""

    path: Path
    pairs: tuple[LabelledPair, ...]
    run_id: str = ""
    """of its import"""

    @property
    def name(self) -> str:
        return source_name(self.path).partition("#")[0]

    @property
    def sha256(self) -> str:
        return str(content_of(self.path))


def read_labelled(path: Path) -> LabelledFile:
    """Reads and checks a whole file, before any model is asked.

    Raises:
        FactoryError: a line without an input, without one of the outputs or with equal ones, a label that is neither 1 nor 2
            (a tie), or two lines that contradict each other.
    """
    if not path.is_file():
        raise FactoryError(
            f"there is no labelled file {path}: give one with input, output_1, output_2 and label in each line"
        )
    source, columns = source_name(path), Columns(_COLUMNS)
    found: dict[tuple[str, ...], LabelledPair] = {}
    for file in files_of(path):
        for where, row in rows_of(file, {INPUT, *OUTPUTS, LABEL}):
            texts, label = _checked(row, where)
            prompt = prompt_of(row, sample_of(row, columns, where).messages, None, columns, source, where)
            pair = LabelledPair(prompt.prompt_id, texts, label, where)
            same = found.setdefault((prompt.prompt_id, *sorted(texts)), pair)
            if same.texts[same.label - 1] != texts[label - 1]:
                raise FactoryError(
                    f"{where}: this prefers the other output than {_place(same.where)} does, of the same two: remove one of them"
                )
    if not found:
        raise FactoryError(f"{path} has no rows: give a file with at least one labelled pair")
    return LabelledFile(path, tuple(found.values()))


def imported(labelled: LabelledFile, where: str, tell: Tell) -> LabelledFile:
    """The file with its outputs as responses in the lake at `where`, which no training set takes."""
    settings = PromptSettings(source=str(labelled.path), columns=_COLUMNS)
    [done] = import_files(where, [settings], Options(purpose="evaluation"), tell)
    pairs = [
        LabelledPair(
            one.prompt_id,
            one.texts,
            one.label,
            one.where,
            (
                imported_response_id(done.run_id, one.prompt_id, None, one.texts[0]),
                imported_response_id(done.run_id, one.prompt_id, None, one.texts[1]),
            ),
        )
        for one in labelled.pairs
    ]
    return LabelledFile(labelled.path, tuple(pairs), done.run_id)


def _checked(row: Mapping[str, Any], where: str) -> tuple[tuple[str, str], int]:
    for name in (INPUT, *OUTPUTS):
        given = row.get(name)
        if given is None or (isinstance(given, str) and not given.strip()):
            raise FactoryError(f"{where}: {name} is missing: a labelled pair has input, output_1, output_2 and label")
    for name in OUTPUTS:
        if not isinstance(row[name], str):
            raise FactoryError(f"{where}: {name} must be text, got {shown(row[name])}")
    if row[OUTPUTS[0]].strip() == row[OUTPUTS[1]].strip():
        raise FactoryError(f"{where}: both outputs are the same, so neither is better: remove the line")
    label = row.get(LABEL)
    if isinstance(label, bool) or label not in (1, 2, "1", "2"):
        raise FactoryError(
            f"{where}: label must be 1 or 2, the better output, got {shown(label)}: a tie measures no judge, remove the line"
        )
    return (row[OUTPUTS[0]], row[OUTPUTS[1]]), int(label)


def _place(where: str) -> str:
    """'line 3' of 'FILE, line 3'."""
    return where.rpartition(", ")[2]
