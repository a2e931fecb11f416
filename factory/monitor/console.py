"""The console that commands print to. What it prints is text: never markup, emoji codes or escape sequences."""

import sys
from collections.abc import Iterable
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
