"""What a run would take, from a sample of its prompts that is run for real.

The sample's answers go into the lake's journal, so that the run itself does not pay for them again; its rows do not
go into the lake.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

from factory.inference.budget import cost_of
from factory.inference.journal import journal_file
from factory.monitor.plain_text import clock
from factory.prompts.sources import read_prompts
from factory.recipes.recipe import JudgeSettings, Recipe
from factory.runs.loop import run_order
from factory.runs.progress import Progress
from factory.runs.specification import Order
from stores.attach import place
from stores.lake import Lake
from stores.sql import sql

SAMPLE = 20
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum over all prompts, as the sample tells it."""

    mean: float
    error: float
    """half the width of the 95% interval"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take."""

    prompts: int
    sampled: int
    requests: Amount
    prompt_tokens: Amount
    completion_tokens: Amount
    cost: Amount | None
    """in the currency of the recipe's prices; None where a model has no price"""
    busy_s: Amount
    """seconds that requests are under way, as if one after the other"""
    concurrency: int
    """requests in flight at most, by the recipe"""
    pairs: Amount


def estimate(order: Order, where: str, progress: Progress, sample: int = SAMPLE) -> Estimate:
    """Runs a sample of an order's prompts, chosen by hash, and multiplies.

    The interval speaks of prompts that are alike: it is that of a mean over the sampled prompts (normal, 95%).

    Raises:
        FactoryError: as `run_order`.
    """
    prompts = sum(1 for _ in read_prompts(order.recipe.prompts, order.seed))
    with tempfile.TemporaryDirectory() as folder:
        journal = journal_file(place(where))
        run_id = run_order(replace(order, sample=sample), str(Path(folder) / "lake"), progress, journal_at=journal)
        with Lake.open(Path(folder) / "lake") as lake:
            rows = lake.query(sql("report/by_prompt"), {"run_id": run_id}).to_pylist()
    roles = {stage: _role(order.recipe, stage) for stage in order.recipe.stages}
    by_prompt: dict[str, dict[str, float]] = {}
    priced = True
    for row in rows:
        sums = by_prompt.setdefault(
            row["prompt_id"], dict.fromkeys(("requests", "prompt", "completion", "cost", "s", "pairs"), 0)
        )
        sums["pairs"] = row["pairs"]
        if row["stage"] is None:
            continue
        cost = cost_of(order.recipe.models, roles[row["stage"]], row["prompt_tokens"], row["completion_tokens"])
        priced = priced and cost is not None
        for name, value in (
            ("requests", row["calls"]),
            ("prompt", row["prompt_tokens"]),
            ("completion", row["completion_tokens"]),
            ("cost", cost or 0.0),
            ("s", row["latency_s"]),
        ):
            sums[name] += value

    def of(name: str) -> Amount:
        return _amount([sums[name] for sums in by_prompt.values()], prompts)

    concurrency = sum(
        order.recipe.models[role].concurrency * len(order.recipe.models[role].endpoint) for role in {*roles.values()}
    )
    return Estimate(
        prompts,
        len(by_prompt),
        of("requests"),
        of("prompt"),
        of("completion"),
        of("cost") if priced else None,
        of("s"),
        concurrency,
        of("pairs"),
    )


def _role(recipe: Recipe, stage: str) -> str:
    settings = recipe.stages[stage]
    if stage == "judge" and isinstance(settings, JudgeSettings) and settings.by == "verifier":
        return next(iter(recipe.models))  # no model is asked
    return settings.model


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
        ("refined pairs", estimated.pairs, 0),
    ):
        if amount is None:
            table.add_row(what, "no price in the recipe", "")
        else:
            table.add_row(what, f"{amount.mean:,.{digits}f}", f"{amount.error:,.{digits}f}")
    for in_flight in (16, 64, 256, 1024):
        if in_flight <= estimated.concurrency:
            seconds, error = estimated.busy_s.mean / in_flight, estimated.busy_s.error / in_flight
            table.add_row(f"time, with {in_flight} requests in flight", clock(seconds), clock(error))
    console.print(table)
    console.print(
        f"From {estimated.sampled} prompts, chosen by hash and asked for real: their answers are in the journal and will "
        "not be paid again. Latencies are those of so few requests; a full endpoint answers each one later.",
        style="dim",
        highlight=False,
    )
