"""Connects to a model: its servers' addresses and keys, the models they serve, and the servers that a run starts."""

import asyncio
import difflib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from factory.inference import scores
from factory.inference.client import Client, client_of, exchange, public_address
from factory.inference.concurrency import Concurrency
from factory.inference.embedded import serve, usable_cores
from factory.inference.endpoints import Endpoint, Listeners
from factory.inference.failures import Failure
from factory.inference.folders import chat_template, folder_of, folder_sha256, template_hash
from factory.inference.keys import key_place, read_key
from factory.inference.memory import check_memory, serving_parts
from factory.inference.reward_model import serve_reward_model
from factory.inference.servers import Server
from factory.inference.settings import ModelSettings, VllmSettings
from factory.inference.values import storable
from factory.inference.vllm_server import serve as serve_vllm
from factory.inference.weights import Weights, fetch
from schemas.errors import FactoryError
from schemas.ids import folder_model_name, model_id
from schemas.tables import Model

EMBEDDED_SLOTS = 16
EMBEDDED_CONTEXT_TOKENS = 4096
LIST_TIMEOUT_S = 10.0
NO_LISTENERS = Listeners()


@asynccontextmanager
async def connect(
    role: str, settings: ModelSettings, listeners: Listeners = NO_LISTENERS, embedded_servers: int = 1
) -> AsyncIterator[Endpoint]:
    """Connects to a model's servers. Starts an embedded or vLLM server, and stops it at the end of the block.

    Args:
        embedded_servers: how many share this machine's cores. llama.cpp's threads wait for one another at every layer: with
            more threads than cores each server is many times slower.
    Raises:
        FactoryError: no server answers, or one does not have the model; or see `fetch` and `serve`.
    """
    if settings.embedded is not None:
        connecting = _embedded(role, settings, listeners, settings.embedded, embedded_servers)
    elif settings.vllm is not None:
        connecting = _vllm(role, settings, listeners, settings.vllm)
    elif settings.reward_folder is not None:
        connecting = _reward(role, settings, listeners, settings.reward_folder, embedded_servers)
    else:
        connecting = _behind_urls(role, settings, listeners)
    async with connecting as endpoint:
        yield endpoint


@asynccontextmanager
async def _behind_urls(role: str, settings: ModelSettings, listeners: Listeners) -> AsyncIterator[Endpoint]:
    async with AsyncExitStack() as stack:
        name, context_tokens = settings.name, None
        servers, silent = [], []
        for url in settings.urls:
            client = await stack.enter_async_context(_client(url, settings))
            server = _server(public_address(url), url, client, settings)
            servers.append(server)
            try:
                served = await _list_models(role, url, settings, client, listeners.on_note)
            except ServerSilent as error:
                # The others do its work; it is retried later, like one that has failed.
                server.paused_until_s = time.monotonic() + LIST_TIMEOUT_S
                silent.append(error)
                continue
            name, tokens = _served_model(role, url, name, served)
            context_tokens = min(filter(None, (context_tokens, tokens)), default=None)
            if settings.is_reward:
                await _check_scores(role, server, name)
        if len(silent) == len(servers):
            raise silent[0]
        assert name is not None
        yield Endpoint(role, _model(name, settings), servers, context_tokens, listeners, parameters=settings.sent_as)


async def _check_scores(role: str, server: Server, name: str) -> None:
    """
    Raises:
        FactoryError: the server does not score, or its model's head has several outputs.
    """
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    try:
        await server.send({"model": name, "messages": messages})
    except Failure as failure:
        raise FactoryError(
            f"models.{role}: {server.address} does not score a conversation ({failure}): give the base URL of a vLLM server "
            "of a sequence classifier with one output (`vllm serve FOLDER --runner pooling`)"
        ) from failure


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
    if settings.is_reward:
        raise FactoryError(
            f"models.{role} is a reward model, which no batch service has: leave its judge out of the recipe, and run it later"
        )
    if settings.name is None:
        raise FactoryError(
            f"models.{role}.name is missing, and writing a batch calls no server to look it up: "
            f"give the model's name at the batch service (-o models.{role}.name=… or --model-name)"
        )
    return Endpoint(role, _model(settings.name, settings), [], None, parameters=settings.parameters)


def _model(name: str, settings: ModelSettings) -> Model:
    return Model(
        model_id=model_id(name, settings.revision),
        name=name,
        origin=public_address(settings.urls[0]),
        revision=settings.revision,
        training_run_id=None,
        chat_template_hash=None,
    )


