"""The scripted endpoint does what tests and benchmarks rely on."""

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.mock_endpoint import answer_factory
from factory.inference.connect import connect
from factory.inference.settings import ModelSettings
from tests.scripted_endpoint import Faults, Reply, Request, ScriptedEndpoint, Tokens, running_endpoint

ROOT = Path(__file__).parents[1]
CLIENT = httpx.Client()  # one for all: making one takes longer than a call


@pytest.fixture(scope="module", autouse=True)
def close_client() -> Iterator[None]:
    yield
    CLIENT.close()


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "mock", "messages": [{"role": "user", "content": text}], **more}


def echo(request: Request) -> Sequence[str]:
    return [f"{request.messages[-1]['content']} {index}" for index in range(request.n)]


def post(endpoint: ScriptedEndpoint, asked: dict[str, Any], **options: Any) -> httpx.Response:
    return CLIENT.post(f"{endpoint.url}/chat/completions", json=asked, **options)


Call = asyncio.Task[httpx.Response]


@asynccontextmanager
async def open_calls(endpoint: ScriptedEndpoint, count: int) -> AsyncIterator[list[Call]]:
    """`count` different requests that have all come in; those still open at the end leave."""
    url = f"{endpoint.url}/chat/completions"
    async with httpx.AsyncClient(timeout=30) as client:
        posts = (client.post(url, json=body(str(number))) for number in range(count))
        calls = [asyncio.create_task(post) for post in posts]
        while endpoint.stats().received < count:
            await asyncio.sleep(0.01)
        try:
            yield calls
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
    while endpoint.stats().in_flight:
        await asyncio.sleep(0.01)


def test_n_choices_and_usage_come_back_in_openais_shape() -> None:
    with running_endpoint(echo) as endpoint:
        answer = post(endpoint, body("two words", n=3, seed=7)).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == [
        "two words 0", "two words 1", "two words 2",
    ]  # fmt: skip
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}
    assert (endpoint.requests[0].n, endpoint.requests[0].seed) == (3, 7)
    assert endpoint.stats().choices == 3


@pytest.mark.parametrize(
    ("asked", "alternatives"), [({}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 1}, 1)]
)
def test_a_script_may_give_tokens_whose_log_probabilities_are_sent_when_asked_for(
    asked: dict[str, Any], alternatives: int | None
) -> None:
    tokens = Tokens([("Points:", {}), (" 7", {" 7": 0.75, " 8": 0.25})])
    with running_endpoint(lambda request: [tokens, "plain"]) as endpoint:
        answer = post(endpoint, body(n=2, **asked)).json()
    scored, plain = answer["choices"]
    assert scored["message"]["content"] == "Points: 7" and answer["usage"]["completion_tokens"] == 3
    assert plain["logprobs"] is None
    if alternatives is None:
        assert scored["logprobs"] is None
    else:
        _, points = scored["logprobs"]["content"]
        assert (points["token"], points["logprob"]) == (" 7", math.log(0.75))
        assert [top["token"] for top in points["top_logprobs"]] == [" 7"][:alternatives]


def test_a_script_may_give_a_whole_reply_depending_on_the_attempt() -> None:
    def once_busy(request: Request) -> Sequence[str] | Reply:
        busy = Reply(503, {"error": {"message": "busy"}}, {"Retry-After": "2"})
        return busy if request.attempt == 1 else ["ready"]

    with running_endpoint(once_busy) as endpoint:
        first, second = post(endpoint, body()), post(endpoint, body())
    assert (first.status_code, first.headers["Retry-After"], second.status_code) == (503, "2", 200)
    assert endpoint.stats().outcomes == {"replied_503": 1, "ok": 1}


def test_a_failing_script_fails_its_test() -> None:
    with pytest.raises(ZeroDivisionError), running_endpoint(lambda _: [str(1 / 0)]) as endpoint:
        assert post(endpoint, body()).status_code == 500


