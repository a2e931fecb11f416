"""With `--log-format json`, a run writes one line of JSON per event to stderr, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.inference.budget import BudgetReached
from factory.inference.concurrency import Concurrency
from factory.inference.endpoints import Endpoint
from factory.inference.servers import Server
from factory.monitor.display import watch
from factory.monitor.event_log import _Reported
from factory.monitor.meter import Meter
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from schemas.tables import Model
from tests.rows import row
from tests.runs import answer, spar_overrides
from tests.scripted_endpoint import Reply, Request, running_endpoint

KEY = "sk-0123456789abcdef"


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def run_command(lake: Path, url: str, prompts: int, **changes: Any) -> tuple[int, list[dict[str, Any]], str]:
    """`factory run spar --log-format json` with a key: its exit code, its events, and all that it wrote."""
    words = [f"{key}={value}" for key, value in spar_overrides(url, prompts, **changes).items()]
    overrides = [word for pair in words for word in ("-o", pair)]
    command = [sys.executable, "-m", "factory.cli.main", "run", "spar", "--lake", str(lake), "--log-format", "json"]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    done = subprocess.run([*command, *overrides], capture_output=True, text=True, env=environment, check=False)
    return done.returncode, read(done.stderr), done.stdout + done.stderr


def test_a_run_tells_of_its_start_of_what_was_set_aside_and_of_its_end(tmp_path: Path) -> None:
    def refusing(request: Request) -> Any:
        too_long = "Write" in request.messages[0]["content"] and request.n == 5 and len(request.messages) == 1
        return Reply(400, {"error": {"message": "too long"}}) if too_long else answer(request)

    with running_endpoint(refusing) as endpoint:
        code, events, written = run_command(tmp_path / "lake", endpoint.url, 6)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run_started" and kinds[-2:] == ["run_finished", "error"] and code == 1
    end = events[-2]
    assert kinds.count("prompt_set_aside") == end["set_aside"] > 0
    assert end["prompts"] == end["prompts_done"] == 6 and end["requests"] > 0 and end["reason"] is None
    assert end["errors"]["HTTP 400"] >= end["set_aside"]
    assert len({event["run_id"] for event in events[:-1]}) == 1
    assert KEY not in written


def test_an_endpoint_that_refuses_the_key_fails_the_run_without_telling_the_key(tmp_path: Path) -> None:
    def refuse(request: Request) -> Reply:
        return Reply(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})

    with running_endpoint(refuse) as endpoint:
        code, events, written = run_command(tmp_path / "lake", endpoint.url, 2)
    (failed,) = [event for event in events if event["event"] == "run_failed"]
    assert "refuses the key" in failed["reason"] and events[-1]["message"] == failed["reason"]
    assert code == 1 and KEY not in written


def test_an_error_before_the_run_is_an_event_too(tmp_path: Path) -> None:
    code, events, _ = run_command(tmp_path / "lake", "ftp://nowhere", 2)
    assert code == 1 and [event["event"] for event in events] == ["error"]


@pytest.mark.parametrize(
    ("error", "event", "reason"),
    [
        (KeyboardInterrupt(), "run_stopped", "stopped by Ctrl-C"),
        (BudgetReached("the budget is reached"), "run_stopped", "the budget is reached"),
        (FactoryError("the endpoint is gone"), "run_failed", "the endpoint is gone"),
        (ValueError(KEY), "run_failed", "ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_a_run_ended_is_told_and_the_error_passes_on(
    error: BaseException, event: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)), watch(Progress(run_id="spar-1"), "json"):
        raise error
    last = read(capsys.readouterr().err)[-1]
    assert (last["event"], last["reason"]) == (event, reason)


def test_progress_comes_every_so_often_with_all_counters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.monitor.event_log.PROGRESS_EVERY_S", 0.0)
    progress = Progress(run_id="spar-1", phase="running", prompts=9, done=3, trees=2, accepted=1, cost=0.5)
    progress.at_stage["search"] = 4
    _Reported(Meter(progress, 0.0)).report()
    reported = read(capsys.readouterr().err)[-1]
    expected = {"event": "progress", "prompts": 9, "prompts_done": 3, "trees_open": 4, "accepted": 1, "cost": 0.5}
    assert expected.items() <= reported.items()


def test_a_server_that_is_paused_and_back_is_told_once_each_even_between_two_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s = [100.0]
    monkeypatch.setattr("factory.monitor.event_log.time.monotonic", lambda: clock_s[0])
    client: Any = None  # nothing is asked
    server = Server("http://one/v1", "", client, Concurrency(8, 0.0), 1.0, last_answer_s=0.0)
    endpoint = Endpoint("actor", row(Model, "m", name="tiny"), [server], None)
    reported = _Reported(Meter(Progress(run_id="spar-1", phase="running", endpoints=[endpoint]), 0.0), started=True)
    for now_s, until_s in (
        (101.0, 0.0),
        (102.0, 104.0),
        (103.0, 106.0),
        (105.0, 106.0),
        (107.0, 106.0),
        (110.0, 109.0),
    ):
        clock_s[0], server.paused_until_s = now_s, until_s
        reported.report()
    events = [(e["event"], e.get("for_s")) for e in read(capsys.readouterr().err)]
    assert events == [("server_paused", 2.0), ("server_back", None), ("server_paused", 0.0), ("server_back", None)]
