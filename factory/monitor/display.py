"""Shows a run on stderr while it is active: a live display in a terminal, else a plain line now and then.

It only reads `Progress`, in its own thread, so that it and a busy event loop cannot block each other.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from factory.inference.endpoints import Endpoint
from factory.inference.servers import Server
from factory.monitor.console import Console
from factory.monitor.event_log import events
from factory.monitor.meter import Meter, Reading
from factory.monitor.plain_text import NOT_TOLD, clock, counted, few, money, visible
from factory.monitor.table import bar
from factory.runs.progress import Progress
from schemas.errors import FactoryError

REFRESHES_PER_S = 4
LINE_EVERY_S = 30.0
TICK_S = 1.0
SILENT_S = 20.0
"""An endpoint with requests in flight is shown as silent after this long without an answer."""


@contextmanager
def watch(progress: Progress, log_format: str | None = None) -> Iterator[None]:
    """Shows `progress` while the block runs. An error or Ctrl-C leaves the last state on screen and propagates.

    Args:
        log_format: plain (lines), json (events, one per line), or None: live in a terminal, else plain.
    """
    if log_format not in (None, "plain", "json"):
        raise FactoryError(f"there is no log format {log_format!r}: give plain or json, or leave it out")
    meter = Meter(progress, time.monotonic())
    if log_format == "json":
        with events(meter):
            yield
        return
    console = Console(stderr=True)
    # With rich's is_terminal alone, FORCE_COLOR would draw a live display into a log file.
    on_screen = log_format is None and sys.stderr.isatty() and not console.is_dumb_terminal
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
        live.transient = True  # the run's summary replaces it


@contextmanager
def _lines(meter: Meter) -> Iterator[None]:
    ended = threading.Event()
    written_s = meter.started_s
    noted = 0

    def write(state: str) -> None:
        nonlocal noted
        lines = [f"note: {note}" for note in meter.progress.notes[noted:]]
        noted += len(lines)
        lines.append(line(meter.progress, meter.read(time.monotonic()), state))
        with suppress(OSError):  # stderr's reader is gone: no reason to stop
            print("\n".join(map(visible, lines)), file=sys.stderr, flush=True)

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
    """A run as one log line."""
    parts = []
    if progress.prompts:
        parts.append(f"{progress.done:,} of {counted(progress.prompts, 'prompt')}")
    if progress.trees_open:
        parts.append(f"{counted(progress.trees_open, 'tree')} open")
    if progress.trees:
        parts.append(f"{progress.accepted:,} of {counted(progress.trees, 'tree')} accepted{_each_minute(reading)}")
    if progress.requests:
        untold = progress.untold and not progress.tokens
        parts += [
            counted(progress.requests, "request"),
            "tokens not told" if untold else counted(progress.tokens, "token"),
        ]
    if progress.requests and reading.recent_requests_per_s is not None:
        parts.append(f"{few(reading.recent_requests_per_s)} requests/s")
    if progress.tokens and reading.recent_tokens_per_s is not None:
        parts.append(f"{reading.recent_tokens_per_s:,.0f} tokens/s")
    for endpoint in list(progress.endpoints):
        parts.append(f"{endpoint.model.name} {endpoint.in_flight:,}/{endpoint.limit:,} in flight{_paused(endpoint)}")
    if errors := _errors(progress):
        parts.append(f"errors: {errors}")
    if progress.from_journal:
        parts.append(f"{progress.from_journal:,} from the journal")
    if progress.set_aside:
        parts.append(f"{len(progress.set_aside)} set aside")
    if progress.cost is not None:
        parts.append(f"cost {money(progress.cost)}")
    parts.append(f"{clock(reading.elapsed_s)} elapsed")
    if reading.left_s is not None:
        parts.append(f"about {clock(reading.left_s)} left")
    heading = f"{progress.heading}, " if progress.heading else ""
    return f"{heading}{progress.run_id or 'run'}: {state}, {', '.join(parts)}"


def picture(progress: Progress, reading: Reading, now_s: float) -> RenderableType:
    """A run as a few lines in a terminal. `now_s` is on the monotonic clock."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="ellipsis", no_wrap=True)
    if progress.heading:
        grid.add_row("loop", Text(visible(progress.heading), overflow="fold", no_wrap=False))
    left = f", about {clock(reading.left_s)} left" if reading.left_s is not None else ""
    title = Text.assemble((progress.run_id or "run", "bold"), f"  {progress.phase}")
    grid.add_row("run", title + Text(f"  {clock(reading.elapsed_s)} elapsed{left}", "cyan"))
    if progress.prompts:
        grid.add_row("prompts", bar(progress.done, progress.prompts, "done"))
    stages = dict(progress.at_stage)
    if any(stages.values()):
        grid.add_row("at stage", ", ".join(f"{name} {count}" for name, count in stages.items()))
    if progress.trees or progress.trees_open:
        share = f" ({progress.accepted / progress.trees:.0%})" if progress.trees else ""
        gave = f"{progress.accepted:,} gave a pair{share}{_each_minute(reading)}"
        grid.add_row("trees", f"{progress.trees_open:,} open, {progress.trees:,} searched: {gave}")
    if progress.endpoints:
        journal = f", {progress.from_journal:,} read from the journal" if progress.from_journal else ""
        rate = reading.recent_requests_per_s
        now = f", {few(rate)}/s now" if rate is not None else ""
        grid.add_row("requests", f"{progress.requests:,} answered{now}{journal}")
        grid.add_row("tokens", _tokens(progress, reading))
    if errors := _errors(progress):
        grid.add_row("errors", Text(errors, "yellow"))
    if progress.cost is not None:
        grid.add_row("cost", f"{money(progress.cost)} so far, by the recipe's prices")
    for endpoint in list(progress.endpoints):
        _add_endpoint(grid, endpoint, now_s)
    if progress.set_aside:
        grid.add_row(
            Text("set aside", "red"), Text(f"{len(progress.set_aside)}, last {visible(progress.set_aside[-1])}", "red")
        )
    for note in progress.notes:
        grid.add_row(Text("note", "yellow"), Text(visible(note), "yellow", overflow="fold", no_wrap=False))
    return grid


