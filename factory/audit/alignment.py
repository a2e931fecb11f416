"""Whether answers belong to their prompts, without embeddings: words shared with the own prompt and with another's."""

import numpy as np
import polars as pl

from factory.audit.figures import auc
from factory.audit.finding import Check, Measured, not_applicable
from factory.audit.rows import Audited
from factory.audit.words import tokens_of

FEWEST = 20
MOST = 20_000
"""rows looked at, chosen by their ids' hashes: the AUC's interval is then below 0.01"""
_COMMON = 0.1
"""words in more prompts than this share say nothing about one"""


def misaligned(given: Audited) -> Measured:
    """For each side, the AUC of the overlap with the own prompt against that with the next other prompt; the lower one."""
    rows = given.rows
    if rows.height > MOST:
        rows = rows.sort(pl.col("id").hash(seed=0)).head(MOST).sort("id")
    prompts = rows["prompt"].unique(maintain_order=True)
    if len(prompts) < FEWEST:
        return not_applicable(f"it needs {FEWEST} distinct prompts, and there are {len(prompts)}")
    number = dict(zip(prompts.to_list(), range(len(prompts)), strict=True))
    own = rows["prompt"].replace_strict(number, return_dtype=pl.UInt32)
    words = _rare_words(prompts)
    found: dict[str, tuple[float, float, float]] = {}
    examples: list[str] = []
    for side in ("chosen", "rejected") if given.format == "preference" else ("chosen",):
        answer = _words(rows[side])
        with_own = _overlap(answer, words, own)
        with_other = _overlap(answer, words, (own + 1) % len(prompts))
        found[side] = auc(with_own, with_other)
        worse = np.flatnonzero(with_other > with_own)
        examples += (
            rows["id"].gather(worse[:5]).to_list() if found[side][0] == min(f[0] for f in found.values()) else []
        )
    area, low, high = min(found.values())
    detail = {f"AUC of {side}": round(figure[0], 3) for side, figure in found.items()}
    return Measured(area, low, high, rows.height, tuple(examples[-5:]), detail)


def _words(texts: pl.Series) -> pl.DataFrame:
    tokens = tokens_of(texts)
    return pl.DataFrame({"text": tokens.text, "word": tokens.hash}).unique()


def _rare_words(prompts: pl.Series) -> pl.DataFrame:
    words = _words(prompts)
    common = max(1.0, len(prompts) * _COMMON)
    spread = words.group_by("word").len().with_columns(weight=(len(prompts) / pl.col("len")).log())
    return words.join(spread.filter(pl.col("len") <= common).drop("len"), on="word").rename({"text": "prompt"})


def _overlap(answers: pl.DataFrame, words: pl.DataFrame, prompts: pl.Series) -> np.ndarray:
    """Of each answer, the share of a prompt's rare words, weighted by rarity, that it repeats."""
    asked = pl.DataFrame({"text": pl.arange(len(prompts), eager=True, dtype=pl.UInt32), "prompt": prompts})
    needed = asked.join(words, on="prompt")
    shared = needed.join(answers, on=["text", "word"], how="semi").group_by("text").agg(pl.col("weight").sum())
    whole = needed.group_by("text").agg(whole=pl.col("weight").sum())
    joined = asked.join(shared, on="text", how="left").join(whole, on="text", how="left").sort("text")
    return (joined["weight"].fill_null(0) / joined["whole"].fill_null(1)).to_numpy()


CHECKS = (
    Check(
        "misaligned",
        "AUC of the words an answer shares with its own prompt against another's; of the worse side (0.5: chance).",
        misaligned,
        0.6,
        most=False,
        beyond="fail",
    ),
)
