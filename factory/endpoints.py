"""The one way to call a model: an OpenAI-compatible endpoint, whoever started it.

Passing troubles (429, 5xx, time-outs, dropped connections, replies that are not JSON) are tried again with
growing waits; what cannot pass stops the run (a wrong key, an unknown model) or sets the prompt aside (too long).
"""

import asyncio
import difflib
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai

from factory.embedded import serve
from factory.journal import Choice, Reply
from factory.keys import key_place, read_key
from factory.recipe import ModelSettings
from factory.vllm_server import serve as serve_vllm
from factory.weights import fetch
from schemas.errors import FactoryError
from schemas.ids import content_id
from schemas.tables import Message, Model

ATTEMPTS = 8
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
EMBEDDED_SLOTS = 16
EMBEDDED_CONTEXT_TOKENS = 4096
DEAD_AFTER_S = 90.0
"""Is an endpoint silent for so long, while requests fail, it is asked for a word: without an answer the run ends."""
PROBE_S = 30.0


class SetAside(Exception):
    """A request that can never be answered: the prompt is set aside with this reason, the run goes on."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn."""

    temperature: float
    top_p: float
    max_tokens: int
    n: int
    response_format: dict[str, Any] | None = None  # OpenAI's; None: free text


@dataclass(slots=True)
class Endpoint:
    """A model that answers, and how it is doing."""

    role: str
    model: Model
    address: str
    """who answers, as it stands in rows: embedded:NAME, or the base URL without credentials"""
    client: openai.AsyncOpenAI
    limit: int
    """requests in flight at most"""
    context_tokens: int | None
    on_reply: Callable[[Reply], None]
    tokenize_url: str | None = None
    """where an endpoint whose `usage` counts one choice only (llama.cpp) counts the tokens of a text"""
    last_answer: float = field(default_factory=time.monotonic)
    in_flight: int = 0
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.limit)

    async def ask(self, messages: list[Message], sampling: Sampling, seed: int) -> Reply:
        """Sends one request until it is answered.

        Raises:
            SetAside: the endpoint refuses this very request for good, or it failed ATTEMPTS times.
            FactoryError: the endpoint is gone, refuses the key, or does not have the model.
        """
        body = {
            "model": self.model.name,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.response_format is not None:
            body["response_format"] = sampling.response_format
        async with self.slots:
            self.in_flight += 1
            try:
                return await self._until_answered(body, sampling.n, seed)
            finally:
                self.in_flight -= 1

    async def _until_answered(self, body: dict[str, Any], n: int, seed: int) -> Reply:
        choices: list[Choice] = []
        prompt_tokens: int | None = None
        completion_tokens: int | None = 0
        latency_s, retries = 0.0, 0
        first_failure: float | None = None
        while len(choices) < n:
            # An endpoint that gives fewer choices than asked for is asked for the rest, with another seed.
            left = n - len(choices)
            started = time.monotonic()
            try:
                document = await self._send({**body, "n": left, "seed": (seed + len(choices)) & 0x7FFFFFFF})
                got, prompt_tokens, tokens = read_completion(document)
                if self.tokenize_url and len(got) > 1:
                    got = list(await asyncio.gather(*map(self._counted, got)))
                    tokens = sum(choice.tokens or 0 for choice in got)
            except (openai.APIError, BadReply) as error:
                retries += 1
                first_failure = first_failure or time.monotonic()
                await self._give_up_if_hopeless(error, retries, first_failure)
                await asyncio.sleep(wait_s(retries, error))
                continue
            now = time.monotonic()
            self.last_answer, latency_s = now, latency_s + now - started
            choices += got[:left]
            completion_tokens = None if tokens is None or completion_tokens is None else completion_tokens + tokens
        reply = Reply(choices, prompt_tokens, completion_tokens, latency_s, retries, self.address)
        self.on_reply(reply)
        return reply

    async def _counted(self, choice: Choice) -> Choice:
        """The choice with its number of tokens: those of its text, and the one that ended it."""
        document: Any = await self.client.post(self.tokenize_url or "", cast_to=object, body={"content": choice.text})
        tokens = len(document["tokens"]) + (choice.finish_reason == "stop")
        return Choice(choice.text, choice.finish_reason, tokens)

    async def _send(self, body: dict[str, Any], **options: Any) -> Any:
        raw = await self.client.chat.completions.with_raw_response.create(**body, **options)
        try:
            return json.loads(raw.http_response.content)
        except ValueError as error:
            raise BadReply(f"{self.address} answered with something that is not JSON") from error

    async def _give_up_if_hopeless(self, error: Exception, failures: int, first_failure: float) -> None:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            raise FactoryError(
                f"{self.address} refuses the key (HTTP {error.status_code}): put the right one where "
                f"models.{self.role}.api_key_env or api_key_file says"
            ) from error
        if isinstance(error, openai.NotFoundError):
            raise FactoryError(
                f"{self.address} has no model {self.model.name!r} (HTTP 404): set models.{self.role}.name to one it serves"
            ) from error
        if (
            isinstance(error, openai.APIStatusError)
            and 400 <= error.status_code < 500
            and error.status_code not in (408, 409, 429)
        ):
            raise SetAside(f"refused (HTTP {error.status_code}): {brief(error)}") from error
        silent_s = time.monotonic() - self.last_answer
        if failures < ATTEMPTS and silent_s <= DEAD_AFTER_S:
            return
        # Nobody else was answered meanwhile: is it this request's fault, or the endpoint's?
        unheard = silent_s > DEAD_AFTER_S or self.last_answer <= first_failure
        if unheard and not await self.answers():
            raise FactoryError(
                f"{self.address} has answered nothing for {silent_s:.0f} s ({brief(error)}): "
                "see that it runs, then go on with `factory resume`"
            ) from error
        if failures >= ATTEMPTS:
            raise SetAside(f"failed {failures} times: {brief(error)}") from error

    async def answers(self) -> bool:
        """Whether it gives a word within PROBE_S to a question that is nobody's prompt."""
        question = {"model": self.model.name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            read_completion(await self._send(question, timeout=PROBE_S))
        except (openai.APIError, BadReply):
            return False
        self.last_answer = time.monotonic()
        return True


class BadReply(Exception):
    """A reply that is not what was agreed: asked again."""


def read_completion(document: Any) -> tuple[list[Choice], int | None, int | None]:
    """The choices of a chat completion, its prompt tokens and its completion tokens.

    Raises:
        BadReply: the document is not a chat completion.
    """
    try:
        choices = [
            Choice(_encodable(choice["message"].get("content") or ""), choice.get("finish_reason"), None)
            for choice in document["choices"]
        ]
        usage = document.get("usage") or {}
    except (TypeError, KeyError, AttributeError) as error:
        raise BadReply("the reply is JSON, but no chat completion") from error
    if not choices:
        raise BadReply("the reply has no choices")
    if len(choices) == 1:
        choices = [Choice(choices[0].text, choices[0].finish_reason, usage.get("completion_tokens"))]
    return choices, usage.get("prompt_tokens"), usage.get("completion_tokens")


def _encodable(text: str) -> str:
    """Half an emoji, as some models emit, has no UTF-8 and could not be written down."""
    return text.encode("utf-8", "replace").decode()


def wait_s(failures: int, error: Exception) -> float:
    """Seconds until the next attempt: what the endpoint asks for, else doubling, with jitter."""
    if isinstance(error, openai.APIStatusError):
        asked = error.response.headers.get("retry-after", "")
        if asked.replace(".", "", 1).isdigit():
            return float(asked)
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (failures - 1)) * random.uniform(0.5, 1.5))


