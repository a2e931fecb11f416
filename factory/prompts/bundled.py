"""The bundled prompts: everyday tasks in English and Chinese, each with verifiable constraints.

The tasks are in `tasks/everyday.jsonl` and were written for this project. Each seed draws new constraints, and so
makes a new set of prompts.
"""

import json
import random
from functools import cache
from pathlib import Path

from factory.verifier.constraints import join_prompt
from factory.verifier.drawing import Task, draw
from schemas.ids import prompt_id, sha256_text
from schemas.tables import Message, Prompt

SOURCE = "bundled:v1"
"""The version of the tasks and of how constraints are drawn; raise it when either changes."""

LICENCE = "Apache-2.0"
_DEVELOPMENT_SHARE = 4
_DEVELOPMENT_SEED = 2_311_07911


def bundled_prompts(seed: int) -> list[Prompt]:
    """Every task with its constraints, shuffled by the seed; the same on every machine."""
    tasks = list(read_tasks())
    random.Random(f"order {seed}").shuffle(tasks)
    return [_prompt(task, seed) for task in tasks]


def development_prompts() -> list[Prompt]:
    """Prompts to try things on while developing: a quarter of the tasks, chosen by the hash of their text.

    Runs take these tasks too: hardly ever with the same constraints, as these are drawn with a seed of their own.
    """
    chosen = [task for task in read_tasks() if int(sha256_text(task.text)[:8], 16) % _DEVELOPMENT_SHARE == 0]
    return [_prompt(task, _DEVELOPMENT_SEED) for task in chosen]


@cache
def read_tasks() -> tuple[Task, ...]:
    """The tasks, in the file's order."""
    text = (Path(__file__).parent / "tasks" / "everyday.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.strip().split("\n")]
    return tuple(Task(**{**row, "keywords": tuple(row["keywords"])}) for row in rows)


def _prompt(task: Task, seed: int) -> Prompt:
    # Each task has its own generator (Python hashes a string seed with SHA-512), so that a new task in the file
    # does not change the constraints of the others.
    constraints = draw(task, random.Random(f"constraints {seed} {task.text}"))
    messages = [Message(role="user", content=join_prompt(task.text, constraints, task.language))]
    return Prompt(
        prompt_id=prompt_id(messages, constraints, None, None),
        messages=messages,
        language=task.language,
        subject=task.subject,
        source=SOURCE,
        licence=LICENCE,
        constraints=constraints,
        reference=None,
        evolved_from=None,
    )
