"""Turns a run's counters into rates and a time left, for display."""

from collections import deque
from dataclasses import dataclass, field

from factory.runs.progress import Progress

RECENT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Rates and times derived from the counters; None: not known yet."""

    elapsed_s: float
    left_s: float | None = None
    recent_tokens_per_s: float | None = None
    mean_tokens_per_s: float | None = None
    recent_requests_per_s: float | None = None
    accepted_per_minute: float | None = None
    """on average"""


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters at one time."""

    at_s: float
    prompts: int
    tokens: int
    requests: int
    accepted: int


@dataclass(slots=True)
class Meter:
    """Reads counters repeatedly. Times are seconds on one monotonic clock."""

    progress: Progress
    started_s: float
    _first: Counts | None = None
    """when the first prompts started"""
    _recent: deque[Counts] = field(default_factory=deque)

    def read(self, now_s: float) -> Reading:
        """Call it often: recent rates are since the newest reading that is at least RECENT_S old (or the first)."""
        progress, elapsed_s = self.progress, now_s - self.started_s
        if progress.phase != "running":
            return Reading(elapsed_s)
        now = Counts(now_s, progress.done, progress.tokens, progress.requests, progress.accepted)
        first = self._first = self._first or now
        self._recent.append(now)
        while len(self._recent) > 1 and self._recent[1].at_s <= now_s - RECENT_S:
            self._recent.popleft()
        recent = self._recent[0]
        running_s, recent_s = now_s - first.at_s, now_s - recent.at_s
        done, left = now.prompts - first.prompts, progress.prompts - now.prompts
        accepted_per_s = _rate(now.accepted - first.accepted, running_s)
        return Reading(
            elapsed_s,
            left_s=running_s / done * left if done > 0 and left > 0 else None,
            recent_tokens_per_s=_rate(now.tokens - recent.tokens, recent_s),
            mean_tokens_per_s=_rate(now.tokens - first.tokens, running_s),
            recent_requests_per_s=_rate(now.requests - recent.requests, recent_s),
            accepted_per_minute=None if accepted_per_s is None else 60 * accepted_per_s,
        )


def _rate(count: int, over_s: float) -> float | None:
    return count / over_s if over_s > 0 else None
