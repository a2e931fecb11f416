"""The standard streams: what they show is text, whatever it was made from.

Models, prompts, servers and other people's lakes decide much of what is printed. In a terminal, control characters
would be commands to it, and invisible ones would make a text look like another. So a stream that is a terminal shows
them as U+FFFD; a file or a pipe gets all characters as they are. A character that the stream's encoding lacks is
written as an escape, a closed stream takes everything, and a reader that has gone ends nothing.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HIDDEN = re.compile(
    "["
    # Control characters except tab and newline; lone surrogates.
    "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    # What changes the direction or the lines of a text, and what has no width.
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    # The rest of what Unicode says is ignored in display: fillers, joiners, annotations, shorthand and music formats.
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    # Tags and unused neighbours, which can spell out a hidden text.
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    "]"
    # A variation selector shapes the character before it; without one, or in a row, it hides something.
    "|(?<![^\\s\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """A text in which nothing is hidden and nothing has an effect on a terminal: such characters become U+FFFD."""
    return _HIDDEN.sub("\ufffd", text.replace("\r\n", "\n"))


class Stream(io.TextIOWrapper):
    """A standard stream over its bytes. Nothing written to it fails for its encoding or for a reader that has gone."""

    gone = False
    """whether its reader has gone: what is written now goes nowhere"""

    def __init__(self, given: Any) -> None:
        self.terminal = given.isatty()
        super().__init__(
            given.buffer,
            encoding=given.encoding,
            errors="backslashreplace",
            line_buffering=self.terminal or given.line_buffering,
            # The buffer below suffices, and two streams over it stay in order.
            write_through=True,
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._forgive(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._forgive(error)

    def _forgive(self, error: OSError) -> None:
        """Writes to nowhere from now on; raises what is not the reader's leaving (EIO: of a terminal)."""
        if error.errno != errno.EPIPE and not (self.terminal and error.errno == errno.EIO):
            raise error
        self.gone = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


class TerminalStream(Stream):
    """A terminal for everyone but rich, whose colours are escape sequences: see `factory/monitor/console.py`."""

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self.rich_proxied_file = Stream(given)
        """what rich writes to: it looks for this name"""

    def write(self, text: str) -> int:
        super().write(visible(text))
        return len(text)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Makes standard output and standard error streams of this module while the block runs."""
    before = sys.stdout, sys.stderr
    _open_closed()
    made = [_stream(sys.stdout), _stream(sys.stderr)]
    sys.stdout, sys.stderr = made
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in made:
            _release(stream)


def _open_closed() -> None:
    """Opens closed standard streams on nothing: the next file opened would take their place, a lake's catalog too."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)


def _stream(given: Any) -> Any:
    if given is None:
        return Path(os.devnull).open("w", encoding="utf-8")  # for the process's life
    if not hasattr(given, "buffer"):
        return given  # a test's
    given.flush()
    return TerminalStream(given) if given.isatty() else Stream(given)


def _release(stream: Any) -> None:
    """Writes what is left and gives the bytes below back to their owner, who closes them."""
    if isinstance(stream, Stream):
        stream.flush()
        if isinstance(stream, TerminalStream):
            stream.rich_proxied_file.detach()
        stream.detach()
