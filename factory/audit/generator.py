"""Whether who wrote an answer gives the label away."""

import polars as pl

from factory.audit.finding import Bars, Check, Measured, counted, not_applicable
from factory.audit.rows import Audited

FOLDS = 5


def generator_gives_label(given: Audited) -> Measured:
    rows = given.known("rejected", "chosen_model", "rejected_model")
    between = rows.filter(pl.col("chosen_model") != pl.col("rejected_model"))
    if not between.height:
        return not_applicable("both sides of each pair were written by the same model")
    wins = _wins(between)
    fold = pl.col("prompt").hash(seed=0) % FOLDS
    told = pl.concat([_told(between.filter(fold == n), between.filter(fold != n)) for n in range(FOLDS)])
    right = told.filter(pl.col("better") > pl.col("worse")).height
    even = told.filter(pl.col("better") == pl.col("worse")).height
    rates = wins.with_columns(rate=pl.col("won") / pl.col("all")).sort("rate", "model", descending=[True, False])
    detail = {
        "pairs by one model on both sides": rows.height - between.height,
        **{f"chosen, of {row['model']}'s answers": round(row["rate"], 3) for row in rates.head(8).to_dicts()},
    }
    plot = Bars(
        "Share of each generator's answers that are chosen",
        tuple(map(str, rates["model"].head(12).to_list())),
        tuple(rates["rate"].head(12).to_list()),
        middle=0.5,
    )
    # Pairs by one model tell nothing: half of them would be guessed.
    figure = right + even / 2 + (rows.height - between.height) / 2
    return counted(figure, rows.height, between["id"].head(5).to_list(), detail=detail, plots=(plot,))


def _told(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """better and worse: how often the chosen and the rejected side's models win in the other pairs; 0.5: never seen."""
    rates = _wins(others).select("model", rate=pl.col("won") / pl.col("all"))
    return (
        rows.select("chosen_model", "rejected_model")
        .join(rates.rename({"model": "chosen_model", "rate": "better"}), on="chosen_model", how="left")
        .join(rates.rename({"model": "rejected_model", "rate": "worse"}), on="rejected_model", how="left")
        .with_columns(pl.col("better").fill_null(0.5), pl.col("worse").fill_null(0.5))
    )


def _wins(rows: pl.DataFrame) -> pl.DataFrame:
    sides = [rows.select(model=side, won=pl.lit(won)) for side, won in (("chosen_model", 1), ("rejected_model", 0))]
    return pl.concat(sides).group_by("model").agg(won=pl.col("won").sum(), all=pl.len())


CHECKS = (
    Check(
        "generator_gives_label",
        "Share of pairs whose label follows from which model wrote which side, by the models' other pairs "
        "(1.0 by design where a strong model's answers are always preferred to a weak one's).",
        generator_gives_label,
        0.9,
        needs=("rejected", "chosen_model", "rejected_model"),
    ),
)
