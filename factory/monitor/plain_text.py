"""Formats figures, times and untrusted text for a terminal."""

from schemas.streams import visible as visible

NOT_TOLD = "not told by the endpoint"
"""Shown for a number of tokens that a reply did not give: unknown is not 0."""


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def label(name: str) -> str:
    """A name for a plot, without what lets-plot would take as a link; a lake from somebody else may hold any."""
    return visible(name).translate({ord("<"): "‹", ord(">"): "›"})


def shortened(text: str, characters: int) -> str:
    """The beginning of a text in one line."""
    line = " ".join(visible(text).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def cut(text: str, characters: int, lines: int) -> tuple[str, str]:
    """The beginning of a text, and a note on what is left out; the note is empty where nothing is."""
    kept = "\n".join(text[:characters].split("\n", lines)[:lines])
    if kept == text:
        return text, ""
    rest = text[len(kept) :]
    more = f"{len(rest):,} more characters"
    if breaks := rest.count("\n"):
        more += f" in {breaks:,} more lines"
    return kept.rstrip(), f"… {more} (--full shows them)"


def counted(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def few(rate: float) -> str:
    """A rate, with one decimal where it is small."""
    return f"{rate:,.1f}" if rate < 10 else f"{rate:,.0f}"


def money(amount: float) -> str:
    """Two decimals, or below one, two significant digits."""
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:#.2g}"
