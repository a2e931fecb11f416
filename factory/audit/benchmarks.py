"""Evaluation sets that a training set is compared with: IFEval's and IFBench's prompts, and the user's own files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factory.audit.rows import Benchmark
from factory.prompts.evaluation_sets import KNOWN, cached_sets, evaluation_set
from factory.prompts.files import rows_of
from factory.prompts.questions import Columns, question_of
from schemas.errors import FactoryError

_TEXTS = ("prompt", "question", "instruction", "input", "text")


def benchmarks_of(names: Sequence[str] | None) -> tuple[Benchmark, ...]:
    """The evaluation sets of these names and files.

    Args:
        names: ifeval, ifbench, or a file with one item a row; None: of the known ones, those that are in the cache.
    Raises:
        FactoryError: a known one cannot be fetched, no such file, or a row without a prompt.
    """
    if names is None:
        names = cached_sets()
    return tuple(_of(name) for name in dict.fromkeys(names))


def _of(name: str) -> Benchmark:
    if name in KNOWN:
        return _read(name, evaluation_set(name))
    if not Path(name).is_file():
        raise FactoryError(
            f"there is no evaluation set {name!r}: give {' or '.join(KNOWN)}, or a file with a column prompt"
        )
    return _read(Path(name).name, Path(name))


def _read(name: str, file: Path) -> Benchmark:
    prompts: list[str] = []
    kinds: set[str] = set()
    for where, row in rows_of(file, _TEXTS):
        prompts.append(_prompt(row, where))
        listed = row.get("instruction_id_list")
        kinds |= {str(kind) for kind in listed} if isinstance(listed, list) else set()
    if not prompts:
        raise FactoryError(f"evaluation set {name} has no rows: give a file with a column prompt")
    with file.open("rb") as opened:
        version = hashlib.file_digest(opened, "sha256").hexdigest()
    return Benchmark(name, version, tuple(prompts), frozenset(kinds))


def _prompt(row: dict[str, Any], where: str) -> str:
    for name in _TEXTS:
        if isinstance(row.get(name), str) and row[name].strip():
            return str(row[name])
    return "\n\n".join(turn.content for turn in question_of(row, Columns(), where).messages)
