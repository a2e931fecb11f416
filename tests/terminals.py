"""Commands on a real terminal, and texts that try to be more than text there."""

import os
import pty
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from factory.cli.main import main
from tests.scripted_endpoint import Request

EVIL = (
    "[bold]odd[/bold][/nope] :smile: \x1b[38;5;99mevil\x1b[0m \x1b]0;title\x07 \x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\"
    "\x9b2J\x7f\x08\r\x0b\x85 \u202erlo\u202c \u2066iso\u2069 \u061c\u200b\u200d\u200e\u2028\u2029\u2060\ufeff"
    "\U000e0041\U000e007f a\ufe0f\ufe0f\ufe0f \ufe0e \u00ad\u034f\u3164\u180e\ufff9 end"
)
"""what a model, a prompt, a server or a lake might hold"""
NAME = "evil[b]\x1b[38;5;99m\u202e\u200b\u2028\u061c\x7f"
"""the same for a file or a folder"""
SHOWN_OF_FORMAT = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
SHOWN_OF_FORMAT |= set(range(0x13430, 0x13460))
"""Format characters with a shape of their own: signs around numbers, and what joins Egyptian hieroglyphs."""
_OF_RICH = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")


def answering(text: str) -> Callable[[Request], Any]:
    """A script whose every answer, critique and refinement holds the text; refined answers pass."""

    def answer(request: Request) -> Any:
        asked = str(request.messages[-1]["content"])
        drawn = [int(request.body_hash[2 * i : 2 * i + 4], 16) for i in range(request.n)]
        if "Final Judgement" in asked:
            verdict = "Yes" if "mended" in asked.split("[Response]")[1] else "No"
            return [f"{text}\nFinal Judgement: {verdict}"] * request.n
        if "Refined response:" in asked:
            return [f"Reflection: {text}\nRefined response:\nWe opened it {text} mended {d}." for d in drawn]
        return [f"We opened it {text} {d}." for d in drawn]

    return answer


def hidden(text: str) -> list[str]:
    """The characters of a terminal's input that are neither shown nor rich's colours."""
    text = _OF_RICH.sub("", text.replace("\r\n", "\n"))
    unseen = {c for c in text if c not in "\t\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    unseen |= {c for c in "\u034f\u3164" if c in text} | ({"\ufe0f"} if "\ufe0f\ufe0f" in text else set())
    return sorted(f"U+{ord(c):04X}" for c in unseen if ord(c) not in SHOWN_OF_FORMAT)


def assert_only_text(shown: str) -> None:
    assert hidden(shown) == []
    assert "\x1b[38;5;99m" not in shown


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 200) -> Iterator[list[str]]:
    """Makes stdout and stderr a terminal; all that was written to it is in the list after the block."""
    ours, theirs = pty.openpty()
    read: list[bytes] = []

    def follow() -> None:
        with suppress(OSError):  # Linux says so at the end of a terminal
            while part := os.read(ours, 65536):
                read.append(part)

    reader = threading.Thread(target=follow)
    reader.start()
    written: list[str] = []
    with monkeypatch.context() as patch, open(theirs, "w", encoding="utf-8") as file:  # noqa: PTH123
        patch.setattr(sys, "stdout", file)
        patch.setattr(sys, "stderr", file)
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(columns))
        yield written
    reader.join()
    os.close(ours)
    written.append(b"".join(read).decode())


def shown(monkeypatch: pytest.MonkeyPatch, *words: Any) -> tuple[int, str]:
    """A command's exit code and what a terminal gets from it."""
    with terminal(monkeypatch) as written, pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), written[0]
