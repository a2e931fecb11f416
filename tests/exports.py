"""Training sets for the tests of exports: with a system turn, with several turns, with a tie, and odd ones of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.exporting.export import Exported, export
from schemas.tables import Message, Prompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import asked, row
from tests.sets import RUN, answer, pair, tree

PROMPTS = {
    "plain": asked("Name a bird."),
    "spoken": asked('Say "hello",\nin two lines: ünïcode, 窗户, 🐦, \u2028 and <|im_end|>\n'),
    "system": [Message("system", "Be short."), Message("user", "Name a fish.")],
    "dialogue": [Message("user", "Hi."), Message("assistant", "Hello!"), Message("user", "Name a tree.")],
    "tie": asked("Name a stone."),
    "apart": asked("Name a star."),
}
ODD = """-- odd.sql
-- In: $run_ids VARCHAR[].
-- Out: preference; ordered by n.
SELECT 'train' AS split, prompt, chosen, rejected, n
FROM (
  SELECT 1 AS n, [{'role': 'user', 'content': 'a'}] AS prompt, [{'role': 'assistant', 'content': 'yes '}] AS chosen,
    [{'role': 'assistant', 'content': 'no'}] AS rejected
  UNION ALL SELECT 2, [{'role': 'user', 'content': 'b'}],
    [{'role': 'assistant', 'content': 'c'}, {'role': 'user', 'content': 'd'}, {'role': 'assistant', 'content': 'e'}],
    [{'role': 'assistant', 'content': 'f'}]
  UNION ALL SELECT 3, [{'role': 'tool', 'content': 'g'}], [{'role': 'assistant', 'content': 'h'}],
    [{'role': 'assistant', 'content': 'i'}]
  UNION ALL SELECT 4, [{'role': 'user', 'content': 'j'}, {'role': 'user', 'content': 'k'}],
    [{'role': 'assistant', 'content': 'l'}], [{'role': 'assistant', 'content': 'l'}]
)
WHERE len($run_ids) > 0
ORDER BY n
"""


def rows() -> list[Any]:
    made: list[Any] = [RUN]
    for name, messages in PROMPTS.items():
        made += [
            row(Prompt, name, messages=messages),
            answer(f"{name}+", name, f"Good {name}:\n \u2028é 🐦"),
            answer(f"{name}-", name, f"Bad {name}."),
            pair(f"{name}±", name, f"{name}+", f"{name}-", rejected_value=1.0 if name == "tie" else 0.25),
        ]
    made += [each for n, name in enumerate(PROMPTS) for each in tree(n, {"r": "nny", "ra": "nyy"}, "ra", name)]
    return made


def make_lake(folder: Path) -> Path:
    """A lake with spar_dpo@1 (5 pairs and one held out), spar_rft@1 and odd@1 (4 pairs)."""
    with Lake.open(folder, create=True) as lake:
        lake.append(rows(), message="by hand")
        build_training_set(lake, "spar_dpo", {"held_out": 0.3}, ["run"])
        build_training_set(lake, "spar_rft", {"held_out": 0.3}, ["run"])
        (folder.parent / "odd.sql").write_text(ODD, "utf-8")
        build_training_set(lake, str(folder.parent / "odd.sql"), {}, ["run"])
    return folder


def exported(lake: Path, name: str, to: str, folder: Path) -> Exported:
    with Lake.open(lake) as opened:
        return export(opened, name, to, folder)


def lines(file: Path) -> list[Any]:
    """The rows of JSON lines."""
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of `make_lake`, which only exports read."""
    return make_lake(tmp_path_factory.mktemp("exports") / "lake")
