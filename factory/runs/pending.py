"""A run's pending prompts, found by queries, and the rows that the lake has for them."""

import re
from typing import Any

import msgspec
import pyarrow as pa

from factory.recipes.recipe import AnswerSettings, Entry, Recipe, judges_given
from factory.work.context import Work
from factory.work.stage import rows_of
from schemas.tables import Comparison, Judgement, Pair, Prompt, Response, RunPrompt, Tree
from stores.lake import Lake
from stores.sql import sql

_PARAMETER = re.compile(r"\$(\w+)")


def pending_prompts(lake: Lake, run_id: str, recipe: Recipe) -> pa.Table:
    """The prompts that some stage has not finished: prompt_id and position, in the run's order."""
    queries, values = [], {"run_id": run_id}
    for place, entry in enumerate(recipe.stages):
        given = pending_parameters(recipe, entry)

        def numbered(found: re.Match[str], place: int = place, given: dict[str, Any] = given) -> str:
            name = found[1]
            if name == "run_id":
                return "$run_id"
            values[f"{name}_{place}"] = given[name]
            return f"${name}_{place}"

        text = "\n".join(line for line in sql(f"pending/{entry.stage}").splitlines() if not line.startswith("--"))
        queries.append(f"FROM ({_PARAMETER.sub(numbered, text).rstrip().rstrip(';')})")
    return lake.query(
        f"SELECT prompt_id, min(position) AS position FROM ({' UNION ALL '.join(queries)}) "
        "GROUP BY prompt_id ORDER BY position, prompt_id",
        values,
    )


def all_prompts(lake: Lake, run_id: str) -> pa.Table:
    """All prompts of a run, in the form of `pending_prompts`: in a new run, all are pending."""
    return lake.query(
        "SELECT prompt_id, position FROM run_prompts WHERE run_id = $run_id AND NOT evolved ORDER BY position, prompt_id",
        {"run_id": run_id},
    )


def pending_parameters(recipe: Recipe, entry: Entry) -> dict[str, Any]:
    """The parameters of a stage's query of pending prompts besides `$run_id`: `$stage`, its name; `$evolved`, whether the
    recipe evolves its prompts; `$judges`, the names of its judges; `$answers_of` and `$kinds`, the run whose answers are
    worked on (NULL: this one) and which of them; and its settings by name."""
    answers = recipe.answers
    return {
        **msgspec.to_builtins(entry.settings),
        "stage": entry.name,
        "answers_of": answers.run if answers else None,
        "kinds": list(answers.kinds) if answers else ["sampled"],
        "evolved": bool(recipe.entries("evolve")),
        "judges": [judge.judge_name for judge in judges_given(recipe, entry)],
    }


def load_work(lake: Lake, run_id: str, pending: pa.Table, recipe: Recipe, begun: bool = True) -> list[Work]:
    """Some prompts of a run with their rows, in the run's order.

    Args:
        begun: whether an earlier attempt may have answered some of them; if not, answers are not looked up.
    """
    # One text, since DuckDB's client is slow to bind a list.
    parameters = {"run_id": run_id, "ids": ",".join(pending.column("prompt_id").to_pylist())}
    among = "prompt_id IN (SELECT unnest(string_split($ids, ',')))"
    mine = f"run_id = $run_id AND {among}"
    taken = lake.read(RunPrompt, mine, parameters)
    prompts = lake.read(Prompt, among, {"ids": parameters["ids"]})
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    work = {t.prompt_id: Work(by_id[t.prompt_id], t.position, t.evolved) for t in taken}
    if recipe.answers is not None:
        _add_given(lake, work, recipe.answers, among, parameters["ids"])
    if begun:
        _add_answers(lake, work, mine, parameters)
        for table in rows_of(entry.stage for entry in recipe.stages):
            rows: list[Any] = lake.read(table, mine, parameters)
            for row in rows:
                work[row.prompt_id].made.setdefault(table, []).append(row)
    return sorted(work.values(), key=lambda one: (one.position, one.prompt.prompt_id))


def _add_given(lake: Lake, work: dict[str, Work], given: AnswerSettings, among: str, ids: str) -> None:
    """Adds the answers of another run, and which two of them it has paired."""
    theirs = f"run_id = $of AND {among}"
    kinds = ",".join(given.kinds)
    for response in lake.read(
        Response,
        f"{theirs} AND kind IN (SELECT unnest(string_split($kinds, ',')))",
        {"of": given.run, "ids": ids, "kinds": kinds},
    ):
        work[response.prompt_id].responses.append(response)
    for pair in lake.read(Pair, theirs, {"of": given.run, "ids": ids}):
        work[pair.prompt_id].paired.add(frozenset((pair.chosen_response_id, pair.rejected_response_id)))


def _add_answers(lake: Lake, work: dict[str, Work], mine: str, parameters: dict[str, Any]) -> None:
    for response in lake.read(Response, f"{mine} AND kind IN ('sampled', 'reference')", parameters):
        if response.kind == "reference":
            work[response.prompt_id].reference = response
        else:
            work[response.prompt_id].responses.append(response)
    for one in work.values():
        one.responses.sort(key=lambda response: (response.stage or "", response.choice_index or 0))
    for judgement in lake.read(Judgement, mine, parameters):
        work[judgement.prompt_id].judgements.setdefault(judgement.response_id, []).append(judgement)
    for one in work.values():
        for votes in one.judgements.values():
            votes.sort(key=lambda judgement: (judgement.judge, judgement.vote))
    for comparison in lake.read(Comparison, mine, parameters):
        work[comparison.prompt_id].comparisons.append(comparison)
    for tree in lake.read(Tree, mine, parameters):
        work[tree.prompt_id].roots.add((tree.stage, tree.root_response_id))
