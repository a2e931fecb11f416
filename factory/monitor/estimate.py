"""Estimates what a run would take by running a sample of its prompts.

The sample's answers go into the lake's journal, so that the run does not pay for them again; its rows do not go into
the lake.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

from factory.documents.importing import copy_documents
from factory.inference.budget import cost_of
from factory.inference.journal import journal_file
from factory.monitor.plain_text import NOT_TOLD, clock
from factory.prompts.sources import read_prompts
from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from stores.attach import place
from stores.lake import Lake
from stores.sql import sql

SAMPLE = 20
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum over all prompts, estimated from the sample."""

    mean: float
    error: float
    """half the width of the 95% interval"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take."""

    prompts: int
    sampled: int
    requests: Amount
    prompt_tokens: Amount | None
    """as the next: None if the endpoint did not tell it"""
    completion_tokens: Amount | None
    cost: Amount | None
    """in the currency of the recipe's prices; None if a model has no price, or the tokens are not told"""
    busy_s: Amount
    """seconds of all requests, one after another"""
    concurrency: int
    """the recipe's limit of requests in flight"""
    pairs: Amount


def estimate(spec: RunSpecification, where: str, progress: Progress, sample: int = SAMPLE) -> Estimate:
    """Runs a sample of the prompts, chosen by hash, and scales it up.

    The interval is that of the mean over the sampled prompts (normal, 95%), and assumes that the others are alike.

    Raises:
        FactoryError: see `run_recipe`.
    """
    recipe = spec.recipe
    prompts = len({prompt.prompt_id for prompt in read_prompts(recipe.prompts, spec.seed)})  # equal ones are taken once
    # Its journal must lie beside a catalog: a folder with a journal alone is a lake that has lost one.
    Lake.open(where, create=True).close()
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(journal_at=journal_file(place(where)))
        if any(entry.settings.reads_documents() for entry in recipe.stages):
            with Lake.open(where) as lake, Lake.open(Path(folder) / "lake", create=True) as new:
                copy_documents(lake, new)
        run_id = run_recipe(replace(spec, sample=sample), str(Path(folder) / "lake"), progress, execution)
        with Lake.open(Path(folder) / "lake") as lake:
            rows = lake.query(sql("report/by_prompt"), {"run_id": run_id}).to_pylist()
    by_prompt: dict[str, dict[str, float]] = {}
    priced = told = True
    for row in rows:
        sums = by_prompt.setdefault(row["prompt_id"], defaultdict(float))
        sums["pairs"] = row["pairs"]
        if row["role"] is None:
            continue  # no model was asked
        told = told and not row["untold"]
        cost = cost_of(recipe.models, row["role"], row["prompt_tokens"], row["completion_tokens"])
        priced = priced and cost is not None
        sums["requests"] += row["calls"]
        sums["cost"] += cost or 0.0
        for name in ("prompt_tokens", "completion_tokens", "latency_s"):
            sums[name] += row[name]

    def of(name: str) -> Amount:
        return _amount([sums[name] for sums in by_prompt.values()], prompts)

    # Roles with the same settings share one connection.
    asked = {recipe.models[role]: None for role in recipe.roles()}
    return Estimate(
        prompts,
        len(by_prompt),
        of("requests"),
        of("prompt_tokens") if told else None,
        of("completion_tokens") if told else None,
        of("cost") if priced and told else None,
        of("latency_s"),
        sum(model.concurrency * max(1, len(model.endpoint)) for model in asked),
        of("pairs"),
    )


def _amount(of_each: Sequence[float], prompts: int) -> Amount:
    if len(of_each) == prompts or len(of_each) < 2:
        return Amount(fmean(of_each) * prompts, 0.0)
    return Amount(fmean(of_each) * prompts, NORMAL_95 * stdev(of_each) / math.sqrt(len(of_each)) * prompts)


def print_estimate(estimated: Estimate, console: Console) -> None:
    """Prints what a run would take."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"{estimated.prompts:,} prompts")
    table.add_column("estimate", justify="right")
    table.add_column("± (95%)", justify="right")
    for what, amount, digits in (
        ("requests", estimated.requests, 0),
        ("prompt tokens", estimated.prompt_tokens, 0),
        ("generated tokens", estimated.completion_tokens, 0),
        ("cost, at the recipe's prices", estimated.cost, 2),
        ("pairs", estimated.pairs, 0),
    ):
        if amount is None:
            told = estimated.completion_tokens is not None
            table.add_row(what, "no price in the recipe" if told else NOT_TOLD, "")
        else:
            table.add_row(what, f"{amount.mean:,.{digits}f}", f"{amount.error:,.{digits}f}")
    for in_flight in (16, 64, 256, 1024):
        if in_flight <= estimated.concurrency:
            seconds, error = estimated.busy_s.mean / in_flight, estimated.busy_s.error / in_flight
            table.add_row(f"time, with {in_flight} requests in flight", clock(seconds), clock(error))
    console.print(table)
    console.print(
        f"From {estimated.sampled} prompts, chosen by hash and actually run: their answers are in the journal and will "
        "not be paid for again. Latencies were measured with few requests; a full endpoint answers more slowly.",
        style="dim",
        highlight=False,
    )
