"""Whether a round's model is used on: rules such as `actor.ifbench.instruction_loose >= previous - 1.0`."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from factory.evaluation.agreement import agreement_figures
from factory.evaluation.figures import METRICS
from factory.evaluation.refining import Refinement, refine_figures
from factory.loops.plan import JUDGING, REFINING
from schemas.errors import FactoryError, nearest

_RULE = re.compile(
    r"\s*(?P<role>\w+)\.(?P<benchmark>\S+)\.(?P<metric>\w+)\s*(?P<compare>>=|>)\s*"
    r"(?:(?P<base>previous|first)\s*(?:(?P<sign>[+-])\s*(?P<points>\d+(?:\.\d+)?))?|(?P<floor>\d+(?:\.\d+)?))\s*"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, ">": operator.gt}

KINDS = ("_seen", "_unseen")
"""of constraints, in the prompts of the rounds so far: figures from round 1 on"""

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


def check_metric(rule: Rule) -> None:
    """
    Raises:
        FactoryError: the evaluation has no such figure, or none before the first round.
    """
    known = metrics_of(rule.benchmark)
    if rule.metric not in known:
        raise FactoryError(
            f"keep: {rule.text!r} asks for {rule.metric}, which {rule.benchmark} does not measure: {nearest(rule.metric, known)}"
        )
    if rule.base is not None and rule.metric.endswith(KINDS):
        raise FactoryError(
            f"keep: {rule.text!r} compares with a round in which no kind of constraint has been seen: compare with a number, or "
            f"take {rule.metric.rpartition('_')[0]}"
        )


def metrics_of(benchmark: str) -> list[str]:
    """What an evaluation measures."""
    if benchmark == JUDGING:
        return list(agreement_figures([(True, True)]))
    if benchmark == REFINING:
        return list(refine_figures([Refinement("", "", None, True, True)], 1, of_model=False))
    return [*METRICS, *(metric + kind for metric in METRICS for kind in KINDS)]


def broken(rule: Rule, new: Figures, previous: Figures, first: Figures) -> str | None:
    """Why a rule does not hold for a new model, in one sentence; None: it holds.

    Raises:
        FactoryError: there is no such figure.
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
        raise FactoryError(
            f"keep: {rule.text!r} cannot be decided: {rule.benchmark} gave no {rule.metric} in this round"
        )
    return value
