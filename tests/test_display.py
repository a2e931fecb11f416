"""A run shows its progress on stderr, terminal or not; stdout stays free."""

import asyncio
import os
import pty
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from factory.inference.concurrency import Concurrency
from factory.inference.endpoints import Endpoint
from factory.inference.servers import Server
from factory.monitor.display import SILENT_S, line, picture, watch
from factory.monitor.meter import RECENT_S, Meter, Reading
from factory.monitor.plain_text import clock, money, visible
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from schemas.tables import Model
from tests.rows import row

NOTHING_KNOWN = Reading(0.0)


def going(**fields: Any) -> Progress:
    return Progress(run_id="spar-1", phase="running", **fields)


def drawn(progress: Progress, reading: Reading = NOTHING_KNOWN, now_s: float = 0.0, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, record=True)
    console.print(picture(progress, reading, now_s))
    return console.export_text()


def server(in_flight: int, limit: int, address: str = "http://one/v1", paused_until_s: float = 0.0) -> Server:
    pace = Concurrency(limit, 0.0, least=limit)
    pace.in_flight = in_flight
    client: Any = None  # nothing is asked
    return Server(address, f"{address}/chat", client, pace, 1.0, last_answer_s=0.0, paused_until_s=paused_until_s)


def endpoint(*servers: Server) -> Endpoint:
    return Endpoint("actor", row(Model, "m", name="tiny"), list(servers), None)


def test_time_left_follows_from_the_prompts_done_since_the_start() -> None:
    progress = going(prompts=100, done=40)  # a run that goes on: 40 were done before
    meter = Meter(progress, 0.0)
    assert meter.read(5.0).left_s is None
    progress.done = 50
    assert meter.read(25.0).left_s == 20.0 / 10 * 50


def test_requests_are_counted_by_the_second_and_accepted_trees_by_the_minute() -> None:
    meter = Meter(going(prompts=9, requests=5, accepted=7), 0.0)
    assert meter.read(10.0).recent_requests_per_s is None
    meter.progress.requests, meter.progress.accepted = 25, 8
    reading = meter.read(14.0)
    assert (reading.recent_requests_per_s, reading.accepted_per_minute) == (20 / 4, 60 / 4)


def test_recent_rate_forgets_what_is_older_than_its_window() -> None:
    progress = going(prompts=1)
    meter = Meter(progress, 0.0)
    for second in range(41):
        progress.tokens += 100 if second <= 20 else 5
        reading = meter.read(float(second))
    assert reading.recent_tokens_per_s == pytest.approx(5.0)
    assert reading.mean_tokens_per_s == pytest.approx((20 * 100 + 20 * 5) / 40)
    assert RECENT_S < 20


@pytest.mark.parametrize("phase", ["starting models", "compacting"])
def test_nothing_is_estimated_but_while_prompts_run(phase: str) -> None:
    meter = Meter(going(prompts=10, done=4), 0.0)
    meter.read(1.0)
    meter.progress.phase, meter.progress.done = phase, 5
    assert meter.read(60.0) == Reading(60.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5), st.integers(0, 999)), max_size=30))
def test_rates_and_time_left_are_never_negative(steps: list[tuple[float, int, int]]) -> None:
    progress, now_s = going(prompts=200), 0.0
    meter = Meter(progress, now_s)
    for after_s, done, tokens in steps:
        now_s, progress.done, progress.tokens = now_s + after_s, progress.done + done, progress.tokens + tokens
        reading = meter.read(now_s)
        assert all(value is None or value >= 0 for value in asdict(reading).values())


def test_picture_shows_what_a_person_waits_for() -> None:
    progress = going(prompts=40, done=10, trees=9, accepted=6, requests=1234, tokens=56_789, from_journal=3, cost=1.5)
    progress.at_stage.update(sample=2, search=7)
    progress.errors.update({"time-out": 1, "HTTP 429": 12})
    progress.endpoints = [endpoint(server(48, 64))]
    progress.set_aside = ["prompt 3 (ab): refused (HTTP 400): too long"]
    progress.notes = ["something is off"]
    text = drawn(progress, Reading(61.0, 120.0, 500.0, 400.0, 33.4, 1.25))
    for shown in (
        "spar-1", "running", "1:01 elapsed", "about 2:00 left", "10 of 40 done", "sample 2, search 7",
        "7 open, 9 searched: 6 gave a pair (67%), 1.2 a minute", "56,789 generated, 500/s now, 400/s on average",
        "1,234 answered, 33/s now, 3 read from the journal", "tiny", "48 of 64 in flight", "12 HTTP 429, 1 time-out",
        "1.50 so far", "1, last prompt 3 (ab): refused", "something is off",
    ):  # fmt: skip
        assert shown in text


