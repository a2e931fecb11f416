"""A model that the run serves itself: `vllm serve` on loopback, for as long as one block runs.

    async with serve(VllmSettings(model="./base"), name="./base", revision=None) as server:
        ...  # any OpenAI client may ask server.base_url with server.api_key

vLLM lives in an environment of its own and is known by its command alone, so any build will do. It runs in a process
group of its own, under `process_group.py`, and is gone with the run, however the run ends.
"""

import asyncio
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from factory.inference.process_group import STOP_GRACE_S
from factory.inference.settings import VllmSettings
from factory.inference.weights import cache_dir
from schemas.errors import FactoryError

LOGS_KEPT = 10

_ERROR = re.compile(r"(error|exception): ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A running server. It answers OpenAI's chat protocol to whoever has its key."""

    base_url: str  # http://127.0.0.1:PORT/v1
    api_key: str = field(repr=False)  # made for this run
    log_path: Path
    process: asyncio.subprocess.Process  # the leader of its group


@asynccontextmanager
async def serve(
    settings: VllmSettings, name: str, revision: str | None, tell: Callable[[str], None] = lambda words: None
) -> AsyncIterator[VllmServer]:
    """Starts `vllm serve`, yields it once it is healthy, and stops it with all its processes at the end of the block.

    Args:
        name: what requests call the model.
        revision: of a model on a hub.
        tell: takes what is going on, in words.
    Raises:
        FactoryError: no such command or folder; or the server was not up in time, or ended, be it while it started or
            inside the block, which is cancelled then. The end of its log is in the message.
    """
    if settings.folder is None and settings.model.startswith(("/", ".", "~")):
        raise FactoryError(
            f"vllm.model: there is no folder {settings.model!r}: give a folder of safetensors, or a hub id"
        )
    port, api_key, log_path = _free_port(), secrets.token_urlsafe(32), _new_log(name)
    command = [_program(settings.command), *_words(settings, name, revision, port)]
    tell(f"starting vLLM with {name} (its log is {log_path})")
    with log_path.open("ab") as log:
        process = await _spawn(command, api_key, log)
    server = VllmServer(f"http://127.0.0.1:{port}/v1", api_key, log_path, process)
    try:
        await _until_healthy(server, settings.start_timeout_s)
        async with _ending_with(server):
            yield server
    finally:
        await _stop(process)


def _words(settings: VllmSettings, name: str, revision: str | None, port: int) -> Iterator[str]:
    """What follows the program's name; never the key, which all users of the machine could read there."""
    yield from ("serve", str(settings.folder or settings.model))
    yield from ("--served-model-name", name, "--host", "127.0.0.1", "--port", str(port))
    if revision is not None and settings.folder is None:
        yield from ("--revision", revision)
    for argument, value in settings.args.items():
        flag = argument.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif isinstance(value, list):
            yield from (f"--{flag}", *map(str, value))
        else:
            yield from (f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value))


def _program(command: str) -> str:
    if found := shutil.which(Path(command).expanduser()):
        return str(Path(found).absolute())
    raise FactoryError(
        f"vllm.command: there is no program {command!r}: install vLLM in an environment of its own, and give the path "
        "of its `vllm` (docs/endpoints.md)"
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _new_log(name: str) -> Path:
    """A file in the user's cache, of which the newest LOGS_KEPT are kept."""
    folder = cache_dir() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("vllm-*.log"))[: 1 - LOGS_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise FactoryError(
            f"vLLM's log cannot be written to {folder}: {error.strerror}; set PREFERENCE_FACTORY_CACHE to another directory"
        ) from error
    return folder / f"vllm-{time.time_ns()}-{re.sub('[^A-Za-z0-9]+', '-', name)[-40:].strip('-')}.log"


async def _spawn(command: list[str], api_key: str, log: BinaryIO) -> asyncio.subprocess.Process:
    root = str(Path(__file__).resolve().parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "factory.inference.process_group",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        env={
            "VLLM_NO_USAGE_STATS": "1",  # else it reports to its makers
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            "VLLM_API_KEY": api_key,
        },
        start_new_session=True,  # Ctrl-C is for the run, which still has answers to take in
    )
    assert process.stdin is not None
    process.stdin.write(f"{os.getpid()}\n".encode())
    return process


async def _until_healthy(server: VllmServer, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(_is_healthy, server.base_url.removesuffix("/v1") + "/health"):
        if server.process.returncode is not None:
            raise _ended(server, "while it started")
        if time.monotonic() > deadline:
            raise FactoryError(f"vLLM was not up after {timeout_s:.0f} s (vllm.start_timeout_s): {_end_of_log(server)}")
        await asyncio.sleep(0.2)


def _is_healthy(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=5).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


@asynccontextmanager
async def _ending_with(server: VllmServer) -> AsyncIterator[None]:
    """Cancels the block when the server ends: else requests to nobody would be tried again for a minute."""
    block, inside = asyncio.current_task(), True
    assert block is not None

    def end_the_block(watching: asyncio.Task[int]) -> None:
        if inside and not watching.cancelled():
            block.cancel()

    watching = asyncio.create_task(server.process.wait())
    watching.add_done_callback(end_the_block)
    try:
        yield
    except asyncio.CancelledError:
        if not watching.done():
            raise  # somebody else's wish
        block.uncancel()
        raise _ended(server, "while the run asked it") from None
    finally:
        inside = False
        watching.cancel()


def _ended(server: VllmServer, when: str) -> FactoryError:
    return FactoryError(f"vLLM ended with status {server.process.returncode} {when}: {_end_of_log(server)}")


def _end_of_log(server: VllmServer) -> str:
    text = server.log_path.read_text("utf-8", "replace").replace(server.api_key, "***")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    # After its errors vLLM writes dozens of lines about how it cleans up.
    told = [line for line in lines if _ERROR.search(line)] or lines
    tail = " | ".join(told[-4:])[-1500:]
    return f"mend what its log {server.log_path} says, then go on with `factory resume` (its end: {tail or 'empty'})"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_GRACE_S + 5)
    with suppress(ProcessLookupError):  # whatever is left of the group, where its leader could not end it
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
