"""A run's budget and spending: requests, tokens, money and hours."""

import time
from dataclasses import dataclass, field
from typing import Annotated

from factory.inference.journal import Reply, Spent
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from schemas.settings import Settings, about


class BudgetReached(FactoryError):
    """Stops the run: requests in flight are completed, no new ones are sent."""

    def __init__(self, message: str, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit
        """its key in the recipe, and `=null` if no other value can help"""

    @property
    def override(self) -> str:
        """What -o sets to continue the run."""
        return self.limit if "=" in self.limit else f"{self.limit}=…"


class BudgetSettings(Settings, frozen=True, kw_only=True):
    """Where a run stops; it can be resumed with a larger budget. An omitted key means no limit.

    A limit of tokens or cost also stops a run whose endpoint does not tell how many tokens a reply took: unknown is not 0.
    """

    max_requests: Annotated[int, about("the most requests, over all starts of the run", above=0)] | None = None
    max_tokens: Annotated[int, about("the most prompt and answer tokens, over all starts", above=0)] | None = None
    max_cost: Annotated[float, about("the highest cost over all starts, by the models' prices", above=0)] | None = None
    max_hours: Annotated[float, about("the most hours for one start", above=0)] | None = None
    max_unreadable: Annotated[
        float,
        about(
            "the share of unreadable votes, scores, comparisons or refinements above which a run stops, after the first 50 "
            "of each; 1: it never does",
            least=0,
            most=1,
        ),
    ] = 0.9


@dataclass(slots=True)
class Spending:
    """What a run has spent over all its starts; hours count this start only."""

    models: dict[str, ModelSettings]
    """by role"""
    budget: BudgetSettings
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    untold: int = 0
    """requests whose tokens the endpoint did not tell"""
    untold_cost: int = 0
    """of those, to models that are not free"""
    started_s: float = field(default_factory=time.monotonic)

    def add_earlier(self, spent: dict[str, Spent]) -> None:
        """Adds what earlier starts of the run paid, by role."""
        for role, sums in spent.items():
            self.requests += sums.requests
            self._add(role, sums.prompt_tokens, sums.completion_tokens, sums.untold)

    def begin(self) -> None:
        """Counts a request that is about to be sent.

        Raises:
            BudgetReached: the budget is used up, or cannot be kept.
        """
        for name, most, untold in (
            ("max_tokens", self.budget.max_tokens, self.untold),
            ("max_cost", self.budget.max_cost, self.untold_cost),
        ):
            if most is not None and untold:
                raise BudgetReached(
                    f"the budget's {name} of {most:g} cannot be kept, as the endpoint does not tell how many tokens a "
                    f"reply took (no `usage` in {untold:,} of {self.requests:,} replies): remove it, and set "
                    "budget.max_requests or max_hours instead",
                    f"budget.{name}=null",
                )
        limits = (
            ("max_requests", self.budget.max_requests, self.requests),
            ("max_tokens", self.budget.max_tokens, self.tokens),
            ("max_cost", self.budget.max_cost, self.cost),
            ("max_hours", self.budget.max_hours, (time.monotonic() - self.started_s) / 3600),
        )
        for name, most, spent in limits:
            if most is not None and spent >= most:
                paid = f"{self.requests:,} requests, {self.tokens:,} tokens"
                raise BudgetReached(f"the budget's {name} of {most:g} is reached ({paid} so far)", f"budget.{name}")
        self.requests += 1

    def end(self, role: str, reply: Reply | None) -> None:
        """Counts the result; None: nothing was paid."""
        if reply is None:
            self.requests -= 1
        else:
            untold = reply.prompt_tokens is None or reply.completion_tokens is None
            self._add(role, reply.prompt_tokens or 0, reply.completion_tokens or 0, int(untold))

    def _add(self, role: str, prompt_tokens: int, completion_tokens: int, untold: int) -> None:
        self.tokens += prompt_tokens + completion_tokens
        self.untold += untold
        if cost_of(self.models, role, 1, 1) != 0:
            self.untold_cost += untold
        self.cost += cost_of(self.models, role, prompt_tokens, completion_tokens) or 0.0


def cost_of(
    models: dict[str, ModelSettings], role: str, prompt_tokens: float, completion_tokens: float
) -> float | None:
    """The cost of these tokens with a role's model, in the currency of its prices; None if it has no price."""
    model = models[role]
    if model.prompt_price is None or model.completion_price is None:
        return None
    return (prompt_tokens * model.prompt_price + completion_tokens * model.completion_price) / 1e6
