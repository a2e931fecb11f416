"""Sides that are equal, and pairs that contradict each other."""

import polars as pl

from factory.audit.finding import Check, Measured, counted, share
from factory.audit.rows import Audited


def equal_sides(given: Audited) -> Measured:
    rows = given.known("rejected")
    exact = rows.filter(pl.col("chosen") == pl.col("rejected")).height
    trimmed = rows.filter(pl.col("chosen").str.strip_chars() == pl.col("rejected").str.strip_chars()).height
    return share(
        rows,
        pl.col("chosen_key") == pl.col("rejected_key"),
        detail={"exactly": exact, "but for space around them": trimmed - exact},
    )


def near_equal_sides(given: Audited) -> Measured:
    return share(given.known("similarity"), pl.col("similarity") >= 0.99)


def contradicting_pairs(given: Audited) -> Measured:
    edges = _edges(given)
    other = edges.select("asked_of", better="worse", worse="better").unique()
    bad = edges.join(other, on=["asked_of", "better", "worse"], how="semi")
    return counted(bad.height, edges.height, bad["id"].head(5).to_list())


def preference_cycles(given: Audited) -> Measured:
    edges = _edges(given)
    other = edges.select("asked_of", better="worse", worse="better").unique()
    left = edges.join(other, on=["asked_of", "better", "worse"], how="anti")
    while True:
        # What is never worse, or never better, is on no cycle. What remains is on one, or between two.
        beaten = left.select("asked_of", better="worse").unique()
        beating = left.select("asked_of", worse="better").unique()
        kept = left.join(beaten, on=["asked_of", "better"], how="semi").join(
            beating, on=["asked_of", "worse"], how="semi"
        )
        if kept.height == left.height:
            break
        left = kept
    return counted(left.height, edges.height, left.sort("id")["id"].head(5).to_list())


def _edges(given: Audited) -> pl.DataFrame:
    """better and worse, both hashes of texts; asked_of: the hash of their prompt."""
    edges = given.known("rejected").select("id", asked_of="prompt_key", better="chosen_key", worse="rejected_key")
    return edges.filter(pl.col("better") != pl.col("worse"))


CHECKS = (
    Check(
        "equal_sides",
        "Share of pairs whose sides are the same text once trimmed, Unicode-folded (NFKC) and lower-cased.",
        equal_sides,
        0.0,
        beyond="fail",
        needs=("rejected",),
    ),
    Check(
        "near_equal_sides",
        "Share of pairs whose sides differ in at most 1% of their words.",
        near_equal_sides,
        0.05,
        needs=("rejected", "similarity"),
    ),
    Check(
        "contradicting_pairs",
        "Share of pairs whose two answers to the same prompt are also there with the opposite label.",
        contradicting_pairs,
        0.0,
        beyond="fail",
        needs=("rejected",),
    ),
    Check(
        "preference_cycles",
        "Share of pairs on a cycle of preferences among three or more answers to one prompt (a over b over c over a).",
        preference_cycles,
        0.0,
        needs=("rejected",),
    ),
)
