"""An endpoint that asks to wait: how long a run does, what it tells, and when it ends instead."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from factory.inference import endpoints
from schemas.errors import FactoryError
from tests.runs import answer, run_spar
from tests.scripted_endpoint import Reply, Request, running_endpoint
from tests.test_faults import ask_all

WORDS = "Rate limit reached on tokens per day (TPD): Limit 100000."


def busy(after: str) -> Reply:
    return Reply(429, {"error": {"message": WORDS}}, {"Retry-After": after})


@pytest.mark.parametrize("after", ["86400", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_one_long_wait_is_told_and_bounded_by_the_setting(tmp_path: Path, after: str) -> None:
    asked = []

    def once(request: Request) -> Any:
        asked.append(request)
        return busy(after) if len(asked) == 1 else answer(request)

    with running_endpoint(once) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 1, models__actor__max_retry_after_s=0.2)
    (note,) = progress.notes
    assert re.search(
        r"asks to wait until (\d{4}-\d\d-\d\d )?\d\d:\d\d \(HTTP 429: Rate limit reached on tokens per", note
    )
    assert "it is asked again at" in note and progress.done == 1


def test_a_wait_is_told_once_however_many_requests_were_asked_to_wait() -> None:
    notes: list[str] = []

    def watch(endpoint: Any) -> None:
        from dataclasses import replace

        endpoint.listeners = replace(endpoint.listeners, on_note=notes.append)

    def each_once(request: Request) -> Any:
        return busy("3600") if request.attempt == 1 else answer(request)

    with running_endpoint(each_once, latency_ms=20) as endpoint:
        replies = ask_all([endpoint.url], 10, watch, max_retry_after_s=0.5)
    assert all(reply.retries == 1 for reply in replies) and len(notes) == 1


def test_a_limit_that_lasts_ends_the_run_with_until_when_and_the_servers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "DEAD_AFTER_S", 0.1)
    with running_endpoint(lambda request: busy("3720")) as endpoint, pytest.raises(FactoryError) as caught:
        run_spar(tmp_path / "lake", endpoint.url, 1, models__actor__max_retry_after_s=0.2)
    said = str(caught.value)
    assert re.search(rf"asks to wait until .*\d\d:\d\d \(HTTP 429: {re.escape(WORDS)}", said)
    assert "run `factory resume` then" in said and "max_retry_after_s=3720" in said


def test_a_server_that_says_0_is_not_asked_in_a_tight_loop() -> None:
    since_s = time.monotonic()

    def impatient(request: Request) -> Any:
        return busy("0") if request.attempt <= 3 else answer(request)

    with running_endpoint(impatient) as endpoint:
        (reply,) = ask_all([endpoint.url], 1)
    assert reply.retries == 3
    assert time.monotonic() - since_s > 0.25 + 0.5 + 1.0  # a pause at least, as after any failure
