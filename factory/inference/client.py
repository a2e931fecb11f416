"""The client of one base URL: what it sends, where it may be sent on to, and how much it takes in."""

import asyncio
import ipaddress
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import aiohttp

from factory.inference.failures import Failure, of_transport, read_document
from schemas.errors import FactoryError

MAX_REPLY_BYTES = 32 * 2**20
MAX_ERROR_BYTES = 64 * 1024
"""of an error page: its reason stands at the beginning"""
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Client:
    """A connection to one base URL."""

    http: aiohttp.ClientSession
    """sends the key"""
    key: str
    max_bytes: int
    """of a reply, unpacked"""
    proxy: str | None
    """what requests go through, without its credentials; None: they are sent directly"""


@asynccontextmanager
async def client_of(key: str, base_url: str, max_bytes: int = MAX_REPLY_BYTES) -> AsyncIterator[Client]:
    """A client that sends a key. It has no connection limit: `concurrency.py` limits the requests.

    Raises:
        FactoryError: the environment names a proxy that cannot be used.
    """
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    proxy = proxy_for(base_url)
    # Without trust_env, which reads the user's .netrc too; a proxy is looked up once, not at every request.
    async with aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        proxy=None if proxy is None else public_address(proxy),
        proxy_auth=None if proxy is None else _auth_of(proxy),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
    ) as http:
        yield Client(http, key, max_bytes, None if proxy is None else public_address(proxy))


async def exchange(client: Client, url: str, timeout_s: float, body: dict[str, Any] | None = None) -> Any:
    """Sends a body (without one, a GET) and returns the JSON of the reply, without the key.

    Args:
        timeout_s: for all of it, however slowly the reply trickles in.
    Raises:
        Failure: no reply, or not the expected one.
    """
    data = None if body is None else json.dumps(body)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                status, headers, content = await _sent(client, url, data)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A time-out is an OSError; a name that cannot be encoded is a ValueError.
            raise of_transport(error) from error
        return read_document(status, headers, content, client.key)
    except Failure as failure:
        failure.proxy = client.proxy
        raise


async def _sent(client: Client, url: str, data: str | None) -> tuple[int, Any, bytes]:
    """Sends a request, on to where its origin redirects it: the same request, never a GET in place of a POST."""
    for _ in range(MOST_REDIRECTS):
        async with client.http.request("GET" if data is None else "POST", url, data=data, allow_redirects=False) as got:
            if got.status not in REDIRECTS or not got.headers.get("Location"):
                return got.status, got.headers, await _body(got, client.max_bytes)
            target = urljoin(url, got.headers["Location"])
            if _origin(target) != _origin(url):
                raise Failure(
                    f"redirected to {public_address(target).replace(client.key, '***')}",
                    got.status,
                    remedy="prompts and the key are not sent on to another origin; give that one's base URL if you "
                    "trust it",
                )
            url = target
    raise Failure("redirected in circles", remedy="give the base URL that it redirects to")


async def _body(got: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """A reply's body, unpacked a piece at a time: what says it is 1 MB may become a GB."""
    body = bytearray()
    async for piece in got.content.iter_any():
        body += piece
        if got.status >= 300 and len(body) > MAX_ERROR_BYTES:
            break
        if len(body) > max_bytes:
            raise Failure(
                f"answered with more than {max_bytes:,} bytes",
                remedy="if its answers are that long, set max_reply_bytes of the model to more",
            )
    return bytes(body)


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL; never one for this machine itself.

    Raises:
        FactoryError: its URL is of no kind that can be used.
    """
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or is_loopback(parts.hostname or "") or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in _PORTS:
        raise FactoryError(
            f"the proxy {public_address(proxy)} for {public_address(url)} cannot be used: set {parts.scheme}_proxy to one "
            "of http:// or https://, or add the host to no_proxy"
        )
    return proxy


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def public_address(url: str) -> str:
    """A base URL without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, _place(parts), parts.path.rstrip("/"), "", ""))


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port else host


def _auth_of(proxy: str) -> aiohttp.BasicAuth | None:
    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    return aiohttp.BasicAuth(unquote(parts.username), unquote(parts.password or ""), encoding="utf-8")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
