"""Trouble with endpoints: one sentence (what, where, how to fix it), exit code 1, no traceback, and nothing lost."""

import http.server
import re
import shlex
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.runs import answer
from tests.scripted_endpoint import Faults, Reply, Request, ScriptedEndpoint, running_endpoint
from tests.trouble.commands import Command, in_process_of_its_own, run_words, sentence, state


def unused_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_an_endpoint_that_refuses_is_named_and_the_run_goes_on_once_it_is_there(
    factory: Command, place: Path, prompts: Path
) -> None:
    url = unused_url()
    said = sentence(in_process_of_its_own(*run_words(place, url, prompts)))
    assert f"{url} does not answer (Connection refused): start it, or give another endpoint" in said
    assert [status for status, _ in state(place).values()] == ["failed"]
    with running_endpoint(answer, port=int(url.split(":")[2].split("/")[0])):
        assert factory("resume", "spar", "--lake", place)[0] == 0
    assert list(state(place).values()) == [("finished", 3)]


@pytest.mark.usefixtures("quick")
def test_an_endpoint_that_dies_ends_the_run_which_then_goes_on(factory: Command, place: Path, prompts: Path) -> None:
    def dying(request: Request) -> Any:
        if "Final Judgement" in str(request.messages):
            # In a thread: the endpoint must not wait for itself.
            threading.Thread(target=running.kill).start()
        return answer(request)

    with running_endpoint(dying) as running:
        said = sentence(factory(*run_words(place, running.url, prompts)))
        assert f"{running.url} has not answered" in said and "(Connection refused)" in said
        assert list(state(place).values()) == [("failed", 3)]
        running.script = answer
        running.start()
        typed = re.search("run `factory (resume spar-.+ --lake .+)`", said)
        assert typed and factory(*shlex.split(typed[1]))[0] == 0
        sampled = [r for r in running.requests if "Final Judgement" not in str(r.messages) and len(r.messages) == 1]
        assert len(sampled) == 3  # none of them was asked again
    assert list(state(place).values()) == [("finished", 3)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(hang=1), "gave no answer in time"),
        (Faults(garbage=1), "answered with something that is not JSON"),
    ],
    ids=["hangs", "is not JSON"],
)
def test_an_endpoint_that_gives_no_answer_ends_the_run_and_loses_no_prompt(
    factory: Command, place: Path, prompts: Path, endpoint: ScriptedEndpoint, faults: Faults, reason: str
) -> None:
    endpoint.faults = faults
    settings = ["-o", "models.actor.timeout_s=0.2", "-o", "models.refiner.timeout_s=5"]
    said = sentence(factory(*run_words(place, endpoint.url, prompts, *settings)))
    assert f"{endpoint.url} has not answered" in said and reason in said
    assert f"check that it is running, then run `factory resume {next(iter(state(place)))} --lake {place}`" in said
    endpoint.faults = Faults()
    # The timeout is not part of what is asked: it is the same run.
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    assert list(state(place).values()) == [("finished", 3)]


@pytest.mark.usefixtures("quick")
def test_a_prompt_that_alone_gets_no_answer_is_set_aside(factory: Command, place: Path, prompts: Path) -> None:
    def fails_at_rain(request: Request) -> Any:
        return Reply(500, "<html>") if "rain" in str(request.messages) else answer(request)

    with running_endpoint(fails_at_rain) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
    assert "1 of 3 prompts could not be answered" in said and "failed 8 times" in said
    assert list(state(place).values()) == [("finished", 2)]


def test_a_web_page_is_no_endpoint(factory: Command, place: Path, prompts: Path) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = sentence(factory(*run_words(place, url, prompts)))
        server.shutdown()
    assert f"{url}/models did not return a JSON list of models" in said and "ends in /v1" in said


def test_a_model_that_the_endpoint_lacks_is_named_with_the_nearest_it_has(
    factory: Command, place: Path, prompts: Path
) -> None:
    with running_endpoint(answer, models=["qwen-7b", "llama-8b"]) as endpoint:
        words = run_words(place, endpoint.url, prompts)
        said = sentence(in_process_of_its_own(*words, "--model-name", "qwen-7"))
        assert f"{endpoint.url} has no model 'qwen-7': did you mean 'qwen-7b'?" in said
        said = sentence(factory(*words))
        assert "models.actor.name is missing" in said and "llama-8b, qwen-7b" in said


def test_a_refused_key_is_said_without_showing_it(
    factory: Command, place: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong-secret")
    with running_endpoint(answer, api_key="right-secret") as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
        assert "refuses the key (HTTP 401)" in said and "OPENAI_API_KEY" in said and "secret" not in said
        monkeypatch.setenv("OPENAI_API_KEY", "right-secret")
        assert factory("resume", "spar", "--lake", place)[0] == 0


def test_a_key_may_be_in_a_file(factory: Command, place: Path, prompts: Path, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("wrong-secret\n")
    with running_endpoint(answer, api_key="right-secret") as endpoint:
        words = run_words(place, endpoint.url, prompts)
        for role in ("actor", "refiner"):
            words += ["-o", f"models.{role}.api_key_file={file}"]
        said = sentence(factory(*words))
        assert "refuses the key (HTTP 401)" in said and str(file) in said and "secret" not in said
        file.write_text("right-secret  \nand a remark\n")
        assert factory(*words)[0] == 0
    for kept in place.rglob("*"):
        assert not kept.is_file() or b"right-secret" not in kept.read_bytes()


@pytest.mark.parametrize("key", ["", "\nsecret", "my secret", "secret\x00", "clé-secret"], ids=repr)
def test_what_cannot_be_a_key_is_said_without_showing_it(
    factory: Command, place: Path, prompts: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / "key").write_text(key)
    words = [*run_words(place, "http://localhost:9/v1", prompts), "-o", f"models.actor.api_key_file={tmp_path / 'key'}"]
    said = sentence(factory(*words))
    assert f"the first line of the file {tmp_path / 'key'} holds no valid key" in said and "secret" not in said


def test_a_file_of_a_key_that_is_not_there_is_named(factory: Command, place: Path, prompts: Path) -> None:
    words = [*run_words(place, "http://localhost:9/v1", prompts), "-o", "models.actor.api_key_file=not-there"]
    assert "api_key_file not-there cannot be read (No such file" in sentence(factory(*words))


def test_an_endpoint_that_repeats_the_key_puts_it_into_no_message_and_no_row(
    factory: Command, place: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "right-secret")
    refusal = {"error": {"message": "right-secret may not ask this", "code": "x"}}
    with running_endpoint(lambda request: Reply(400, refusal), api_key="right-secret") as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
    assert "*** may not ask this" in said and "secret" not in said
    for kept in place.rglob("*"):
        assert not kept.is_file() or b"right-secret" not in kept.read_bytes()
