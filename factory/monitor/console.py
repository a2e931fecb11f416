"""The console that commands print to. What it prints is text: never markup, emoji codes or escape sequences."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from schemas.streams import visible


class Console(rich.console.Console):
    """A console for texts from anywhere: every piece it draws is made visible, whatever built it."""

    def __init__(self, **settings: Any) -> None:
        stream = sys.stderr if settings.get("stderr") else sys.stdout
        # Found here, not by rich: a live display puts a proxy of its own before the stream, and rich looks behind one.
        trusted = getattr(stream, "rich_proxied_file", None)
        super().__init__(**{"markup": False, "emoji": False, "file": trusted, **settings})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


QUIET_S = 2.0
"""What takes no longer shows no progress."""


@contextmanager
def progress(console: rich.console.Console) -> Iterator[Callable[[str], None]]:
    """Yields what receives a sentence about the work in hand, which a terminal shows once the work takes a while."""
    with console.status("") as status:
        status.stop()
        # By a clock of its own: the work in hand may be one long step.
        timer = threading.Timer(QUIET_S, status.start)
        if console.is_terminal:
            timer.start()
        try:
            yield lambda words: status.update(visible(words))
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()
