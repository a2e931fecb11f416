"""The trainers' settings: SPaR's by default, and errors name the wrong one. Needs no torch."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from tests.training.tiny import ROOT, start
from trainers.settings import DpoSettings, RftSettings, load_settings, plain

KINDS = {name: importlib.import_module(f"trainers.{name}").SETTINGS for name in OBJECTIVES}


def test_defaults_are_spar_s_own() -> None:
    dpo, rft = DpoSettings(), RftSettings()
    assert (dpo.learning_rate, dpo.epochs, dpo.schedule, dpo.warmup, dpo.max_tokens) == (2e-7, 1, "linear", 0.1, 2048)
    assert (dpo.beta, dpo.loss_type, dpo.loss_weights) == (0.1, ("sigmoid", "sft"), (1.0, 0.1))
    assert (dpo.label_smoothing, dpo.ld_alpha, dpo.optimizer, dpo.precision) == (0.0, None, "adamw", "bfloat16")
    assert (rft.learning_rate, rft.epochs, rft.schedule, rft.warmup, rft.max_tokens) == (2e-6, 5, "constant", 0.1, 4096)


@pytest.mark.parametrize(("kind", "objective"), [(kind, name) for name, kind in KINDS.items()])
def test_the_preset_for_processors_needs_no_accelerator(kind: Any, objective: str) -> None:
    assert load_settings(kind, objective, ["small-cpu"]).precision == "float32"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpo: {learning_rte: 1}", "did you mean 'learning_rate'?"),
        ("dpoo: {}", "did you mean 'dpo'?"),
        ("dpo: {epochs: many}", "epochs must be a whole number, got 'many'"),
        ("dpo: {epochs: 0}", "epochs must be above 0, got 0"),
        ("dpo: {lora: {rnk: 8}}", "did you mean 'rank'?"),
        ("dpo: {schedule: square}", "schedule: unknown value 'square': it is one of linear, cosine, constant"),
        ("dpo: {beta: -1}", "beta must be above 0"),
        ("dpo: [1]", "must be a mapping, got [1]"),
        ("dpo: {", "cannot be read as YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(FactoryError) as error:
        load_settings(DpoSettings, "dpo", [str(tmp_path / "mine.yaml")])
    assert words in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_an_unknown_preset_is_told_the_nearest_one() -> None:
    with pytest.raises(FactoryError, match="did you mean 'small-cpu'"):
        load_settings(DpoSettings, "dpo", ["small-gpu"])


def test_a_number_without_a_dot_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("dpo: {learning_rate: 3e-6, lora: {rank: 4}}")
    found = load_settings(DpoSettings, "dpo", [str(tmp_path / "mine.yaml")])
    assert found.learning_rate == 3e-6
    assert found.lora is not None and found.lora.rank == 4


def test_every_setting_is_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs" / "trainers.md").read_text()
    for column, objective in enumerate(("dpo", "rft", "sppo", "reward", "online"), start=2):
        for name, value in plain(KINDS[objective]()).items():
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |") and line.count("|") == 8]
            written = line.split("|")[column].strip()
            assert written == str(value).lower().replace("e-0", "e-").replace("'", "")


def test_the_trainers_are_imported_without_torch() -> None:
    trainers = ", ".join(f"trainers.{name}" for name in OBJECTIVES)
    code = f"import sys, {trainers}; print([m for m in ('torch', 'trl', 'factory') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("objective", "name", "words"),
    [
        ("dpo", "spar_dpo@9", "has no training set spar_dpo@9"),
        ("dpo", "spar_dpo@2", "has fingerprint"),
        ("dpo", "completions@1", "has format prompt_completion, and this trainer needs preference"),
        ("rft", "spar_dpo@1", "use `factory train dpo`"),
    ],
)
def test_a_set_that_cannot_be_trained_on_is_refused(
    place: SimpleNamespace, capsys: pytest.CaptureFixture[str], objective: str, name: str, words: str
) -> None:
    assert start(place, objective, place.folder / "refused", set=name) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (place.folder / "refused").exists()
