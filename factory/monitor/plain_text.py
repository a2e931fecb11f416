"""Formats figures, times and untrusted text for a terminal."""

import re

NOT_TOLD = "not told by the endpoint"
"""Shown for a number of tokens that a reply did not give: unknown is not 0."""

# Control characters except tab and newline, lone surrogates, and characters that change the text direction.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible(text: str) -> str:
    """Makes untrusted text safe for a terminal: escape sequences have no effect."""
    return _INVISIBLE.sub("\ufffd", text.replace("\r\n", "\n"))


def shortened(text: str, characters: int) -> str:
    """The beginning of a text in one line."""
    line = " ".join(visible(text).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def counted(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def few(rate: float) -> str:
    """A rate, with one decimal where it is small."""
    return f"{rate:,.1f}" if rate < 10 else f"{rate:,.0f}"


def money(amount: float) -> str:
    """Two decimals, or below one, two significant digits."""
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:#.2g}"
