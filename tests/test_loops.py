"""Loops: their steps and rows, what is left after a stop, forks, guards, and mistakes told before anything is paid for."""

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from factory.inference.budget import BudgetReached
from factory.inference.trust import trust
from factory.loops.forking import find_loop, fork
from factory.loops.plan import Step
from factory.loops.reading import load_loop, loop_from_row, resumed
from factory.loops.rounds import trained_model
from factory.loops.steps import RoundEmpty
from factory.loops.training import DIVERGED, train
from factory.monitor.loop_plan import print_plan
from factory.monitor.rounds import plot_rounds, print_loops, rounds_of
from schemas.errors import FactoryError
from schemas.tables import LoopStep, Model, Run, TrainingRun, TrainingSet
from stores.lake import Lake
from tests.loops import Trainer, endpoint, option, run, spar_loop, steps, trainer
from tests.rows import row
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint

__all__ = ["endpoint", "trainer"]


WHOLE_ROUND = [
    ("run", None),
    ("build", "actor"),
    ("build", "refiner"),
    ("train", "actor"),
    ("train", "refiner"),
    ("keep", "actor"),
    ("keep", "refiner"),
]


def test_a_loop_is_its_rounds_steps_in_order_and_each_is_a_row(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url)
    run(tmp_path / "lake", loop)
    assert steps(tmp_path / "lake", loop) == [(number, *step) for number in (1, 2) for step in WHOLE_ROUND]
    with Lake.open(tmp_path / "lake") as lake:
        [state] = lake.query("SELECT status, reason, attempt FROM current_loops").to_pylist()
        runs = {one.run_id: one for one in lake.read(Run, "status = 'finished'")}
        family = lake.query("FROM family WHERE generation > 0 ORDER BY model, generation").to_pylist()
        rounds = rounds_of(lake, loop.loop_id)
        assert plot_rounds(lake, loop.loop_id, tmp_path / "rounds.svg")
    assert state == {"status": "finished", "reason": None, "attempt": 0}
    first, second = sorted(runs.values(), key=lambda one: one.iteration)
    assert (first.iteration, second.iteration, second.parent_run_id) == (0, 1, first.run_id)
    assert (first.seed, second.seed) == (0, 1)  # bundled tasks get new constraints
    assert {one["relation"] for one in family} == {"start"} and {one["round"] for one in family} == {1, 2}
    assert [one["round"] for one in rounds] == [1, 2] and all(one["acceptance"] is not None for one in rounds)
    assert "<svg" in (tmp_path / "rounds.svg").read_text("utf-8")


def test_a_loops_plan_status_and_rounds_are_told(endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path) -> None:
    loop = spar_loop(endpoint.url)
    text = StringIO()
    console = Console(file=text, width=200)
    print_plan(None, loop, console)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        print_plan(lake, loop, console)
        assert print_loops(lake, "", console) == 1
    said = text.getvalue()
    assert "0 of 7" in said and "7 of 7" in said and "not known yet: `factory run spar --dry-run`" in said
    assert re.search(r"about [\d,]+ tokens and \d:\d\d a round for its run, by 4 prompts in this lake", said)
    assert f"loop {loop.loop_id}  finished, done up to keep refiner of round 2 of 2" in said
    assert re.search(r"trees accepted +\d\.\d\d +\d\.\d\d", said) and re.search(
        r"kept +actor, refiner +actor, refiner", said
    )


def test_the_next_round_starts_and_refers_to_what_the_settings_say(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    changes = {"train.actor": {"set": "spar_dpo", "start": "first", "reference": "previous"}}
    loop = spar_loop(endpoint.url, **changes, **{"models.actor.name": "mock"})
    run(tmp_path / "lake", loop)
    actor = [command for command in trainer.commands if "trainers.dpo" in command]
    assert [option(command, "--model") for command in actor] == ["mock", "mock"]
    assert option(actor[0], "--reference") is None
    assert Path(str(option(actor[1], "--reference"))).name == f"{loop.loop_id}-round1-actor"
    refiner = [command for command in trainer.commands if "trainers.rft" in command]
    assert Path(str(option(refiner[1], "--model"))).name == f"{loop.loop_id}-round1-refiner"
    asked = {request.model for request in endpoint.requests}
    assert len(asked) == 3  # the first round's model, and its two successors


@pytest.mark.parametrize("stop", [0, 4, 13, *(pytest.param(stop, marks=pytest.mark.heavy) for stop in (2, 7))])
def test_a_loop_stopped_after_any_step_ends_with_the_rows_of_one_that_was_not(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path, stop: int
) -> None:
    loop = spar_loop(endpoint.url)
    seen = 0

    def stopping(step: Step, made: LoopStep | None) -> None:
        nonlocal seen
        seen += made is None
        if seen == stop + 1:
            seen += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "lake", loop, stopping)
    with Lake.open(tmp_path / "lake") as lake:
        found = find_loop(lake, loop.loop_id)
        assert found is not None and found.status == "stopped"
        again = loop_from_row(found)
    assert again.loop_id == loop.loop_id
    run(tmp_path / "lake", again)
    assert steps(tmp_path / "lake", loop) == [(number, *step) for number in (1, 2) for step in WHOLE_ROUND]
    assert len(trainer.commands) == 4


