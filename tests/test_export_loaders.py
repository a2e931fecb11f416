"""What trainers' own loaders read from an export is what the training set holds.

TRL is installed; of LLaMA-Factory, axolotl, OpenRLHF and verl the wheels are fetched without their dependencies, and their
loaders are run in a process of their own (tests/trainer_loaders.py). NeMo-RL has no wheel: tests/test_export_formats.py
compares with its documented form.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stores.lake import Lake
from stores.training_sets import read_training_set
from tests.exports import exported
from tests.exports import sets as sets
from tests.servers import missing
from tests.training.tiny import ROOT, make_tiny_model, needs_torch

pytestmark = needs_torch

WHEELS = {"llamafactory": "0.9.5", "axolotl": "0.19.0", "openrlhf": "0.11.2", "verl": "0.9.1"}
NAMES = {"preference": "spar_dpo@1", "prompt_completion": "spar_rft@1"}
ANSWERS = {"preference": ("chosen", "rejected"), "prompt_completion": ("completion",)}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each trainer's code."""
    folder = tmp_path_factory.mktemp("wheels")
    wanted = [f"{name}=={version}" for name, version in WHEELS.items()]
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *wanted]
    done = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if done.returncode:
        missing(
            f"the trainers' wheels, which cannot be fetched here: where they can, pip download --no-deps -d WHEELS "
            f"{' '.join(wanted)}; then set PIP_NO_INDEX=1 PIP_FIND_LINKS=WHEELS ({done.stderr[-200:]})"
        )
    for wheel in folder.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        zipfile.ZipFile(wheel).extractall(folder / name)
        purelib = folder / name / f"{name}-{version}.data" / "purelib"
        if purelib.is_dir():
            purelib.rename(folder / f"{name}-purelib")
    return folder


def rows(lake: Path, kind: str) -> list[Any]:
    with Lake.open(lake) as opened:
        made: list[Any] = read_training_set(opened, NAMES[kind]).train.to_pylist()
    return made


def rendered(tokenizer: Any, row: Any, kind: str) -> dict[str, Any]:
    """The prompt with the opening of the answer, and what comes after it in each conversation."""
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    whole = [tokenizer.apply_chat_template(row["prompt"] + row[name], tokenize=False) for name in ANSWERS[kind]]
    assert all(text.startswith(prompt) for text in whole)
    return {"prompt": prompt, "learned": [text[len(prompt) :].rstrip("\n") for text in whole]}


def read_by(trainer: str, code: Path, kind: str, export: Path, tokenizer: Path) -> Any:
    package = code / f"{trainer}-purelib"
    package = package if package.is_dir() else code / trainer
    out = export.parent / "read.json"
    command = [sys.executable, "-m", "tests.trainer_loaders", trainer, package, kind, tokenizer, out]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(export.parent / "hub"),
        "HF_HUB_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",  # LLaMA-Factory's: it would refuse the newer transformers
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=export, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text("utf-8"))


@pytest.mark.parametrize("kind", NAMES)
def test_trl_renders_what_the_set_holds(sets: Path, tmp_path: Path, tokenizer: Any, kind: str) -> None:
    import datasets
    from trl.data_utils import apply_chat_template, is_conversational

    exported(sets, NAMES[kind], "trl", tmp_path / "out")
    read = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    for row, given in zip(rows(sets, kind), read, strict=True):
        assert is_conversational(given)
        made = apply_chat_template(given, tokenizer)
        sides = [made[name].rstrip("\n") for name in ANSWERS[kind]]
        assert {"prompt": made["prompt"], "learned": sides} == rendered(tokenizer, row, kind)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("trainer", ["axolotl", "openrlhf"])
def test_loaders_that_render_learn_the_answers_alone(
    sets: Path, tmp_path: Path, code: Path, tokenizer: Any, tokenizer_folder: Path, trainer: str, kind: str
) -> None:
    exported(sets, NAMES[kind], trainer, tmp_path / "out")
    read = read_by(trainer, code, kind, tmp_path / "out", tokenizer_folder)
    for row, made in zip(rows(sets, kind), read, strict=True):
        learned = [text.rstrip("\n") for text in made["learned"]]
        assert {"prompt": made["prompt"], "learned": learned} == rendered(tokenizer, row, kind)


@pytest.mark.parametrize("kind", NAMES)
def test_llama_factory_s_loader_keeps_every_turn(
    sets: Path, tmp_path: Path, code: Path, tokenizer_folder: Path, kind: str
) -> None:
    exported(sets, NAMES[kind], "llamafactory", tmp_path / "out")
    read = read_by("llamafactory", code, kind, tmp_path / "out", tokenizer_folder)
    for row, made in zip(rows(sets, kind), read, strict=True):
        system = [turn["content"] for turn in row["prompt"] if turn["role"] == "system"]
        assert made["system"] == "".join(system)
        assert made["prompt"] == [turn for turn in row["prompt"] if turn["role"] != "system"]
        assert made["learned"] == [row[name][0]["content"] for name in ANSWERS[kind]]


@pytest.mark.parametrize("kind", NAMES)
def test_verl_s_loaders_read_pairs_conversations_and_prompts(
    sets: Path, tmp_path: Path, code: Path, tokenizer_folder: Path, kind: str
) -> None:
    exported(sets, NAMES[kind], "verl", tmp_path / "out")
    asked, *read = read_by("verl", code, kind, tmp_path / "out", tokenizer_folder)
    given = rows(sets, kind)
    assert [row["prompt"] for row in asked["rl"]] == [row["prompt"] for row in given]
    assert [row["truth"] for row in asked["rl"]] == [row[ANSWERS[kind][0]][0]["content"] for row in given]
    if kind == "preference":
        given = [row for row in given if len(row["prompt"]) == 1]  # what it cannot hold is told
        for row, made in zip(given, read, strict=True):
            assert made["prompt"] == row["prompt"][0]["content"]
            assert made["learned"] == [row[name][0]["content"] for name in ANSWERS[kind]]
        return
    for row, made in zip(given, read, strict=True):
        assert made["prompt"] == row["prompt"] + row["completion"]
        earlier = [turn["content"] for turn in row["prompt"] if turn["role"] == "assistant"]
        for text in (*earlier, row["completion"][0]["content"]):
            assert text in made["learned"][0]
        assert row["prompt"][0]["content"] not in made["learned"][0]
