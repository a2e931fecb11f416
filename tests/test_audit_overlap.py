"""Short items of evaluation sets are found where they hide: in refiners' prompts, behind system turns, in dialogues."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.audit.audit import AuditSettings, Options, audit_training_set, examination
from factory.audit.overlap import overlap
from factory.audit.rows import Benchmark
from schemas.tables import Message, Prompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.audits import a_set, asked, pairs
from tests.rows import row
from tests.sets import RUN, tree

ITEM = "Name three lakes."
BENCHMARK = Benchmark("held back", "0" * 64, (ITEM, "Another question."))


def measured(prompt: list[dict[str, str]], **known: Any) -> tuple[int, Any]:
    rows = pairs(12)
    rows[4]["prompt"] = prompt
    tasks = {name: [value if n == 4 else None for n in range(12)] for name, value in known.items()}
    found = overlap(a_set(rows, known=tasks, benchmarks=(BENCHMARK,)))
    return round((found.figure or 0) * 12), found.detail


TEMPLATE = [{"role": "user", "content": f"You check answers. [Instruction] {ITEM} [End] Is the answer right? Say why."}]
SYSTEM = [{"role": "system", "content": "Be short."}, *asked(" name THREE\n lakes. ")]
DIALOGUE = [*asked("Hello."), {"role": "assistant", "content": "Hi!"}, *asked(ITEM)]


def test_a_short_item_is_found_by_the_task_behind_a_refiner_s_prompt() -> None:
    assert measured(TEMPLATE)[0] == 0  # nothing tells template from task
    count, detail = measured(TEMPLATE, task=ITEM, task_asked=ITEM)
    assert count == 1 and detail == {"held back (000000000000)": "1 prompts, 1 of 2 items, 1 word for word"}
    assert measured(TEMPLATE, task=f"[user]\nHello.\n\n[user]\n{ITEM}", task_asked=ITEM)[0] == 1


@pytest.mark.parametrize("prompt", [SYSTEM, DIALOGUE, asked(ITEM)], ids=["system turn", "dialogue", "alone"])
def test_a_short_item_is_found_as_the_last_user_turn(prompt: list[dict[str, str]]) -> None:
    assert measured(prompt)[0] == 1


def test_a_longer_text_with_a_short_item_in_it_is_none() -> None:
    assert measured(asked(f"{ITEM} Then name three rivers."))[0] == 0


def test_refiners_prompts_about_a_short_item_are_left_out_of_a_set(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "held back.jsonl").write_text(json.dumps({"prompt": ITEM}), "utf-8")
    texts = [ITEM, "Name three rivers.", "Name three hills."]
    dialogue = [Message("user", "Hello."), Message("assistant", "Hi!"), Message("user", ITEM)]
    rows: list[Any] = [RUN, *(row(Prompt, f"p{n}", messages=[Message("user", text)]) for n, text in enumerate(texts))]
    rows.append(row(Prompt, "p3", messages=dialogue))
    rows += [each for n in range(4) for each in tree(n, {"r": "nny", "ra": "nyy"}, "ra")]
    lake.append(rows, message="by hand")
    examine = examination(lake, AuditSettings({}, (str(tmp_path / "held back.jsonl"),)), ())
    built = build_training_set(lake, "spar_rft", {"held_out": 0}, ["run"], examine)
    assert set(built.train.column("prompt_id").to_pylist()) == {"p1", "p2"}
    against = Options({}, against=(str(tmp_path / "held back.jsonl"),))
    found = {one.name: one for one in audit_training_set(lake, "spar_rft.removed", against).findings}
    assert found["overlap"].status == "fail" and found["overlap"].measured.figure == 1.0
