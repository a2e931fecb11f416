"""A model's folder from somebody else: only the safetensors that rows have the hash of are loaded, and faults are a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import FactoryError
from tests.reward_models import make_reward_model
from tests.training.tiny import make_tiny_model, needs_torch

pytestmark = needs_torch
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder / "language")
    make_reward_model(folder / "reward")
    return folder


def load(folder: Path, kind: str) -> None:
    import torch

    from trainers.models import find_model, load_model, load_tokenizer
    from trainers.scoring import load_reward_model

    if kind == "reward":
        load_reward_model(folder, "models.judge")
    else:
        base = find_model(str(folder))
        load_tokenizer(base)
        load_model(base, torch.float32)


def pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).rename(folder / "other.safetensors")


def outside(folder: Path) -> None:
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as opened:
        names = list(opened.keys())
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    (folder / "other.safetensors").write_bytes(b"")
    found = {"metadata": {}, "weight_map": dict.fromkeys(names, "../outside.safetensors")}
    (folder / INDEX).write_text(json.dumps(found), "utf-8")


def damaged(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"not a model's weights")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {"type": "none"}}', "utf-8")


def configured(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps(config | values), "utf-8")

    return change


@pytest.mark.parametrize("kind", ["language", "reward"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pickled, "has neither model.safetensors nor"),
        (outside, "names '../outside.safetensors', which is no safetensors file of this folder"),
        (damaged, "header"),
        (no_tokenizer, "."),
        (configured(hidden_size=float("nan")), "hidden_size"),
        (configured(hidden_size=10**9), "."),
        (configured(quantization_config={"quant_method": "gptq", "bits": 4}), "optimum"),
    ],
    ids=["pickle", "outside", "damaged", "tokenizer", "NaN", "huge", "quantized"],
)
def test_no_folder_is_loaded_beside_its_safetensors_or_ends_in_a_traceback(
    models: Path, tmp_path: Path, kind: str, change: Callable[[Path], None], said: str
) -> None:
    shutil.copytree(models / kind, tmp_path / "model")
    load(tmp_path / "model", kind)
    change(tmp_path / "model")
    with pytest.raises(FactoryError, match=f"cannot be loaded: .*{said}") as told:
        load(tmp_path / "model", kind)
    assert len(str(told.value)) < 600


def test_the_reference_that_trl_loads_is_looked_at_first(models: Path, tmp_path: Path) -> None:
    from trainers.models import find_model
    from trainers.online import with_reference

    shutil.copytree(models / "language", tmp_path / "model")
    policy = SimpleNamespace(config=SimpleNamespace(_name_or_path=""))
    job: Any = SimpleNamespace(
        reference=find_model(str(tmp_path / "model"), "--reference"), settings=SimpleNamespace(lora=None)
    )
    with_reference(job, {"model": policy})
    assert policy.config._name_or_path == str(tmp_path / "model")
    pickled(tmp_path / "model")
    with pytest.raises(FactoryError, match=r"--reference .* cannot be loaded: .*neither model.safetensors"):
        with_reference(job, {"model": policy})
