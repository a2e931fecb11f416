"""How many requests a server gets at once: few at first, more while throughput grows, fewer when it is overloaded.

Outcomes are counted in rounds of about `limit` requests. A round with more answers per second than the last doubles
the limit; one without sets it slightly above the last limit that helped, and from then on only small steps are
tried. A single refusal is ignored; a round with more than a quarter refused lowers the limit. Sources: slow start and
congestion avoidance (Jacobson, 1988), and throughput-seeking adaptive concurrency limits (Vegas; BBR, 2016).

Pure: callers pass in the time, and requests are only counted.
"""

from dataclasses import dataclass, field

FIRST = 64
"""A server with a GPU runs this many without queueing (vLLM: 256 sequences); a smaller one queues some."""
GROWS = 1.15
"""A round is better if its throughput grew by this factor."""
OVERLOADED = 0.25
"""Share of a round's requests refused or timed out above which the server counts as overloaded."""
SLACK = 1.25
"""Factor above the best limit, so that the server never waits for the next request."""
CLIMBED = 2.0
"""Latency that grew by this factor since the limit settled, without more throughput, means a queue at the server."""
ROUNDS_BETWEEN_TRIALS = 16


@dataclass(slots=True)
class Round:
    """Outcomes since the round began."""

    since_s: float
    answered: int = 0
    refused: int = 0
    wanted: int = 0
    """answers that arrived while a request was waiting for a slot"""
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The throughput and latency measured at a limit."""

    limit: int = 0
    per_s: float = 0.0
    """answers per second"""
    latency_s: float = 0.0
    """average"""


@dataclass(slots=True)
class Concurrency:
    """One server's limit, between `least` and `most`, and its requests in flight."""

    most: int
    now_s: float
    least: int = 1
    limit: int = field(init=False)
    in_flight: int = 0
    _round: Round = field(init=False)
    _doubling: bool = True
    _best: Pace = Pace()
    """the last limit that helped"""
    _trying_from: int | None = None
    """the limit to go back to if the step being tried does not help"""
    _rounds: int = 0
    """since the last step was tried"""
    _lowered_s: float = float("-inf")
    """when the limit was last lowered"""

    def __post_init__(self) -> None:
        self.limit = max(self.least, min(FIRST, self.most))
        self._round = Round(self.now_s)

    @property
    def free(self) -> int:
        return max(0, self.limit - self.in_flight)

    def answered(self, now_s: float, latency_s: float, *, wanted: bool) -> None:
        """Records an answer; `wanted`: a request was waiting for its slot."""
        if now_s - latency_s < self._lowered_s:  # it sat in the queue that the limit was lowered for
            self._round = Round(now_s)
            return
        self._round.answered += 1
        self._round.latency_s += latency_s
        self._round.wanted += wanted
        self._end_round(now_s)

    def refused(self, now_s: float) -> None:
        """Records that the server was overloaded or timed out."""
        self._round.refused += 1
        self._end_round(now_s)

    def restart(self, now_s: float) -> None:
        """Starts again from `least`, for a server that was down."""
        self.limit, self._doubling, self._best, self._trying_from = self.least, True, Pace(), None
        self._round = Round(now_s)

    def _end_round(self, now_s: float) -> None:
        ended = self._round
        outcomes = ended.answered + ended.refused
        if outcomes < max(self.limit, 4 if self._doubling else 16):
            return
        self._round = Round(now_s)
        if ended.refused > OVERLOADED * outcomes:
            self._set(self.limit * 3 // 4, now_s)
            self._doubling, self._trying_from, self._rounds = False, None, 0
        elif ended.wanted >= 0.75 * ended.answered:  # otherwise the limit was not used up, and says nothing
            per_s = ended.answered / max(now_s - ended.since_s, 1e-9)
            self._learn(Pace(self.limit, per_s, ended.latency_s / ended.answered), now_s)

    def _learn(self, now: Pace, now_s: float) -> None:
        best = self._best
        if self._doubling:
            if now.per_s >= GROWS * best.per_s:
                self._best = now
                self._set(2 * self.limit, now_s)
            else:
                self._doubling = False
                self._set(SLACK * best.limit, now_s)
            return
        if self._trying_from is not None:
            # A step up must help a little; a step down may cost no more than noise.
            least_per_s = best.per_s * (1 + GROWS) / 2 if self.limit > self._trying_from else best.per_s / GROWS
            if now.per_s < least_per_s:
                self._set(self._trying_from, now_s)
            else:
                self._best = now
            self._trying_from = None
            return
        self._rounds += 1
        climbed = now.latency_s > CLIMBED * best.latency_s and now.per_s < GROWS * best.per_s
        if climbed or self._rounds >= ROUNDS_BETWEEN_TRIALS:
            self._rounds, self._trying_from, self._best = 0, self.limit, now
            self._set(self.limit / SLACK if climbed else self.limit * SLACK + 1, now_s)

    def _set(self, limit: float, now_s: float) -> None:
        before, self.limit = self.limit, min(max(round(limit), self.least), self.most)
        if self.limit < before:
            self._lowered_s = now_s