@asynccontextmanager
async def _embedded(
    role: str, settings: ModelSettings, listeners: Listeners, name: str, servers: int
) -> AsyncIterator[Endpoint]:
    without = settings.without_adapter
    base = without.embedded if without is not None else None
    folder = folder_of(name if base is None else base)
    if folder is not None:
        await asyncio.to_thread(_check_fits, role, folder)  # before it is converted
    weights = await asyncio.to_thread(fetch, name, base)
    if folder is None:
        await asyncio.to_thread(_check_fits, role, weights.path)
    context_tokens = min(EMBEDDED_CONTEXT_TOKENS, weights.context_tokens or EMBEDDED_CONTEXT_TOKENS)
    threads = max(1, usable_cores() // servers)
    async with (
        serve(weights, slots=EMBEDDED_SLOTS, context_tokens=context_tokens, threads=threads) as embedded,
        client_of(embedded.api_key, embedded.base_url, settings.max_reply_bytes) as client,
    ):
        # A request takes one slot per choice, so a few requests keep all slots busy; more would only delay the
        # first prompts.
        limit = min(settings.concurrency, EMBEDDED_SLOTS // 2)
        tokenize_url = embedded.base_url.removesuffix("/v1") + "/tokenize"

        def endpoint(weights: Weights, beside: dict[str, Any]) -> Endpoint:
            model = _embedded_model(weights)
            server = _server(model.origin, embedded.base_url, client, settings)
            server.pace, server.beside = Concurrency(limit, time.monotonic(), least=limit), beside
            return Endpoint(role, model, [server], context_tokens, listeners, tokenize_url, settings.parameters)

        found = endpoint(weights, {})
        if weights.base is not None:
            found.base = endpoint(weights.base, {"lora": [{"id": 0, "scale": 0.0}]})
        yield found


def _embedded_model(weights: Weights) -> Model:
    return Model(
        model_id=model_id(weights.name, weights.sha256),
        name=weights.name,
        origin=f"embedded:{weights.name}",
        revision=weights.sha256,
        training_run_id=None,
        chat_template_hash=weights.chat_template_hash,
    )


@asynccontextmanager
async def _reward(
    role: str, settings: ModelSettings, listeners: Listeners, folder: Path, servers: int
) -> AsyncIterator[Endpoint]:
    where = f"models.{role}.endpoint"
    if not folder.is_dir():
        raise FactoryError(f"{where}: there is no folder {folder}: give the folder of a reward model (reward:FOLDER)")
    sha256 = await asyncio.to_thread(folder_sha256, folder)
    name = folder_model_name(folder, sha256)
    listeners.on_status(f"starting the reward model {name}")
    async with (
        serve_reward_model(folder, name, where, max(1, usable_cores() // max(1, servers))) as started,
        client_of(started.api_key, started.base_url, settings.max_reply_bytes) as client,
    ):
        served = await _list_models(role, started.base_url, settings, client, listeners.on_note)
        model = Model(
            model_id=model_id(name, sha256),
            name=name,
            origin=f"reward:{name}",
            revision=sha256,
            training_run_id=None,
            chat_template_hash=template_hash(chat_template(folder)),
        )
        server = _server(model.origin, started.base_url, client, settings)
        yield Endpoint(role, model, [server], served[name], listeners, parameters=settings.sent_as)


def _check_fits(role: str, model: Path) -> None:
    parts = serving_parts(model, EMBEDDED_SLOTS, EMBEDDED_CONTEXT_TOKENS)
    remedy = "end other programs, take a smaller model, or give the base URL of a server on a larger machine"
    check_memory(f"models.{role}: serving {model.name}", parts, remedy)


@asynccontextmanager
async def _vllm(
    role: str, settings: ModelSettings, listeners: Listeners, vllm: VllmSettings
) -> AsyncIterator[Endpoint]:
    weights = await asyncio.to_thread(vllm.weights_sha256)
    revision = weights or settings.revision
    name = settings.name or (vllm.model if vllm.folder is None else folder_model_name(vllm.folder, weights))
    async with (
        serve_vllm(vllm, name, settings.revision, listeners.on_status) as started,
        client_of(started.api_key, started.base_url, settings.max_reply_bytes) as client,
    ):
        served = await _list_models(role, started.base_url, settings, client, listeners.on_note)
        _, context_tokens = _served_model(role, started.base_url, name, served)
        model = Model(
            model_id=model_id(name, revision),
            name=name,
            origin=f"vllm:{name}",
            revision=revision,
            training_run_id=None,
            chat_template_hash=_vllm_template(vllm),
        )
        server = _server(model.origin, started.base_url, client, settings)
        yield Endpoint(role, model, [server], context_tokens, listeners, parameters=settings.parameters)


def _vllm_template(vllm: VllmSettings) -> str | None:
    own = any(name.replace("-", "_") == "chat_template" for name in vllm.args)
    return template_hash(chat_template(vllm.folder)) if vllm.folder and not own else None


def _client(url: str, settings: ModelSettings) -> AbstractAsyncContextManager[Client]:
    return client_of(read_key(settings), url, settings.max_reply_bytes)


def _server(address: str, base_url: str, client: Client, settings: ModelSettings) -> Server:
    pace = Concurrency(settings.concurrency, time.monotonic())
    base = base_url.rstrip("/")
    more: dict[str, Any] = {"beside": scores.BESIDE, "read": scores.read_score} if settings.is_reward else {}
    url = base.removesuffix("/v1") + scores.PATH if settings.is_reward else base + "/chat/completions"
    names = dict(settings.sent_as)
    return Server(address, url, client, pace, settings.timeout_s, settings.max_retry_after_s, names=names, **more)


class ServerSilent(FactoryError):
    """A server does not answer."""


async def served_models(role: str, settings: ModelSettings) -> tuple[dict[str, int | None], str | None]:
    """The models at the first base URL, with their context in tokens if reported (vLLM), empty without a list; and the
    proxy that it was asked through.

    Raises:
        FactoryError: nothing answers there, the key is refused, or it is not such an endpoint.
    """
    url = settings.urls[0]
    async with _client(url, settings) as client:
        served = await _list_models(role, url, settings, client, NO_LISTENERS.on_note)
        if not served and (lacking := await _server(public_address(url), url, client, settings).lacks_path()):
            raise FactoryError(
                f"models.{role}: {public_address(url)} has neither a list of models nor a chat ({lacking}): give the base "
                "URL of an OpenAI-compatible endpoint, which usually ends in /v1"
            )
        return served, client.proxy


async def _list_models(
    role: str, url: str, settings: ModelSettings, client: Client, note: Callable[[str], None]
) -> dict[str, int | None]:
    """The models that a server lists; empty if it lists none, or has an odd list and the model's name is given."""
    address = public_address(url)
    try:
        listed = await exchange(client, url.rstrip("/") + "/models", min(LIST_TIMEOUT_S, settings.timeout_s))
        return _read_list(listed)
    except Failure as failure:
        if failure.status in (404, 405):
            return {}  # some endpoints do not list their models
        if failure.status in (401, 403):
            raise FactoryError(
                f"models.{role}: {address} refuses the key (HTTP {failure.status}){failure.by_way}: put the right one in "
                f"{key_place(settings)}"
            ) from failure
        if failure.kind != "garbage":
            remedy = failure.remedy or ("start it" if failure.status is None else "fix it")
            raise ServerSilent(
                f"models.{role}: {address} does not answer ({failure}): {remedy}, or give another endpoint"
            ) from failure
        fault: Exception = failure
    except (KeyError, TypeError, AttributeError) as error:
        fault = error
    said = f" ({fault})" if isinstance(fault, Failure) else ""
    odd = f"models.{role}: {address}/models did not return a JSON list of models{said}"
    if settings.name is not None:
        note(f"{odd}: {settings.name!r} is asked all the same")
        return {}
    raise FactoryError(
        f"{odd}: give the base URL of an OpenAI-compatible endpoint, which usually ends in /v1, or the model's name "
        f"(models.{role}.name) if it has no such list"
    ) from fault


def _read_list(listed: Any) -> dict[str, int | None]:
    """The names in a list of models, bare or under `data`, with their context in tokens if that is told."""
    models = listed if isinstance(listed, list) else listed["data"]
    served = {}
    for model in models:
        name, tokens = (model, None) if isinstance(model, str) else (model["id"], model.get("max_model_len"))
        if isinstance(name, str) and name == storable(name):
            served[name] = tokens if isinstance(tokens, int) and tokens > 0 else None
    return served


def _served_model(role: str, url: str, name: str | None, served: dict[str, int | None]) -> tuple[str, int | None]:
    """The model's name at a server, and its context in tokens if the server reports it."""
    address = public_address(url)
    if name is None and not served:
        raise FactoryError(
            f"models.{role}.name is missing and {address} lists no models: does the base URL end in /v1? If it is right, "
            "give the model's name (--model-name)"
        )
    if name is None:
        if len(served) != 1:
            raise FactoryError(
                f"models.{role}.name is missing and {address} serves {len(served)} models: "
                f"set it to one of {', '.join(sorted(served)[:8])}"
            )
        return next(iter(served.items()))
    listed = next((one for one in served if name in (one, one.removeprefix("models/"))), None)  # Gemini's prefix
    if served and listed is None:
        near = difflib.get_close_matches(name, served, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it serves {', '.join(sorted(served)[:8])}"
        raise FactoryError(f"models.{role}: {address} has no model {name!r}: {hint}")
    return name, None if listed is None else served[listed]
