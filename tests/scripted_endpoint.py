"""A chat endpoint with scripted answers: real HTTP, no model.

It speaks OpenAI's `/v1/chat/completions` (`n` choices, no streaming), `/v1/models` and `/health`,
and adds `/stats`. At most `slots` requests are served at once and the others wait in line, as in
vLLM; faults and latencies are drawn from a hash of the request, so a run can be repeated. It runs
in its own thread: asynchronous tests, synchronous ones and subprocesses can all call it.

Left out: sampling settings (`temperature`, `max_tokens` and so on) are accepted and change nothing
but the hash, tokens are words unless a script gives `Tokens`, and every answer finishes with `stop`.
A script that needs more edits what `completion_body` gives and returns it in a `Reply`.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from aiohttp import web

from tests.completions import Request, Tokens, completion_body

FAULTS = ("status_429", "status_500", "garbage", "drop", "hang")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply; a `str` body is sent as it is, anything else as JSON."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


# Gives the choices, or a whole reply. It runs in the endpoint's loop: never block it.
Script = Callable[[Request], Sequence[str | Tokens] | Reply]


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a request meets each fault: probabilities that add up to at most 1.

    The draw depends on `seed`, body and attempt, so that a repeat of the same request may succeed.
    """

    status_429: float = 0.0  # before a slot is taken, and without Retry-After
    status_500: float = 0.0  # after the request had its slot, as the next two
    garbage: float = 0.0  # status 200 and a body that is not JSON
    drop: float = 0.0  # the connection is closed half-way through the body
    hang: float = 0.0  # no answer until the client leaves; takes no slot
    seed: int = 0

    def __post_init__(self) -> None:
        rates = [getattr(self, name) for name in FAULTS]
        if min(rates) < 0 or sum(rates) > 1:
            raise ValueError(f"fault rates must be at least 0 and sum to at most 1, got {rates}")

    def draw(self, request: Request) -> str | None:
        """The name of the fault that this attempt meets, None for none."""
        point = draw_fraction("fault", self.seed, request.body_hash, request.attempt)
        for name in FAULTS:
            point -= getattr(self, name)
            if point < 0:
                return name
        return None


@dataclass(slots=True)
class Statistics:
    """Counts over chat requests; times are seconds of the system's monotonic clock.

    A finished request has exactly one outcome: `ok`, `probed` for a test request of one token that was
    answered (no row has it), `replied_<status>` (a script's own), `refused_<status>`, `queue_full`,
    `fault_<name>`, `script_error`, or `client_gone` for a client that left before its answer. A hung
    request finishes when its client leaves.
    """

    received: int = 0  # and read in full
    outcomes: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0  # received and not over: being served, in line, or hung
    peak_in_flight: int = 0
    busy_slots: int = 0
    peak_busy_slots: int = 0
    choices: int = 0  # in the answers that were ok
    repeated_bodies: int = 0  # bodies answered ok more than once
    repeated_answers: int = 0  # ok answers beyond the first for the same body: paid twice
    busy_slot_s: float = 0.0  # measured over requests that left their slot, answered well or not
    latency_s: float = 0.0  # the same as it was meant to be: the difference is the endpoint's lag
    first_arrival_s: float | None = None
    last_finish_s: float | None = None  # of a request whose client was still there
    fullness: float | None = None  # busy_slot_s / (slots * (last finish - first arrival))