def test_without_prices_there_is_no_cost_and_without_errors_no_line_of_them() -> None:
    text = drawn(going(prompts=1, requests=5)) + line(going(prompts=1, requests=5), NOTHING_KNOWN, "running")
    assert "cost" not in text and "error" not in text


def test_each_server_of_a_model_is_shown_and_a_paused_one_as_such() -> None:
    progress = going(prompts=1)
    one, two = server(3, 10, "http://one/v1"), server(0, 20, "http://two/v1", paused_until_s=112.0)
    progress.endpoints = [endpoint(one, two)]
    lines = drawn(progress, now_s=100.0).splitlines()
    assert "3 of 30 in flight" in next(text for text in lines if "tiny" in text)
    assert "3 of 10 http://one/v1" in "".join(lines)
    (at,) = [i for i, text in enumerate(lines) if "0 of 20 http://two/v1" in text]
    assert "paused, retrying in 0:12" in lines[at + 1]
    assert "paused" not in drawn(progress, now_s=113.0)


def test_an_only_server_that_is_paused_is_shown_as_such() -> None:
    progress = going(prompts=1)
    progress.endpoints = [endpoint(server(0, 8, paused_until_s=65.0))]
    assert "paused, retrying in 1:05" in drawn(progress, now_s=0.0)


def test_an_endpoint_that_has_fallen_silent_is_named() -> None:
    progress = going(prompts=1)
    progress.endpoints = [endpoint(server(1, 8))]
    progress.endpoints[0].servers[0].last_answer_s = 100.0
    assert "no answer" not in drawn(progress, now_s=100.0 + SILENT_S)
    assert "no answer for 1:05" in drawn(progress, now_s=165.0)


@pytest.mark.parametrize("width", [1, 4, 17, 80])
def test_picture_fits_any_width(width: int) -> None:
    progress = going(prompts=40, done=10, trees=9, accepted=6, requests=12, set_aside=["[red]\x1b[31mx"])
    progress.endpoints = [endpoint(server(48, 64), server(0, 9, paused_until_s=9e9))]
    progress.notes = ["a long note of many words"]
    assert max(map(len, drawn(progress, width=width).splitlines())) <= width


def test_picture_is_drawn_before_anything_is_known() -> None:
    assert "starting" in drawn(Progress())


def test_line_tells_the_counts() -> None:
    progress = going(prompts=40, done=10, trees=9, accepted=6, requests=1, tokens=1200, set_aside=["x"])
    assert line(progress, Reading(3600.0, 59.6, 12.0, 5.0), "running") == (
        "spar-1: running, 10 of 40 prompts, 6 of 9 trees accepted, 1 request, 1,200 tokens, 12 tokens/s, "
        "1 set aside, 1:00:00 elapsed, about 1:00 left"
    )


def test_line_tells_the_same_essentials_as_the_picture() -> None:
    progress = going(prompts=40, trees=9, accepted=6, requests=70, tokens=1, cost=0.0123)
    progress.at_stage["search"] = 3
    progress.errors.update({"HTTP 500": 2})
    progress.endpoints = [endpoint(server(8, 10), server(0, 20, paused_until_s=9e9))]
    text = line(progress, Reading(1.0, None, 3.0, 3.0, 7.0, 15.0), "running")
    for told in (
        "3 trees open", "6 of 9 trees accepted, 15 a minute", "7.0 requests/s", "errors: 2 HTTP 500", "cost 0.012",
        "tiny 8/30 in flight (1 of 2 servers paused)",
    ):  # fmt: skip
        assert told in text


def test_without_a_terminal_plain_lines_are_written_at_start_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with watch(progress):
        progress.run_id, progress.prompts, progress.done = "spar-1", 4, 4
        print("a result")
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert re.fullmatch(r"run: starting, \d:\d\d elapsed\nspar-1: done, 4 of 4 prompts, \d:\d\d elapsed\n", err)


def test_a_note_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    with watch(going(notes=["something is off"])):
        pass
    assert capsys.readouterr().err.count("note: something is off\n") == 1


