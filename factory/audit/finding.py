"""What a check is, what it measures, and what is found when the figure is held against its threshold."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from factory.audit.figures import wilson

if TYPE_CHECKING:
    from factory.audit.rows import Audited

EXAMPLES = 5
"""row ids shown with a finding"""


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot: one bar per label."""

    title: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...] = ()
    """lower ends of the values' intervals"""
    highs: tuple[float, ...] = ()
    middle: float = 0.0
    """where bars start: 0.5 for an AUC"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a check measured."""

    figure: float | None
    """None: nothing could be measured, and `why_not` says why"""
    low: float | None = None
    """lower end of the 95% interval; None: the figure is no share and no AUC"""
    high: float | None = None
    rows: int = 0
    """how many rows it was measured on"""
    examples: tuple[str, ...] = ()
    """ids of rows that show the fault"""
    detail: Mapping[str, Any] = field(default_factory=dict)
    why_not: str | None = None
    plots: tuple[Bars, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A check. It passes as long as its figure is not beyond the threshold."""

    name: str
    about: str
    """what it measures, in one sentence"""
    run: "Callable[[Audited], Measured]"
    threshold: float
    most: bool = True
    """whether the threshold is the most that the figure may be; else the least"""
    beyond: Literal["fail", "warn"] = "warn"
    """what the check says if the figure is beyond its default threshold; beyond one that the user gave, it fails"""
    needs: tuple[str, ...] = ()
    """columns of the rows without which it is not applicable"""
    of_prompts: bool = False
    """whether it looks at prompts, so that it holds for a set without answers too"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's outcome."""

    name: str
    about: str
    status: str
    """pass, warn, fail or not applicable"""
    threshold: float
    most: bool
    measured: Measured

    def plain(self) -> dict[str, Any]:
        """As JSON shows it, without plots."""
        measured = {name: value for name, value in asdict(self.measured).items() if name != "plots"}
        return {
            "check": self.name,
            "measures": self.about,
            "status": self.status,
            "threshold": self.threshold,
            "threshold_is": "most" if self.most else "least",
            **measured,
        }


def judged(check: Check, measured: Measured, given: float | None = None) -> Finding:
    """The finding of a check.

    Args:
        given: the user's threshold; None: the default one.
    """
    threshold = check.threshold if given is None else given
    if measured.figure is None:
        status = "not applicable"
    elif measured.figure > threshold if check.most else measured.figure < threshold:
        status = "fail" if given is not None else check.beyond
    else:
        status = "pass"
    return Finding(check.name, check.about, status, threshold, check.most, measured)


def not_applicable(reason: str) -> Measured:
    return Measured(None, why_not=reason)


def share(rows: pl.DataFrame, faulty: pl.Expr, **more: Any) -> Measured:
    """The share of rows with a fault, with its interval and the first of their ids.

    Args:
        faulty: a boolean expression over the rows; NULL counts as no fault.
    """
    if not rows.height:
        return not_applicable("no row can show it")
    bad = rows.filter(faulty)
    return counted(bad.height, rows.height, bad["id"].unique(maintain_order=True).head(EXAMPLES).to_list(), **more)


def counted(found: float, of: int, examples: list[str], **more: Any) -> Measured:
    """`found` of so many, as a share with its interval."""
    low, high = wilson(found, of)
    return Measured(found / of, low, high, of, tuple(examples), **more)
