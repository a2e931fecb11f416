"""Shows a run while it goes on: a live display in a terminal, else a plain line now and then, both on stderr.

It only reads `Progress`, from a thread of its own, so that a busy event loop cannot stop it nor be stopped by it.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from factory.plain_text import clock, counted, visible
from factory.progress import Progress

REFRESHES_PER_S = 4
LINE_EVERY_S = 30.0
TICK_S = 1.0
RECENT_S = 10.0
SILENT_S = 20.0
"""An endpoint that has requests and has answered none of them for so long is shown as silent."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What follows from how the counters moved; None: not known yet."""

    elapsed_s: float
    left_s: float | None
    recent_tokens_per_s: float | None
    mean_tokens_per_s: float | None


@dataclass(slots=True)
class Meter:
    """Turns counters into rates and a time left. Times are seconds of one monotonic clock."""

    progress: Progress
    started_s: float
    _running: tuple[float, int, int] | None = None  # since when prompts run; prompts and tokens at that time
    _tokens: deque[tuple[float, int]] = field(default_factory=deque)

    def read(self, now_s: float) -> Reading:
        """Call it often: the recent rate is that since the youngest reading that is RECENT_S old (or the first)."""
        prompts, tokens = self.progress.done, self.progress.tokens
        elapsed_s = now_s - self.started_s
        if self.progress.phase != "running":
            return Reading(elapsed_s, None, None, None)
        if self._running is None:
            self._running = now_s, prompts, tokens
        self._tokens.append((now_s, tokens))
        while len(self._tokens) > 1 and self._tokens[1][0] <= now_s - RECENT_S:
            self._tokens.popleft()
        since_s, first_prompts, first_tokens = self._running
        done = prompts - first_prompts
        left = self.progress.prompts - prompts
        return Reading(
            elapsed_s,
            (now_s - since_s) / done * left if done > 0 and left > 0 else None,
            _rate(tokens - self._tokens[0][1], now_s - self._tokens[0][0]),
            _rate(tokens - first_tokens, now_s - since_s),
        )


def _rate(count: int, over_s: float) -> float | None:
    return count / over_s if over_s > 0 else None


@contextmanager
def watch(progress: Progress) -> Iterator[None]:
    """Shows `progress` as long as the block runs. An error or Ctrl-C leaves the last state standing and passes on."""
    meter = Meter(progress, time.monotonic())
    console = Console(stderr=True)
    # Not rich's is_terminal alone: FORCE_COLOR would draw a live display into a log file.
    on_screen = sys.stderr.isatty() and not console.is_dumb_terminal
    with _live(meter, console) if on_screen else _lines(meter):
        yield


@contextmanager
def _live(meter: Meter, console: Console) -> Iterator[None]:
    live = Live(
        get_renderable=lambda: picture(meter.progress, meter.read(time.monotonic()), time.monotonic()),
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        redirect_stdout=False,
    )
    with live:
        yield
        live.transient = True  # the run's summary takes its place


@contextmanager
def _lines(meter: Meter) -> Iterator[None]:
    ended = threading.Event()
    written_s = meter.started_s

    def write(state: str) -> None:
        text = line(meter.progress, meter.read(time.monotonic()), state)
        with suppress(OSError):  # whoever read stderr is gone: no reason to stop
            print(text, file=sys.stderr, flush=True)

    def tell() -> None:
        nonlocal written_s
        while not ended.wait(TICK_S):
            meter.read(time.monotonic())
            if time.monotonic() - written_s >= LINE_EVERY_S:
                written_s = time.monotonic()
                write(meter.progress.phase)

    write(meter.progress.phase)
    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    state = "stopped"
    try:
        yield
        state = "done"
    finally:
        ended.set()
        teller.join()
        write(state)


def line(progress: Progress, reading: Reading, state: str) -> str:
    """A run in one line, for a log."""
    parts = []
    if progress.prompts:
        parts.append(f"{progress.done:,} of {counted(progress.prompts, 'prompt')}")
    if progress.trees:
        parts.append(f"{progress.accepted:,} of {counted(progress.trees, 'tree')} accepted")
    if progress.requests:
        parts += [counted(progress.requests, "request"), counted(progress.tokens, "token")]
    if progress.tokens and reading.recent_tokens_per_s is not None:
        parts.append(f"{reading.recent_tokens_per_s:,.0f} tokens/s")
    if progress.from_journal:
        parts.append(f"{progress.from_journal:,} from the journal")
    if progress.set_aside:
        parts.append(f"{len(progress.set_aside)} set aside")
    parts.append(f"{clock(reading.elapsed_s)} elapsed")
    if reading.left_s is not None:
        parts.append(f"about {clock(reading.left_s)} left")
    return f"{progress.run_id or 'run'}: {state}, {', '.join(parts)}"


def picture(progress: Progress, reading: Reading, now_s: float) -> RenderableType:
    """A run as a few lines in a terminal."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="ellipsis", no_wrap=True)
    left = f", about {clock(reading.left_s)} left" if reading.left_s is not None else ""
    title = Text.assemble((progress.run_id or "run", "bold"), f"  {progress.phase}")
    grid.add_row("run", title + Text(f"  {clock(reading.elapsed_s)} elapsed{left}", "cyan"))
    if progress.prompts:
        grid.add_row("prompts", _bar(progress.done, progress.prompts, "done"))
    stages = dict(progress.at_stage)
    if any(stages.values()):
        grid.add_row("at stage", ", ".join(f"{name} {count}" for name, count in stages.items()))
    if progress.trees:
        share = f"{progress.accepted / progress.trees:.0%}"
        grid.add_row("trees", f"{progress.trees:,} searched: {progress.accepted:,} gave a pair ({share})")
    if progress.endpoints:
        journal = f", {progress.from_journal:,} read from the journal" if progress.from_journal else ""
        grid.add_row("requests", f"{progress.requests:,} answered{journal}")
        grid.add_row("tokens", _tokens(progress, reading))
    for endpoint in list(progress.endpoints):
        full = _bar(endpoint.in_flight, endpoint.limit, "in flight")
        silent_s = now_s - endpoint.last_answer_s
        if endpoint.in_flight and silent_s > SILENT_S:
            full.add_row("", Text(f"no answer for {clock(silent_s)}", "yellow"))
        grid.add_row(Text(endpoint.model.name), full)
    if progress.set_aside:
        grid.add_row(
            Text("set aside", "red"), Text(f"{len(progress.set_aside)}, last {visible(progress.set_aside[-1])}", "red")
        )
    return grid


def _bar(done: int, total: int, what: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=24)
    grid.add_column(no_wrap=True)
    grid.add_row(ProgressBar(total, min(done, total), width=24), f"{done:,} of {total:,} {what}")
    return grid


def _tokens(progress: Progress, reading: Reading) -> str:
    rates = [
        f"{rate:,.0f}/s {what}"
        for rate, what in ((reading.recent_tokens_per_s, "now"), (reading.mean_tokens_per_s, "on the mean"))
        if rate is not None
    ]
    return ", ".join([f"{progress.tokens:,} generated", *rates])
