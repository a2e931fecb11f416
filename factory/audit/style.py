"""Length and surface style: how much of the label they tell."""

import numpy as np
import polars as pl

from factory.audit.figures import logistic_votes, paired_auc, wilson
from factory.audit.finding import Bars, Check, Measured, counted, not_applicable
from factory.audit.rows import Audited

_OBLIGING = r"(?i)^\W*(sure|certainly|of course|absolutely|great question|happy to|gladly|好的|当然|當然|没问题)"
_APOLOGY = r"(?i)\b(sorry|apologi[sz]e|apologies|regret to|unfortunately)\b|抱歉|对不起|對不起|遗憾|遺憾"
_EMOJI = r"[\x{1F300}-\x{1FAFF}\x{2600}-\x{27BF}]"
FEATURES = {
    "words": None,
    "lines": r"\n",
    "paragraphs": r"\n\s*\n",
    "headings": r"(?m)^#{1,6} ",
    "list items": r"(?m)^\s*(?:[-*•]|\d+[.)])\s",
    "bold": r"\*\*[^*\n]+\*\*",
    "code": r"```|`[^`\n]+`",
    "tables": r"(?m)^\s*\|.*\|\s*$",
    "links": r"https?://",
    "emoji": _EMOJI,
    "exclamation marks": r"[!！]",
    "question marks": r"[?？]",
    "digits": r"\d",
    "quotation marks": r"[\"“”«»「」]",
    "opens with 'Sure!'": _OBLIGING,
    "apologies": _APOLOGY,
}
FOLDS = 5
FEWEST = 50
"""pairs below which a classifier is not trained"""


def longer_chosen(given: Audited) -> Measured:
    rows = given.known("rejected")
    unequal = rows.filter(pl.col("length_gap") != 0)
    longer = unequal.filter(pl.col("length_gap") > 0)
    if not unequal.height:
        return not_applicable("all pairs have sides of the same length")
    detail = {"pairs with sides of the same length": rows.height - unequal.height}
    return counted(longer.height, unequal.height, _extreme(longer), detail=detail, plots=(gap_plot(rows),))


def length_gap(given: Audited) -> Measured:
    rows = given.known("rejected")
    gaps = rows["length_gap"]
    detail = {
        "mean, chosen - rejected": round(float(gaps.mean() or 0), 1),  # type: ignore[arg-type]
        "median, chosen - rejected": float(gaps.median() or 0),  # type: ignore[arg-type]
        "80th percentile of its size": float(gaps.abs().quantile(0.8) or 0),
    }
    figure = abs(float(gaps.median() or 0))  # type: ignore[arg-type]
    return Measured(figure, rows=rows.height, examples=tuple(_extreme(rows)), detail=detail)


def style_features(given: Audited) -> Measured:
    rows = given.known("rejected")
    differences = _differences(rows)
    areas = {name: paired_auc(differences[name]) for name in differences.columns}
    ranked = sorted(areas, key=lambda name: -abs(areas[name][0] - 0.5))
    strongest = ranked[0]
    area, low, high = areas[strongest]
    if area < 0.5:
        area, low, high = 1 - area, 1 - high, 1 - low
    shown = [name for name in ranked if areas[name][0] != 0.5][:12] or ranked[:1]
    values, lows, highs = (tuple(areas[name][part] for name in shown) for part in range(3))
    title = "AUC of each surface feature (chosen has more: above 0.5)"
    plot = Bars(title, tuple(shown), values, lows, highs, middle=0.5)
    detail = {name: round(areas[name][0], 3) for name in shown}
    apart = rows.with_columns(apart=differences[strongest].abs()).sort("apart", "id", descending=[True, False])
    examples = tuple(apart.filter(pl.col("apart") > 0)["id"].head(5).to_list())
    return Measured(area, low, high, rows.height, examples, detail, plots=(plot,))


def style_classifier(given: Audited) -> Measured:
    rows = given.known("rejected")
    if rows.height < FEWEST:
        return not_applicable(f"a classifier needs {FEWEST} pairs, and there are {rows.height}")
    # By the prompt: a prompt's pairs are alike, and one of them must not teach the others.
    folds = (rows["prompt"].hash(seed=0) % FOLDS).to_numpy()
    if len(np.unique(folds)) < 2:
        return not_applicable("all pairs have the same prompt")
    votes = logistic_votes(_differences(rows).to_numpy().astype(float), folds)
    return Measured(float(votes.mean()), *wilson(float(votes.sum()), len(votes)), rows=len(votes))


def _differences(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each feature, the chosen side's count less the rejected side's."""
    counts = {
        name: pl.col("length_gap") if pattern is None else _count("chosen", pattern) - _count("rejected", pattern)
        for name, pattern in FEATURES.items()
    }
    return rows.select(**counts)


def _count(column: str, pattern: str) -> pl.Expr:
    return pl.col(column).str.count_matches(pattern).cast(pl.Int64)


def _extreme(rows: pl.DataFrame) -> list[str]:
    """The pairs whose lengths differ most."""
    sized = rows.with_columns(size=pl.col("length_gap").abs()).sort("size", "id", descending=[True, False])
    found: list[str] = sized["id"].head(5).to_list()
    return found


def gap_plot(rows: pl.DataFrame) -> Bars:
    edges = (-200, -100, -50, -20, -5, -1, 0, 5, 20, 50, 100, 200)
    labels = ("≤ -200", "-100", "-50", "-20", "-5", "-1", "0", "5", "20", "50", "100", "200", "> 200")
    places = np.searchsorted(np.array(edges), rows["length_gap"].to_numpy())
    counts = np.bincount(places, minlength=len(labels))
    return Bars("Pairs by length gap (words, chosen - rejected, up to)", labels, tuple(map(float, counts)))


CHECKS = (
    Check(
        "longer_chosen",
        "Share of pairs with sides of unequal length in which the longer side is chosen.",
        longer_chosen,
        0.6,
        needs=("rejected",),
    ),
    Check(
        "length_gap",
        "Size of the median difference in length between chosen and rejected, in words.",
        length_gap,
        100.0,
        needs=("rejected",),
    ),
    Check(
        "style_features",
        "AUC of the surface feature that tells the label best, each taken alone (0.5: says nothing).",
        style_features,
        0.65,
        needs=("rejected",),
    ),
    Check(
        "style_classifier",
        "Share of pairs whose label a logistic regression on the surface features alone tells, cross-validated.",
        style_classifier,
        0.6,
        needs=("rejected",),
    ),
)
