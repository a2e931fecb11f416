"""Before a round's first call: its new weights are brought to a remote endpoint, and the endpoint shows their name.

    push_weights("./push.sh {folder}", folder, name, settings, show=print)

The embedded server and vLLM are started on the folder and show its hashed name themselves.
"""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from factory.inference.client import public_address
from factory.inference.connect import served_models
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from schemas.streams import visible

PUSH_TIMEOUT_S = 600.0
ASKED_EVERY_S = 2.0
TOLD_EVERY_S = 10.0
LAST_WORDS_S = 2.0
_PLACEHOLDERS = {"{folder}": "FACTORY_FOLDER", "{name}": "FACTORY_NAME"}


def check_shown(role: str, settings: ModelSettings, name: str) -> None:
    """Checks that every base URL of a model lists it by `name`, which holds the hash of its weights.

    What the run itself starts (embedded, vLLM) is named by the hash of what it loads, and is not asked.

    Raises:
        FactoryError: one does not, or does not answer; the sentence says what it serves instead.
    """
    for address in settings.urls:
        served = _listed(role, settings, address)
        if name not in served:
            shown = f"serves {', '.join(sorted(served)[:8])} instead" if served else "does not list its models"
            raise FactoryError(
                f"models.{role}: {public_address(address)} does not show {name!r}, the weights of this round: it {shown}; "
                "load the new weights there under that name, or give on_new_weights: a command that does"
            )


def push_weights(
    command: str,
    folder: Path,
    name: str,
    role: str,
    settings: ModelSettings,
    show: Callable[[str], None],
    timeout_s: float = PUSH_TIMEOUT_S,
) -> None:
    """Runs the user's command, then waits until every base URL of the model lists `name`.

    Args:
        command: a shell line, in which {folder} and {name} stand for one argument each, whatever is in them; also in
            its environment as FACTORY_FOLDER and FACTORY_NAME. From the user's own file only, never a lake's.
        show: receives each line of the command's output and, while waiting, what is waited for.
        timeout_s: how long to wait after the command has ended.
    Raises:
        FactoryError: the command cannot be started or fails, or the name is not there in time.
    """
    show(f"on_new_weights: {command}")
    _run(command, folder, name, show)
    begun_s = told_s = time.monotonic()
    while True:
        try:
            return check_shown(role, settings, name)
        except FactoryError as error:
            not_yet = error
        now_s = time.monotonic()
        if now_s - begun_s > timeout_s:
            raise FactoryError(
                f"on_new_weights: {command!r} has ended, but after {timeout_s:.0f} s {not_yet}"
            ) from not_yet
        if now_s - told_s >= TOLD_EVERY_S:
            told_s = now_s
            show(f"waiting for {name} at {', '.join(map(public_address, settings.urls))} ({now_s - begun_s:.0f} s)")
        time.sleep(min(ASKED_EVERY_S, timeout_s))


def shell_line(command: str) -> str:
    """The command with its placeholders as quoted shell variables, whose values a shell never reads as code.

    A placeholder between quotes is taken out of them, so that `'{folder}'` and `"{folder}/"` mean what they look like.
    """
    line, quote, at = "", "", 0
    while at < len(command):
        found = next((one for one in _PLACEHOLDERS if command.startswith(one, at)), None)
        if found is not None:
            line += f'{quote}"${{{_PLACEHOLDERS[found]}}}"{quote}'
            at += len(found)
            continue
        step = 2 if command[at] == "\\" and quote != "'" else 1
        if step == 1 and command[at] in "'\"" and quote in ("", command[at]):
            quote = "" if quote else command[at]
        line += command[at : at + step]
        at += step
    return line


def _run(command: str, folder: Path, name: str, show: Callable[[str], None]) -> None:
    values = {"FACTORY_FOLDER": str(folder.resolve()), "FACTORY_NAME": name}
    try:
        running = subprocess.Popen(
            ["/bin/sh", "-c", shell_line(command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **values},
        )
    except OSError as error:
        raise FactoryError(f"on_new_weights: {command!r} cannot be started: {error}") from error

    def show_output() -> None:
        assert running.stdout is not None
        for line in running.stdout:
            show(visible(line.decode("utf-8", "replace").rstrip()))

    # Apart, because a server that the command leaves running may hold its output open for ever.
    showing = threading.Thread(target=show_output, daemon=True)
    showing.start()
    try:
        code = running.wait()
    except BaseException:
        running.terminate()
        raise
    showing.join(LAST_WORDS_S)
    if code != 0:
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise FactoryError(
            f"on_new_weights: {command!r} ended with {ended}: see its output above, and go on with `factory resume`"
        )


def _listed(role: str, settings: ModelSettings, address: str) -> set[str]:
    served, _ = asyncio.run(served_models(role, msgspec.structs.replace(settings, endpoint=(address,))))
    return set(served)
