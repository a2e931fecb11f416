"""A run's progress: counters that the run updates and others only read."""

from collections import Counter
from dataclasses import dataclass, field

from factory.inference.endpoints import Endpoint


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    heading: str = ""
    """what the run is a part of, such as a loop's round"""
    run_id: str = ""
    phase: str = "starting"
    prompts: int = 0
    done: int = 0
    open: int = 0
    at_stage: Counter[str] = field(default_factory=Counter)
    """prompts now at each stage"""
    searches: tuple[str, ...] = ("search",)
    """names of the stages that grow trees"""
    trees: int = 0
    accepted: int = 0
    accepted_before: int = 0
    """of `accepted`, those of earlier attempts"""
    requests: int = 0
    tokens: int = 0
    untold: int = 0
    """requests whose tokens the endpoint did not tell"""
    from_journal: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """failed requests by kind, even if a retry succeeded"""
    cost: float | None = None
    """in the currency of the recipe's prices; None if it has none, or the tokens are not told"""
    set_aside: list[str] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """warnings that do not stop the run, one sentence each"""

    @property
    def trees_open(self) -> int:
        """Prompts being searched now."""
        return sum(self.at_stage[name] for name in self.searches)
