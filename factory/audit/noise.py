"""How sure the judges were: split votes, agreement with the verifier, preferences that turn with the order shown."""

import polars as pl

from factory.audit.figures import entropy
from factory.audit.finding import EXAMPLES, Bars, Check, Measured, counted, not_applicable, share
from factory.audit.rows import Audited
from schemas.objectives import NARROW_GAP


def split_votes(given: Audited) -> Measured:
    scores = given.facts.get("scores")
    if scores is None or not scores.filter(_voted()).height:
        return not_applicable("no answer was judged by several votes")
    voted = scores.filter(_voted()).sort("id", "side")
    bits = [entropy(pair) for pair in voted.select("yes_votes", "no_votes").iter_rows()]
    return share(
        voted,
        (pl.col("yes_votes") > 0) & (pl.col("no_votes") > 0),
        detail={"mean entropy of an answer's votes (bits)": round(sum(bits) / len(bits), 3)},
        plots=(_agreement_plot(voted),),
    )


def judge_agreement(given: Audited) -> Measured:
    scores = given.facts.get("scores")
    if scores is None:
        return not_applicable("no answer was judged")
    passed = scores.drop_nulls("passed").unique(["response_id", "judge"])
    verifier = passed.filter(pl.col("kind") == "verifier").select("response_id", verified="passed")
    models = (
        passed.filter(pl.col("kind").is_in(["votes", "score"])).join(verifier, on="response_id").sort("id", "judge")
    )
    if not models.height:
        return not_applicable("no answer was judged by a model and by the verifier")
    same = models.filter(pl.col("passed") == pl.col("verified"))
    odd = models.filter(pl.col("passed") != pl.col("verified"))
    return counted(same.height, models.height, odd["id"].unique(maintain_order=True).head(EXAMPLES).to_list())


def order_flips(given: Audited) -> Measured:
    orders = given.facts.get("orders")
    if orders is None or not orders.height:
        return not_applicable("no two answers were compared in both orders")
    # Both are the probability that the answer shown first is better: above one half in both, the position decided.
    flipped = (pl.col("one") > 0.5) == (pl.col("other") > 0.5)
    return share(orders, flipped & (pl.col("one") != 0.5) & (pl.col("other") != 0.5))


def win_rate_gap(given: Audited) -> Measured:
    """SPPO's targets: where a judge prefers nothing, all of them are one half and the loss keeps the model where it is."""
    rows = given.known("chosen_win_rate", "rejected_win_rate")
    gap = rows["chosen_win_rate"] - rows["rejected_win_rate"]
    rates = pl.concat([rows["chosen_win_rate"], rows["rejected_win_rate"]])
    detail = {
        "standard deviation of the win rates": round(float(rates.std() or 0), 3),  # type: ignore[arg-type]
        "least": round(float(rates.min()), 3),  # type: ignore[arg-type]
        "greatest": round(float(rates.max()), 3),  # type: ignore[arg-type]
    }
    near = rows.filter(gap < NARROW_GAP)["id"].head(EXAMPLES).to_list()
    return Measured(float(gap.median() or 0), rows=len(gap), examples=tuple(near), detail=detail)  # type: ignore[arg-type]


def _voted() -> pl.Expr:
    return (pl.col("kind") == "votes") & (pl.col("yes_votes") + pl.col("no_votes") > 1)


def _agreement_plot(voted: pl.DataFrame) -> Bars:
    rates = (voted["yes_votes"] / (voted["yes_votes"] + voted["no_votes"]) * 10).floor().clip(0, 9).cast(pl.Int64)
    counts = tuple(float((rates == place).sum()) for place in range(10))
    return Bars("Answers by share of 'yes' votes (from)", tuple(f"{place / 10:.1f}" for place in range(10)), counts)


CHECKS = (
    Check(
        "split_votes",
        "Share of judged answers whose votes were not unanimous.",
        split_votes,
        0.5,
    ),
    Check(
        "judge_agreement",
        "Share of verdicts of model judges that the verifier shares, on the set's answers.",
        judge_agreement,
        0.7,
        most=False,
    ),
    Check(
        "order_flips",
        "Share of comparisons in which the same position won in both orders.",
        order_flips,
        0.2,
    ),
    Check(
        "win_rate_gap",
        "Median win rate of the chosen side less that of the rejected one (SPPO): near 0, the judge prefers nothing.",
        win_rate_gap,
        NARROW_GAP,
        most=False,
        needs=("chosen_win_rate",),
    ),
)
