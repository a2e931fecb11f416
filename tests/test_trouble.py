"""Bad input and trouble: one sentence (what, where, how to mend it), exit code 1, no traceback, and nothing lost."""

import http.server
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import endpoints
from factory.cli import main
from factory.weights import MODELS
from stores.lake import Lake
from tests.runs import answer
from tests.scripted_endpoint import Faults, Reply, Request, ScriptedEndpoint, running_endpoint

Command = Callable[..., tuple[int, str]]
"""Runs a command; gives its exit code and what it wrote to standard error."""


@pytest.fixture
def factory(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in this process, which spares the seconds that imports take."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return int(ended.value.code or 0), capfd.readouterr().err

    return run


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "factory.cli", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def in_process_of_its_own(*words: object, **options: Any) -> tuple[int, str]:
    process = start(*words, **options)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def sentence(outcome: tuple[int, str]) -> str:
    """The one sentence of a command that failed as it should."""
    code, errors = outcome
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(said) == 1 and "Traceback" not in errors, errors
    assert errors.rstrip().endswith(said[0])  # nothing after it, not even a second line of its own
    return said[0].removeprefix("error: ")


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as running:
        yield running


@pytest.fixture
def place(empty_lake: Path, tmp_path: Path) -> Path:
    shutil.copytree(empty_lake, tmp_path / "lake")
    return tmp_path / "lake"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_prompts(tmp_path / "mine.jsonl", "tea", "rain", "snow")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight attempts within a moment instead of a minute."""
    monkeypatch.setattr(endpoints, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(endpoints, "PROBE_S", 0.3)


def write_prompts(file: Path, *subjects: str) -> Path:
    file.write_text("".join(json.dumps({"prompt": f"Write about {subject}."}) + "\n" for subject in subjects))
    return file


def run_words(place: Path, url: str, prompts: Path, *more: object) -> list[object]:
    return ["run", "spar", "--lake", place, "--model", url, "--prompts", prompts, *more]


def state(place: Path) -> dict[str, tuple[str, int | None]]:
    """Runs with their status and how many of their prompts are answered."""
    with Lake.open(place) as lake:
        return {run["run_id"]: (run["status"], run["answered"]) for run in lake.query("FROM run_progress").to_pylist()}


# Recipe and files


def test_a_mistyped_key_is_named_with_the_nearest_right_one(tmp_path: Path) -> None:
    outcome = in_process_of_its_own("run", "spar", "-o", "stages.search.dept=2", cwd=tmp_path)
    assert sentence(outcome) == "recipe spar.yaml: stages.search: unknown key 'dept': did you mean 'depth'?"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run", "none.yaml"], ["no recipe 'none.yaml'", "give one of demo, spar"]),
        (["run", "spar", "--prompts", "none.jsonl"], ["no prompt file none.jsonl", "give a .jsonl"]),
        (["run", "spar", "-o", "templates.judge=none.txt"], ["no prompt template 'none.txt'", "give one of"]),
        (["run", "spar", "-o", "stages.search=[}"], ["'stages.search=[}'", "is not YAML"]),
        (["run", "spar", "-o", "stages.search"], ["'stages.search' must be KEY=VALUE"]),
        (["status", "--lake", "none"], ["no lake in none", "`factory run` makes one"]),
        (["build", "spar_dpo"], ["lake lake has no such run", "`factory run` makes one"]),
        (["resume", "none"], ["no run 'none'"]),
        (["tree", "none"], ["no row of trees", "factory sql 'FROM trees'"]),
        (["train", "dop", "--set", "a", "--model", "b"], ["no objective 'dop'", "give dpo"]),
        (["train", "dpo", "--set", "a", "--model", "embedded:none"], ["no embedded model 'none'", "smollm2-135m"]),
        (["sql", "SELECT 1", "-f", "csv", "--out", "none/rows.csv"], ["none/rows.csv cannot be used", "give another"]),
        (["sql", "SELECT nothing"], ["the query fails", "nothing"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_named(
    factory: Command, place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], parts: list[str]
) -> None:
    monkeypatch.chdir(place.parent)
    said = sentence(factory(*words))
    assert all(part in said for part in parts), said


def test_a_broken_line_is_named_and_a_run_from_before_is_still_there(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    before = state(place)
    broken = prompts.with_name("broken.jsonl")
    broken.write_text('{"prompt": "a"}\n{"prompt": "b"\n')
    said = sentence(factory(*run_words(place, endpoint.url, broken)))
    assert f"{broken}, line 2: this is not JSON" in said and "mend or remove the line" in said
    assert state(place) == before
    broken.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    assert factory(*run_words(place, endpoint.url, broken))[0] == 0
    assert sorted(state(place).values()) == [("finished", 2), ("finished", 3)]


def test_an_empty_prompt_is_named(factory: Command, place: Path, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a"}\n{"prompt": "  "}\n')
    said = sentence(factory(*run_words(place, endpoint.url, tmp_path / "mine.jsonl")))
    assert "mine.jsonl, line 2: the prompt is empty" in said
    assert endpoint.stats().received == 0


def test_a_prompt_longer_than_the_context_is_set_aside_and_the_others_are_answered(
    factory: Command, place: Path, prompts: Path
) -> None:
    def short_of_context(request: Request) -> Any:
        if "rain" not in str(request.messages):
            return answer(request)
        words = "This model's maximum context length is 10 tokens."
        return Reply(400, {"error": {"message": words, "type": "invalid_request_error"}})

    with running_endpoint(short_of_context) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
    assert "1 of 3 prompts" in said and "the first is prompt 2 (" in said
    assert "maximum context length is 10 tokens" in said and "shorten the prompt" in said
    assert list(state(place).values()) == [("finished", 2)]


# The lake


def test_a_lake_of_another_schema_version_is_refused_and_left_as_it_is(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    with Lake.open(place) as lake:
        lake.connection.execute("UPDATE schema_version SET version = 99")
    for words in (run_words(place, endpoint.url, prompts), ["status", "--lake", place]):
        said = sentence(factory(*words))
        assert f"lake {place} has schema version 99" in said and "use the factory version that made it" in said
    assert endpoint.stats().received == 0


def test_a_second_run_on_a_lake_is_refused_and_the_first_one_can_be_stopped_and_resumed(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    endpoint.faults = Faults(hang=1)
    first = start(*run_words(place, endpoint.url, prompts))
    try:
        while endpoint.stats().in_flight < 3:
            assert first.poll() is None
            time.sleep(0.02)
        said = sentence(factory(*run_words(place, endpoint.url, prompts, "--seed", 1)))
        assert f"another run is at work on lake {place}" in said and "--lake" in said
        assert factory("status", "--lake", place)[0] == 0
        assert [status for status, _ in state(place).values()] == ["running"]
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    (run_id,) = state(place)
    assert f"`factory resume {run_id} --lake {place}`" in sentence((first.returncode, errors))
    assert state(place) == {run_id: ("stopped", None)}
    endpoint.faults = Faults()
    assert factory("resume", run_id, "--lake", place)[0] == 0
    assert state(place) == {run_id: ("finished", 3)}


def test_a_resumed_run_whose_prompts_have_changed_says_so(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    write_prompts(prompts, "something else")
    said = sentence(factory("resume", "spar", "--lake", place))
    assert str(prompts) in said and "put them back" in said
    assert list(state(place).values()) == [("finished", 3)]


# How much fits: after the lake is made and before the run is done.
TOO_SMALL_BYTES = 700_000


def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, endpoint: ScriptedEndpoint
) -> None:
    """In a mount namespace of its own, which root may make, and on most machines any user."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system: the file size limit below is tried alone")
    prompts = write_prompts(tmp_path / "mine.jsonl", *(f"{number} {'words ' * 200}" for number in range(40)))
    (tmp_path / "small").mkdir()
    lake = tmp_path / "small" / "lake"
    script = """
        mount -t tmpfs -o size=$SIZE none "$SMALL"
        "$@"; echo "exit $?" >&2
        mount -o remount,size=300m "$SMALL"
        "$PYTHON" -m factory.cli resume spar --lake "$SMALL/lake"; echo "exit $?" >&2
        "$PYTHON" -m factory.cli sql "FROM run_progress" -f json --lake "$SMALL/lake"
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-m", "factory.cli"]
        + [str(word) for word in run_words(lake, endpoint.url, prompts)],
        env={**os.environ, "SIZE": str(TOO_SMALL_BYTES), "SMALL": str(lake.parent), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, _ = done.stderr.split("exit ")
    said = sentence((int(second.splitlines()[0]), first))
    assert str(lake) in said and "factory resume" in said and "full" in said
    run = json.loads(done.stdout.splitlines()[-1])
    assert (run["status"], run["answered"]) == ("finished", 40)
    # Once for each answer, but for those that came in when there was no room to write them down.
    assert endpoint.stats().repeated_answers <= 64 * 2


def test_a_disk_that_refuses_to_write_loses_nothing(
    factory: Command, tmp_path: Path, place: Path, endpoint: ScriptedEndpoint
) -> None:
    """As a quota does: no file may grow beyond a size, which needs no privilege."""
    prompts = write_prompts(tmp_path / "mine.jsonl", *(f"{number} {'words ' * 200}" for number in range(40)))
    limit = (TOO_SMALL_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    outcome = in_process_of_its_own(
        *run_words(place, endpoint.url, prompts),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    said = sentence(outcome)
    assert str(place) in said and "cannot be written" in said and "factory resume" in said
    assert factory("resume", "spar", "--lake", place)[0] == 0
    assert list(state(place).values()) == [("finished", 40)]


def test_a_training_set_whose_rows_have_changed_is_not_trained_on(
    factory: Command, place: Path, endpoint: ScriptedEndpoint, prompts: Path
) -> None:
    assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    assert factory("build", "spar_dpo", "--lake", place)[0] == 0
    with Lake.open(place) as lake:
        lake.connection.execute("UPDATE training_sets SET fingerprint = repeat('0', 64)")
    words = ["train", "dpo", "--set", "spar_dpo@1", "--model", "base", "--lake", place, "--output", place / "model"]
    said = sentence(factory(*words))
    assert "training set spar_dpo@1 has fingerprint" in said and "000000000000 was built" in said
    assert "`factory build spar_dpo`" in said
    assert not (place / "model").exists()


# Endpoints


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
        assert f"{running.url} has answered nothing" in said and "(Connection refused)" in said
        assert "go on with `factory resume`" in said
        assert list(state(place).values()) == [("failed", 3)]
        running.script = answer
        running.start()
        assert factory("resume", "spar", "--lake", place)[0] == 0
        sampled = [r for r in running.requests if "Final Judgement" not in str(r.messages) and len(r.messages) == 1]
        assert len(sampled) == 3  # none of them was asked again
    assert list(state(place).values()) == [("finished", 3)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(hang=1), "Request timed out."),
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
    assert f"{endpoint.url} has answered nothing" in said and reason in said
    assert "see that it runs, then go on with `factory resume`" in said
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
    assert f"{url}/models answers with something that is not a list of models" in said and "ends in /v1" in said


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
    assert f"the first line of the file {tmp_path / 'key'} holds no key" in said and "secret" not in said


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


# Weights


def test_a_wrong_weight_file_is_named_and_left_where_it_is(
    factory: Command, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path))
    known = MODELS["smollm2-135m"]
    wrong = tmp_path / known.file_name
    wrong.write_bytes(b"GGUF, but another one")
    said = sentence(factory("run", "demo", "--lake", place))
    assert f"{wrong} is not the expected weight file" in said
    assert known.sha256 in said and "move it away or delete it" in said
    assert wrong.read_bytes() == b"GGUF, but another one"


def test_a_file_that_is_no_model_is_named(factory: Command, place: Path, prompts: Path) -> None:
    said = sentence(factory("run", "demo", "--lake", place, "--model", f"embedded:{prompts}"))
    assert f"{prompts} is not a GGUF file" in said


# How errors are shown


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for words in (["--debug", "run", "none.yaml"], ["run", "none.yaml", "--debug"]):
        code, errors = in_process_of_its_own(*words)
        assert code == 1 and "Traceback" in errors and "there is no recipe 'none.yaml'" in errors


@pytest.mark.parametrize(
    "words",
    [["rum"], ["run", "--limt", "3"], ["run", "--limit", "many"], ["expire"], ["expire", "--older-than-days", "-1"]],
)
def test_a_command_that_cannot_be_read_has_exit_code_2(factory: Command, words: list[str]) -> None:
    code, errors = factory(*words)
    assert code == 2 and "Usage:" in errors and "Traceback" not in errors


def test_what_others_wrote_cannot_steer_the_terminal(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('name: "x"\nstages: {"\\e[31m\\n:smile: [bold]": 1}\nmodels: {}\n')
    said = sentence(factory("run", tmp_path / "a.yaml"))
    assert "\x1b" not in said and ":smile: [bold]" in said
