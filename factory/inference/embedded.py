"""An embedded model: llama.cpp's server in a process of its own, on loopback, for as long as one block runs.

    async with serve(fetch("smollm2-135m")) as server:
        ...  # any OpenAI client may ask server.base_url with server.api_key

The server lives in a child process (`python -m factory.inference.embedded`, told what to do on its standard input) because
llama.cpp writes its log to the standard streams and ends the process on some errors. The child dies with its parent,
however the parent dies. Making requests is left to the client, fetching weights to `weights.py`.
"""

import asyncio
import ctypes
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from factory.inference.weights import Weights
from schemas.errors import FactoryError


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. It answers OpenAI's chat protocol to whoever has its key."""

    base_url: str  # http://127.0.0.1:PORT/v1
    api_key: str = field(repr=False)  # made for this run
    model: str  # the name it serves the model under
    process: asyncio.subprocess.Process


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the child is told: one line of JSON on its standard input, so that the key is in no argument list."""

    parent_pid: int
    model: str
    path: str
    api_key: str
    slots: int
    context_tokens: int
    threads: int
    verbosity: int  # llama.cpp's: 1 is errors, 3 tells of every request


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

    slots: sequences generated side by side; more requests wait inside the server, which takes them all.
    context_tokens: prompt and answer together, for each slot (llama.cpp rounds it up to a multiple of 256); memory is
        taken for slots × context_tokens at once.
    threads: all the cores this process may use, unless given.
    log_path: llama.cpp's log, appended to; without it only errors are kept, for the message below.
    Raises FactoryError for a context beyond the model's, and, with the end of the log, if the server is not up
    after `start_timeout_s`.
    """
    if weights.context_tokens is not None and context_tokens > weights.context_tokens:
        raise FactoryError(
            f"{weights.name} was trained for {weights.context_tokens} tokens of context: "
            f"ask for no more than that, not for {context_tokens}"
        )
    settings = _Settings(
        parent_pid=os.getpid(),
        model=weights.name,
        path=str(weights.path),
        api_key=secrets.token_urlsafe(32),
        slots=slots,
        context_tokens=context_tokens,
        threads=threads or _usable_cores(),
        verbosity=3 if log_path else 1,
    )
    with log_path.open("a+b") if log_path else tempfile.TemporaryFile() as log:
        process = await _spawn(log)
        try:
            address = await _start(process, settings, start_timeout_s, log)
            yield EmbeddedServer(f"{address}/v1", settings.api_key, settings.model, process)
        finally:
            await stop(process)


async def stop(process: asyncio.subprocess.Process, grace_s: float = 5.0) -> None:
    """Ends the server: politely, and after `grace_s` by force. Does nothing to one that has ended."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _spawn(log: BinaryIO) -> asyncio.subprocess.Process:
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        # A thread that waits at a barrier spins a moment, then sleeps. Spinning for long wins a fifth on an idle machine;
        # beside another busy process it burns the time slice that the other thread needs (3 times slower).
        "GOMP_SPINCOUNT": "20000",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "factory.inference.embedded",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the parent, which still has answers to take in
    )


async def _start(process: asyncio.subprocess.Process, settings: _Settings, timeout_s: float, log: BinaryIO) -> str:
    """Hands the settings over and waits for the child's one line: the address at which it is healthy."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), timeout_s)
    except TimeoutError:
        what = f"was not up after {timeout_s:.0f} s"
    else:
        if line:
            return line.decode().strip()
        what = f"ended with status {await process.wait()} while it started"
    log.seek(0)
    tail = " | ".join(log.read().decode(errors="replace").strip().splitlines()[-8:])
    raise FactoryError(
        f"the embedded server for {settings.path} {what}: "
        f"check the file, and that slots × context_tokens fits into memory ({tail or 'its log is empty'})"
    )


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# What follows runs in the child.


def main() -> None:
    """Serves until standard input ends, which it does when the parent is gone."""
    settings = _Settings(**json.loads(sys.stdin.readline()))
    _die_with(settings.parent_pid)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp logs to both streams; the parent wants one line and no more from the first
    try:
        server = _llama_server(settings)
    except RuntimeError as error:  # all that xllamacpp raises; the reason is in the log above it
        sys.exit(str(error))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"{server.listening_address}/health", timeout=60).close()
    print(server.listening_address, file=report, flush=True)
    threading.Event().wait()


def _die_with(parent_pid: int) -> None:
    """Ends this process when its parent ends: by a signal from Linux, elsewhere by the end of standard input.

    Both, since a forked sibling may hold the pipe's other end, and the signal comes from Linux alone (which sends it
    when the thread that started the child ends: here the event loop's).
    """
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the signal was asked for
            os._exit(0)


def _llama_server(settings: _Settings) -> Any:
    import xllamacpp  # here, for the parent must not load it

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.model_alias = {settings.model}  # else it calls the model by its path on this machine
    params.api_keys = [settings.api_key]
    params.port = 0  # the kernel picks a free one
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = settings.verbosity
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context_tokens
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.cache_ram_mib = 0  # else it keeps old prompts until they fill 8 GiB
    params.n_threads_http = 256  # a waiting request, and an idle kept connection, each hold one
    # OpenAI's defaults, and top_p after the temperature as in every other engine, where llama.cpp would also cut to
    # the 40 likeliest tokens. Cutting to 100 first spares sorting the whole vocabulary, a
    # fifth of the time; what it takes away has next to no probability at top_p 0.9.
    params.sampling.samplers = "penalties;top_k;temperature;top_p;min_p"
    params.sampling.temp = 1.0
    params.sampling.top_p = 1.0
    params.sampling.top_k = 100
    params.sampling.min_p = 0.0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
