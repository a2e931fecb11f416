"""How far a run is can be read from the lake alone: during the run, after it, and after a kill."""

import fcntl
import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.monitor.status import RunStatus, picture_of, print_status, read_status, watch_status
from factory.recipes.reading import load_recipe
from schemas.errors import FactoryError
from schemas.tables import Call, Model, Run, RunPrompt, Tree
from stores.lake import Lake
from tests.rows import NOON, fill, minutes, row, sampled, votes
from tests.runs import PRICES, answer, run_spar, start_command
from tests.scripted_endpoint import running_endpoint

NOON_S = NOON.timestamp()


def begun(run_id: str = "run", status: str = "running", **given: Any) -> Run:
    recipe = load_recipe("spar", {"models.actor.prompt_price": 1.0, "models.actor.completion_price": 1e6}).as_json()
    fixed = {"run_id": run_id, "status": status, "recipe": recipe, "started_at": NOON, "attempt": 0}
    return row(Run, f"{run_id} {given.get('attempt', 0)} {status}", **{**fixed, **given})


def taken(*prompts: str, run_id: str = "run") -> list[RunPrompt]:
    return [row(RunPrompt, f"{run_id} {p}", run_id=run_id, prompt_id=p, position=i) for i, p in enumerate(prompts)]


def sample_call(prompt_id: str, at_minutes: float, tokens: int = 0, **given: Any) -> Call:
    fixed = {"run_id": "run", "stage": "sample", "role": "actor", "model_id": "m", "latency_s": 0.0}
    fixed["started_at"] = minutes(at_minutes)
    return row(Call, f"c {prompt_id}", prompt_id=prompt_id, completion_tokens=tokens, prompt_tokens=0, **fixed | given)


def passed(prompt_id: str) -> list[Any]:
    """An answer that needs nothing more."""
    made = sampled(f"r {prompt_id}", prompt_id=prompt_id)
    return [made, *votes(made.response_id, "y", prompt_id=prompt_id)]


class Held:
    """Holds a lake as a run does."""

    def __init__(self, lake: Lake) -> None:
        assert lake.place.folder is not None
        self.file = (lake.place.folder / "run.lock").open("a")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.file.close()


def one(lake: Lake, at_minutes: float) -> RunStatus:
    (found,) = read_status(lake, "run", NOON_S + 60 * at_minutes)
    return found


def text_of(run: RunStatus) -> str:
    console = Console(file=StringIO(), width=100, record=True)
    console.print(picture_of(run))
    return console.export_text()


def test_a_running_run_is_told_by_its_rows(lake: Lake) -> None:
    fill(lake, row(Model, "m", name="tiny"), begun(), *taken("p1", "p2", "p3", "p4"))
    fill(lake, *passed("p1"), *passed("p2"), row(Tree, "t", run_id="run", prompt_id="p2", outcome="accepted"))
    fill(
        lake,
        sample_call("p1", 0, tokens=100, retries=2),
        sample_call("p2", 3.5, tokens=30),
        sample_call("p3", 3.9, error="failed 8 times", latency_s=None),
        sample_call("p4", 3.9, tokens=900, from_journal=True),
    )
    with Held(lake):
        run = one(lake, at_minutes=4)
    assert (run.status, run.prompts, run.done, run.answered, run.judged) == ("running", 4, 3, 2, 2)
    assert (run.trees, run.accepted, run.set_aside) == (1, 1, 1)
    assert (run.requests, run.from_journal, run.failed, run.retries, run.tokens) == (2, 1, 1, 2, 130)
    assert run.tokens_per_s == pytest.approx(30 / 60)
    assert run.cost == pytest.approx(130)  # at 1 a token; what was read from the journal is not paid again
    assert run.elapsed_s == pytest.approx(240)
    assert run.left_s == pytest.approx(240 / 3 * 1)
    shown = text_of(run)
    for told in ("running", "3 of 4 done", "about 1:20 left", "1 searched: 1 gave a pair (100%)", "130.00, by the"):
        assert told in shown


def test_time_left_follows_from_the_newest_start(lake: Lake) -> None:
    again = begun(attempt=1, started_at=minutes(60))
    fill(lake, row(Model, "m", name="tiny"), begun(), again, *taken("p1", "p2", "p3"), *passed("p1"), *passed("p2"))
    fill(lake, sample_call("p1", 1), sample_call("p2", 61), sample_call("p3", 62, from_journal=True))
    with Held(lake):
        run = one(lake, at_minutes=63)
    assert run.done == 2 and run.left_s == pytest.approx(120)  # one prompt in two minutes, and one is left
    assert run.elapsed_s == pytest.approx(180)


