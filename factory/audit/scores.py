"""Scores of the answers: the chosen one's against the rejected one's, a judge's against the others', and the scale's ends."""

import polars as pl

from factory.audit.finding import EXAMPLES, Bars, Check, Measured, counted, not_applicable, share
from factory.audit.rows import Audited

_SCALES = (1.0, 3.0, 4.0, 5.0, 10.0, 100.0)
"""highest points of the usual scales"""
_LIMITS = (1.0, 5.0, 10.0, 100.0)
"""no more points than these are given on such a scale: a scale of 5 is often used up to 4"""
_INSIDE = 0.99
"""a scale is one that holds this share of a judge's points"""
_FEWEST = 20
_FAR = 0.5
"""of the scale: an overall score so far from the mean of the aspects contradicts them"""
_NEAR = 0.5
"""points that a critique names and its score may differ by: some are rounded"""
_OVERALL = ("overall_score", "overall", "score")


def with_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose sides both have a value or points of one kind, as chosen_score and rejected_score."""
    for chosen, rejected in (
        ("score_chosen", "score_rejected"),
        ("chosen_score", "rejected_score"),
        ("chosen_value", "rejected_value"),
        ("chosen_points", "rejected_points"),
    ):
        if chosen in rows.columns and rejected in rows.columns:
            numeric = all(rows.schema[name].is_numeric() for name in (chosen, rejected))
            known = rows.drop_nulls([chosen, rejected]) if numeric else rows.clear()
            if known.height:
                return known.with_columns(chosen_score=pl.col(chosen), rejected_score=pl.col(rejected))
    return rows.clear()


def chosen_not_better(given: Audited) -> Measured:
    rows = with_scores(given.rows)
    if not rows.height:
        return not_applicable("neither the rows nor the lake have scores of both sides")
    gap = rows["chosen_score"].cast(pl.Float64) - rows["rejected_score"].cast(pl.Float64)
    detail = {
        "pairs with equal scores": int((gap == 0).sum()),
        "mean gap": round(float(gap.mean() or 0), 3),  # type: ignore[arg-type]
        "median gap": round(float(gap.median() or 0), 3),  # type: ignore[arg-type]
        "pairs without scores": given.rows.height - rows.height,
    }
    worse = pl.col("chosen_score") <= pl.col("rejected_score")
    return share(rows, worse, detail=detail, plots=(_histogram(gap),))


def score_against_aspects(given: Audited) -> Measured:
    """UltraFeedback's overall score of 10 for completions whose critique said 1: aspects on a scale of 5, overall of 10."""
    points = _points(given)
    if points is None or points["judge"].n_unique() < 3:
        return not_applicable("no answer has an overall score beside scores of several aspects")
    names = points["judge"].unique().to_list()
    overall = next((name for name in _OVERALL if name in names), None)
    if overall is None:
        return not_applicable("none of the scores is called overall_score, overall or score")
    scaled = points.with_columns(scaled=(pl.col("points") - pl.col("lowest")) / (pl.col("scale") - pl.col("lowest")))
    aspects = (
        scaled.filter(pl.col("judge") != overall).group_by("id", "side").agg(mean=pl.col("scaled").mean(), n=pl.len())
    )
    both = scaled.filter(pl.col("judge") == overall).join(aspects.filter(pl.col("n") > 1), on=["id", "side"])
    return share(both.sort("id", "side"), (pl.col("scaled") - pl.col("mean")).abs() >= _FAR)


def score_against_critique(given: Audited) -> Measured:
    critiques = given.facts.get("critiques")
    if critiques is None or not critiques.height:
        return not_applicable("no critique names a score")
    return share(critiques, (pl.col("said") - pl.col("points")).abs() > _NEAR)


def score_outside_scale(given: Audited) -> Measured:
    points = _points(given)
    if points is None:
        return not_applicable("no answer has points")
    odd = (pl.col("points") > pl.col("scale")) | (pl.col("points") < 0) | pl.col("points").is_nan()
    return share(points.sort("id", "side"), odd)


