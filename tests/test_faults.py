"""Endpoints that fail now and then, one of several that dies, and those that ask to be retried later."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from factory.inference import endpoints, failures
from factory.inference.connect import connect
from factory.inference.endpoints import Endpoint, Sampling, SetAside
from factory.inference.journal import Reply
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from schemas.tables import Message
from stores.lake import Lake
from tests.runs import answer, run_spar
from tests.scripted_endpoint import Faults, Request, running_endpoint
from tests.scripted_endpoint import Reply as HttpReply

ONE = Sampling(temperature=1.0, top_p=1.0, max_tokens=10, n=1)


async def written_down(reply: Reply) -> None:
    """Where it is kept does not matter here."""


def ask_all(
    urls: list[str],
    count: int,
    watch: Callable[[Endpoint], None] | None = None,
    write_down: Callable[[Reply], Awaitable[None]] = written_down,
    **settings: Any,
) -> list[Any]:
    """Asks `count` questions at once; gives replies and errors."""

    async def work() -> list[Any]:
        model = ModelSettings(endpoint=tuple(urls), **settings)
        async with connect("actor", model) as endpoint:
            if watch:
                watch(endpoint)
            questions = ([Message("user", f"Question {number}")] for number in range(count))
            asking = (endpoint.ask(question, ONE, 1, write_down) for question in questions)
            return await asyncio.gather(*asking, return_exceptions=True)

    return asyncio.run(work())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(endpoints, "GONE_AFTER", 14)  # pauses that double from so short a one: still about a minute


def test_where_a_reply_cannot_be_written_down_no_other_is_paid_for_in_its_place() -> None:
    async def full_disk(reply: Reply) -> None:
        raise FactoryError("the disk is full")

    with running_endpoint(answer, latency_ms=50) as endpoint:
        errors = ask_all([endpoint.url], 20, write_down=full_disk, concurrency=4)
    assert endpoint.stats().received == 4
    assert {str(error) for error in errors} == {"the disk is full"}


def test_a_run_with_every_kind_of_fault_completes_every_prompt(tmp_path: Path, quick: None) -> None:
    faults = Faults(status_429=0.05, status_500=0.05, drop=0.02, garbage=0.01, hang=0.01)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "Write {number} words."}}\n' for number in range(500)))
    with running_endpoint(answer, faults=faults, keep_requests=False) as endpoint:
        _, progress = run_spar(
            tmp_path / "lake",
            endpoint.url,
            prompts=500,
            prompts__source=str(prompts),
            stages__sample__n=1,
            stages__search__depth=1,
            stages__search__branch=1,
            models__actor__timeout_s=2.0,
            models__refiner__timeout_s=2.0,
        )
        stats = endpoint.stats()
    assert not progress.set_aside and progress.done == 500
    assert all(stats.outcomes[f"fault_{kind}"] > 0 for kind in ("status_500", "drop", "garbage", "hang"))
    assert {"HTTP 429", "HTTP 500", "connection", "garbage", "time-out"} <= set(progress.errors)
    with Lake.open(tmp_path / "lake") as lake:
        (run,) = lake.query("SELECT status, prompts, answered, judged FROM run_progress").to_pylist()
        assert list(run.values()) == ["finished", 500, 500, 500]
        counted = lake.query(
            "SELECT count(*) AS calls, sum(retries)::BIGINT AS retries, count(error) AS errors FROM calls"
        ).to_pylist()[0]
    # A bad reply costs itself: each call was answered once (a hung one may have been answered late), and retried alone.
    assert counted["calls"] == stats.outcomes["ok"] - stats.repeated_answers
    assert counted["retries"] == sum(progress.errors.values()) and counted["errors"] == 0


def test_several_base_urls_share_the_load_by_how_fast_each_answers() -> None:
    with (
        running_endpoint(answer, slots=8, latency_ms=20) as fast,
        running_endpoint(answer, slots=8, latency_ms=500) as slow,
    ):
        replies = ask_all([fast.url, slow.url], 600)
        assert all(isinstance(reply, Reply) for reply in replies)
        assert {reply.endpoint for reply in replies} == {fast.url, slow.url}
        assert fast.stats().received > 2 * slow.stats().received


def test_what_a_server_that_dies_had_goes_to_the_others(quick: None) -> None:
    answered = threading.Event()

    def dying(request: Request) -> Any:
        if len(dies.requests) == 20:
            threading.Thread(target=dies.kill).start()  # in a thread: the endpoint must not wait for itself
            answered.set()
        return answer(request)

    with running_endpoint(answer, slots=4, latency_ms=30) as stays, running_endpoint(dying, slots=4) as dies:
        replies = ask_all([dies.url, stays.url], 200, concurrency=8)
        assert answered.is_set() and all(isinstance(reply, Reply) for reply in replies)
        assert 0 < dies.stats().outcomes["ok"] < 200


def test_a_server_that_comes_back_is_asked_again(quick: None) -> None:
    with running_endpoint(answer, slots=4, latency_ms=30) as stays, running_endpoint(answer, slots=4) as returns:
        returns.kill()
        threading.Timer(0.5, returns.start).start()

        def as_one_that_answered(endpoint: Endpoint) -> None:
            endpoint.servers[0].paused_until_s = 0.0  # found silent at the start, it would be left alone for longer

        replies = ask_all([returns.url, stays.url], 300, as_one_that_answered, concurrency=4)
        assert all(isinstance(reply, Reply) for reply in replies)
        assert returns.stats().outcomes["ok"] > 0


def test_a_server_that_is_not_there_at_the_start_does_not_stop_the_others() -> None:
    with running_endpoint(answer) as there, running_endpoint(answer) as gone:
        gone.kill()
        assert all(isinstance(reply, Reply) for reply in ask_all([gone.url, there.url], 5))


def test_retry_after_is_honoured() -> None:
    arrivals: list[float] = []

    def asks_to_wait_once(request: Request) -> Any:
        arrivals.append(time.monotonic())
        if len(arrivals) == 1:
            return HttpReply(429, {"error": {"message": "Slow down."}}, {"Retry-After": "1"})
        return answer(request)

    with running_endpoint(asks_to_wait_once) as endpoint:
        (reply,) = ask_all([endpoint.url], 1)
    assert reply.retries == 1
    assert arrivals[1] - arrivals[0] >= 1


def test_being_asked_to_slow_down_never_sets_a_prompt_aside(quick: None) -> None:
    def refuses_ten_times(request: Request) -> Any:
        return HttpReply(429, {"error": {"message": "Slow down."}}) if request.attempt <= 10 else answer(request)

    with running_endpoint(refuses_ten_times) as endpoint:
        (reply,) = ask_all([endpoint.url], 1)
    assert reply.retries == 10 > endpoints.ATTEMPTS


def test_an_account_without_money_stops_the_run_at_once() -> None:
    quota = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}
    with running_endpoint(lambda request: HttpReply(429, quota)) as endpoint:
        (error,) = ask_all([endpoint.url], 1)
    assert isinstance(error, FactoryError) and "top up your account" in str(error)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_cannot_pass_is_not_tried_again(status: int) -> None:
    with running_endpoint(lambda request: HttpReply(status, {"error": {"message": "too long"}})) as endpoint:
        (error,) = ask_all([endpoint.url], 1)
        assert endpoint.stats().received == 1
    assert isinstance(error, SetAside) and f"HTTP {status}: too long" in str(error)


def test_an_overloaded_server_is_given_fewer_requests(quick: None) -> None:
    limits: list[int] = []

    def watch(endpoint: Endpoint) -> None:
        limits.append(endpoint.limit)
        watched.append(endpoint)

    watched: list[Endpoint] = []
    with running_endpoint(answer, slots=4, latency_ms=10, queue_limit=0) as server:
        replies = ask_all([server.url], 300, watch)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert watched[0].limit < limits[0]
