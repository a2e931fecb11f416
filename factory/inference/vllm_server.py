"""A model that the run serves itself: `vllm serve` on loopback, for the length of one block.

    async with serve(VllmSettings(model="./base"), name="./base", revision=None) as server:
        ...  # any OpenAI client can use server.base_url with server.api_key

vLLM has its own environment and is called only by its command, so any build works. It runs in its own process group,
under `process_group.py`, and always ends with the run.
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
    """A running server that speaks OpenAI's chat protocol."""

    base_url: str  # http://127.0.0.1:PORT/v1
    api_key: str = field(repr=False)  # generated for this run
    log_path: Path
    process: asyncio.subprocess.Process  # the leader of its group


@asynccontextmanager
async def serve(
    settings: VllmSettings, name: str, revision: str | None, on_status: Callable[[str], None] = lambda message: None
) -> AsyncIterator[VllmServer]:
    """Starts `vllm serve`, yields it once it is healthy, and stops all its processes at the end of the block.

    Args:
        name: the model's name in requests.
        revision: of a model on a hub.
        on_status: receives status messages.
    Raises:
        FactoryError: there is no such command or folder, the server did not start in time, or it exited (inside the
            block, this also cancels the block). The message includes the end of its log.
    """
    if settings.folder is None and settings.model.startswith(("/", ".", "~")):
        raise FactoryError(f"vllm.model: no folder {settings.model!r}: give a folder of safetensors or a hub id")
    port, api_key, log_path = _free_port(), secrets.token_urlsafe(32), _new_log(name)
    command = [_program(settings.command), *_words(settings, name, revision, port)]
    on_status(f"starting vLLM with {name} (log: {log_path})")
    with log_path.open("ab") as log:
        process = await _spawn(command, api_key, log)
    server = VllmServer(f"http://127.0.0.1:{port}/v1", api_key, log_path, process)
    try:
        await _until_healthy(server, settings.start_timeout_s)
        async with _cancelling_on_exit(server):
            yield server
    finally:
        await _stop(process)


def _words(settings: VllmSettings, name: str, revision: str | None, port: int) -> Iterator[str]:
    """The command's arguments. The key is not among them: every user of the machine could read it there."""
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
        f"vllm.command: no program {command!r}: pip install 'preference-factory[vllm]', or install vLLM in its own "
        "environment and give the path of its `vllm` (docs/endpoints.md)"
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _new_log(name: str) -> Path:
    """A new log file in the user's cache, which keeps the newest LOGS_KEPT."""
    folder = cache_dir() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("vllm-*.log"))[: 1 - LOGS_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise FactoryError(
            f"cannot write vLLM's log to {folder}: {error.strerror}; set PREFERENCE_FACTORY_CACHE to another directory"
        ) from error
    return folder / f"vllm-{time.time_ns()}-{re.sub('[^A-Za-z0-9]+', '-', name)[-40:].strip('-')}.log"


async def _spawn(command: list[str], api_key: str, log: BinaryIO) -> asyncio.subprocess.Process:
    root = str(Path(__file__).resolve().parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "factory.inference.process_group",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        env={
            "VLLM_NO_USAGE_STATS": "1",  # otherwise it phones home
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            "VLLM_API_KEY": api_key,
        },
        start_new_session=True,  # Ctrl-C must not reach it: the run still has answers to collect
    )
    assert process.stdin is not None
    process.stdin.write(f"{os.getpid()}\n".encode())
    return process


async def _until_healthy(server: VllmServer, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(_is_healthy, server.base_url.removesuffix("/v1") + "/health"):
        if server.process.returncode is not None:
            raise _ended(server, "during startup")
        if time.monotonic() > deadline:
            raise FactoryError(
                f"vLLM did not start within {timeout_s:.0f} s (vllm.start_timeout_s): {_end_of_log(server)}"
            )
        await asyncio.sleep(0.2)


def _is_healthy(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=5).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


@asynccontextmanager
async def _cancelling_on_exit(server: VllmServer) -> AsyncIterator[None]:
    """Cancels the block when the server exits; otherwise its requests would be retried for a minute."""
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
            raise  # cancelled by someone else
        block.uncancel()
        raise _ended(server, "during the run") from None
    finally:
        inside = False
        watching.cancel()


def _ended(server: VllmServer, when: str) -> FactoryError:
    return FactoryError(f"vLLM exited with status {server.process.returncode} {when}: {_end_of_log(server)}")


def _end_of_log(server: VllmServer) -> str:
    text = server.log_path.read_text("utf-8", "replace").replace(server.api_key, "***")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    # vLLM follows its errors with dozens of lines of clean-up messages.
    told = [line for line in lines if _ERROR.search(line)] or lines
    tail = " | ".join(told[-4:])[-1500:]
    return f"fix the error in its log {server.log_path}, then run `factory resume` (end of log: {tail or 'empty'})"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_GRACE_S + 5)
    with suppress(ProcessLookupError):  # the leader may have left processes behind
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
