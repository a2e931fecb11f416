"""The real embedded server: llama.cpp with the small model, and how its process starts and ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from factory.inference.connect import connect
from factory.inference.embedded import EmbeddedServer, serve
from factory.inference.replies import read_completion
from factory.inference.settings import ModelSettings
from factory.inference.weights import Weights, fetch
from schemas.errors import FactoryError

ROOT = Path(__file__).resolve().parent.parent
QUESTION = [{"role": "user", "content": "Name three animals."}]
PARENT = """
import asyncio
from factory.inference.embedded import serve
from factory.inference.weights import fetch

async def main():
    async with serve(fetch("smollm2-135m"), slots=1, context_tokens=128) as server:
        print(server.base_url, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def smollm2() -> Weights:
    return fetch("smollm2-135m")


def post(server: EmbeddedServer, key: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"{server.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {server.api_key if key is None else key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def texts(answer: tuple[int, dict[str, Any]]) -> list[str]:
    return [choice["message"]["content"] for choice in answer[1]["choices"]]


def is_listening(base_url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(base_url).port)) == 0


def stops_listening(base_url: str, within_s: float = 120.0) -> bool:
    deadline = time.monotonic() + within_s
    while is_listening(base_url) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_listening(base_url)


def test_the_protocol_that_the_client_relies_on(smollm2: Weights) -> None:
    async def talk() -> None:
        async with serve(smollm2, slots=2, context_tokens=256) as server:
            status, answer = post(server, messages=QUESTION, max_tokens=8)
            assert status == 200 and answer["model"] == "smollm2-135m"
            assert answer["usage"]["completion_tokens"] == 8
            assert answer["choices"][0]["finish_reason"] == "length"

            assert post(server, key="", messages=QUESTION)[0] == 401
            assert post(server, key="guess", messages=QUESTION)[0] == 401

            together = texts(post(server, messages=QUESTION, max_tokens=8, n=2, seed=7))
            apart = [post(server, messages=QUESTION, max_tokens=8, seed=7 + i) for i in (0, 1)]
            assert together == [text for one in apart for text in texts(one)]
            assert together[0] != together[1]

            told = post(server, messages=QUESTION, max_tokens=8, n=2, seed=7, logprobs=True, top_logprobs=4)
            assert texts(told) == together
            choices, _, _ = read_completion(told[1])
            for choice in choices:
                assert choice.logprobs is not None and len(choice.logprobs) == 8
                assert "".join(token.token for token in choice.logprobs).startswith(choice.text)
                assert all(4 <= len(token.top) <= 5 for token in choice.logprobs)

            too_long = [{"role": "user", "content": "word " * 300}]
            status, refusal = post(server, messages=too_long, max_tokens=8)
            assert status == 400
            assert refusal["error"]["type"] == "exceed_context_size_error"
            assert refusal["error"]["n_prompt_tokens"] > refusal["error"]["n_ctx"] == 256
            assert post(server, messages=QUESTION, max_tokens=8)[0] == 200

            almost_too_long = [{"role": "user", "content": "word " * 200}]
            status, filled = post(server, messages=almost_too_long, max_tokens=200, ignore_eos=True)
            assert filled["usage"]["total_tokens"] == 256
            assert filled["choices"][0]["finish_reason"] == "length"

    asyncio.run(talk())


def test_a_server_is_apart_from_others_and_gone_after_its_block(smollm2: Weights, tmp_path: Path) -> None:
    async def two() -> None:
        log = tmp_path / "server.log"
        async with (
            serve(smollm2, slots=1, context_tokens=128) as one,
            serve(smollm2, slots=1, context_tokens=128, log_path=log) as other,
        ):
            assert one.base_url != other.base_url and one.api_key != other.api_key
            assert is_listening(one.base_url) and is_listening(other.base_url)
            assert os.getsid(one.process.pid) == one.process.pid  # out of reach of the terminal's Ctrl-C
            for server in (one, other):
                assert server.api_key not in repr(server)
                for kept in ("cmdline", "environ"):
                    told = Path(f"/proc/{server.process.pid}/{kept}")
                    assert not told.exists() or server.api_key.encode() not in told.read_bytes()
        assert "listening" in log.read_text()
        assert other.api_key not in log.read_text()
        for server in (one, other):
            assert server.process.returncode is not None
            assert not is_listening(server.base_url)

    asyncio.run(two())


def test_the_server_ends_with_its_input(smollm2: Weights) -> None:
    async def hang_up() -> int:
        async with serve(smollm2, slots=1, context_tokens=128) as server:
            assert server.process.stdin is not None
            server.process.stdin.close()
            return await asyncio.wait_for(server.process.wait(), 120)

    assert asyncio.run(hang_up()) == 0


def test_the_server_dies_with_a_parent_that_was_killed(smollm2: Weights) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        base_url = parent.stdout.readline().strip()
        assert is_listening(base_url)
        parent.send_signal(signal.SIGKILL)
    assert stops_listening(base_url)


def test_an_error_inside_the_block_stops_the_server(smollm2: Weights) -> None:
    async def fail() -> None:
        async with serve(smollm2, slots=1, context_tokens=128) as server:
            started.append(server)
            raise KeyError("a bug of the caller's")

    started: list[EmbeddedServer] = []
    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert not is_listening(started[0].base_url)


def test_a_file_that_llama_cpp_cannot_load_gives_the_end_of_its_log(tmp_path: Path) -> None:
    async def start() -> None:
        async with serve(fetch(str(tmp_path / "broken.gguf")), slots=1, context_tokens=128):
            pass

    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\x00" * 100)
    with pytest.raises(FactoryError, match=r"broken\.gguf exited with status 1.*failed to load model"):
        asyncio.run(start())


def test_a_context_beyond_the_models_is_refused_before_anything_starts(smollm2: Weights) -> None:
    async def start() -> None:
        async with serve(replace(smollm2, path=Path("never-opened")), context_tokens=8193):
            pass

    with pytest.raises(FactoryError, match="trained for 8192 tokens"):
        asyncio.run(start())


def test_servers_that_run_together_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int | None] = []

    @asynccontextmanager
    async def serve(weights: Weights, *, threads: int | None = None, **others: Any) -> AsyncIterator[Any]:
        given.append(threads)
        raise FactoryError("enough is known")
        yield

    monkeypatch.setattr("factory.inference.connect.serve", serve)
    monkeypatch.setattr("factory.inference.connect.usable_cores", lambda: 5)

    async def start(servers: int) -> None:
        async with connect("actor", ModelSettings(endpoint=("embedded:smollm2-135m",)), embedded_servers=servers):
            raise AssertionError("it has not been started")

    for servers in (1, 2, 9):
        with pytest.raises(FactoryError, match="enough"):
            asyncio.run(start(servers))
    assert given == [5, 2, 1]
