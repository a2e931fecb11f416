"""Measures a model on a benchmark: an ordinary run of purpose evaluation, and its figures as rows of `evaluations`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from factory.evaluation.benchmarks import Benchmark, load_benchmark
from factory.evaluation.recording import record
from factory.inference.connect import served_models
from factory.inference.settings import ModelSettings
from factory.inference.weights import MODELS
from factory.recipes.reading import load_recipe
from factory.recipes.recipe import Recipe
from factory.runs.loop import Execution, run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import sha256_text, weights_sha256
from schemas.tables import Evaluation
from stores.lake import Lake
from stores.sql import sql

RECIPE = "evaluate"
ROLE = "actor"
"""the recipe's one model, whatever role it has elsewhere"""
_HERE = Execution()


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is measured, besides the benchmark."""

    overrides: Mapping[str, Any] | None = None
    """keys of the recipe, such as stages.sample.max_tokens"""
    seen_in: Sequence[str] = ()
    """runs whose prompts' kinds of constraints count as seen: the figures are also given of seen and of unseen kinds"""
    allow_overlap: bool = False
    """measure on prompts that the lake's data were made from, too"""


def run_benchmark(
    lake: Lake,
    benchmark: str,
    model: ModelSettings,
    role: str,
    seed: int,
    progress: Progress,
    limit: int | None = None,
    *,
    options: Options = Options(),
    execution: Execution = _HERE,
) -> list[Evaluation]:
    """Measures a model on a benchmark, or goes on with it, and returns its figures, which are then in the lake.

    Args:
        benchmark: ifeval, ifbench, bundled, a file in IFEval's format, or datasets:ID.
        role: the model's, for the rows.
        limit: only the first so many prompts.
    Raises:
        FactoryError: the benchmark cannot be read or overlaps the lake's data, or a prompt has no answer.
        BudgetReached, KeyboardInterrupt: see `run_on`.
    """
    recipe = _recipe(model, options.overrides)
    reading = msgspec.structs.replace(recipe.prompts, limit=limit or recipe.prompts.limit)
    found = load_benchmark(benchmark, reading)
    progress.notes += found.notes
    if (overlap := overlap_with_data(lake, found)) is not None:
        if not options.allow_overlap and found.name != "bundled":
            raise FactoryError(f"{overlap}: measure on others, or give --allow-overlap")
        progress.notes.append(overlap)
    recipe = msgspec.structs.replace(recipe, prompts=found.source)
    run_id = run_on(lake, RunSpecification(recipe, seed), progress, execution)
    return record(lake, run_id, found.name, role, options.seen_in)


def overlap_with_data(lake: Lake, benchmark: Benchmark) -> str | None:
    """Which of the benchmark's prompts the lake's data were made from, as a sentence; None: none.

    A prompt is one of them if its last turn has the same text.
    """
    texts = ",".join(sorted({sha256_text(prompt.messages[-1].content) for prompt in benchmark.prompts}))
    found = lake.query(sql("evaluation/overlap"), {"texts": texts}).to_pylist()
    if not found:
        return None
    more = f" and {len(found) - 1} other runs" if len(found) > 1 else ""
    return (
        f"{found[0]['prompts']} of the {len(benchmark.prompts)} prompts of {benchmark.name} are prompts of run "
        f"{found[0]['run_id']}{more}, which made data: a model trained on it has seen them"
    )


def identified(role: str, settings: ModelSettings) -> ModelSettings:
    """The settings with what tells this model from others, so that two models never share a run.

    A model at a base URL gets its name there, a file of weights on this disk its SHA-256.

    Raises:
        FactoryError: the endpoint does not answer, or serves several models.
    """
    if settings.vllm is not None or settings.revision is not None or settings.reward_folder is not None:
        return settings
    embedded = settings.embedded
    if embedded is None:
        if settings.name is not None:
            return settings
        served, _ = asyncio.run(served_models(role, settings))
        # Of none or several, the run says in its own words which is wanted.
        return msgspec.structs.replace(settings, name=next(iter(served))) if len(served) == 1 else settings
    file = Path(embedded).expanduser()
    if embedded in MODELS or not file.is_file():  # a known model is pinned, a folder's weights are hashed in any case
        return settings
    return msgspec.structs.replace(settings, revision=weights_sha256([file]))


def _recipe(model: ModelSettings, overrides: Mapping[str, Any] | None) -> Recipe:
    settings = msgspec.to_builtins(identified(ROLE, model))
    return load_recipe(RECIPE, {f"models.{ROLE}": settings, **(overrides or {})})