def test_plain_lines_come_every_so_often(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.monitor.display.LINE_EVERY_S", 0.01)
    monkeypatch.setattr("factory.monitor.display.TICK_S", 0.01)

    async def until_three_lines() -> None:
        seen = ""
        while seen.count("\n") < 3:
            await asyncio.sleep(0.01)
            seen += capsys.readouterr().err

    with watch(going(prompts=4)):
        asyncio.run(asyncio.wait_for(until_three_lines(), 120))
    assert "spar-1: done" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_passes_on_and_the_last_line_says_stopped(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error), watch(going(prompts=4)):
        raise error
    assert "spar-1: stopped" in capsys.readouterr().err.splitlines()[-1]


@contextmanager
def terminal(**environment: str) -> Iterator[list[str]]:
    """Makes stderr a real terminal; what was written to it is in the list when the block is left."""
    ours, theirs = pty.openpty()
    written: list[str] = []
    with (
        open(theirs, "w") as file,  # noqa: PTH123
        redirect_stderr(file),
        patch.dict(os.environ, {"TERM": "xterm-256color", **environment}),
    ):
        yield written
    found = b""
    with suppress(OSError):  # Linux says so at the end of a terminal
        while part := os.read(ours, 65536):
            found += part
    os.close(ours)
    written.append(found.decode())


def test_in_a_terminal_stdout_is_left_alone_and_the_cursor_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal() as written, watch(going(prompts=4, done=1)):
        print("a result")
    (err,) = written
    assert capsys.readouterr().out == "a result\n"
    assert "1 of 4 done" in err
    assert err.rindex("\x1b[?25h") > err.rindex("\x1b[?25l")


def test_in_a_terminal_the_display_goes_when_the_run_is_done() -> None:
    with terminal() as written, watch(going(prompts=4, done=1)):
        pass
    (err,) = written
    assert "1 of 4 done" in err
    assert "1 of 4 done" not in err.rpartition("\x1b[2K")[2]


def test_in_a_terminal_ctrl_c_leaves_the_last_state_standing() -> None:
    with terminal() as written, pytest.raises(KeyboardInterrupt), watch(going(prompts=4, done=1)):
        raise KeyboardInterrupt
    (err,) = written
    assert "1 of 4 done" in err.rpartition("\x1b[2K")[2]
    assert err.rindex("\x1b[?25h") > err.rindex("\x1b[?25l")


def test_a_terminal_of_one_line_and_two_columns_breaks_nothing() -> None:
    progress = going(prompts=4)
    with terminal(COLUMNS="2", LINES="1") as written, watch(progress):
        progress.done = 4
    assert "\x1b[?25h" in written[0]


def test_plain_lines_can_be_asked_for_in_a_terminal() -> None:
    with terminal() as written, watch(going(prompts=4, done=1), "plain"):
        pass
    assert "\x1b" not in written[0] and "spar-1: done, 1 of 4 prompts" in written[0]


def test_a_log_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(FactoryError, match="no log format 'xml': give plain or json"), watch(Progress(), "xml"):
        pass


def test_a_dumb_terminal_gets_plain_lines() -> None:
    with terminal(TERM="dumb") as written, watch(going(prompts=4, done=1)):
        pass
    assert "\x1b" not in written[0]
    assert "spar-1: done, 1 of 4 prompts" in written[0]


def test_forced_colours_draw_no_display_into_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with watch(going(prompts=4, done=1)):
        pass
    assert "\x1b" not in capsys.readouterr().err


def test_escapes_and_lone_surrogates_are_made_visible() -> None:
    assert visible("a\x1b[31mb\ud800\u202ec\r\nd\te") == "a\ufffd[31mb\ufffd\ufffdc\nd\te"


@given(st.text())
def test_what_is_visible_can_be_written_and_stays_so(text: str) -> None:
    once = visible(text)
    assert visible(once) == once
    assert "\x1b" not in once.encode().decode()


def test_clock_counts_in_hours_only_when_there_are_some() -> None:
    assert [clock(s) for s in (0, 59.4, 59.6, 3599, 3600, 90_061)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "25:01:01",
    ]


def test_money_keeps_two_figures_where_it_is_little() -> None:
    assert [money(amount) for amount in (0, 0.0123, 0.1, 1, 1234.567)] == ["0.00", "0.012", "0.10", "1.00", "1,234.57"]
