"""Whether a new model is kept, and whether a round fits on the machine."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.loops import resources
from factory.loops.checking import check_before
from factory.loops.keeping import Figures, broken, check_metric, rule_of
from factory.loops.plan import Step
from factory.loops.reading import load_loop, loop_from_row
from factory.loops.resources import check_resources, disk_of
from factory.monitor.loop_plan import print_plan
from schemas.errors import FactoryError
from schemas.tables import Loop, LoopStep
from stores.lake import Lake
from tests.rows import row

NEW: Figures = {("ifbench", "prompt_strict"): 0.20, ("ifbench", "instruction_loose"): 0.305}
BEFORE: Figures = {("ifbench", "prompt_strict"): 0.21, ("ifbench", "instruction_loose"): 0.3}
FIRST: Figures = {("ifbench", "prompt_strict"): 0.10, ("ifbench", "instruction_loose"): 0.4}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("actor.ifbench.prompt_strict >= previous - 1.0", True),  # 20 against 21 - 1: equal is enough
        ("actor.ifbench.prompt_strict > previous - 1", False),
        ("actor.ifbench.prompt_strict >= previous", False),
        ("actor.ifbench.prompt_strict >= first + 10", True),
        ("actor.ifbench.prompt_strict>=first+10.1", False),
        ("actor.ifbench.instruction_loose > previous", True),
        ("actor.ifbench.instruction_loose >= 30.5", True),
        ("actor.ifbench.instruction_loose > 30.5", False),
    ],
)
def test_a_rule_compares_percentage_points(rule: str, holds: bool) -> None:
    why = broken(rule_of(rule), NEW, BEFORE, FIRST)
    assert (why is None) == holds
    assert holds or str(why).startswith(f"{rule} does not hold: ")


@pytest.mark.parametrize(
    "text", ["", "actor.ifbench >= 1", "actor.ifbench.x <= 1", "actor.ifbench.x >= last - 1", "x >= 1; 2"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(FactoryError, match=r"is not a rule: write ROLE\.EVALUATION\.METRIC >= previous - POINTS"):
        rule_of(text)


def test_a_figure_that_is_not_there_is_named() -> None:
    with pytest.raises(FactoryError, match=r"which ifbench does not measure: did you mean 'prompt_loose'\?"):
        check_metric(rule_of("actor.ifbench.prompt_lose >= 1"))
    with pytest.raises(FactoryError, match="cannot be decided: ifbench gave no prompt_loose in this round"):
        broken(rule_of("actor.ifbench.prompt_loose >= 1"), NEW, BEFORE, FIRST)


def test_a_rounds_models_and_one_checkpoint_need_disk() -> None:
    disk = disk_of({"actor": 25, "refiner": 10})
    assert (disk.models, disk.checkpoint) == (140, 300)


def test_a_round_that_does_not_fit_is_refused_with_the_sum(empty_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = load_loop("spar", {"train": {"actor": {"set": "spar_dpo"}}})
    monkeypatch.setattr(resources, "parameters_by_role", lambda loop: {"actor": 10**9})
    with Lake.open(empty_lake) as lake:
        monkeypatch.setattr("factory.inference.memory.available_bytes", lambda: 10**9)
        with pytest.raises(
            FactoryError, match=r"training actor takes at least 20.0 GB .*4.0 GB weights \+ 4.0 GB gradients"
        ):
            check_resources(lake, loop, 1, {})
        monkeypatch.setattr("factory.inference.memory.available_bytes", lambda: 10**12)
        monkeypatch.setattr(resources, "free_bytes", lambda folder: 10**10)
        with pytest.raises(
            FactoryError, match=r"round 1 needs 16.0 GB of disk \(4.0 for its models, 12.0 for a checkpoint\)"
        ):
            check_resources(lake, loop, 1, {})
        monkeypatch.setattr(resources, "free_bytes", lambda folder: 10**12)
        check_resources(lake, loop, 1, {})
        trained = {Step(1, "train", "actor"): row(LoopStep, "done")}
        monkeypatch.setattr(resources, "free_bytes", lambda folder: 0)
        check_resources(lake, loop, 1, trained)  # what is made already needs nothing more
        monkeypatch.setattr(resources, "free_bytes", lambda folder: 10**12)
        completions = load_loop("spar", {"train": {"actor": {"set": "spar_rft"}}})
        monkeypatch.setattr("factory.inference.memory.available_bytes", lambda: 17 * 10**9)
        check_resources(lake, completions, 1, {})  # no reference model
        monkeypatch.setattr("factory.inference.memory.available_bytes", lambda: 10**12)
        small = load_loop("spar", {"train": {"actor": {"set": "spar_dpo"}}, "budget.disk_gb": 15})
        with pytest.raises(FactoryError, match=r"budget.disk_gb is 15: raise it"):
            check_resources(lake, small, 1, {})


def test_a_base_without_a_chat_template_is_refused_before_anything_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    settings = {"endpoint": "http://127.0.0.1:9/v1", "name": "served"}
    loop = load_loop(
        "spar", {"models.actor": settings, "train": {"actor": {"set": "spar_dpo", "weights": str(tmp_path)}}}
    )
    with pytest.raises(FactoryError, match=r"models.actor: .* has no chat template, and conversations need one"):
        check_before(loop)
    nameless = load_loop(
        "spar", {"models.actor": {"endpoint": settings["endpoint"]}, "train": {"actor": {"set": "spar_dpo"}}}
    )
    with pytest.raises(FactoryError, match=r"models.actor is known by its address only, .* give train.actor.weights"):
        check_before(nameless)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"parameters": {"heldout": 0.2}},
            "train.actor.parameters: unknown parameter 'heldout' .* did you mean 'held_out'",
        ),
        (
            {"parameters": {"held_out": "some"}},
            "train.actor.parameters: parameter held_out .* must be a number, got 'some'",
        ),
        ({"config": "small-cup"}, "train.actor.config: there is no preset and no file 'small-cup'"),
        ({"weights": "./nowhere"}, r"the weights of models.actor are not at \./nowhere"),
        ({"weights": "nowhere.gguf"}, r"the weights of models.actor are not at nowhere\.gguf"),
    ],
)
def test_a_training_that_could_not_start_is_refused_before_anything_is_paid_for(
    training: dict[str, Any], said: str
) -> None:
    served = {"endpoint": "http://127.0.0.1:9/v1", "name": "owner/served"}
    loop = load_loop("spar", {"models.actor": served, "train": {"actor": {"set": "spar_dpo", **training}}})
    with pytest.raises(FactoryError, match=said):
        check_before(loop)
    text = StringIO()
    print_plan(None, loop, Console(file=text, width=300))
    assert re.search(f"mend first +{said}", text.getvalue())


@pytest.mark.parametrize(
    "settings", ["", "[]", "{}", '{"loop": 1, "recipe": {}, "asked": {}}', '{"loop": {"recipe": "spar"}}']
)
def test_a_loops_row_that_makes_no_sense_is_one_sentence(settings: str) -> None:
    with pytest.raises(FactoryError, match="the settings of loop odd cannot be read"):
        loop_from_row(row(Loop, "event", loop_id="odd", settings=settings))
