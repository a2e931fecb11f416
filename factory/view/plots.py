"""Plots as numbers for `templates/macros.html`, which draws them as SVG: no text of a row is ever markup."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320.0, 96.0
"""of the drawn area, in SVG's units"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    label: str
    style: str = ""
    """on: the page is filtered by it; a, b: one of two sides"""
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    title: str
    note: str
    bars: tuple[Bar, ...]
    low: str
    high: str


def histogram(
    title: str,
    counts: Sequence[int],
    ends: Sequence[float],
    hrefs: Sequence[str | None] | None = None,
    on: int | None = None,
) -> Histogram:
    """Bars for counts.

    Args:
        counts: one per bin, shape (n,).
        ends: the bins' ends in order, shape (n + 1,).
        hrefs: where each bar leads to, shape (n,).
        on: the index of the bar that the page is filtered by.
    """
    most, step = max(counts, default=0), WIDTH / max(len(counts), 1)
    bars = []
    for at, count in enumerate(counts):
        height = HEIGHT * count / most if most else 0.0
        label = f"{ends[at]:.3g} to {ends[at + 1]:.3g}: {count:,}"
        href = None if hrefs is None else hrefs[at]
        bars.append(Bar(at * step, HEIGHT - height, max(step - 2, 1), height, label, "on" if at == on else "", href))
    return Histogram(title, f"most: {most:,}", tuple(bars), f"{ends[0]:.3g}", f"{ends[-1]:.3g}")


def paired(
    title: str, a: Sequence[float], b: Sequence[float], labels: Sequence[str], note: str, low: str, high: str
) -> Histogram:
    """Two bars in each bin.

    Args:
        a, b: shares of each side's rows, shape (n,).
        labels: what each bin is, shape (n,).
        low, high: what stands at both ends of the axis.
    """
    most, step = max(*a, *b, 0.0), WIDTH / max(len(labels), 1)
    width = min(max((step - 2) / 2, 0.5), 12.0)
    bars = []
    for at, label in enumerate(labels):
        for side, share, x in (("a", a[at], at * step), ("b", b[at], at * step + width)):
            height = HEIGHT * share / most if most else 0.0
            bars.append(Bar(x, HEIGHT - height, width, height, f"{side}, {label}: {100 * share:.1f}%", side))
    return Histogram(title, note, tuple(bars), low, high)


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    points: str
    """as SVG's polyline takes them"""
    dots: tuple[tuple[float, float, str], ...]
    low: str
    high: str
    start: str
    end: str
    area: str = ""
    """as SVG's polygon takes it: from the lower ends to the upper ones; empty: there is none"""


def line(
    title: str,
    values: Sequence[float | None],
    labels: Sequence[str],
    *,
    least: float | None = 0.0,
    spans: Sequence[tuple[float, float]] | None = None,
) -> Line | None:
    """A line through values at equal distances; None: there are fewer than two values.

    Args:
        values: shape (n,); None: nothing was measured there.
        labels: what each is about, shape (n,).
        least: the lower end of the axis; None: the least value.
        spans: the lowest and the highest of what each value is the mean of, shape (n, 2); drawn as an area,
            and not looked at where there is no value.
    """
    known = [
        (at, value, *(spans[at] if spans else (value, value))) for at, value in enumerate(values) if value is not None
    ]
    if len(known) < 2:
        return None
    every = [one for _, *figures in known for one in figures]
    low = min(every) if least is None else min(least, *every)
    high = max(every) if max(every) > low else low + 1
    step = WIDTH / (len(values) - 1)

    def drawn(figures: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
        return [(at * step, HEIGHT - HEIGHT * (value - low) / (high - low)) for at, value in figures]

    def listed(places: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    means = drawn([(at, value) for at, value, _, _ in known])
    dots = tuple(
        (x, y, f"{labels[at]}: {value:,.4g}" + (f", {lowest:,.4g} to {highest:,.4g}" if spans else ""))
        for (x, y), (at, value, lowest, highest) in zip(means, known, strict=True)
    )
    area = ""
    if spans:
        lower = drawn([(at, lowest) for at, _, lowest, _ in known])
        upper = drawn([(at, highest) for at, _, _, highest in known])
        area = listed([*lower, *upper[::-1]])
    return Line(title, listed(means), dots, f"{low:,.3g}", f"{high:,.3g}", labels[0], labels[-1], area)