def _add_endpoint(grid: Table, endpoint: Endpoint, now_s: float) -> None:
    """How full an endpoint is, and each of its servers if it has several."""
    full = bar(endpoint.in_flight, endpoint.limit, "in flight")
    if len(endpoint.servers) == 1:
        _add_pause(full, endpoint.servers[0], now_s)
    silent_s = now_s - endpoint.last_answer_s
    if endpoint.in_flight and silent_s > SILENT_S:
        full.add_row("", Text(f"no answer for {clock(silent_s)}", "yellow"))
    grid.add_row(Text(visible(endpoint.model.name)), full)
    if len(endpoint.servers) > 1:
        for server in endpoint.servers:
            share = bar(server.pace.in_flight, server.pace.limit, visible(server.address))
            _add_pause(share, server, now_s)
            grid.add_row("", share)


def _add_pause(full: Table, server: Server, now_s: float) -> None:
    if server.paused_until_s > now_s:
        full.add_row("", Text(f"paused, retrying in {clock(server.paused_until_s - now_s)}", "yellow"))


def _paused(endpoint: Endpoint) -> str:
    now_s = time.monotonic()
    paused = sum(server.paused_until_s > now_s for server in endpoint.servers)
    return f" ({paused} of {counted(len(endpoint.servers), 'server')} paused)" if paused else ""


def _errors(progress: Progress) -> str:
    """Failed requests by kind, the most frequent first."""
    kinds = sorted(dict(progress.errors).items(), key=lambda kind: (-kind[1], kind[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds)


def _each_minute(reading: Reading) -> str:
    return "" if reading.accepted_per_minute is None else f", {few(reading.accepted_per_minute)} a minute"


def _tokens(progress: Progress, reading: Reading) -> str:
    rates = [
        f"{rate:,.0f}/s {what}"
        for rate, what in ((reading.recent_tokens_per_s, "now"), (reading.mean_tokens_per_s, "on average"))
        if rate is not None
    ]
    if progress.untold and not progress.tokens:
        return NOT_TOLD
    return ", ".join([f"{progress.tokens:,} generated", *rates])
