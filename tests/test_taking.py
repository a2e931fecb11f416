"""What becomes of a source's rows is said: equal prompts, prompts the verifier cannot check, impossible constraints."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import load_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification, run_of
from factory.runs.taking import take_prompts
from schemas.errors import FactoryError
from schemas.tables import Prompt
from stores.lake import Lake

NO_COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
NEVER = {
    "instruction_id_list": ["length_constraints:nth_paragraph_first_word"],
    "kwargs": [{"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "don't"}],
}


def taken(folder: Path, *rows: dict[str, Any], by: str = "both") -> tuple[list[str], list[str]]:
    """The prompts that a run takes, and its notes."""
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = RunSpecification(load_recipe("spar", {"prompts.source": str(file), "stages.judge.by": by}))
    progress = Progress()
    with Lake.open(folder / "lake", create=True) as lake:
        take_prompts(lake, run_of(spec), spec, progress)
        texts = sorted(prompt.messages[-1].content for prompt in lake.read(Prompt))
    return texts, progress.notes


def test_equal_prompts_are_taken_once_and_this_is_said(tmp_path: Path) -> None:
    rows = [{"prompt": text} for text in ("a", "b", "a", "a")]
    assert taken(tmp_path, *rows, by="votes") == (["a", "b"], ["4 rows are 2 prompts: equal prompts are taken once"])


def test_both_says_how_many_prompts_the_verifier_cannot_check(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, {"prompt": "b", **NO_COMMA}, {"prompt": "c"}]
    _, notes = taken(tmp_path, *rows)
    assert notes == ["2 of 3 prompts have no constraints that the verifier can check: only votes can judge them"]
    assert taken(tmp_path, rows[1])[1] == []


def test_a_prompt_with_an_impossible_constraint_is_left_out_and_named(tmp_path: Path) -> None:
    rows = [{"prompt": "a", **NO_COMMA}, {"prompt": "b", **NEVER}]
    texts, (note,) = taken(tmp_path, *rows, by="verifier")
    assert texts == ["a"]
    assert "left out: 1 prompt of" in note and "prompt 2 asks for length_constraints:nth_paragraph_first_word" in note
    with pytest.raises(FactoryError, match=r"no prompt is left: 1 prompt of .* a constraint that no answer can meet"):
        taken(tmp_path, rows[1], by="verifier")


def test_without_a_verifier_its_constraints_do_not_matter(tmp_path: Path) -> None:
    assert taken(tmp_path, {"prompt": "b", **NEVER}, by="votes") == (["b"], [])
