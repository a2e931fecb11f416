"""Whether a round's model is used on: rules such as `actor.ifbench.instruction_loose >= previous - 1.0`."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.errors import FactoryError

_RULE = re.compile(
    r"\s*(?P<role>\w+)\.(?P<benchmark>\S+)\.(?P<metric>\w+)\s*(?P<compare>>=|>)\s*"
    r"(?:(?P<base>previous|first)\s*(?:(?P<sign>[+-])\s*(?P<points>\d+(?:\.\d+)?))?|(?P<floor>\d+(?:\.\d+)?))\s*"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, ">": operator.gt}

Figures = Mapping[tuple[str, str], float | None]
"""a model's figures, 0..1, by benchmark and metric"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on a role's new model."""

    text: str
    role: str
    benchmark: str
    metric: str
    compare: str
    base: str | None
    """previous or first; None: a fixed floor"""
    points: float
    """percentage points above the base, or the floor itself"""


def rule_of(text: str) -> Rule:
    """Reads a rule.

    Raises:
        FactoryError: it is not one.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise FactoryError(
            f"keep: {text!r} is not a rule: write ROLE.EVALUATION.METRIC >= previous - POINTS, as in "
            "actor.ifbench.instruction_loose >= previous - 1.0"
        )
    points = float(found["floor"] or found["points"] or 0)
    return Rule(
        text.strip(),
        found["role"],
        found["benchmark"],
        found["metric"],
        found["compare"],
        found["base"],
        -points if found["sign"] == "-" else points,
    )


def broken(rule: Rule, new: Figures, previous: Figures, first: Figures) -> str | None:
    """Why a rule does not hold for a new model, in one sentence; None: it holds.

    Raises:
        FactoryError: the evaluation has no such figure.
    """
    bound = rule.points
    if rule.base is not None:
        bound += 100 * _figure(rule, previous if rule.base == "previous" else first)
    measured = 100 * _figure(rule, new)
    if _COMPARE[rule.compare](round(measured, 9), round(bound, 9)):
        return None
    return f"{rule.text} does not hold: {measured:.1f} against {bound:.1f}"


def _figure(rule: Rule, figures: Figures) -> float:
    value = figures.get((rule.benchmark, rule.metric))
    if value is None:
        known = ", ".join(sorted(metric for benchmark, metric in figures if benchmark == rule.benchmark))
        raise FactoryError(
            f"keep: {rule.text!r} asks for {rule.metric}, which {rule.benchmark} does not measure: it measures {known or 'nothing'}"
        )
    return value
