"""An embedded model: llama.cpp's server in its own process, on loopback, for the length of one block.

    async with serve(fetch("smollm2-135m")) as server:
        ...  # any OpenAI client can use server.base_url with server.api_key

The server runs in a child process (`python -m factory.inference.embedded`, with its settings on standard input)
because llama.cpp logs to the standard streams and exits on some errors. The child always dies with its parent.
Requests are left to the client, fetching weights to `weights.py`.
"""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from factory.inference.children import child_server
from factory.inference.weights import Weights
from schemas.errors import FactoryError
from schemas.parents import die_with

ENVIRONMENT = {
    # Threads that wait at a barrier spin briefly, then sleep. Spinning longer is a fifth faster on an idle machine,
    # but 3 times slower beside another busy process, because it burns the time slice that the other thread needs.
    "GOMP_SPINCOUNT": "20000",
}


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server that speaks OpenAI's chat protocol."""

    base_url: str  # http://127.0.0.1:PORT/v1
    api_key: str = field(repr=False)  # generated for this run
    model: str  # the model's name in requests
    process: asyncio.subprocess.Process


@dataclass(frozen=True, slots=True)
class _Settings:
    """The child's settings: one line of JSON on its standard input, which keeps the key out of the argument list."""

    parent_pid: int
    models: list[str]  # names that it shows: the model's, and its base's where an adapter is loaded
    path: str
    adapter: str | None
    api_key: str
    slots: int
    context_tokens: int
    threads: int
    verbosity: int  # llama.cpp's: 1 logs errors, 3 every request


@asynccontextmanager
async def serve(
    weights: Weights,
    *,
    slots: int = 16,
    context_tokens: int = 4096,
    threads: int | None = None,
    log_path: Path | None = None,
    start_timeout_s: float = 120.0,
) -> AsyncIterator[EmbeddedServer]:
    """Starts a server for `weights`, yields it once it is healthy, and stops it at the end of the block.

    slots: sequences generated in parallel; the server queues further requests.
    context_tokens: prompt and answer together, for each slot (llama.cpp rounds it up to a multiple of 256); memory is
        taken for slots × context_tokens at once.
    threads: by default, all cores that this process may use.
    log_path: llama.cpp's log, appended to; without it only errors are kept, for the error message.
    Raises FactoryError if the context is larger than the model's, or if the server is not up after `start_timeout_s`
    (with the end of the log).
    """
    if weights.context_tokens is not None and context_tokens > weights.context_tokens:
        raise FactoryError(
            f"{weights.name} was trained for {weights.context_tokens} tokens of context: "
            f"{context_tokens} is too much, ask for at most that"
        )
    settings = _Settings(
        parent_pid=os.getpid(),
        models=[weights.name, *([weights.base.name] if weights.base else [])],
        path=str(weights.path),
        adapter=str(weights.adapter) if weights.adapter else None,
        api_key=secrets.token_urlsafe(32),
        slots=slots,
        context_tokens=context_tokens,
        threads=threads or usable_cores(),
        verbosity=3 if log_path else 1,
    )
    with log_path.open("a+b") if log_path else tempfile.TemporaryFile() as log:
        starting = child_server(
            "factory.inference.embedded",
            asdict(settings),
            start_timeout_s,
            log,
            ENVIRONMENT,
            partial(_explain, settings),
        )
        async with starting as (address, process):
            yield EmbeddedServer(f"{address}/v1", settings.api_key, weights.name, process)


def _explain(settings: _Settings, what: str, tail: str) -> FactoryError:
    return FactoryError(
        f"the embedded server for {settings.path} {what}: "
        f"check the file, and that slots × context_tokens fits in memory ({tail or 'its log is empty'})"
    )


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Everything below runs in the child.


def main() -> None:
    """Serves until standard input closes, which happens when the parent exits."""
    settings = _Settings(**json.loads(sys.stdin.readline()))
    die_with(settings.parent_pid)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp logs to both streams; the parent expects exactly one line on stdout
    try:
        server = _llama_server(settings)
    except RuntimeError as error:  # xllamacpp raises nothing else; the reason is in the log
        sys.exit(str(error))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"{server.listening_address}/health", timeout=60).close()
    print(server.listening_address, file=report, flush=True)
    threading.Event().wait()


def _llama_server(settings: _Settings) -> Any:
    import xllamacpp  # here, because the parent must not load it

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.model_alias = set(settings.models)  # otherwise it shows the model's path on this machine
    if settings.adapter is not None:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = settings.adapter, 1.0
        params.lora_adapters = [adapter]
    params.api_keys = [settings.api_key]
    params.port = 0  # any free port
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = settings.verbosity
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context_tokens
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.cache_ram_mib = 0  # otherwise it caches old prompts, up to 8 GiB
    params.n_threads_http = 256  # each waiting request and each idle keep-alive connection holds one
    # OpenAI's defaults, with top_p after the temperature as in every other engine; llama.cpp's own also cut to the 40
    # likeliest tokens. Cutting to 100 first avoids sorting the whole vocabulary (a fifth of the time); at top_p 0.9
    # the tokens lost have almost no probability.
    params.sampling.samplers = "penalties;top_k;temperature;top_p;min_p"
    params.sampling.temp = 1.0
    params.sampling.top_p = 1.0
    params.sampling.top_k = 100
    params.sampling.min_p = 0.0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