class _Refused(Exception):
    """Ends a request with an error in OpenAI's shape."""

    def __init__(self, outcome: str, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        self.outcome, self.reply = outcome, Reply(status, {"error": error})


WRONG_KEY = ("refused_401", 401, "Incorrect API key provided.", "invalid_api_key")


@dataclass(eq=False)
class ScriptedEndpoint:
    """The server; `start` it, or use `running_endpoint`. Its counts outlive `kill` and `start`."""

    script: Script
    slots: int = 64
    latency_ms: float = 0.0  # a request, whatever its `n`
    jitter: float = 0.0  # 0..1: latencies are uniform within this share around `latency_ms`
    queue_limit: int | None = None  # requests that may wait in line; beyond it, 429
    retry_after_s: int | None = None  # the Retry-After of that 429
    faults: Faults = Faults()
    models: Sequence[str] = ("mock",)
    api_key: str | None = field(default=None, repr=False)
    port: int = 0  # 0 takes a free one, and keeps it
    gives_logprobs: bool = True  # to a run that asks for one token to find out; off: the script is asked, as always
    keep_requests: bool = True  # off for long runs: every request stays in memory
    requests: list[Request] = field(default_factory=list, init=False)  # in order of arrival
    script_errors: list[Exception] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._counts = Statistics()
        self._attempts: dict[str, int] = {}
        self._ok_answers: dict[str, int] = {}
        self._free_slots = asyncio.Semaphore(self.slots)  # first come, first served
        self._in_line = 0
        self._listener: asyncio.Server | None = None
        self._killing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base URL as OpenAI's clients take it, `/v1` included."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen; after `kill`, on the same port again."""
        self._run(self._listen())

    def kill(self) -> None:
        """Refuse connections from now on and cut the open ones, as a crash would. Idempotent."""
        with self._killing:  # one at a time: each waits for every other task of the loop to end
            self._run(self._cut())

    def close(self) -> None:
        """Stop for good. Idempotent."""
        if not self._loop.is_closed():
            self.kill()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def stats(self) -> Statistics:
        """A copy of the current counts."""
        if self._loop.is_closed() or threading.current_thread() is self._thread:
            return self._snapshot()
        return self._run(self._snapshot_between_requests())

    def _snapshot(self) -> Statistics:
        counts = replace(self._counts, outcomes=dict(self._counts.outcomes))
        if counts.first_arrival_s is not None and counts.last_finish_s is not None:
            slot_s = self.slots * (counts.last_finish_s - counts.first_arrival_s)
            counts.fullness = counts.busy_slot_s / slot_s if slot_s > 0 else None
        return counts

    async def _snapshot_between_requests(self) -> Statistics:
        return self._snapshot()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        # The low-level server, with no router and no access log: callers must not wait for it.
        # A handler is cancelled when its client leaves, which frees the slot, as in vLLM.
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._listener = await self._loop.create_server(self._server, "127.0.0.1", self.port, backlog=4096)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._listener is None:
            return
        # The listener goes last: closed while it accepts a connection, it would leave that open.
        while asyncio.all_tasks() != {asyncio.current_task()}:
            for connection in self._server.connections:
                if connection.transport is not None:
                    connection.transport.abort()  # which cancels its handler
            await asyncio.sleep(0)
        self._listener.close()
        self._listener = None

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        match http.method, http.path:
            case "POST", "/v1/chat/completions" | "/classify":  # vLLM's, for reward models: the script gives the reply
                return await self._chat(http)
            case "GET", "/v1/models":
                if not self._has_key(http):
                    return _http_response(_Refused(*WRONG_KEY).reply)
                models = [{"id": name, "object": "model"} for name in self.models]
                return _http_response(Reply(200, {"object": "list", "data": models}))
            case "GET", "/stats":
                return _http_response(Reply(200, asdict(self.stats())))
            case "GET", "/health":
                return web.Response()
        return web.Response(status=404)

    async def _chat(self, http: web.BaseRequest) -> web.StreamResponse:
        raw = await http.read()
        counts = self._counts
        counts.received += 1
        counts.in_flight += 1
        counts.peak_in_flight = max(counts.peak_in_flight, counts.in_flight)
        if counts.first_arrival_s is None:
            counts.first_arrival_s = self._loop.time()
        outcome = "client_gone"
        try:
            if not self._has_key(http):
                raise _Refused(*WRONG_KEY)
            request = self._read(raw)
            fault = self.faults.draw(request)
            if fault == "hang":
                outcome = "fault_hang"
                await self._loop.create_future()  # until the client leaves: see _listen
            if fault == "status_429":
                raise _Refused("fault_status_429", 429, "Slow down.", "rate_limit_exceeded")
            await self._hold_slot(request)
            if fault == "status_500":
                raise _Refused("fault_status_500", 500, "The engine has failed.")
            if fault is not None:
                outcome = f"fault_{fault}"
                return await _drop(http) if fault == "drop" else web.Response(text="<html>{")
            reply = self._ask_script(request)
            outcome = f"replied_{reply.status}" if reply.status != 200 else "probed" if _probes(request) else "ok"
            return _http_response(reply)
        except _Refused as refused:
            outcome = refused.outcome
            return _http_response(refused.reply)
        finally:
            counts.in_flight -= 1
            counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + 1
            if outcome not in ("client_gone", "fault_hang"):
                counts.last_finish_s = self._loop.time()

    def _has_key(self, http: web.BaseRequest) -> bool:
        shown = http.headers.get("Authorization")
        return self.api_key is None or shown == f"Bearer {self.api_key}"

    def _read(self, raw: bytes) -> Request:
        try:
            body = json.loads(raw)
            model, messages, n = body["model"], list(body["messages"]), body.get("n") or 1
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _Refused("refused_400", 400, f"Not a chat request: {error!r}") from error
        if not isinstance(n, int) or n < 1 or body.get("stream"):
            message = "`n` must be a whole number above 0, and `stream` is not supported."
            raise _Refused("refused_400", 400, message)
        if model not in self.models:
            message = f"The model `{model}` does not exist."
            raise _Refused("refused_404", 404, message, "model_not_found")
        canonical = json.dumps(body, sort_keys=True).encode()
        body_hash = hashlib.blake2b(canonical, digest_size=16).hexdigest()
        attempt = self._attempts[body_hash] = self._attempts.get(body_hash, 0) + 1
        request = Request(body, body_hash, attempt, model, messages, n, body.get("seed"))
        if self.keep_requests:
            self.requests.append(request)
        return request

    async def _hold_slot(self, request: Request) -> None:
        limit = self.queue_limit
        if limit is not None and self._free_slots.locked() and self._in_line >= limit:
            full = _Refused("queue_full", 429, "The queue is full.", "rate_limit_exceeded")
            if self.retry_after_s is not None:
                full.reply.headers["Retry-After"] = str(self.retry_after_s)
            raise full
        self._in_line += 1
        try:
            await self._free_slots.acquire()
        finally:
            self._in_line -= 1
        counts = self._counts
        counts.busy_slots += 1
        counts.peak_busy_slots = max(counts.peak_busy_slots, counts.busy_slots)
        started_s = self._loop.time()
        spread = self.jitter * (2 * draw_fraction("latency", request.body_hash) - 1)
        latency_s = self.latency_ms / 1000 * (1 + spread)
        try:
            if latency_s > 0:
                await asyncio.sleep(latency_s)
                counts.latency_s += latency_s
        finally:
            counts.busy_slot_s += self._loop.time() - started_s
            counts.busy_slots -= 1
            self._free_slots.release()

    def _ask_script(self, request: Request) -> Reply:
        wants_logprobs = _probes(request) and request.body.get("top_logprobs")
        try:
            answer = [Tokens([("Hi", {"Hi": 1.0})])] if wants_logprobs and self.gives_logprobs else self.script(request)
        except Exception as error:  # a script may fail in any way; `running_endpoint` raises it
            self.script_errors.append(error)
            raise _Refused("script_error", 500, f"The script failed: {error!r}") from error
        if not isinstance(answer, Reply):
            answer = Reply(200, completion_body(request, answer))
        if answer.status == 200 and not _probes(request):
            key, counts = request.body_hash, self._counts
            self._ok_answers[key] = self._ok_answers.get(key, 0) + 1
            counts.repeated_bodies += self._ok_answers[key] == 2
            counts.repeated_answers += self._ok_answers[key] > 1
            if isinstance(answer.body, dict):
                counts.choices += len(answer.body.get("choices", ()))
        return answer


@contextmanager
def running_endpoint(script: Script, **settings: Any) -> Iterator[ScriptedEndpoint]:
    """A started `ScriptedEndpoint(script, **settings)`; at its end, raises the script's errors."""
    endpoint = ScriptedEndpoint(script, **settings)
    try:
        endpoint.start()
        yield endpoint
    finally:
        endpoint.close()
    if endpoint.script_errors:
        raise endpoint.script_errors[0]


def _probes(request: Request) -> bool:
    """Whether a run only checks that the server is alive, or what its replies contain."""
    return request.body.get("max_tokens") == 1 and request.messages == [{"role": "user", "content": "Hello"}]


def draw_fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone: the only source of chance here."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _http_response(reply: Reply) -> web.Response:
    text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
    return web.Response(status=reply.status, text=text, headers=reply.headers, content_type="application/json")


async def _drop(http: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = 4096
    await response.prepare(http)
    await response.write(b'{"id": "chatcmpl-')
    if http.transport is not None:
        http.transport.close()
    return response
