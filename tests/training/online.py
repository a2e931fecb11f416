"""Prompts, a tiny reward model and settings for the tests of online training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from schemas.tables import Constraint, Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.reward_models import make_reward_model
from tests.rows import asked, row
from tests.training.tiny import make_tiny_model, start

SETTINGS = """
online:
  algorithm: {algorithm}
  learning_rate: 1e-2
  num_generations: 2
  batch_size: 4
  micro_batch_size: 4
  max_completion_length: 8
  max_tokens: 128
  precision: float32
  gradient_checkpointing: false
  warmup: 0
  {more}
"""
COMMAS = Constraint("punctuation:no_comma", "{}")
LETTER = Constraint("keywords:existence", '{"keywords": ["g"]}')


def make_place(folder: Path) -> SimpleNamespace:
    """A lake with the set prompts@1 (5 to train on, 2 held out), the tiny policy, and a tiny reward model."""
    with Lake.open(folder / "lake", create=True) as lake:
        rows: list[Any] = [row(Run, "event", run_id="run", purpose="data", recipe="{}", status="finished")]
        for number in range(7):
            messages = asked(f"Write about item {number}.")
            rows.append(row(Prompt, f"p{number}", messages=messages, constraints=[COMMAS, LETTER]))
            rows.append(row(RunPrompt, f"run p{number}", run_id="run", prompt_id=f"p{number}", position=number))
        lake.append(rows, message="prompts")
        built = build_training_set(lake, "prompts", {"held_out": 0.23}, ["run"])
    assert (built.row.train_rows, built.row.held_out_rows) == (5, 2)
    make_tiny_model(folder / "tiny")
    make_reward_model(folder / "tiny-reward")
    return SimpleNamespace(folder=folder, lake=folder / "lake")


def write_settings(folder: Path, algorithm: str = "rloo", **more: Any) -> Path:
    file = folder / "online.yaml"
    file.write_text(SETTINGS.format(algorithm=algorithm, more="\n  ".join(f"{k}: {v}" for k, v in more.items())))
    return file


def run_online(place: SimpleNamespace, output: Path, config: Path, **options: Any) -> int:
    return start(place, "online", output, **{"set": "prompts@1", "config": config} | options)
