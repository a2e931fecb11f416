"""The sentence about the work in hand: shown in a terminal once the work takes a while, and nowhere else."""

import io
import threading

import pytest
import rich.console

import factory.monitor.console
from factory.monitor.console import Console, progress


class Told(io.StringIO):
    """What was shown, and a sign as soon as something was."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def write(self, text: str) -> int:
        if "counting" in text:
            self.shown.set()
        return super().write(text)


def console(told: io.StringIO, terminal: bool) -> rich.console.Console:
    return Console(file=told, force_terminal=terminal, width=80)


def test_a_long_step_is_shown_though_nothing_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory.monitor.console, "QUIET_S", 0.01)
    told = Told()
    with progress(console(told, True)) as tell:
        tell("counting \x1b[31mrows")
        assert told.shown.wait(30)
    assert "\x1b[31m" not in told.getvalue()


@pytest.mark.parametrize(("terminal", "quiet_s"), [(True, 3_600.0), (False, 0.0)])
def test_a_short_one_or_no_terminal_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet_s: float
) -> None:
    monkeypatch.setattr(factory.monitor.console, "QUIET_S", quiet_s)
    told = Told()
    with progress(console(told, terminal)) as tell:
        tell("counting rows")
    assert "counting" not in told.getvalue()