def brief(error: Exception) -> str:
    """An error's own words, in one line of at most 200 characters."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    # The client calls a refused connection a time-out; the system's own words are at the root.
    refused = isinstance(error, openai.APIConnectionError) and isinstance(root, OSError) and root.errno
    words = (os.strerror(refused) if refused > 0 else str(root)) if refused else str(error)
    if isinstance(error, openai.APIError) and (shown := error.request.headers.get("authorization", "")):
        words = words.replace(shown.removeprefix("Bearer "), "***")  # an endpoint may repeat the key
    return " ".join(words.split())[:200] or type(error).__name__


def public_address(url: str) -> str:
    """A base URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path.rstrip("/"), "", ""))


@asynccontextmanager
async def connect(
    role: str,
    settings: ModelSettings,
    on_reply: Callable[[Reply], None],
    tell: Callable[[str], None] = lambda words: None,
) -> AsyncIterator[Endpoint]:
    """Connects to a model's endpoint, starting it where it is embedded or vLLM's, and stops it in the end.

    Args:
        tell: takes what is going on, in words.
    Raises:
        FactoryError: the endpoint does not answer, or does not have the model.
    """
    if settings.vllm is not None:
        name = settings.name or settings.vllm.model
        revision = await asyncio.to_thread(settings.vllm.weights_sha256) or settings.revision
        async with (
            serve_vllm(settings.vllm, name, settings.revision, tell) as vllm,
            _client(vllm.base_url, vllm.api_key, settings.timeout_s) as client,
        ):
            served = replace(settings, endpoint=vllm.base_url, vllm=None, name=name)
            _, context_tokens = await _served_model(role, served, client)
            model = Model(
                model_id=content_id("model", name, revision),
                name=name,
                origin=f"vllm:{name}",
                revision=revision,
                training_run_id=None,
            )
            yield Endpoint(role, model, model.origin, client, settings.concurrency, context_tokens, on_reply)
        return
    if settings.endpoint.startswith("embedded:"):
        weights = await asyncio.to_thread(fetch, settings.endpoint.removeprefix("embedded:"))
        model = Model(
            model_id=content_id("model", weights.name, weights.sha256),
            name=weights.name,
            origin=f"embedded:{weights.name}",
            revision=weights.sha256,
            training_run_id=None,
        )
        async with (
            serve(weights, slots=EMBEDDED_SLOTS, context_tokens=EMBEDDED_CONTEXT_TOKENS) as server,
            _client(server.base_url, server.api_key, settings.timeout_s) as client,
        ):
            # A request holds a slot for each of its choices: few at a time keep all slots busy, and the first prompts
            # are answered, written down and searched while later ones wait.
            limit = min(settings.concurrency, EMBEDDED_SLOTS // 2)
            tokenize_url = server.base_url.removesuffix("/v1") + "/tokenize"
            yield Endpoint(
                role, model, model.origin, client, limit, EMBEDDED_CONTEXT_TOKENS, on_reply, tokenize_url=tokenize_url
            )
        return
    address = public_address(settings.endpoint)
    async with _client(settings.endpoint, read_key(settings), settings.timeout_s) as client:
        name, context_tokens = await _served_model(role, settings, client)
        model = Model(
            model_id=content_id("model", name, settings.revision),
            name=name,
            origin=address,
            revision=settings.revision,
            training_run_id=None,
        )
        yield Endpoint(role, model, address, client, settings.concurrency, context_tokens, on_reply)


@asynccontextmanager
async def _client(base_url: str, key: str, timeout_s: float) -> AsyncIterator[openai.AsyncOpenAI]:
    # Retries are the endpoint's (above): they are counted into the rows and never end in a lost request.
    http = openai.DefaultAioHttpClient(timeout=timeout_s)
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=key, timeout=timeout_s, max_retries=0, http_client=http
    ) as client:
        yield client


