"""What is left to do is a query: the prompts of a run that lack something, and what the lake has of them."""

from typing import Any

import pyarrow as pa

from factory.recipes.recipe import Recipe, SearchSettings
from factory.work.context import Work
from schemas.tables import Judgement, Prompt, Response, RunPrompt, Tree
from stores.lake import Lake
from stores.sql import sql


def work_left(lake: Lake, run_id: str, recipe: Recipe) -> pa.Table:
    """The prompts that still lack something of the run's stages: prompt_id and position, in the run's order."""
    parameters: dict[str, Any] = {"run_id": run_id}
    if "sample" in recipe.stages:
        parameters["evolved"] = "evolve" in recipe.stages
    search = recipe.stages.get("search")
    if isinstance(search, SearchSettings):
        parameters["every"] = search.roots == "every"
    stages = " UNION ALL ".join(f"FROM ({sql(f'pending/{stage}').rstrip().rstrip(';')})" for stage in recipe.stages)
    return lake.query(
        f"SELECT prompt_id, min(position) AS position FROM ({stages}) GROUP BY prompt_id ORDER BY position, prompt_id",
        parameters,
    )


def load_work(lake: Lake, run_id: str, left: pa.Table, begun: bool = True) -> list[Work]:
    """What the lake has of some prompts of a run, in the run's order.

    Args:
        begun: whether any attempt of the run may have answered some of them; else no answers are looked for.
    """
    parameters = {"run_id": run_id, "ids": left.column("prompt_id").to_pylist()}
    mine = "run_id = $run_id AND prompt_id IN (SELECT unnest($ids))"
    taken = lake.read(RunPrompt, mine, parameters)
    prompts = lake.read(Prompt, "prompt_id IN (SELECT unnest($ids))", {"ids": parameters["ids"]})
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    work = {t.prompt_id: Work(by_id[t.prompt_id], t.position, t.evolved) for t in taken}
    if begun:
        _add_answers(lake, work, mine, parameters)
    return sorted(work.values(), key=lambda one: (one.position, one.prompt.prompt_id))


def _add_answers(lake: Lake, work: dict[str, Work], mine: str, parameters: dict[str, Any]) -> None:
    for response in lake.read(Response, f"{mine} AND kind = 'sampled'", parameters):
        work[response.prompt_id].responses.append(response)
    for one in work.values():
        one.responses.sort(key=lambda response: response.choice_index or 0)
    for judgement in lake.read(Judgement, mine, parameters):
        work[judgement.prompt_id].judgements.setdefault(judgement.response_id, []).append(judgement)
    for one in work.values():
        for votes in one.judgements.values():
            votes.sort(key=lambda judgement: (judgement.judge, judgement.vote))
    for tree in lake.read(Tree, mine, parameters):
        work[tree.prompt_id].rooted.add(tree.root_response_id)
