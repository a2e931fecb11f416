"""Benchmarks whose answers a program checks: where their prompts come from.

Those of IFEval and IFBench are fetched (`factory/prompts/evaluation_sets.py`). Never train or tune on them: `bundled` is for
that.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from factory.inference.weights import cache_dir
from factory.prompts.evaluation_sets import KNOWN, evaluation_set
from factory.prompts.packing import content_of
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import read_prompts
from factory.verifier.checkers import has_tagger
from factory.verifier.ifbench import NEEDS_TAGGER
from schemas.errors import FactoryError
from schemas.tables import Prompt
from stores.whole import whole_file

DEVELOPMENT = "bundled:development"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set of prompts with constraints."""

    name: str
    """in the rows: ifeval, ifbench, bundled, or the last name of a file or a data set's id"""
    source: PromptSettings
    prompts: tuple[Prompt, ...]
    notes: tuple[str, ...] = ()


def load_benchmark(given: str, settings: PromptSettings | None = None) -> Benchmark:
    """A benchmark with its prompts.

    Args:
        given: ifeval, ifbench, bundled, a file in IFEval's format, or datasets:ID.
        settings: how to read it, and how many; the source in it is not used.
    Raises:
        FactoryError: there is no such benchmark, it cannot be fetched or read, or a prompt has no constraints.
    """
    notes = []
    name, source = given, given
    if given in KNOWN:
        file = evaluation_set(given)
        if given == "ifbench" and not has_tagger():
            file, left_out = _without(NEEDS_TAGGER, file)
            notes.append(
                f"{left_out} prompts are left out, as NLTK's tagger is not on this machine to check {NEEDS_TAGGER} "
                "(docs/evaluation.md says how to get it): the figures are of the others"
            )
        source = str(file)
    elif given == "bundled":
        source = DEVELOPMENT
    elif given.startswith("datasets:"):
        name = given.removeprefix("datasets:")
    elif content_of(given) is None:
        raise FactoryError(
            f"there is no benchmark {given!r}: give ifeval, ifbench, bundled, a file in IFEval's format or datasets:ID"
        )
    else:
        name = Path(given).resolve().name
    reading = msgspec.structs.replace(settings or PromptSettings(), source=source)
    # A prompt that stands twice in a file is one prompt.
    prompts = {prompt.prompt_id: prompt for prompt in read_prompts(reading, 0)}
    for number, prompt in enumerate(prompts.values(), 1):
        if not prompt.constraints:
            raise FactoryError(
                f"{given}: prompt {number} has no constraints, so no program can check its answer: give it an "
                "instruction_id_list, or remove it"
            )
    if not prompts:
        raise FactoryError(f"{given} has no prompts: give a file with at least one")
    return Benchmark(name, reading, tuple(prompts.values()), tuple(notes))


def _without(kind: str, file: Path) -> tuple[Path, int]:
    """A copy of a file of prompts without those that ask for a kind of constraint, and how many those are."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if f'"{kind}"' not in line]
    copy = cache_dir() / f"{file.stem}_without_{kind.partition(':')[2]}.jsonl"
    text = "".join(kept)
    if not copy.exists() or copy.read_text("utf-8") != text:
        with whole_file(copy) as part:
            part.write_text(text, "utf-8")
    return copy, len(lines) - len(kept)