def scale_pile_up(given: Audited) -> Measured:
    points = _points(given)
    if points is None:
        return not_applicable("no answer has points")
    chosen = points.filter(pl.col("decides") if points["decides"].any() else pl.lit(True))
    many = chosen.filter(pl.len().over("judge") >= _FEWEST)
    if not many.height:
        return not_applicable(f"no judge gave {_FEWEST} scores or more")
    ends = many.with_columns(end=(pl.col("points") == pl.col("scale")) | (pl.col("points") == pl.col("lowest")))
    by_judge = ends.group_by("judge").agg(found=pl.col("end").sum(), of=pl.len()).sort("judge")
    worst = by_judge.sort(pl.col("found") / pl.col("of"), descending=True).row(0, named=True)
    detail = {
        f"at an end of {row['judge']}'s scale": f"{row['found']} of {row['of']}" for row in by_judge.head(8).to_dicts()
    }
    at = ends.filter((pl.col("judge") == worst["judge"]) & pl.col("end")).sort("id")
    return counted(
        worst["found"], worst["of"], at["id"].unique(maintain_order=True).head(EXAMPLES).to_list(), detail=detail
    )


def _points(given: Audited) -> pl.DataFrame | None:
    """id, side, judge, decides, points, with each judge's scale (its highest and lowest points)."""
    scores = given.facts.get("scores")
    if scores is None:
        return None
    known = scores.drop_nulls("points").filter(pl.col("kind") != "verifier")
    if not known.height:
        return None
    scales = {judge: _scale(part["points"]) for (judge,), part in known.group_by("judge")}
    return known.with_columns(
        scale=pl.col("judge").replace_strict({j: s for j, (_, s) in scales.items()}, return_dtype=pl.Float64),
        lowest=pl.col("judge").replace_strict({j: s for j, (s, _) in scales.items()}, return_dtype=pl.Float64),
    )


def _scale(points: pl.Series) -> tuple[float, float]:
    """The lowest and highest points of the scale that a judge's points keep."""
    limit = next((s for s in _LIMITS if float((points <= s).mean() or 0) >= _INSIDE), float("inf"))  # type: ignore[arg-type]
    used = float(points.filter(points <= limit).max() or 0)  # type: ignore[arg-type]
    return (1.0 if points.min() == 1 and used > 1 else 0.0), next((s for s in _SCALES if s >= used), used)


def _histogram(gap: pl.Series) -> Bars:
    low, high = float(gap.min()), float(gap.max())  # type: ignore[arg-type]
    width = (high - low) / 10 or 1.0
    places = ((gap - low) / width).floor().clip(0, 9).cast(pl.Int64)
    counts = [float((places == place).sum()) for place in range(10)]
    return Bars(
        "Pairs by score gap (chosen - rejected, from)",
        tuple(f"{low + i * width:.2g}" for i in range(10)),
        tuple(counts),
    )


CHECKS = (
    Check(
        "chosen_not_better",
        "Share of pairs whose chosen answer has no higher score than the rejected one.",
        chosen_not_better,
        0.0,
        beyond="fail",
        needs=("rejected",),
    ),
    Check(
        "score_against_aspects",
        "Share of answers whose overall score is half of the scale or more from the mean of its aspects' scores.",
        score_against_aspects,
        0.01,
    ),
    Check(
        "score_against_critique",
        "Share of scores that differ from the score that the judge's own text names last.",
        score_against_critique,
        0.01,
    ),
    Check(
        "score_outside_scale",
        "Share of scores beyond the scale that 99% of their judge's scores keep: leftovers of a parser.",
        score_outside_scale,
        0.0,
        beyond="fail",
    ),
    Check(
        "scale_pile_up",
        "Share of the scores at an end of the scale, of the judge with the most: they rank nothing.",
        scale_pile_up,
        0.5,
    ),
)