@pytest.mark.parametrize(
    ("asked", "key", "status"),
    [
        (body(), "wrong", 401),
        (body() | {"model": "other"}, "right", 404),
        ({"model": "mock"}, "right", 400),
        (body(n=0.5), "right", 400),
        (body(stream=True), "right", 400),
        (body(), "right", 200),
    ],
)
def test_what_is_wrong_with_a_request_decides_its_status(asked: dict[str, Any], key: str, status: int) -> None:
    with running_endpoint(echo, api_key="right") as endpoint:
        response = post(endpoint, asked, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == status
    assert endpoint.stats().outcomes == {"ok" if status == 200 else f"refused_{status}": 1}
    assert ("error" in response.json()) == (status != 200)


async def check_slots(endpoint: ScriptedEndpoint) -> None:
    async with open_calls(endpoint, 5):
        assert (endpoint.stats().in_flight, endpoint.stats().busy_slots) == (5, 3)


@pytest.mark.parametrize(("key", "status"), [("right", 200), ("wrong", 401)])
def test_the_models_are_listed_to_whoever_has_the_key(key: str, status: int) -> None:
    with running_endpoint(echo, api_key="right", models=("a", "b")) as endpoint:
        headers = {"Authorization": f"Bearer {key}"}
        response = CLIENT.get(f"{endpoint.url}/models", headers=headers)
        assert "right" not in repr(endpoint)
    assert response.status_code == status
    names = [model["id"] for model in response.json().get("data", [])]
    assert names == (["a", "b"] if status == 200 else [])


def test_no_more_requests_are_served_at_once_than_there_are_slots() -> None:
    with running_endpoint(echo, slots=3, latency_ms=60_000) as endpoint:
        asyncio.run(check_slots(endpoint))
    assert (endpoint.stats().peak_in_flight, endpoint.stats().peak_busy_slots) == (5, 3)


def test_a_client_that_leaves_frees_its_slot_and_is_not_counted_as_answered() -> None:
    with running_endpoint(echo, slots=3, latency_ms=60_000) as endpoint:
        asyncio.run(check_slots(endpoint))
    assert endpoint.stats().busy_slots == 0
    assert endpoint.stats().outcomes == {"client_gone": 5}


def test_latencies_stay_within_the_jitter_and_fullness_between_0_and_1() -> None:
    async def ask_all(endpoint: ScriptedEndpoint) -> None:
        async with open_calls(endpoint, 12) as calls:
            await asyncio.gather(*calls)

    with running_endpoint(echo, slots=3, latency_ms=10, jitter=0.5) as endpoint:
        asyncio.run(ask_all(endpoint))
    stats = endpoint.stats()
    assert stats.outcomes == {"ok": 12} and stats.peak_busy_slots <= 3
    assert 12 * 0.005 <= stats.latency_s < min(12 * 0.015, stats.busy_slot_s)
    assert stats.latency_s != 12 * 0.010
    assert stats.fullness is not None and 0 < stats.fullness <= 1


@pytest.mark.parametrize("retry_after_s", [None, 4])
def test_requests_beyond_the_queue_limit_get_429(retry_after_s: int | None) -> None:
    async def ask_at_a_full_queue(endpoint: ScriptedEndpoint) -> httpx.Response:
        async with open_calls(endpoint, 3):
            return post(endpoint, body())

    settings: dict[str, Any] = {"slots": 1, "queue_limit": 2, "retry_after_s": retry_after_s}
    with running_endpoint(echo, latency_ms=60_000, **settings) as endpoint:
        refused = asyncio.run(ask_at_a_full_queue(endpoint))
    assert refused.status_code == 429
    assert refused.headers.get("Retry-After") == (str(retry_after_s) if retry_after_s else None)
    assert endpoint.stats().outcomes == {"queue_full": 1, "client_gone": 3}


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    def statuses(seed: int) -> list[int]:
        faults = Faults(status_429=0.3, status_500=0.3, seed=seed)
        with running_endpoint(echo, faults=faults) as endpoint:
            return [post(endpoint, body(str(number % 10))).status_code for number in range(30)]

    first = statuses(1)
    assert first == statuses(1) != statuses(2)
    assert set(first) == {200, 429, 500}


def test_a_repeat_of_a_failed_request_can_succeed() -> None:
    with running_endpoint(echo, faults=Faults(status_500=0.5)) as endpoint:
        statuses = [post(endpoint, body()).status_code for _ in range(20)]
    assert set(statuses) == {200, 500}
    assert [request.attempt for request in endpoint.requests] == list(range(1, 21))


def test_answers_beyond_the_first_for_one_body_are_counted_whatever_its_key_order() -> None:
    reordered = dict(reversed(body("a").items()))
    with running_endpoint(echo) as endpoint:
        for asked in (body("a"), reordered, body("a"), body("b"), body("c")):
            post(endpoint, asked)
    assert (endpoint.stats().repeated_bodies, endpoint.stats().repeated_answers) == (1, 2)


def test_a_run_that_asks_whether_a_server_is_alive_is_no_paid_answer() -> None:
    async def asks(url: str) -> bool:
        async with connect("actor", ModelSettings(endpoint=(url,))) as connected:
            return await connected.answers() and await connected.answers()

    with running_endpoint(echo) as endpoint:
        assert asyncio.run(asks(endpoint.url))
    assert (endpoint.stats().outcomes, endpoint.stats().repeated_answers) == ({"probed": 2}, 0)


def test_garbage_is_a_200_that_is_not_json() -> None:
    with running_endpoint(echo, faults=Faults(garbage=1)) as endpoint:
        response = post(endpoint, body())
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_dropped_connection_ends_half_way_through_the_body() -> None:
    with running_endpoint(echo, faults=Faults(drop=1)) as endpoint:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            post(endpoint, body())
        assert endpoint.stats().outcomes == {"fault_drop": 1}


def test_a_hung_request_is_never_answered_and_holds_no_slot() -> None:
    async def check_open(endpoint: ScriptedEndpoint) -> None:
        async with open_calls(endpoint, 2) as calls:
            assert CLIENT.get(endpoint.url.removesuffix("/v1") + "/health").status_code == 200
            assert not any(call.done() for call in calls)
            assert (endpoint.stats().in_flight, endpoint.stats().busy_slots) == (2, 0)

    with running_endpoint(echo, slots=1, faults=Faults(hang=1)) as endpoint:
        asyncio.run(check_open(endpoint))
    assert endpoint.stats().outcomes == {"fault_hang": 2}


def test_a_killed_endpoint_cuts_and_refuses_until_it_starts_again_on_the_same_port() -> None:
    async def kill_during_a_call(endpoint: ScriptedEndpoint) -> None:
        async with open_calls(endpoint, 1) as calls:
            endpoint.kill()
            with pytest.raises(httpx.TransportError):
                await calls[0]

    with running_endpoint(echo, slots=2, latency_ms=1000) as endpoint:
        asyncio.run(kill_during_a_call(endpoint))
        with pytest.raises(httpx.ConnectError):
            post(endpoint, body())
        endpoint.start()
        assert post(endpoint, body()).status_code == 200
        stats = CLIENT.get(endpoint.url.removesuffix("/v1") + "/stats").json()
    assert stats["outcomes"] == {"client_gone": 1, "ok": 1}


def test_two_kills_at_once_end_both() -> None:
    async def kill_twice(endpoint: ScriptedEndpoint) -> None:
        async with open_calls(endpoint, 8) as calls:
            await asyncio.gather(*(asyncio.to_thread(endpoint.kill) for _ in range(2)))
            assert len(await asyncio.gather(*calls, return_exceptions=True)) == 8

    with running_endpoint(echo, slots=8, latency_ms=1000) as endpoint:
        asyncio.run(kill_twice(endpoint))
        with pytest.raises(httpx.ConnectError):
            post(endpoint, body())


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("judge", r"The response says [a-z ]+\.\nFinal Judgement: (Yes|No)"),
        ("refine", r"Reflection: [a-z .]+\nRefined response:\n[a-z ]+"),
        ("refine_brief", r"[a-z ]+"),
        ("evolve", r"[a-z ]+"),
    ],
)
def test_the_mock_answers_each_template_in_the_format_it_asks_for(template: str, answer: str) -> None:
    asked = (ROOT / "factory" / "templates" / f"{template}.txt").read_text("utf-8")
    with running_endpoint(answer_factory) as endpoint:
        choices = post(endpoint, body(asked, n=5)).json()["choices"]
    texts = [choice["message"]["content"] for choice in choices]
    assert all(re.fullmatch(answer, text) for text in texts) and len(set(texts)) == 5


def test_the_mock_command_prints_its_url_first_and_its_statistics_when_stopped() -> None:
    command = [sys.executable, "-m", "benchmarks.mock_endpoint", "--model", "actor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            response = CLIENT.post(f"{url}/chat/completions", json=body() | {"model": "actor"})
        finally:
            process.terminate()
        stats = json.loads(process.stdout.read())
    assert (response.status_code, stats["outcomes"], process.returncode) == (200, {"ok": 1}, 0)