def test_a_run_without_prices_costs_not_known(lake: Lake) -> None:
    fill(lake, row(Model, "m", name="tiny"), begun(recipe=load_recipe("spar").as_json()), *taken("p1"))
    fill(lake, sample_call("p1", 0, tokens=5))
    run = one(lake, 1)
    assert run.cost is None and "cost" not in text_of(run)


def test_a_run_whose_process_has_ended_is_interrupted(lake: Lake) -> None:
    fill(
        lake, row(Model, "m", name="tiny"), begun(), *taken("p1", "p2"), *passed("p1"), sample_call("p1", 2, tokens=60)
    )
    with Held(lake):
        assert one(lake, 9).status == "running"
    run = one(lake, 9)
    assert (run.status, run.done, run.left_s) == ("interrupted", 1, None)
    assert run.elapsed_s == pytest.approx(120)  # to its last answer: when it ended is unknown
    assert "factory resume run" in text_of(run)


def test_of_two_runs_that_say_they_are_running_the_newer_one_is(lake: Lake) -> None:
    fill(
        lake, begun("old"), begun("new", started_at=minutes(5)), *taken("p1", run_id="old"), *taken("p1", run_id="new")
    )
    with Held(lake):
        states = {run.run_id: run.status for run in read_status(lake)}
        assert states == {"old": "interrupted", "new": "running"}
        assert [run.status for run in read_status(lake, "old")] == ["interrupted"]


def test_a_stopped_run_says_why(lake: Lake) -> None:
    stopped = begun(status="stopped", reason="the budget's max_requests of 1 is reached", ended_at=minutes(1))
    fill(lake, row(Model, "m", name="tiny"), begun(), stopped, *taken("p1"), sample_call("p1", 0.5, tokens=60))
    run = one(lake, 99)
    assert (run.status, run.done, run.elapsed_s, run.tokens_per_s) == ("stopped", 0, 60.0, 2.0)
    assert "max_requests of 1 is reached" in text_of(run)


def test_a_recipe_whose_template_is_gone_is_no_fault(lake: Lake) -> None:
    recipe = json.loads(load_recipe("spar").as_json())
    recipe["templates"] = {"judge": "gone.txt"}
    fill(lake, begun(recipe=json.dumps(recipe)), *taken("p1"))
    run = one(lake, 1)
    assert run.done is None and "0 answered" in text_of(run)


def test_several_runs_are_a_table(lake: Lake) -> None:
    fill(lake, begun("one"), begun("two"), *taken("p1", run_id="one"), *taken("p1", "p2", run_id="two"))
    console = Console(width=160, record=True)
    print_status(lake, "", console)
    shown = console.export_text()
    assert "interrupted" in shown and "0 of 2" in shown and "2 rows" in shown


def test_a_run_that_goes_on_in_another_process_is_seen_and_so_is_its_death(tmp_path: Path) -> None:
    with running_endpoint(answer, latency_ms=150, slots=4) as endpoint:
        with start_command(tmp_path / "lake", endpoint.url, 60, **PRICES) as process:
            seen: list[RunStatus] = []
            try:
                while not seen or not seen[0].requests:
                    assert process.poll() is None
                    time.sleep(0.2)
                    if (tmp_path / "lake" / "run.lock").exists():
                        with Lake.open(tmp_path / "lake") as lake:
                            seen = read_status(lake)
                (run,) = seen
                assert run.status == "running" and run.prompts == 60 and run.tokens > 0 and (run.cost or 0) > 0
            finally:
                process.kill()
        with Lake.open(tmp_path / "lake") as lake:
            (run,) = read_status(lake)
            assert run.status == "interrupted"


def test_a_finished_run_s_cost_is_that_which_it_counted_itself(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, **PRICES)
    with Lake.open(tmp_path / "lake") as lake:
        (run,) = read_status(lake)
    assert (run.status, run.done, run.requests, run.tokens) == ("finished", 6, progress.requests, progress.tokens)
    assert run.cost == pytest.approx(progress.cost) and run.accepted == progress.accepted


def test_watching_shows_a_run_until_it_has_ended(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, begun(), *taken("p1"))
    held = Held(lake)
    monkeypatch.setattr("factory.monitor.status.time.sleep", lambda seconds: held.file.close())
    console = Console(width=100, force_terminal=True, record=True)
    watch_status(lake, "", console)
    shown = console.export_text()
    assert shown.index("running") < shown.index("interrupted")


def test_watching_needs_a_terminal(lake: Lake) -> None:
    with pytest.raises(FactoryError, match="--watch needs a terminal: leave it out"):
        watch_status(lake, "", Console(force_terminal=False))