async def served_models(role: str, settings: ModelSettings) -> dict[str, int | None]:
    """The models behind a base URL and, where it is told (vLLM), their context in tokens; none where it has no list.

    Raises:
        FactoryError: nothing answers there, the key is refused, or what answers is no such endpoint.
    """
    async with _client(settings.endpoint, read_key(settings), settings.timeout_s) as client:
        return await _list_models(role, settings, client)


async def _list_models(role: str, settings: ModelSettings, client: openai.AsyncOpenAI) -> dict[str, int | None]:
    address = public_address(settings.endpoint)
    try:
        raw = await client.models.with_raw_response.list(timeout=min(10.0, settings.timeout_s))
        return {m["id"]: m.get("max_model_len") for m in json.loads(raw.http_response.content)["data"]}
    except openai.NotFoundError:
        return {}  # an endpoint without a list of models is asked by name
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise FactoryError(
            f"models.{role}: {address} refuses the key (HTTP {error.status_code}): put the right one into "
            f"{key_place(settings)}"
        ) from error
    except openai.APIError as error:
        raise FactoryError(
            f"models.{role}: {address} does not answer ({brief(error)}): start it, or give another endpoint"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise FactoryError(
            f"models.{role}: {address}/models answers with something that is not a list of models in JSON: "
            "give the base URL of an OpenAI-compatible endpoint, which mostly ends in /v1"
        ) from error


async def _served_model(role: str, settings: ModelSettings, client: openai.AsyncOpenAI) -> tuple[str, int | None]:
    """The model's name at the endpoint and its context in tokens, if told."""
    address = public_address(settings.endpoint)
    served = await _list_models(role, settings, client)
    if settings.name is None:
        if len(served) != 1:
            raise FactoryError(
                f"models.{role}.name is missing and {address} serves {len(served)} models: "
                f"set it to one of {', '.join(sorted(served)[:8]) or 'its models'}"
            )
        return next(iter(served.items()))
    if served and settings.name not in served:
        near = difflib.get_close_matches(settings.name, served, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it serves {', '.join(sorted(served)[:8])}"
        raise FactoryError(f"models.{role}: {address} has no model {settings.name!r}: {hint}")
    return settings.name, served.get(settings.name)
