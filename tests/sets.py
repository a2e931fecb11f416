"""Training sets for tests: rows of a run by hand, and what is built of them."""

from collections.abc import Iterable
from typing import Any

from factory.templates.rendering import load_template
from schemas.tables import Node, Pair, Prompt, Response, Run, Tree
from stores.lake import Lake
from stores.training_sets import (
    TrainingSetRows,
    build_training_set,
)
from tests.rows import asked, row, votes

ALL = {"held_out": 0}
TEMPLATES = {name: load_template(name) for name in ("judge", "refine")}


def prompts(*numbers: object) -> list[Prompt]:
    return [row(Prompt, f"p{n}", messages=asked(f"question {n}")) for n in numbers]


def answer(id: str, prompt: str, text: str | None = None, kind: str = "sampled") -> Response:
    return row(Response, id, run_id="run", prompt_id=prompt, kind=kind, text=text or f"text {id}")


def pair(id: str, prompt: str, chosen: str, rejected: str, **given: Any) -> Pair:
    filled = {"source": "refined_over_failed", "chosen_value": 1.0, "similarity": 0.5, **given}
    return row(
        Pair,
        id,
        **{
            "run_id": "run",
            "prompt_id": prompt,
            "chosen_response_id": chosen,
            "rejected_response_id": rejected,
            **filled,
        },
    )


RUN = row(Run, "event", run_id="run", templates=TEMPLATES, recipe="{}")


def build(lake: Lake, name: str, rows: Iterable[Any] = (), run: Run = RUN, **given: Any) -> TrainingSetRows:
    lake.append([run, *rows], message="by hand")
    return build_training_set(lake, name, {**ALL, **given}, ["run"])


def column(built: TrainingSetRows, name: str) -> list[Any]:
    values: list[Any] = built.train.column(name).to_pylist()
    return values


def said(turns: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


def tree(number: int, verdicts: dict[str, str], accepted: str | None = None, prompt: str | None = None) -> list[Any]:
    """A tree whose nodes are named by their path (r, ra, rab): the parent is the path without its last letter."""
    prompt = prompt or f"p{number}"
    made: list[Any] = [
        row(Tree, f"t{number}", run_id="run", prompt_id=prompt, root_response_id=f"{number}r",
            outcome="accepted" if accepted else "exhausted", accepted_node_id=accepted and f"{number}{accepted}"),
    ]  # fmt: skip
    for path, cast in verdicts.items():
        id, parent = f"{number}{path}", f"{number}{path[:-1]}" if len(path) > 1 else None
        made += [
            answer(id, prompt, kind="refined" if parent else "sampled"),
            row(Node, id, tree_id=f"t{number}", run_id="run", prompt_id=prompt, parent_node_id=parent,
                depth=len(path) - 1, response_id=id, judged_response_id=id, state="open",
                critique_judgement_id=f"{parent}/0" if parent else None, output=f"output {id}" if parent else None),
            *votes(id, cast, prompt_id=prompt),
        ]  # fmt: skip
    return made
