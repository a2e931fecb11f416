"""Given answers become a training set for SFT without a model's call."""

import json
from pathlib import Path

from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.tables import Prompt, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import asked, row


def test_prompts_with_references_are_imitated(tmp_path: Path) -> None:
    with Lake.open(tmp_path / "lake", create=True) as lake:
        given = {"p1": "One.", "p2": " \n", "p3": None, "p4": "Four.", "p5": "Five."}
        prompts = [row(Prompt, id, messages=asked(f"Say {id}."), reference=text) for id, text in given.items()]
        taken = [
            row(RunPrompt, f"{run} {id}", run_id=run, prompt_id=id, evolved=id == "p4")
            for run in ("first", "second")
            for id in given
        ]
        other = row(RunPrompt, "third", run_id="third", prompt_id="p4")
        lake.append([*prompts, *taken, other], message="prompts")
        built = build_training_set(lake, "reference_sft", {"held_out": "0"}, ["first", "second"])
        assert built.row.format == "prompt_completion" and built.row.chat_template_hashes == []
        rows = built.train.to_pylist()
    assert [(each["prompt_id"], each["run_id"]) for each in rows] == [("p1", "first"), ("p5", "first")]
    assert rows[0]["prompt"] == [{"role": "user", "content": "Say p1."}]
    assert rows[0]["completion"] == [{"role": "assistant", "content": "One."}]


def test_its_recipe_asks_no_model(tmp_path: Path) -> None:
    dialogue = [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "Hi."}]
    (tmp_path / "given.jsonl").write_text(json.dumps({"messages": dialogue}) + "\n")
    recipe = load_recipe("reference_sft", {"prompts.source": str(tmp_path / "given.jsonl")})
    assert recipe.models == {}
    run_id = run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
    with Lake.open(tmp_path / "lake") as lake:
        (name,) = recipe.training_sets
        built = build_training_set(lake, name, {"held_out": "0"}, [run_id])
        assert lake.counts()["calls"] == 0
    (only,) = built.train.to_pylist()
    assert [only["prompt"], only["completion"]] == [dialogue[:1], dialogue[1:]]
