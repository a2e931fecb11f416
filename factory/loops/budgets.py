"""Two budgets at once: the loop's, and the one that a recipe sets for each of its runs. The smaller one counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from factory.inference.budget import BudgetReached, BudgetSettings

LIMITS = ("max_requests", "max_tokens", "max_cost", "max_hours")
MOST_TOKENS = "budget.max_tokens"
"""the key of both: as it stands it is the loop's, and under `override` the recipe's"""
Section = Literal["override", "evaluate_override"]
"""where a loop changes a recipe's settings, or those of its evaluations"""


def smaller(left: int | None, own: int | None) -> int | None:
    """How many tokens a step may use; None: there is no limit.

    Args:
        left: of the loop's budget.
        own: of the recipe's, for one run.
    """
    return min((limit for limit in (left, own) if limit is not None), default=None)


def is_loops(left: int | None, own: int | None) -> bool:
    """Whether the smaller one is the loop's."""
    return left is not None and (own is None or left <= own)


@contextmanager
def spending(left: int | None, own: int | None, section: Section) -> Iterator[None]:
    """Names the setting of the loop that is to be raised, whichever budget is spent in the block.

    Raises:
        BudgetReached: again, with that setting as its limit.
    """
    try:
        yield
    except BudgetReached as reached:
        raise BudgetReached(str(reached), _setting(reached.limit, left, own, section)) from reached


def limits_of(budget: BudgetSettings, left: int | None) -> str:
    """The settings to raise, where it is not known which limit of a recipe's judge was reached."""
    own = {name: getattr(budget, name) for name in LIMITS}
    given = [name for name, most in own.items() if most is not None or (name == "max_tokens" and left is not None)]
    return " -o ".join(f"{_setting(f'budget.{name}', left, own['max_tokens'], 'override')}=…" for name in given)


def whose(limits: str) -> str:
    """Whose budget is spent, by what `spending` and `limits_of` say."""
    return " or ".join(dict.fromkeys(map(_owner, limits.split(" -o "))))


def _setting(limit: str, left: int | None, own: int | None, section: Section) -> str:
    shared = limit.partition("=")[0] == MOST_TOKENS
    if shared and is_loops(left, own):
        return limit
    return limit if section == "override" and not shared else f"{section}.{limit}"


def _owner(setting: str) -> str:
    if setting.startswith("evaluate_override."):
        return "the evaluations' budget"
    return "the loop's budget" if setting.partition("=")[0] == MOST_TOKENS else "the recipe's budget"
