"""Overlap with evaluation sets: a test item is in a prompt if at least half of its word 8-grams are.

The rule is that of Tulu 3 (arXiv:2411.15124, 3.2): 8-grams, and 50% of the test item's. An item of fewer than eight words
counts if the prompt is the same text. A short item inside a refiner's prompt, which is mostly template, or at the end of a
dialogue would escape that, so the task behind a prompt and the last user turns of both are looked at beside the prompt.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from factory.audit.finding import EXAMPLES, Check, Measured, counted, not_applicable, share
from factory.audit.rows import Audited, Benchmark
from factory.audit.words import grams, normal, tokens_of

GRAM = 8
HALF = 0.5
_AT_ONCE = 100_000
_TEXTS = ("prompt", "asked", "task", "task_asked")
"""columns of Audited.rows in which an item may be"""


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Prompts that overlap a benchmark."""

    prompts: pl.DataFrame
    """prompt (its text), item (index in the benchmark), share (of the item's 8-grams)"""
    exact: int
    """of them, equal to the item"""


def overlaps_with(texts: pl.Series, benchmark: Benchmark) -> Overlaps:
    """The distinct texts that hold at least half of an item of the benchmark."""
    items = pl.Series("item", benchmark.prompts, dtype=pl.String)
    runs = grams(tokens_of(items), GRAM)
    of_items = pl.DataFrame({"item": runs.text, "gram": runs.hash}).unique()
    needed = of_items.group_by("item").len("of_item")
    found = [_found(texts.slice(first, _AT_ONCE), of_items, needed) for first in range(0, len(texts), _AT_ONCE)] + [
        _equal(texts, items)
    ]
    best = pl.concat(found).sort("share", "item", descending=[True, False]).unique("prompt", keep="first")
    exact = best.filter(pl.col("share") >= 1.0).select("prompt", "item")
    same = exact.with_columns(other=items.gather(exact["item"])).filter(normal("prompt") == normal("other"))
    return Overlaps(best.sort("prompt"), same.height)


def texts_of(rows: pl.DataFrame) -> pl.Series:
    """The distinct texts of the rows in which an item may be, in order."""
    columns = [rows[name].alias("text") for name in _TEXTS if name in rows.columns]
    return pl.concat(columns).drop_nulls().unique(maintain_order=True)


def rows_with(rows: pl.DataFrame, texts: set[str]) -> pl.DataFrame:
    """The rows that have one of these texts."""
    named = [pl.col(name).is_in(list(texts)) for name in _TEXTS if name in rows.columns]
    return rows.filter(pl.any_horizontal(named))


def _found(texts: pl.Series, of_items: pl.DataFrame, needed: pl.DataFrame) -> pl.DataFrame:
    runs = grams(tokens_of(texts), GRAM)
    known = np.isin(runs.hash, of_items["gram"].to_numpy())
    shared = (
        pl.DataFrame({"text": runs.text[known], "gram": runs.hash[known]})
        .unique()
        .join(of_items, on="gram")
        .group_by("text", "item")
        .len("found")
        .join(needed, on="item")
        .with_columns(share=pl.col("found") / pl.col("of_item"))
        .filter(pl.col("share") >= HALF)
    )
    return shared.select(prompt=texts.gather(shared["text"]), item=pl.col("item").cast(pl.UInt32), share="share")


def _equal(texts: pl.Series, items: pl.Series) -> pl.DataFrame:
    numbered = pl.DataFrame({"text": items}).with_row_index("item").select("item", same=normal("text"))
    given = pl.DataFrame({"prompt": texts}).with_columns(same=normal("prompt"))
    joined = given.join(numbered.unique("same", keep="first"), on="same")
    return joined.select("prompt", pl.col("item").cast(pl.UInt32), share=pl.lit(1.0))


def overlap(given: Audited) -> Measured:
    if not given.benchmarks:
        return not_applicable(
            "no evaluation set is here: `factory evaluate ifeval` fetches IFEval's prompts, and --against FILE names your own"
        )
    texts = texts_of(given.rows)
    bad: set[str] = set()
    detail: dict[str, object] = {}
    for benchmark in given.benchmarks:
        found = overlaps_with(texts, benchmark)
        named = set(found.prompts["prompt"].to_list())
        bad |= named
        items = found.prompts["item"].n_unique()
        prompts = rows_with(given.rows, named)["prompt"].n_unique()
        detail[f"{benchmark.name} ({benchmark.version[:12]})"] = (
            f"{prompts} prompts, {items} of {len(benchmark.prompts)} items, {found.exact} word for word"
        )
    rows = rows_with(given.rows, bad)
    return counted(rows.height, given.rows.height, rows["id"].head(EXAMPLES).to_list(), detail=detail)


def constraint_kinds(given: Audited) -> Measured:
    rows = given.known("kinds").filter(pl.col("kinds").list.len() > 0)
    if not rows.height:
        return not_applicable("no prompt has constraints that a program can check")
    tested = {b.name: b.kinds for b in given.benchmarks if b.kinds}
    if not tested:
        return not_applicable("no evaluation set with constraints is here")
    trained = set(rows["kinds"].explode().to_list())
    shared = set().union(*tested.values())
    detail = {}
    for name, kinds in tested.items():
        unseen = sorted(kinds - trained)
        detail[f"{name}: kinds seen in training"] = f"{len(kinds & trained)} of {len(kinds)}"
        detail[f"{name}: kinds not seen"] = ", ".join(unseen[:8]) + (" …" if len(unseen) > 8 else "")
    hit = pl.col("kinds").list.eval(pl.element().is_in(list(shared))).list.any()
    return share(rows, hit, detail=detail)


CHECKS = (
    Check(
        "overlap",
        "Share of rows whose prompt holds half or more of the 8-grams of an item of an evaluation set, or is a short item.",
        overlap,
        0.0,
        beyond="fail",
        of_prompts=True,
    ),
    Check(
        "constraint_kinds",
        "Share of rows with constraints, one of whose kinds the evaluation sets test too: such a score shows seen kinds only.",
        constraint_kinds,
        0.5,
        needs=("kinds",),
        of_prompts=True,
    ),
)
