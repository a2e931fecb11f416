"""Rows and prompts that are there more than once, also nearly (MinHash), and prompts on both sides of the split.

MinHash (A. Broder, 1997) with banded locality-sensitive hashing, by the package rensa: word 3-grams, 128 permutations in
16 bands. Two prompts share a band with probability 1 - (1 - J^8)^16: 0.95 at a Jaccard similarity J of 0.8. Candidates
are kept if their sketches say at least `NEAR`.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from factory.audit.finding import EXAMPLES, Check, Measured, counted
from factory.audit.rows import Audited
from factory.audit.words import grams, tokens_of

PERMUTATIONS, BANDS, SHINGLE = 128, 16, 3
NEAR = 0.8
"""estimated Jaccard similarity of 3-grams from which prompts count as near duplicates"""
_AT_ONCE = 100_000


def duplicate_rows(given: Audited) -> Measured:
    bad = given.rows.filter(pl.struct("prompt_key", "chosen_key", "rejected_key").is_first_distinct().not_())
    return counted(bad.height, given.rows.height, bad["id"].head(EXAMPLES).to_list())


def near_duplicate_prompts(given: Audited) -> Measured:
    prompts = _grouped(given).unique("task_key", keep="first", maintain_order=True)
    repeated = prompts.filter(pl.col("group").is_duplicated())
    sizes = repeated.group_by("group").len()["len"]
    return counted(
        repeated.height,
        prompts.height,
        repeated.sort("group", "id")["id"].head(EXAMPLES).to_list(),
        detail={"groups": len(sizes), "largest group": sizes.max() or 0},
    )


def split_leak(given: Audited) -> Measured:
    prompts = _grouped(given)
    if prompts["split"].n_unique() < 2:
        return Measured(None, why_not="the set has only one split")
    trained = prompts.filter(pl.col("split") == "train")
    held_out = prompts.filter(pl.col("split") == "held_out")
    bad = held_out.join(trained.select("group").unique(), on="group", how="semi")
    exactly = held_out.join(trained, on="task_key", how="semi").height
    return counted(bad.height, held_out.height, bad["id"].head(EXAMPLES).to_list(), detail={"word for word": exactly})


@lru_cache(maxsize=1)
def _grouped(given: Audited) -> pl.DataFrame:
    """The first row of each prompt in each split: id, split, task_key, and its group of near duplicates."""
    rows = given.rows.select("id", "split", "task", "task_key")
    texts = rows.unique("task_key", keep="first", maintain_order=True)
    groups = texts.select("task_key", group=pl.Series(near_groups(texts["task"])))
    first = rows.unique(["split", "task_key"], keep="first", maintain_order=True).drop("task")
    return first.join(groups, on="task_key", how="left", maintain_order="left")


def near_groups(texts: pl.Series) -> Any:
    """Each text's group: the index of the first text that it is a near duplicate of, directly or through others."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(NEAR, PERMUTATIONS, BANDS)
    flagged = np.zeros(len(texts), dtype=bool)
    for first in range(0, len(texts), _AT_ONCE):
        sketches = _sketches(RMinHash, texts.slice(first, _AT_ONCE))
        flags = index.insert_matrix_and_query_duplicate_flags(sketches, first)
        flagged[first : first + len(flags)] = flags
    # The index flags texts, but the first of a group may have come before its duplicate: ask for all once more.
    for first in range(0, len(texts), _AT_ONCE):
        sketches = _sketches(RMinHash, texts.slice(first, _AT_ONCE))
        flags = index.query_duplicate_flags_matrix(sketches)
        flagged[first : first + len(flags)] |= np.asarray(flags)
    places = np.flatnonzero(flagged)
    groups = np.arange(len(texts))
    if len(places):
        rows = np.asarray(_sketches(RMinHash, texts.gather(places)).to_rows(), dtype=np.uint64)
        groups[places] = places[_joined(rows)]
    return groups


def _sketches(minhash: Any, texts: pl.Series) -> Any:
    tokens = tokens_of(texts)
    runs = grams(tokens, SHINGLE)
    # A text of fewer words is compared by its words.
    short = np.setdiff1d(np.unique(tokens.text), np.unique(runs.text))
    alone = np.isin(tokens.text, short)
    owners = np.concatenate([runs.text, tokens.text[alone]])
    hashes = np.concatenate([runs.hash, tokens.hash[alone]])
    # One without any word is only like itself.
    silent = np.setdiff1d(np.arange(len(texts)), np.unique(owners))
    owners = np.concatenate([owners, silent])
    hashes = np.concatenate([hashes, (silent + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)])
    order = np.argsort(owners, kind="stable")
    offsets = np.searchsorted(owners[order], np.arange(len(texts) + 1))
    return minhash.digest_matrix_from_flat_token_hashes(
        hashes[order].astype(np.uint64), offsets.astype(np.uint64), PERMUTATIONS, 0
    )


def _joined(sketches: Any) -> Any:
    """The group of each sketch: the first index that it is joined with."""
    group = np.arange(len(sketches))
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        part = np.ascontiguousarray(sketches[:, band * width : (band + 1) * width])
        _, first, bucket = np.unique(part, axis=0, return_index=True, return_inverse=True)
        others = first[bucket.reshape(-1)]
        near = (sketches == sketches[others]).mean(axis=1) >= NEAR
        _unite(group, np.flatnonzero(near), others)
    return _roots(group)


def _unite(group: Any, members: Any, others: Any) -> None:
    for member in members:
        a, b = _root(group, member), _root(group, others[member])
        group[max(a, b)] = min(a, b)


def _root(group: Any, at: int) -> int:
    while group[at] != at:
        group[at] = group[group[at]]
        at = group[at]
    return int(at)


def _roots(group: Any) -> Any:
    while True:
        above = group[group]
        if (above == group).all():
            return group
        group = above


CHECKS = (
    Check(
        "duplicate_rows",
        "Share of rows that repeat an earlier row's texts.",
        duplicate_rows,
        0.0,
        of_prompts=True,
    ),
    Check(
        "near_duplicate_prompts",
        "Share of distinct prompts with a near duplicate (MinHash, Jaccard similarity of word 3-grams at least 0.8).",
        near_duplicate_prompts,
        0.1,
        of_prompts=True,
    ),
    Check(
        "split_leak",
        "Share of held-out prompts that are also in the training split, word for word or nearly.",
        split_leak,
        0.0,
        beyond="fail",
        of_prompts=True,
    ),
)
