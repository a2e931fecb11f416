"""Serves a lake's pages until Ctrl-C."""

import errno
import secrets
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from factory.view.app import make_app
from factory.view.readers import Readers
from schemas.errors import FactoryError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")
PORTS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Door:
    """Where the pages can be reached, and by whom."""

    host: str
    port: int
    token: str | None
    """what a browser has to show; None: nothing, on loopback"""
    names: tuple[str, ...] = ()
    """other names of this machine that a browser may ask for"""

    @property
    def address(self) -> str:
        name = socket.gethostname() if self.host in WILDCARDS else self.host
        host = f"[{name}]" if ":" in name else name
        return f"http://{host}:{self.port}/" + ("" if self.token is None else f"?token={self.token}")

    @property
    def hosts(self) -> frozenset[str]:
        """What the Host header may be, to the letter."""
        named = {*LOOPBACK, self.host, *self.names}
        if self.host in WILDCARDS:
            named |= {socket.gethostname(), socket.getfqdn(), *_own_addresses()}
        listed = (f"[{name}]:{self.port}" if ":" in name else f"{name.lower()}:{self.port}" for name in named)
        # A proxy on the usual port passes its name on without one.
        return frozenset((*listed, *(name.lower() for name in self.names)))


def serve(
    where: str,
    host: str,
    port: int,
    names: tuple[str, ...],
    say: Callable[[str], None],
    *,
    with_token: bool,
    show: bool,
    queries: Path | None = None,
) -> None:
    """Serves the lake's pages until the process is told to stop.

    Args:
        port: the first one tried; if it is in use, the next free one.
        names: other names that browsers may use for this machine, behind a proxy for example.
        say: tells the user where the pages are.
        with_token: whether browsers need a token; it is generated here and printed once.
        show: opens the page in this machine's browser.
        queries: a folder of ready-made queries beside this package's.
    Raises:
        FactoryError: an address other than loopback without a token, a wrong address, no free port, no readable lake.
    """
    if host not in LOOPBACK and not with_token:
        raise FactoryError(
            f"{host} can be reached from other machines: add --token, so that only who has it can read and review; or leave "
            "--host out and use `ssh -L` to come from another machine"
        )
    readers = Readers(where)
    try:
        listening = _listen(host, port)
        found = int(listening.getsockname()[1])
        door = Door(host, found, secrets.token_urlsafe(24) if with_token else None, names)
        if port and found != port:
            say(f"port {port} is in use: {found} is the next free one")
        say(f"{where} is at {door.address}  (Ctrl-C ends it)")
        app = make_app(readers, door.hosts, door.token, f"factory_view_{found}", queries)
        if show:
            webbrowser.open(door.address)
        config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", server_header=False)
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        readers.close()


def _own_addresses() -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    except socket.gaierror:  # its name has no address
        return set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = range(port, min(port + PORTS_TRIED, 65_536) if port else 1)
    for number in tried:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise FactoryError(f"cannot listen on {host}, port {number}: {error.strerror or error}") from error
        else:
            return listening
    raise FactoryError(f"ports {tried[0]} to {tried[-1]} of {host} are in use or not allowed: give another with --port")
