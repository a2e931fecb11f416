"""Connects to a model: its servers' addresses and keys, the models they serve, and the servers that a run starts."""

import asyncio
import difflib
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from factory.inference.concurrency import Concurrency
from factory.inference.embedded import serve
from factory.inference.endpoints import Endpoint, Listeners
from factory.inference.keys import key_place, read_key
from factory.inference.replies import Failure
from factory.inference.servers import Server, exchange
from factory.inference.settings import ModelSettings, VllmSettings
from factory.inference.vllm_server import serve as serve_vllm
from factory.inference.weights import fetch
from schemas.errors import FactoryError
from schemas.ids import model_id
from schemas.tables import Model

EMBEDDED_SLOTS = 16
EMBEDDED_CONTEXT_TOKENS = 4096
LIST_TIMEOUT_S = 10.0
NO_LISTENERS = Listeners()


@asynccontextmanager
async def connect(role: str, settings: ModelSettings, listeners: Listeners = NO_LISTENERS) -> AsyncIterator[Endpoint]:
    """Connects to a model's servers. Starts an embedded or vLLM server, and stops it at the end of the block.

    Raises:
        FactoryError: no server answers, or one does not have the model; or see `fetch` and `serve`.
    """
    if settings.embedded is not None:
        connecting = _embedded(role, settings, listeners, settings.embedded)
    elif settings.vllm is not None:
        connecting = _vllm(role, settings, listeners, settings.vllm)
    else:
        connecting = _behind_urls(role, settings, listeners)
    async with connecting as endpoint:
        yield endpoint


@asynccontextmanager
async def _behind_urls(role: str, settings: ModelSettings, listeners: Listeners) -> AsyncIterator[Endpoint]:
    async with AsyncExitStack() as stack:
        name, context_tokens = settings.name, None
        servers, silent = [], []
        for url in settings.endpoint:
            http = await stack.enter_async_context(client_of(read_key(settings)))
            server = _server(public_address(url), url, http, settings)
            servers.append(server)
            try:
                served = await _list_models(role, url, settings, http)
            except ServerSilent as error:
                # The others do its work; it is retried later, like one that has failed.
                server.paused_until_s = time.monotonic() + LIST_TIMEOUT_S
                silent.append(error)
                continue
            name, tokens = _served_model(role, url, name, served)
            context_tokens = min(filter(None, (context_tokens, tokens)), default=None)
        if len(silent) == len(servers):
            raise silent[0]
        assert name is not None
        yield Endpoint(role, _model(name, settings), servers, context_tokens, listeners)


def named(role: str, settings: ModelSettings) -> Endpoint:
    """A model known only by name, with no server to call.

    Raises:
        FactoryError: the model is embedded, or its name is not given.
    """
    if settings.embedded is not None:
        raise FactoryError(
            f"models.{role} is the embedded model, which no batch service has: give the base URL of one that has the "
            f"model (models.{role}.endpoint or --model) and the model's name there (models.{role}.name or --model-name)"
        )
    if settings.name is None:
        raise FactoryError(
            f"models.{role}.name is missing, and writing a batch calls no server to look it up: "
            f"give the model's name at the batch service (-o models.{role}.name=… or --model-name)"
        )
    return Endpoint(role, _model(settings.name, settings), [], None)


def _model(name: str, settings: ModelSettings) -> Model:
    return Model(
        model_id=model_id(name, settings.revision),
        name=name,
        origin=public_address(settings.endpoint[0]),
        revision=settings.revision,
        training_run_id=None,
    )


