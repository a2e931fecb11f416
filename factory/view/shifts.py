"""Two distributions in one plot, as numbers for `templates/paired.html`."""

from collections.abc import Sequence
from dataclasses import dataclass

from factory.view.plots import HEIGHT, WIDTH


@dataclass(frozen=True, slots=True)
class PairedBar:
    """One side's bar in a bin."""

    side: str
    """a or b"""
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Paired:
    title: str
    note: str
    bars: tuple[PairedBar, ...]
    low: str
    high: str


def paired(
    title: str, a: Sequence[float], b: Sequence[float], labels: Sequence[str], note: str, low: str, high: str
) -> Paired:
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
            bars.append(PairedBar(side, x, HEIGHT - height, width, height, f"{side}, {label}: {100 * share:.1f}%"))
    return Paired(title, note, tuple(bars), low, high)
