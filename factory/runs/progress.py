"""A run as it goes, for whoever watches it: counters that the run moves and others only read."""

from collections import Counter
from dataclasses import dataclass, field

from factory.inference.endpoints import Endpoint


@dataclass(slots=True)
class Progress:
    """Where a run is."""

    run_id: str = ""
    phase: str = "starting"
    prompts: int = 0
    done: int = 0
    open: int = 0
    at_stage: Counter[str] = field(default_factory=Counter)
    """prompts that are at each stage now"""
    searches: tuple[str, ...] = ("search",)
    """the stages that grow trees, by their names"""
    trees: int = 0
    accepted: int = 0
    accepted_before: int = 0
    """of `accepted`, those of earlier starts"""
    requests: int = 0
    tokens: int = 0
    from_journal: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """failed requests by kind, those that were tried again with success too"""
    cost: float | None = None
    """in the currency of the recipe's prices; None where it has none"""
    set_aside: list[str] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """what a person should know although the run goes on, a sentence each"""

    @property
    def trees_open(self) -> int:
        """Prompts that are searched now."""
        return sum(self.at_stage[name] for name in self.searches)
