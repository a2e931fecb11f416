"""What an endpoint may send back, how much, how slowly, from where: bounded, masked, and told by its cause."""

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from factory.inference.client import client_of, exchange, is_loopback, proxy_for
from factory.inference.failures import (
    LONGEST_ASKED_S,
    Failure,
    of_transport,
    read_document,
    retry_after_s,
    wait_s,
)
from schemas.errors import FactoryError
from tests.servers import _free_port

KEY = "sk-a-long-secret-123"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@contextmanager
def serving(handle: Any, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server whose requests all go to `handle`; gives its base URL."""
    port, loop, up = _free_port(), asyncio.new_event_loop(), threading.Event()

    async def start() -> None:
        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        up.set()

    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def ask(url: str, timeout_s: float = 20.0, key: str = KEY, max_bytes: int = 1_000_000, body: Any = HELLO) -> Any:
    """The document, or the failure."""

    async def work() -> Any:
        async with client_of(key, url, max_bytes) as client:
            try:
                return await exchange(client, f"{url}/chat/completions", timeout_s, body)
            except Failure as failure:
                return failure

    return asyncio.run(work())


async def endlessly(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


def test_a_body_without_an_end_is_cut_at_max_reply_bytes() -> None:
    with serving(endlessly) as url:
        failure = ask(url, max_bytes=300_000)
    assert failure.said == "answered with more than 300,000 bytes" and "max_reply_bytes" in failure.remedy


def test_a_small_body_that_unpacks_to_a_large_one_is_cut_too() -> None:
    packed = gzip.compress(b"0" * 50_000_000)

    async def bomb(request: web.BaseRequest) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"}, content_type="application/json")

    assert len(packed) < 60_000
    with serving(bomb) as url:
        assert "more than 1,000,000 bytes" in str(ask(url))
        packed = gzip.compress(json.dumps({"choices": ["x" * 900_000]}).encode())
        assert len(ask(url)["choices"][0]) == 900_000


def test_an_error_page_without_an_end_is_read_as_far_as_its_reason_goes() -> None:
    async def failing(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=502)
        await response.prepare(request)
        await response.write(b"<html><head><title>502 Bad Gateway</title></head>")
        while True:
            await response.write(b"<p>" * 30_000)

    with serving(failing) as url:
        assert str(ask(url)) == "HTTP 502: 502 Bad Gateway"


def test_a_body_that_trickles_in_does_not_extend_the_deadline() -> None:
    async def trickling(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    with serving(trickling) as url:
        failure = ask(url, timeout_s=0.3)
    assert failure.timed_out and failure.said == "gave no answer in time"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_its_origin_is_followed_with_the_same_request(status: int) -> None:
    seen: list[tuple[str, str, Any]] = []

    async def moved(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.path, json.loads(await request.read())))
        if not request.path.endswith("/moved"):
            return web.Response(status=status, headers={"Location": "/v1/moved"})
        return web.json_response({"choices": [], "key": request.headers["Authorization"]})

    with serving(moved) as url:
        assert ask(url)["key"] == "Bearer ***"
    assert seen == [("POST", "/v1/chat/completions", HELLO), ("POST", "/v1/moved", HELLO)]


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_origin_is_refused_and_nothing_is_sent_there(status: int) -> None:
    there: list[str] = []

    async def elsewhere(request: web.BaseRequest) -> web.Response:
        there.append(request.path)
        return web.json_response({"choices": []})

    with serving(elsewhere) as other:

        async def away(request: web.BaseRequest) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{other}/chat?key={KEY}"})

        with serving(away) as url:
            failure = ask(url)
    assert not there
    assert str(failure) == f"HTTP {status}: redirected to {other}/chat" and "another origin" in failure.remedy


def test_redirects_in_a_circle_end() -> None:
    async def round_and_round(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": request.path})

    with serving(round_and_round) as url:
        assert "in circles" in str(ask(url))


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=not list(name)
        )
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = folder / "certificate.pem"
    file.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return file


async def well(request: web.BaseRequest) -> web.Response:
    return web.json_response({"choices": []})


def test_a_certificate_that_is_not_trusted_is_told_with_the_variable_that_helps(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    with serving(well, context) as url:
        failure = ask(url)
        assert "its certificate is not trusted: self" in str(failure) and "SSL_CERT_FILE" in failure.remedy
        assert "Operation not permitted" not in str(failure)
        failure = ask(url.replace("https", "http"))
        assert "Operation not permitted" not in str(failure)


def test_https_asked_of_an_http_port_is_told_as_such() -> None:
    with serving(well) as url:
        failure = ask(url.replace("http", "https"))
    assert "no TLS connection" in str(failure) and "http://" in failure.remedy


def test_a_name_that_cannot_be_looked_up_is_told_by_the_resolvers_words() -> None:
    failure = ask("http://no-such-host.invalid/v1")
    assert str(failure).startswith("its name cannot be looked up: ")


def test_numbers_of_other_tables_are_not_read_as_errno() -> None:
    import errno
    import os
    import socket

    assert of_transport(ssl.SSLError(1, "[SSL] odd")).said == "no TLS connection: [ssl] odd"
    assert of_transport(socket.gaierror(2, "unknown name")).said.endswith("unknown name")
    assert of_transport(ConnectionRefusedError(errno.ECONNREFUSED, "x")).said == os.strerror(errno.ECONNREFUSED)


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::ffff:127.0.0.1"]
)
def test_this_machine_is_never_asked_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert is_loopback(host)
    assert proxy_for(f"http://{f'[{host}]' if ':' in host else host}:8000/v1") is None


def test_with_a_proxy_in_the_environment_loopback_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(well) as url:
        assert ask(url) == {"choices": []}


def test_a_proxy_is_used_and_named_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        seen.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return web.Response(
            status=403, text="<html><body>Blocked by <b>policy</b></body></html>", content_type="text/html"
        )

    monkeypatch.delenv("no_proxy", raising=False)
    with serving(proxy) as url:
        port = url.split(":")[2].split("/")[0]
        monkeypatch.setenv("http_proxy", f"http://me:pass%40word@127.0.0.1:{port}")
        failure = ask("http://models.example/v1")
    assert str(failure) == f"HTTP 403: Blocked by policy, through the proxy http://127.0.0.1:{port}"
    assert seen[0][0].startswith("http://models.example/v1") and seen[0][1] is not None


def test_a_host_in_no_proxy_is_asked_directly_and_odd_proxies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy:1080")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("http://inside.example/v1") is None
    with pytest.raises(FactoryError, match=r"the proxy socks5://proxy:1080 for http://out\.example/v1 cannot be used"):
        proxy_for("http://out.example/v1")


def read(body: Any, status: int = 200, secret: str = KEY, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_document(status, headers, content, secret)


def test_the_key_is_masked_wherever_an_answer_repeats_it() -> None:
    spelled = "".join(f"\\u{ord(c):04x}" for c in KEY)
    document = read(f'{{"choices": [{{"text": "it is {KEY}!", "deep": [["{spelled}"]]}}], "n": 1}}'.encode())
    assert document == {"choices": [{"text": "it is ***!", "deep": [["***"]]}], "n": 1}
    assert read({"choices": ["test none"]}, secret="none") == {"choices": ["test none"]}
    # A placeholder is no secret: an answer may hold the word.
    assert read({"choices": ["a test"]}, secret="test") == {"choices": ["a test"]}


def test_a_nest_of_brackets_is_no_json() -> None:
    with pytest.raises(Failure, match="answered with something that is not JSON"):
        read(b"[" * 200_000)
    deep = json.loads("[" * 900 + f'"{KEY}"' + "]" * 900)
    text = json.dumps(deep)
    assert KEY not in json.dumps(read(text.encode()))


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"choices": None, "error": {"message": "overloaded", "code": 429}}, 429, "HTTP 429: overloaded"),
        ({"error": {"message": "no", "code": "model_not_found"}}, 404, "HTTP 404: no (model_not_found)"),
        ({"error": {"message": "no", "status": "503"}}, 503, "HTTP 503: no"),
        ({"object": "error", "message": "gone", "code": 410}, 410, "HTTP 410: gone"),
        ({"error": "busy"}, None, "answered with an error: busy"),
        ({"error": {"message": f"{KEY} is odd"}}, None, "answered with an error: *** is odd"),
    ],
)
def test_an_error_inside_a_reply_of_status_200_is_one(body: Any, status: int | None, said: str) -> None:
    with pytest.raises(Failure) as caught:
        read(body)
    assert caught.value.status == status and str(caught.value) == said


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"data: {\"choices\": []}\n\ndata: [DONE]", "text/plain", "answered with a stream of events, which was not asked"),
        (b"<html><title>Sign in</title><style>p{}</style><p>Corporate&nbsp;sign-in", "text/html", "Sign in Corporate sign-in"),
        (b"", "application/json", "answered with nothing"),
        (b"upstream timed out", "text/plain", "answered with something that is not JSON: upstream timed out"),
        (b"\xff\xfe\x00", "", "answered with something that is not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_quoted(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(Failure) as caught:
        read(body, **{"content-type": kind})
    assert said in str(caught.value) and caught.value.kind == "garbage"


@pytest.mark.parametrize(
    ("body", "said", "parameter"),
    [
        (
            {"detail": [{"loc": ["body", "top_p"], "msg": "too large", "input": {"n": 1}}]},
            "body.top_p: too large",
            "top_p",
        ),
        ({"message": {"detail": [{"loc": ["body", "seed"], "msg": "extra"}]}}, "body.seed: extra", "seed"),
        ([{"error": {"message": "Gemini says no", "code": 400}}], "Gemini says no", None),
        ({"error": {"message": "no", "param": "n", "code": None}}, "no", "n"),
        ({"error": {"code": 1}}, '{"error": {"code": 1}}', None),
    ],
)
def test_the_words_and_the_parameter_of_an_error_are_found(body: Any, said: str, parameter: str | None) -> None:
    with pytest.raises(Failure) as caught:
        read(body, 400)
    assert (caught.value.said, caught.value.parameter) == (said, parameter)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("5", 5.0), ("1.5", 1.5), (" 7 ", 7.0), ("9" * 400, LONGEST_ASKED_S), ("²", None), ("٣", None), ("inf", None),
        ("nan", None), ("-5", None), ("", None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Foo 2015", None), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_ASKED_S),
    ],
)  # fmt: skip
def test_retry_after_is_read_whatever_it_is(asked: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": asked}) == seconds


def test_a_date_to_retry_after_is_read() -> None:
    until = datetime.now(UTC) + timedelta(seconds=100)
    found = retry_after_s({"retry-after": f"{until:%a, %d %b %Y %H:%M:%S} GMT"})
    assert found is not None and 90 < found <= 100


def test_one_that_says_0_is_not_asked_without_a_pause() -> None:
    assert all(wait_s(failures, Failure("slow down", 429, 0.0)) > 0 for failures in (1, 5, 5000))
