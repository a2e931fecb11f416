"""A run as events for machines (`--log-format json`): one line of JSON each, on stderr.

Every event has `time` (UTC), `event` and `run_id`; `run_started`, `progress` (every PROGRESS_EVERY_S) and the event that
ends the run (`run_finished`, `run_stopped`, `run_failed`) have all counters, the latter two a `reason`. In between:
`prompt_set_aside`, `server_paused`, `server_back`, `note`. Request headers, and so keys, are out of reach here.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from factory.inference.budget import BudgetReached
from factory.inference.servers import Server
from factory.monitor.meter import Meter
from schemas.errors import FactoryError

TICK_S = 0.25
PROGRESS_EVERY_S = 30.0


def write_event(event: str, **fields: Any) -> None:
    """Writes one event to stderr."""
    text = json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **fields})
    with suppress(OSError):  # stderr's reader is gone: no reason to stop
        print(text, file=sys.stderr, flush=True)


@contextmanager
def events(meter: Meter) -> Iterator[None]:
    """Writes a run's events while the block runs, and how it ended. An error or Ctrl-C propagates."""
    ended = threading.Event()
    reported = _Reported(meter)

    def report() -> None:
        while not ended.wait(TICK_S):
            reported.report()

    reporter = threading.Thread(target=report, name="events", daemon=True)
    reporter.start()
    state, reason = "finished", None
    try:
        yield
    except (KeyboardInterrupt, BudgetReached) as error:
        state, reason = "stopped", str(error) or "stopped by Ctrl-C"
        raise
    except FactoryError as error:
        state, reason = "failed", str(error)
        raise
    except BaseException as error:
        state, reason = "failed", type(error).__name__  # its message may hold anything
        raise
    finally:
        ended.set()
        reporter.join()
        reported.report()
        reported.end(state, reason)


@dataclass(slots=True)
class _Reported:
    """What has been reported of a run, so that it is reported only once."""

    meter: Meter
    started: bool = False
    progress_at_s: float = field(default_factory=time.monotonic)
    set_aside: int = 0
    notes: int = 0
    paused: dict[Server, float] = field(default_factory=dict)
    """until when, as reported"""
    seen_until_s: dict[Server, float] = field(default_factory=dict)

    def report(self) -> None:
        """Reports what is new."""
        progress, now_s = self.meter.progress, time.monotonic()
        self.meter.read(now_s)
        if progress.run_id and not self.started:
            self.started = True
            self._write("run_started", **self._counters(now_s))
        for note in progress.notes[self.notes :]:
            self.notes += 1
            self._write("note", note=note)
        for reason in progress.set_aside[self.set_aside :]:
            self.set_aside += 1
            self._write("prompt_set_aside", reason=reason)
        for endpoint in list(progress.endpoints):
            for server in endpoint.servers:
                self._report_server(endpoint.model.name, server, now_s)
        if now_s - self.progress_at_s >= PROGRESS_EVERY_S:
            self.progress_at_s = now_s
            self._write("progress", **self._counters(now_s))

    def end(self, state: str, reason: str | None) -> None:
        self._write(f"run_{state}", reason=reason, **self._counters(time.monotonic()))

    def _report_server(self, model: str, server: Server, now_s: float) -> None:
        until_s = server.paused_until_s
        # Report even a pause that began and ended between two looks.
        if until_s > self.seen_until_s.get(server, 0.0):
            self.seen_until_s[server] = until_s
            if server not in self.paused:
                self._write(
                    "server_paused", model=model, server=server.address, for_s=round(max(0.0, until_s - now_s), 1)
                )
            self.paused[server] = until_s
        if server in self.paused and now_s >= until_s:
            del self.paused[server]
            self._write("server_back", model=model, server=server.address)

    def _write(self, event: str, **fields: Any) -> None:
        write_event(event, run_id=self.meter.progress.run_id, **fields)

    def _counters(self, now_s: float) -> dict[str, Any]:
        progress = self.meter.progress
        return {
            "phase": progress.phase,
            "prompts": progress.prompts,
            "prompts_done": progress.done,
            "prompts_open": progress.open,
            "set_aside": len(progress.set_aside),
            "at_stage": dict(progress.at_stage),
            "trees_open": progress.trees_open,
            "trees": progress.trees,
            "accepted": progress.accepted,
            "requests": progress.requests,
            "from_journal": progress.from_journal,
            "tokens": progress.tokens,
            "errors": dict(progress.errors),
            "cost": progress.cost,
            "endpoints": [
                {
                    "model": endpoint.model.name,
                    "server": server.address,
                    "in_flight": server.pace.in_flight,
                    "limit": server.pace.limit,
                    "paused": server.paused_until_s > now_s,
                }
                for endpoint in list(progress.endpoints)
                for server in endpoint.servers
            ],
            **{name: None if v is None else round(v, 3) for name, v in asdict(self.meter.read(now_s)).items()},
        }
