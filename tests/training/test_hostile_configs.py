"""A config.json from somebody else is told in a sentence, whatever its numbers are, before any work is done for them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from factory.inference.conversion.architecture import architecture_of
from factory.inference.memory import serving_parts
from factory.inference.weights import fetch
from schemas.errors import FactoryError
from tests.training.tiny import make_tiny_model, needs_torch

pytestmark = needs_torch
COUNTS = (
    "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size", "head_dim",
    "max_position_embeddings", "vocab_size",
)  # fmt: skip
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ODD = [float("nan"), float("inf"), 10**400, -1.0, "much", [7], {"a": 1}, True]
"""no number that a model could have"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny_model(folder)
    return folder


def changed(tiny: Path, folder: Path, changes: dict[str, Any]) -> Path:
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    config = json.loads((tiny / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changes), "utf-8")
    return folder


def refused(folder: Path, said: str) -> None:
    for read in (architecture_of, lambda given: serving_parts(given, 4, 2048), lambda given: fetch(str(given))):
        with pytest.raises(FactoryError, match=said) as told:
            read(folder)
        assert len(str(told.value)) < 600


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers_that_a_model_could_have(tiny: Path, tmp_path: Path, name: str) -> None:
    for value in (*ODD, -4, 2.5, 10**30):
        refused(changed(tiny, tmp_path, {name: value}), f"its {name} is .*, and not a whole number from 1 to ")


def test_no_work_is_done_for_layers_and_heads_that_no_model_has(tiny: Path, tmp_path: Path) -> None:
    for name in ("num_hidden_layers", "num_attention_heads", "head_dim"):
        refused(changed(tiny, tmp_path, {"rope_parameters": ROPE, name: 10**9}), f"its {name} is 1000000000")


@pytest.mark.parametrize("name", sorted(ROPE.keys() - {"rope_type"}))
def test_rope_s_numbers_are_finite_and_above_0(tiny: Path, tmp_path: Path, name: str) -> None:
    for value in (*ODD, 0, 1e300):
        refused(
            changed(tiny, tmp_path, {"rope_parameters": ROPE | {name: value}}), f"its {name} is .*, and not a number"
        )


def test_so_are_those_outside_of_rope_parameters(tiny: Path, tmp_path: Path) -> None:
    for value in (*ODD, 0, 1e300):
        refused(changed(tiny, tmp_path, {"rms_norm_eps": value}), "its rms_norm_eps is ")
        refused(changed(tiny, tmp_path, {"rope_parameters": None, "rope_theta": value}), "its rope_theta is ")
    refused(changed(tiny, tmp_path, {"rope_parameters": ROPE | {"high_freq_factor": 1.0}}), "cannot be converted")
    refused(changed(tiny, tmp_path, {"rope_parameters": [1]}), "cannot be converted")
    refused(changed(tiny, tmp_path, {"architectures": [["LlamaForCausalLM"]]}), "cannot be converted")
    refused(
        changed(tiny, tmp_path, {"architectures": ["MistralForCausalLM"], "sliding_window": -5}),
        "its sliding_window is -5",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": 10**9}, "tokens, and the model 1000000000"),
        ({"vocab_size": 5}, "tokens, and the model 5"),
        ({"vocab_size": 500}, "not vocab_size × hidden_size, 500 × 32"),
        ({"hidden_size": 7}, "not vocab_size × hidden_size, .* × 7"),
        ({"num_hidden_layers": 7}, "they are of 2 layers, not num_hidden_layers, 7"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "32 rows of queries or keys are not those of 7 heads"),
    ],
    ids=["huge vocabulary", "small vocabulary", "other vocabulary", "width", "layers", "heads"],
)
def test_weights_of_another_shape_are_told_and_leave_no_file(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FactoryError, match=said):
        fetch(str(changed(tiny, tmp_path / "model", changes)))
    assert not list((tmp_path / "cache").rglob("*.gguf")) and not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize("number", [10**9, -1, 2.5, "x", None])
def test_a_tokenizer_s_numbers_are_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: Any
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    folder = changed(tiny, tmp_path / "model", {})
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokenizer["model"]["vocab"]["odd"] = number
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(FactoryError, match=r"its tokenizer\.json cannot be"):
        fetch(str(folder))
