"""A server of our own in a child process: it gets its settings on standard input, and dies with its parent."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from schemas.errors import FactoryError

LOG_LINES = 8


@asynccontextmanager
async def child_server(
    module: str,
    settings: Mapping[str, Any],
    timeout_s: float,
    log: BinaryIO,
    environment: Mapping[str, str],
    explain: Callable[[str, str], FactoryError],
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Starts `python -m MODULE`, yields its address once it is healthy, and stops it at the end of the block.

    Args:
        settings: sent as one line of JSON, which keeps a key out of the argument list.
        timeout_s: how long it may take to print its one line: its address, or in a sentence why there is none.
        log: receives its standard error.
        environment: variables that the caller's own take precedence over.
        explain: what has happened and the end of the log -> the error, where it printed nothing.
    Raises:
        FactoryError: it did not start.
    """
    process = await _spawn(module, log, environment)
    try:
        yield await _address(process, settings, timeout_s, log, explain), process
    finally:
        await stop(process)


async def stop(process: asyncio.subprocess.Process, grace_s: float = 5.0) -> None:
    """Stops the server: SIGTERM, then SIGKILL after `grace_s`. Does nothing if it has exited."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _spawn(module: str, log: BinaryIO, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    root = str(Path(__file__).resolve().parents[2])
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={
            **environment,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        },
        start_new_session=True,  # Ctrl-C must not reach it: the parent still has answers to collect
    )


async def _address(
    process: asyncio.subprocess.Process,
    settings: Mapping[str, Any],
    timeout_s: float,
    log: BinaryIO,
    explain: Callable[[str, str], FactoryError],
) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), timeout_s)).decode().strip()
    except TimeoutError:
        what = f"did not start within {timeout_s:.0f} s"
    else:
        if line.startswith("http://"):
            return line
        if line:
            raise FactoryError(line)
        what = f"exited with status {await process.wait()} during startup"
    log.seek(0)
    raise explain(what, " | ".join(log.read().decode(errors="replace").strip().splitlines()[-LOG_LINES:]))
