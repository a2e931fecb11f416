"""Search: a tree of refinements from a failed answer, every node of it recorded, and the pair that comes of it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from factory.inference.endpoints import Sampling, SetAside
from factory.recipes.recipe import JudgeSettings, SearchSettings
from factory.search.refinements import asks_for_reflection, read_refinement
from factory.search.tree_rows import Made, response_id_of, tree_rows
from factory.search.tree_search import SearchNode, search_tree
from factory.stages.judge import Opinion, judge_text
from factory.templates.rendering import conversation, refine_turns
from factory.work.context import Context, Work
from schemas.ids import canonical_json, content_id, seed_of, sha256_text
from schemas.tables import Message, Prompt, Response


async def search(context: Context, work: Work, settings: SearchSettings) -> Work:
    """Grows a tree from one failed answer (chosen by the hash of its text), or from each of them."""
    opinions = {r.response_id: Opinion(work.judgements.get(r.response_id, []), []) for r in work.responses}
    passed = {id: opinion.verdict.passed for id, opinion in opinions.items()}
    failed = sorted((r for r in work.responses if passed[r.response_id] is False), key=_by_hash)
    roots = failed if settings.roots == "every" else failed[:1]
    for root in roots:
        if root.response_id in work.rooted:
            continue
        context.emit(await grow_tree(context, work.prompt, root, opinions[root.response_id], settings))
    return work


def _by_hash(response: Response) -> tuple[str, str]:
    # Of the text: another run that got the same answers searches from the same one, and finds it in the journal.
    return sha256_text(response.text), response.response_id


async def grow_tree(
    context: Context, prompt: Prompt, root: Response, opinion: Opinion, settings: SearchSettings
) -> list[Any]:
    """Searches from one failed answer.

    Returns all rows of the tree: calls, responses, judgements, nodes, the tree, and the pair if one was accepted.
    """
    judge_settings = context.recipe.stages["judge"]
    assert isinstance(judge_settings, JudgeSettings)
    parameters = {key: value for key, value in asdict(settings).items() if key not in ("model", "roots")}
    tree_id = content_id("tree", context.run_id, root.response_id, parameters)
    judging: dict[str, asyncio.Task[Opinion | None]] = {}
    errors: list[str] = []

    async def judged(node_response_id: str, text: str) -> Opinion | None:
        try:
            return await judge_text(context, "search", prompt, node_response_id, text, judge_settings)
        except SetAside as error:
            errors.append(str(error))
            return None

    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        messages, sampling, template = _question(context, prompt, parent, settings, count)
        parent_id = response_id_of(context, tree_id, parent, root)
        try:
            asked = await context.ask(
                "search",
                prompt,
                settings.model,
                messages,
                sampling,
                template=template,
                response_id=parent_id if template else None,
                draw=first,
            )
        except SetAside as error:
            errors.append(str(error))
            return [SearchNode(parent, first + i, None, None, Made(None, i, None, None)) for i in range(count)]
        with_reflection = template == "refine" and asks_for_reflection(context.templates["refine"])
        children = []
        for index, choice in enumerate(asked.reply.choices):
            refinement = read_refinement(choice.text, with_reflection=with_reflection)
            children.append(
                SearchNode(parent, first + index, refinement.text, None, Made(asked, index, refinement, None))
            )
        for child in children:
            if child.text is not None and child.text not in judging:
                # Equal text is judged once a tree.
                child_id = response_id_of(context, tree_id, child, root)
                judging[child.text] = asyncio.ensure_future(judged(child_id, child.text))
                judging[child.text].add_done_callback(_note_error)
        for child in children:
            if child.text is not None:
                child.made.opinion = await judging[child.text]
                child.value = child.made.opinion.verdict.value if child.made.opinion else None
        return children

    start = SearchNode(None, 0, root.text, opinion.verdict.value, Made(None, 0, None, opinion))
    judging[root.text] = asyncio.ensure_future(_known(opinion))
    tree = await search_tree(
        start, expand, settings, random.Random(seed_of(context.seed, "selection", prompt.prompt_id, root.text))
    )
    return tree_rows(context, prompt, root, tree, tree_id, settings, canonical_json(parameters), errors)


def _note_error(judging: asyncio.Task[Any]) -> None:
    """Where another request has ended the search, nobody waits for this one's error, and asyncio would print it."""
    if not judging.cancelled():
        judging.exception()


async def _known(opinion: Opinion) -> Opinion:
    return opinion


def _question(
    context: Context, prompt: Prompt, parent: SearchNode, settings: SearchSettings, count: int
) -> tuple[Sequence[Message], Sampling, str | None]:
    """What the model is asked at a node: to refine it, or in best-of-n to answer the prompt anew."""
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, count)
    if settings.strategy == "best_of_n":
        return prompt.messages, sampling, None
    text = conversation(prompt.messages)
    critique = parent.made.opinion.critique
    return refine_turns(context.templates, text, parent.text or "", critique.critique), sampling, "refine"
