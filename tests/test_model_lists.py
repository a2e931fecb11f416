"""What a server says of its models, and a base URL that is not quite one: read kindly, and told by the likely cause."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from factory.inference.connect import connect
from factory.inference.endpoints import Listeners
from factory.inference.settings import ModelSettings
from factory.monitor.doctor import examine
from schemas.errors import FactoryError
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint
from tests.test_client import serving


def connected(url: str, name: str | None = None) -> tuple[str, int | None, list[str]]:
    """The model's name and context at a URL, and what was noted."""
    notes: list[str] = []

    async def work() -> tuple[str, int | None, list[str]]:
        settings = ModelSettings(endpoint=(url,), name=name)
        async with connect("actor", settings, Listeners(on_note=notes.append)) as endpoint:
            return endpoint.model.name, endpoint.context_tokens, notes

    return asyncio.run(work())


def listing(body: Any, status: int = 200) -> Any:
    async def handle(request: web.BaseRequest) -> web.Response:
        return web.json_response(body, status=status)

    return handle


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ([{"id": "m", "object": "model"}], None),  # Together AI
        (["m"], None),
        ({"data": [{"id": "m", "max_model_len": 512}]}, 512),
        ({"data": [{"id": "m", "max_model_len": "many"}, {"id": None}]}, None),
    ],
)
def test_lists_in_other_shapes_are_read(body: Any, context: int | None) -> None:
    with serving(listing(body)) as url:
        assert connected(url) == ("m", context, [])
        assert connected(url, "m") == ("m", context, [])


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": 5}, "models", None, {"data": [[]]}], ids=repr)
def test_an_odd_list_bars_nobody_who_gives_the_models_name(body: Any) -> None:
    with serving(listing(body)) as url:
        name, _, notes = connected(url, "m")
        assert name == "m" and len(notes) == 1 and "did not return a JSON list of models" in notes[0]
        with pytest.raises(FactoryError, match=r"did not return a JSON list of models.*models\.actor\.name"):
            connected(url)


def test_a_sign_in_page_is_quoted() -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html><title>Sign in</title><body>Corporate</body></html>", content_type="text/html")

    with serving(page) as url, pytest.raises(FactoryError, match="Sign in Corporate"):
        connected(url)


def test_a_name_without_the_list_s_prefix_is_that_model() -> None:
    with serving(listing({"data": [{"id": "models/m"}, {"id": "models/other"}]})) as url:
        assert connected(url, "m")[0] == "m"
        with pytest.raises(FactoryError, match="has no model 'n'"):
            connected(url, "n")


def without_v1(url: str) -> str:
    return url.removesuffix("/v1")


def test_a_base_url_without_v1_is_told_as_such(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        url = without_v1(endpoint.url)
        with pytest.raises(
            FactoryError, match=r"name is missing and .* lists no models: does the base URL end in /v1\?"
        ):
            connected(url)
        with pytest.raises(
            FactoryError, match=r"has nothing at .*/chat/completions \(HTTP 404.*does the base URL end in /v1\?"
        ):
            run_spar(tmp_path / "lake", url, 1, models__actor__name="mock", models__refiner__name="mock")


def examined(model: str, tmp_path: Path) -> tuple[str, str]:
    out = io.StringIO()
    examine(str(tmp_path / "lake"), model, Console(file=out, width=60))
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("endpoint ")]
    _, state, words = line.split(maxsplit=2)
    return state, words


def test_the_doctor_does_not_call_it_well(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        state, words = examined(without_v1(endpoint.url), tmp_path)
        assert state == "broken" and "neither a list of models nor a chat (HTTP 404" in words and "ends in /v1" in words
        state, words = examined(f"{endpoint.url}/chat/completions", tmp_path)
        assert state == "broken" and f"give the base URL, '{endpoint.url}'" in words
        state, words = examined(f"{endpoint.url}?api_key=sk-1", tmp_path)
        assert state == "broken" and "query" in words and "sk-1" not in words


def test_the_doctor_names_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def proxy(request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "m"}]})
        return web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html")

    monkeypatch.delenv("no_proxy", raising=False)
    with serving(proxy) as url:
        address = without_v1(url)
        monkeypatch.setenv("http_proxy", address.replace("http://", "http://me:secret@"))
        state, words = examined("http://models.example/v1", tmp_path)
    assert state == "broken" and f"through the proxy {address}" in words and "secret" not in words


def test_with_a_proxy_for_all_a_run_asks_loopback_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with running_endpoint(answer) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 1)
    assert progress.done == 1 and not progress.errors


def test_a_chat_without_a_list_of_models_is_well_enough(tmp_path: Path) -> None:
    async def chat_alone(request: web.BaseRequest) -> web.Response:
        if request.path == "/v1/chat/completions":
            return web.json_response({"error": {"message": "which model?"}}, status=400)
        return web.json_response({"detail": "Not Found"}, status=404)

    with serving(chat_alone) as url:
        state, words = examined(url, tmp_path)
    assert state == "ok" and "lists no models: give --model-name" in words
