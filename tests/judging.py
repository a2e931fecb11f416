"""What the tests of measured judges share: files of labelled pairs, scripted judges, and evaluations without a display."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from factory.inference.settings import ModelSettings
from factory.runs.loop import run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.tables import Evaluation
from stores.lake import Lake
from tests.scripted_endpoint import Request, ScriptedEndpoint

WORD = "Answer with one word: Yes or No."
LABEL = "Answer with the number alone: 1 or 2."


def asked(request: Request) -> str:
    return str(request.messages[-1]["content"])


def part(text: str, name: str) -> str:
    """What a template shows between `[name]` and `[End of name]`."""
    return text.split(f"[{name}]\n")[1].split(f"\n[End of {name[0].lower()}{name[1:]}]")[0]


def outputs(request: Request) -> tuple[str, str]:
    """The two outputs of a comparison, in the order shown."""
    return part(asked(request), "Response 1"), part(asked(request), "Response 2")


def model(endpoint: ScriptedEndpoint, name: str | None = None) -> ModelSettings:
    return ModelSettings(endpoint=(endpoint.url,), name=name)


def carrier(lake: Lake) -> Callable[[RunSpecification], str]:
    return lambda spec: run_on(lake, spec, Progress())


def values(rows: Sequence[Evaluation]) -> dict[str, float | None]:
    return {row.metric: row.value for row in rows}


def write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def labelled(index: int, label: int, better: str, worse: str) -> dict[str, Any]:
    """A labelled pair whose better output is the one that the label names."""
    sides = (better, worse) if label == 1 else (worse, better)
    return {"input": f"Question {index}?", "output_1": sides[0], "output_2": sides[1], "label": label}
