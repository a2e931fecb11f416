"""Which runs count as made for data is one rule: every run but an evaluation, whatever its lake calls its purpose."""

from datetime import timedelta

import pytest

from factory.monitor import build
from schemas.ids import sha256_text
from schemas.tables import Call, Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.sql import sql
from tests.rows import NOON, asked, row

PURPOSES = {"usual": "data", "own": "distillation", "measured": "evaluation"}
FOR_DATA = ["own", "usual"]


@pytest.fixture
def runs(lake: Lake) -> Lake:
    """A run of each purpose, of one recipe, that took the same prompt in a second and 30 tokens."""
    lake.append([row(Prompt, "p", messages=asked("Name a bird."))], message="a prompt")
    for run, purpose in PURPOSES.items():
        ended = {"status": "finished", "started_at": NOON, "ended_at": NOON + timedelta(seconds=1), "recipe_hash": "h"}
        made = row(Run, f"{run}/0", run_id=run, purpose=purpose, recipe="{}", attempt=0, **ended)
        call = row(Call, f"{run} call", run_id=run, prompt_tokens=10, completion_tokens=20)
        lake.append([made, row(RunPrompt, run, run_id=run, prompt_id="p"), call], message=run)
    return lake


def test_training_sets_are_built_from_them(runs: Lake) -> None:
    assert build._runs(runs, None) == FOR_DATA


def test_their_drift_is_measured(runs: Lake) -> None:
    assert runs.query("SELECT run_id FROM drift ORDER BY run_id").column(0).to_pylist() == FOR_DATA


def test_an_evaluation_s_prompts_are_looked_for_in_them(runs: Lake) -> None:
    found = runs.query(sql("evaluation/overlap"), {"texts": sha256_text("Name a bird.")}).to_pylist()
    assert found == [{"run_id": run, "prompts": 1} for run in FOR_DATA]


def test_what_a_prompt_costs_is_told_from_them(runs: Lake) -> None:
    (found,) = runs.query(sql("report/cost_of_recipe"), {"recipe_hash": "h"}).to_pylist()
    assert found == {"prompts": 2, "tokens": 30.0, "seconds": 1.0}