def test_a_diverged_training_is_recorded_and_its_model_is_not_used(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    trainer.diverges = lambda command: "round1-actor" in str(option(command, "--output"))
    loop = spar_loop(endpoint.url)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        [kept] = lake.read(LoopStep, "step = 'keep' AND role = 'actor' AND round = 1")
    assert kept.model_id is None and kept.note == "diverged: the loss is not a number"
    second = [command for command in trainer.commands if "round2-actor" in str(option(command, "--output"))]
    assert option(second[0], "--model") == option(trainer.commands[0], "--model")


def test_a_round_without_pairs_stops_the_loop_and_says_what_to_change(trainer: Trainer, tmp_path: Path) -> None:
    with running_endpoint(lambda request: ["Final Judgement: Yes"] * request.n) as endpoint:
        loop = spar_loop(endpoint.url)
        with pytest.raises(RoundEmpty, match=r"round 1 gives spar_dpo no rows .* \(prompts.each_round\)"):
            run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        [state] = lake.query("SELECT status, reason FROM current_loops").to_pylist()
    assert state["status"] == "stopped" and "round 1 gives spar_dpo no rows" in state["reason"]
    assert not trainer.commands


def test_a_model_that_is_worse_is_recorded_and_not_used(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    kind = '"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]'
    benchmark = tmp_path / "own.jsonl"
    benchmark.write_text(f'{{"key": 1, "prompt": "Name a hill.", {kind}}}\n', "utf-8")
    keep = "actor.own.jsonl.prompt_strict > previous"  # the endpoint answers alike whatever the model is called
    loop = spar_loop(endpoint.url, evaluate=[str(benchmark)], keep=keep)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        kept = {(one.round, one.role): one for one in lake.read(LoopStep, "step = 'keep'")}
        steps_named = lake.query("SELECT DISTINCT step FROM loop_steps WHERE starts_with(step, 'evaluate')").to_pylist()
        found = find_loop(lake, loop.loop_id)
        assert found is not None and str(tmp_path) not in found.settings
        assert loop_from_row(found).loop_id == loop.loop_id
        [third] = [one["evaluations"] for one in rounds_of(lake, loop.loop_id) if one["round"] == 2]
    assert steps_named == [{"step": "evaluate own.jsonl"}] and "actor own.jsonl prompt_strict" in third
    assert "> previous does not hold: 100.0 against 100.0" in str(kept[1, "actor"].note)
    assert (kept[1, "refiner"].note, kept[2, "refiner"].note) == (None, None)
    actor = [command for command in trainer.commands if "trainers.dpo" in command]
    assert [option(command, "--model") for command in actor] == ["mock", "mock"]


def test_a_fork_shares_the_earlier_rounds_and_pays_for_its_own(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake", create=True) as lake:
        sibling = fork(lake, loop.loop_id, 2, {"train.actor.set": "independent_dpo"})
    run(tmp_path / "lake", sibling)
    assert sibling.loop_id != loop.loop_id and len(trainer.commands) == 6
    with Lake.open(tmp_path / "lake") as lake:
        rows = lake.read(LoopStep, "loop_id = $id", {"id": sibling.loop_id})
        one, two = (
            lake.read(LoopStep, "round = 2 AND step = 'run' AND loop_id = $id", {"id": id})
            for id in (loop.loop_id, sibling.loop_id)
        )
    assert {row.shared_from for row in rows if row.round < 2} == {loop.loop_id}
    assert {row.shared_from for row in rows if row.round == 2} == {None}
    assert one[0].run_id == two[0].run_id  # the second round's data are the same, and not asked again


def test_a_changed_configuration_of_the_trainer_is_refused_when_a_loop_goes_on(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("dpo: {epochs: 1}", "utf-8")
    loop = spar_loop(endpoint.url, rounds=1, **{"train.actor.config": str(config)})
    run(tmp_path / "lake", loop)
    config.write_text("dpo: {epochs: 2}", "utf-8")
    with Lake.open(tmp_path / "lake") as lake:
        found = find_loop(lake, loop.loop_id)
        assert found is not None
        with pytest.raises(FactoryError, match="the trainers' configuration have changed since it began"):
            loop_from_row(found)
        config.unlink()
        with pytest.raises(FactoryError, match=r"restore them \(train.actor.config: mine.yaml is not there\)"):
            loop_from_row(found)


def test_a_lake_from_somebody_else_names_no_folder_to_train_on_or_remove(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url, rounds=1)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake", create=True) as lake:
        made = row(Model, "odd", name="odd", training_run_id="odd run")
        lake.append([made, row(TrainingRun, "odd run", output="../../elsewhere", status="finished")], message="odd")
        with pytest.raises(FactoryError, match="which is no folder's name"):
            trained_model(lake, "odd")
    with pytest.raises(FactoryError, match=r"the recipe's name is '\.\./up': give it one of letters"):
        load_loop("spar", {"name": "../up"})


def test_a_lake_from_somebody_else_runs_no_program(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"touch {tmp_path}/ran"
    loop = spar_loop(endpoint.url, rounds=1, on_new_weights=command, launch=command)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake") as lake:
        found = find_loop(lake, loop.loop_id)
        assert found is not None and command not in found.settings
        assert loop_from_row(found).settings.launch == command  # on the machine of whoever gave it
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
        evil = replace(found, settings=found.settings.replace('"launch":null', f'"launch":"{command}"'))
        assert evil.settings != found.settings
        with pytest.raises(FactoryError, match=r"wants to ask http://127\.0\.0\.1:\d+, which only its lake names"):
            loop_from_row(evil)
        trust(loop.recipe.models, [])
        read = loop_from_row(evil)
    assert (read.settings.launch, read.settings.on_new_weights) == (None, None) and read.loop_id == loop.loop_id


def test_a_loop_goes_on_with_a_larger_budget_and_not_as_another_loop(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url, **{"budget.max_tokens": 900, "budget.max_hours": 5})
    assert (loop.settings.budget.max_tokens, loop.recipe.budget.max_hours) == (900, 5)
    with pytest.raises(BudgetReached, match=r"`factory resume spar-loop-\w+ -o budget\.max_tokens=…`"):
        run(tmp_path / "lake", loop)
    requests = spar_loop(endpoint.url, **{"budget.max_requests": 3})
    with pytest.raises(BudgetReached, match=r"-o budget\.max_requests=…`"):
        run(tmp_path / "other", requests)
    with Lake.open(tmp_path / "lake") as lake:
        found = find_loop(lake, loop.loop_id)
        assert found is not None and found.status == "stopped"
        with pytest.raises(FactoryError, match=r"train.actor.start would make loop \S+ another one: `factory fork"):
            resumed(found, {"train.actor.start": "first"})
        larger = resumed(found, {"budget.max_tokens": 10**6, "rounds": 1, "models.actor.concurrency": 2})
    run(tmp_path / "lake", larger)
    assert steps(tmp_path / "lake", loop) == [(1, *step) for step in WHOLE_ROUND]


def test_a_lake_from_somebody_else_removes_nothing(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url, rounds=2, keep_rounds=1)
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "lake" / "models" / f"{loop.loop_id}-round1-x").mkdir(parents=True)
    odd = "x/../../../victim"
    with Lake.open(tmp_path / "lake", create=True) as lake:
        lake.append(
            [row(LoopStep, "odd", loop_id=loop.loop_id, round=1, step="train", role=odd, model_id="m")], message="odd"
        )
    run(tmp_path / "lake", loop)
    assert victim.is_dir()


def test_a_training_that_diverged_before_a_kill_is_found_again(
    endpoint: ScriptedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged = row(TrainingRun, "t", training_set_id="set", status="diverged", reason="the loss is nan")
    with Lake.open(tmp_path / "lake", create=True) as lake:
        lake.append([diverged], message="before the kill")
        training_set = row(TrainingSet, "set", name="spar_dpo", version=1)
        found, model = train(
            [sys.executable, "-c", f"raise SystemExit({DIVERGED})"], lake, training_set, tmp_path / "out"
        )
        assert (found.reason, model) == ("the loss is nan", None)
        failed = [sys.executable, "-c", "raise SystemExit(1)"]  # as a launcher says it, whatever the trainer's code was
        with pytest.raises(FactoryError, match="exit code 1, and says why above"):
            train(failed, lake, training_set, tmp_path / "out")
        now = replace(diverged, training_run_id="u", reason="now", ended_at=datetime.now(UTC) + timedelta(hours=1))
        lake.append([now], message="while it trains")
        assert train(failed, lake, training_set, tmp_path / "out") == (now, None)


def test_what_a_fork_shares_is_not_removed(endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path) -> None:
    loop = spar_loop(endpoint.url, rounds=2)
    run(tmp_path / "lake", loop)
    with Lake.open(tmp_path / "lake", create=True) as lake:
        fork(lake, loop.loop_id, 2, {"train.actor.set": "independent_dpo"})
        row_of_loop = find_loop(lake, loop.loop_id)
        assert row_of_loop is not None
        longer = resumed(row_of_loop, {"rounds": 3, "keep_rounds": 1})
    run(tmp_path / "lake", longer)
    left = {folder.name.removeprefix(f"{loop.loop_id}-") for folder in (tmp_path / "lake" / "models").iterdir()}
    assert {"round1-actor", "round1-refiner", "round3-actor"} <= left and "round2-actor" not in left


def test_folders_of_old_rounds_are_removed_if_nothing_needs_them(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    loop = spar_loop(endpoint.url, rounds=3, keep_rounds=1, **{"train.actor": {"set": "spar_dpo", "start": "first"}})
    run(tmp_path / "lake", loop)
    left = sorted(folder.name.removeprefix(f"{loop.loop_id}-") for folder in (tmp_path / "lake" / "models").iterdir())
    assert left == ["round3-actor", "round3-refiner"]


def test_changed_prompts_are_refused_when_a_loop_goes_on(
    endpoint: ScriptedEndpoint, trainer: Trainer, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Name a river."}\n{"prompt": "Name a hill."}\n', "utf-8")
    loop = spar_loop(endpoint.url, 1, **{"prompts.source": str(file)})
    run(tmp_path / "lake", loop)
    file.write_text('{"prompt": "Name a lake."}\n', "utf-8")
    with Lake.open(tmp_path / "lake") as lake:
        found = find_loop(lake, loop.loop_id)
        assert found is not None and str(tmp_path) not in found.settings
        with pytest.raises(FactoryError, match="cannot continue: its prompts have changed since it began"):
            loop_from_row(found)
        file.unlink()
        with pytest.raises(FactoryError, match=r"restore them \(prompts.source: prompts.jsonl is not there\)"):
            loop_from_row(found)


def test_prompts_that_do_not_last_are_told_before_anything_is_asked(trainer: Trainer, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Name a river."}\n{"prompt": "Name a hill."}\n', "utf-8")
    loop = spar_loop("http://127.0.0.1:9/v1", 2, **{"prompts.source": str(file)})
    with pytest.raises(FactoryError, match=r"has 2 prompts, and 2 rounds of 2 need 4: lower prompts.each_round"):
        run(tmp_path / "lake", loop)


def test_an_evaluation_that_holds_the_loops_prompts_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    kind = '"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]'
    file, benchmark = tmp_path / "prompts.jsonl", tmp_path / "test.jsonl"
    file.write_text('{"prompt": "Name a river."}\n{"prompt": "Name a hill."}\n', "utf-8")
    benchmark.write_text(f'{{"key": 1, "prompt": "Name a hill.", {kind}}}\n', "utf-8")
    changes = {"prompts.source": str(file), "evaluate": [str(benchmark)]}
    loop = spar_loop("http://127.0.0.1:9/v1", 1, **changes)
    with pytest.raises(FactoryError, match=r"1 of the 1 prompts of test.jsonl are among the prompts of the loop"):
        run(tmp_path / "lake", loop)
