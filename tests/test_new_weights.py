"""New weights reach a remote endpoint by the user's command, and nothing is asked before it shows them."""

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from factory.inference import new_weights
from factory.inference.new_weights import check_shown, push_weights
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from tests.test_client import serving

NAME = "actor-2@0123456789ab"


@contextmanager
def endpoint_listing(names: list[str]) -> Iterator[ModelSettings]:
    async def listed(request: web.BaseRequest) -> web.Response:
        if not names:
            return web.json_response({"error": "no list"}, status=404 if request.path.endswith("/models") else 400)
        return web.json_response({"data": [{"id": name} for name in names]})

    with serving(listed) as url:
        yield ModelSettings(endpoint=(url,))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_weights, "ASKED_EVERY_S", 0.02)
    monkeypatch.setattr(new_weights, "TOLD_EVERY_S", 0.1)


def test_an_endpoint_with_other_weights_is_refused_by_what_it_serves() -> None:
    with endpoint_listing(["actor-2@ffffffffffff"]) as settings:
        with pytest.raises(FactoryError, match=rf"does not show '{NAME}'.*it serves actor-2@ffffffffffff instead"):
            check_shown("actor", settings, NAME)
        check_shown("actor", settings, "actor-2@ffffffffffff")


def test_an_endpoint_that_hides_its_models_is_refused() -> None:
    with endpoint_listing([]) as settings, pytest.raises(FactoryError, match="does not list its models"):
        check_shown("actor", settings, NAME)


def test_all_of_several_servers_have_to_show_them() -> None:
    with endpoint_listing([NAME]) as new, endpoint_listing(["actor-1@0"]) as old:
        both = ModelSettings(endpoint=(*new.endpoint, *old.endpoint))
        check_shown("actor", new, NAME)
        with pytest.raises(FactoryError, match="it serves actor-1@0 instead"):
            check_shown("actor", both, NAME)


def test_the_command_gets_folder_and_name_whatever_is_in_them(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "new"; touch pwned $(touch pwned) `touch pwned`'
    folder.mkdir()
    told = tmp_path / "told"
    command = (
        f"cd {shlex.quote(str(tmp_path))} && printf '%s\\n' {{folder}} '{{folder}}' \"{{folder}}/x\" {{name}} \\'{{name}} > told"
        " && echo \"it's done: {name}\" && echo '\"{name}' >&2"
    )
    shown: list[str] = []
    with endpoint_listing([NAME]) as settings:
        push_weights(command, folder, NAME, "actor", settings, shown.append)
    assert told.read_text().splitlines() == [str(folder), str(folder), f"{folder}/x", NAME, f"'{NAME}"]
    assert shown[1:] == [f"it's done: {NAME}", f'"{NAME}']
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([folder.name, "told"])


def test_it_is_waited_for_until_the_endpoint_shows_them(tmp_path: Path) -> None:
    names, shown = ["actor-1@0"], []

    def load() -> None:
        while not any("waiting" in line for line in shown):
            time.sleep(0.01)
        names.append(NAME)

    with endpoint_listing(names) as settings:
        loading = threading.Thread(target=load)
        loading.start()
        push_weights("true", tmp_path, NAME, "actor", settings, shown.append)
        loading.join()
    assert f"waiting for {NAME} at {settings.endpoint[0]}" in shown[1]


@pytest.mark.parametrize(("command", "ended"), [("echo no; exit 3", "exit code 3"), ("kill -9 $$", "signal 9")])
def test_a_command_that_fails_is_told_by_its_exit_code(command: str, ended: str, tmp_path: Path) -> None:
    with endpoint_listing([NAME]) as settings, pytest.raises(FactoryError, match=f"ended with {ended}"):
        push_weights(command, tmp_path, NAME, "actor", settings, [].append)


def test_weights_that_never_come_end_the_wait(tmp_path: Path) -> None:
    fault = r"'true' has ended, but after 0 s .*it serves actor-1@0 instead"
    with endpoint_listing(["actor-1@0"]) as settings, pytest.raises(FactoryError, match=fault):
        push_weights("true", tmp_path, NAME, "actor", settings, [].append, timeout_s=0.1)


def test_a_command_may_leave_a_server_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_weights, "LAST_WORDS_S", 0.1)
    shown: list[str] = []
    with endpoint_listing([NAME]) as settings:
        push_weights("sleep 600 & echo $!", tmp_path, NAME, "actor", settings, shown.append)
    os.kill(int(shown[1]), signal.SIGTERM)


def test_a_server_that_is_started_again_is_waited_for(tmp_path: Path) -> None:
    settings = ModelSettings(endpoint=("http://127.0.0.1:9/v1",))
    with pytest.raises(FactoryError, match="does not answer"):
        push_weights("true", tmp_path, NAME, "actor", settings, [].append, timeout_s=0.1)


def test_the_command_s_output_has_no_effect_on_a_terminal(tmp_path: Path) -> None:
    shown: list[str] = []
    with endpoint_listing([NAME]) as settings:
        push_weights(r"printf '\033[2Jgone\n'", tmp_path, NAME, "actor", settings, shown.append)
    assert shown[1:] == ["\ufffd[2Jgone"]
