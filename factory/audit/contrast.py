"""Contrast and likeness: how much better the chosen side is, and how alike both sides are."""

import polars as pl

from factory.audit.finding import Bars, Check, Measured, share
from factory.audit.rows import Audited


def small_contrast(given: Audited) -> Measured:
    rows = given.known("constraint_gap")
    gaps = rows["constraint_gap"].value_counts().sort("constraint_gap")
    plot = Bars(
        "Pairs by constraint gap (followed by chosen - by rejected)",
        tuple(str(gap) for gap in gaps["constraint_gap"].to_list()),
        tuple(map(float, gaps["count"].to_list())),
    )
    detail = {
        "mean gap": round(float(rows["constraint_gap"].mean() or 0), 2),  # type: ignore[arg-type]
        "pairs the verifier has not checked": given.rows.height - rows.height,
    }
    return share(rows, pl.col("constraint_gap") <= 0, detail=detail, plots=(plot,))


def likeness(given: Audited) -> Measured:
    values = given.known("similarity")["similarity"]
    places = (values * 10).floor().clip(0, 9).cast(pl.Int64)
    counts = tuple(float((places == place).sum()) for place in range(10))
    plot = Bars("Pairs by similarity (from)", tuple(f"{place / 10:.1f}" for place in range(10)), counts)
    detail = {
        f"{name} quartile": round(float(values.quantile(at) or 0), 3) for name, at in (("lower", 0.25), ("upper", 0.75))
    }
    return Measured(float(values.median() or 0), rows=len(values), detail=detail, plots=(plot,))  # type: ignore[arg-type]


CHECKS = (
    Check(
        "small_contrast",
        "Share of pairs whose chosen side follows no more constraints than the rejected one (constraint_gap).",
        small_contrast,
        0.1,
        needs=("rejected", "constraint_gap"),
    ),
    Check(
        "likeness",
        "Median word-level similarity of the two sides: refined pairs are alike, sampled ones hardly.",
        likeness,
        0.0,
        most=False,
        needs=("rejected", "similarity"),
    ),
)
