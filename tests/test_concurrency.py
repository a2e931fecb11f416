"""How many requests a server is given, tested against a simulated server with a fixed number of slots."""

import heapq
import random

from factory.inference.concurrency import Concurrency


class SimulatedServer:
    """Serves `slots` requests at once, the others wait in line; every free place is asked for at once, and a place is
    filled again when all that was answered at the same moment has been read."""

    def __init__(self, slots: int, latency_s: float = 0.4, jitter: float = 0.9, refused: float = 0.0) -> None:
        self.slots, self.latency_s, self.jitter, self.refused = slots, latency_s, jitter, refused
        self.queue_limit: int | None = None
        self.chance = random.Random(0)
        self.line: list[float] = []
        self.busy: list[tuple[float, float]] = []  # when it ends, when it came
        self.answers = 0
        self.refusals = 0

    def run(self, pace: Concurrency, until_s: float) -> None:
        now_s = pace.now_s
        while now_s < until_s:
            for _ in range(pace.free):
                self._ask(pace, now_s)
            if not self.busy:
                now_s += 0.01
                continue
            now_s = self.busy[0][0]
            while self.busy and self.busy[0][0] == now_s:
                _, came_s = heapq.heappop(self.busy)
                self.answers += 1
                pace.answered(now_s, now_s - came_s, wanted=True)
                pace.in_flight -= 1
            while self.line and len(self.busy) < self.slots:
                self._serve(now_s, self.line.pop(0))
        pace.now_s = now_s

    def _ask(self, pace: Concurrency, now_s: float) -> None:
        full = self.queue_limit is not None and len(self.busy) >= self.slots and len(self.line) >= self.queue_limit
        if full or self.chance.random() < self.refused:
            self.refusals += 1
            pace.refused(now_s)
            return
        pace.in_flight += 1
        if len(self.busy) < self.slots:
            self._serve(now_s, now_s)
        else:
            self.line.append(now_s)

    def _serve(self, now_s: float, came_s: float) -> None:
        latency_s = self.latency_s * (1 + self.jitter * self.chance.uniform(-1, 1))
        heapq.heappush(self.busy, (now_s + latency_s, came_s))


def limit_after(server: SimulatedServer, seconds: float, most: int = 1000) -> int:
    pace = Concurrency(most, 0.0)
    server.run(pace, seconds)
    return pace.limit


def test_it_grows_to_what_the_server_answers_at_once_and_little_beyond() -> None:
    for slots in (64, 200, 500):
        assert slots * 0.9 <= limit_after(SimulatedServer(slots), 60) <= slots * 2.1


def test_it_grows_at_a_server_that_answers_all_at_once() -> None:
    assert limit_after(SimulatedServer(64, jitter=0.0), 3) >= 64


def test_it_never_exceeds_its_upper_bound() -> None:
    assert limit_after(SimulatedServer(500), 60, most=40) == 40


def test_it_starts_low() -> None:
    assert Concurrency(1000, 0.0).limit == 64
    assert Concurrency(8, 0.0).limit == 8


def test_stray_refusals_do_not_lower_it() -> None:
    assert limit_after(SimulatedServer(64, refused=0.05), 60) >= 60


def test_refusals_that_persist_lower_it_to_what_the_server_takes() -> None:
    server = SimulatedServer(64)
    server.queue_limit = 8
    pace = Concurrency(1000, 0.0)
    server.run(pace, 30)
    assert pace.limit <= 96
    refusals, answers = server.refusals, server.answers
    server.run(pace, 60)
    assert server.answers - answers > 0.8 * 64 / 0.4 * 30
    assert server.refusals - refusals < 0.25 * (server.answers - answers)


def test_latency_that_climbs_without_more_answers_lowers_it() -> None:
    server = SimulatedServer(64, jitter=0.3)
    pace = Concurrency(1000, 0.0)
    server.run(pace, 20)
    before = pace.limit
    server.slots = 12
    server.run(pace, 200)
    assert pace.limit < before


def test_it_grows_again_when_the_server_can_do_more() -> None:
    server = SimulatedServer(40, jitter=0.3)
    pace = Concurrency(1000, 0.0)
    server.run(pace, 20)
    server.slots = 160
    server.run(pace, 300)
    assert pace.limit >= 120


def test_a_server_that_was_gone_is_given_one_request_first() -> None:
    pace = Concurrency(64, 0.0)
    pace.restart(10.0)
    assert pace.limit == 1


def test_a_fixed_limit_stays() -> None:
    pace = Concurrency(8, 0.0, least=8)
    server = SimulatedServer(2)
    server.queue_limit = 0
    server.run(pace, 20)
    assert pace.limit == 8
