"""A real headless Chromium for tests, and the pages of a lake behind a real socket.

Chromium comes from the system (`apt-get install chromium`); where it is missing a test is skipped, and under CI=true fails.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from factory.view.app import make_app
from factory.view.readers import Readers
from factory.view.serving import Door, _listen
from tests.servers import missing


@contextmanager
def served(where: Path | str) -> Iterator[str]:
    """The address of a lake's pages, while the context is open."""
    readers = Readers(str(where))
    listening = _listen("127.0.0.1", 0)
    door = Door("127.0.0.1", int(listening.getsockname()[1]), None)
    server = uvicorn.Server(
        uvicorn.Config(make_app(readers, door.hosts), lifespan="off", access_log=False, log_level="warning")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield door.address
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        readers.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium: `apt-get install chromium`, or your system's package, gets it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def wait_for_parts(page: Page) -> None:
    """Waits until the parts of a page that are fetched after it are there."""
    page.wait_for_selector("[data-load]:not([data-every])", state="detached")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a file."""
    with chromium() as started:
        yield started