@asynccontextmanager
async def _embedded(role: str, settings: ModelSettings, listeners: Listeners, name: str) -> AsyncIterator[Endpoint]:
    weights = await asyncio.to_thread(fetch, name)
    model = Model(
        model_id=model_id(weights.name, weights.sha256),
        name=weights.name,
        origin=f"embedded:{weights.name}",
        revision=weights.sha256,
        training_run_id=None,
    )
    async with (
        serve(weights, slots=EMBEDDED_SLOTS, context_tokens=EMBEDDED_CONTEXT_TOKENS) as embedded,
        client_of(embedded.api_key) as http,
    ):
        server = _server(model.origin, embedded.base_url, http, settings)
        # A request takes one slot per choice, so a few requests keep all slots busy; more would only delay the
        # first prompts.
        limit = min(settings.concurrency, EMBEDDED_SLOTS // 2)
        server.pace = Concurrency(limit, time.monotonic(), least=limit)
        tokenize_url = embedded.base_url.removesuffix("/v1") + "/tokenize"
        yield Endpoint(role, model, [server], EMBEDDED_CONTEXT_TOKENS, listeners, tokenize_url)


@asynccontextmanager
async def _vllm(
    role: str, settings: ModelSettings, listeners: Listeners, vllm: VllmSettings
) -> AsyncIterator[Endpoint]:
    name = settings.name or vllm.model
    revision = await asyncio.to_thread(vllm.weights_sha256) or settings.revision
    async with (
        serve_vllm(vllm, name, settings.revision, listeners.on_status) as started,
        client_of(started.api_key) as http,
    ):
        served = await _list_models(role, started.base_url, settings, http)
        _, context_tokens = _served_model(role, started.base_url, name, served)
        model = Model(
            model_id=model_id(name, revision),
            name=name,
            origin=f"vllm:{name}",
            revision=revision,
            training_run_id=None,
        )
        server = _server(model.origin, started.base_url, http, settings)
        yield Endpoint(role, model, [server], context_tokens, listeners)


def _server(address: str, base_url: str, http: aiohttp.ClientSession, settings: ModelSettings) -> Server:
    pace = Concurrency(settings.concurrency, time.monotonic())
    return Server(address, base_url.rstrip("/") + "/chat/completions", http, pace, settings.timeout_s)


def client_of(key: str) -> aiohttp.ClientSession:
    """A client that sends a key. It has no connection limit: `concurrency.py` limits the requests."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    # trust_env makes aiohttp look for a proxy at every request, in a thread.
    return aiohttp.ClientSession(
        headers=headers, connector=aiohttp.TCPConnector(limit=0), trust_env=bool(urllib.request.getproxies())
    )


def public_address(url: str) -> str:
    """A base URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path.rstrip("/"), "", ""))


class ServerSilent(FactoryError):
    """A server does not answer."""


async def served_models(role: str, settings: ModelSettings) -> dict[str, int | None]:
    """The models at the first base URL, with their context in tokens if reported (vLLM); empty without a list.

    Raises:
        FactoryError: nothing answers there, the key is refused, or it is not such an endpoint.
    """
    url = settings.endpoint[0]
    async with client_of(read_key(settings)) as http:
        return await _list_models(role, url, settings, http)


async def _list_models(
    role: str, url: str, settings: ModelSettings, http: aiohttp.ClientSession
) -> dict[str, int | None]:
    address = public_address(url)
    try:
        listed = await exchange(http, url.rstrip("/") + "/models", min(LIST_TIMEOUT_S, settings.timeout_s))
        return {model["id"]: model.get("max_model_len") for model in listed["data"]}
    except Failure as failure:
        if failure.status == 404:
            return {}  # some endpoints do not list their models
        if failure.status in (401, 403):
            raise FactoryError(
                f"models.{role}: {address} refuses the key (HTTP {failure.status}): put the right one in "
                f"{key_place(settings)}"
            ) from failure
        if failure.kind != "garbage":
            remedy = "start it" if failure.status is None else "fix it"
            raise ServerSilent(
                f"models.{role}: {address} does not answer ({failure}): {remedy}, or give another endpoint"
            ) from failure
        fault: Exception = failure
    except (KeyError, TypeError, AttributeError) as error:
        fault = error
    raise FactoryError(
        f"models.{role}: {address}/models did not return a JSON list of models: "
        "give the base URL of an OpenAI-compatible endpoint, which usually ends in /v1"
    ) from fault


def _served_model(role: str, url: str, name: str | None, served: dict[str, int | None]) -> tuple[str, int | None]:
    """The model's name at a server, and its context in tokens if the server reports it."""
    address = public_address(url)
    if name is None:
        if len(served) != 1:
            raise FactoryError(
                f"models.{role}.name is missing and {address} serves {len(served)} models: "
                f"set it to one of {', '.join(sorted(served)[:8]) or 'its models'}"
            )
        return next(iter(served.items()))
    if served and name not in served:
        near = difflib.get_close_matches(name, served, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it serves {', '.join(sorted(served)[:8])}"
        raise FactoryError(f"models.{role}: {address} has no model {name!r}: {hint}")
    return name, served.get(name)
