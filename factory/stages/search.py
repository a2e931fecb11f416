"""Search: a tree of refinements from a failed answer, every node of it recorded, and the pair that comes of it."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from factory.context import Asked, Context, Work
from factory.endpoints import Sampling, SetAside
from factory.pairs import pair_of
from factory.recipe import JudgeSettings, SearchSettings
from factory.refinements import Refinement, asks_for_reflection, read_refinement
from factory.stages.judge import Opinion, judge_text, once
from factory.templates import conversation, refine_turns
from factory.tree_search import SearchNode, SearchTree, search_tree
from schemas.ids import canonical_json, content_id, seed_of
from schemas.tables import Call, Message, Node, Prompt, Response, Tree


@dataclass(slots=True)
class Made:
    """How a node was made: the call's choice, what was read in it, and what the judge said."""

    asked: Asked | None  # None at the root, and where the refiner could not be asked
    choice: int
    refinement: Refinement | None
    opinion: Opinion | None


async def search(context: Context, work: Work, settings: SearchSettings) -> Work:
    """Grows a tree from one failed answer (the one of the least id, a choice by hash), or from each of them."""
    opinions = {r.response_id: Opinion(work.judgements.get(r.response_id, []), []) for r in work.responses}
    passed = {id: opinion.verdict.passed for id, opinion in opinions.items()}
    failed = sorted((r for r in work.responses if passed[r.response_id] is False), key=lambda r: r.response_id)
    roots = failed if settings.roots == "every" else failed[:1]
    for root in roots:
        if root.response_id in work.rooted:
            continue
        context.emit(await grow_tree(context, work.prompt, root, opinions[root.response_id], settings))
    return work


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
    draws = 0

    async def judged(node_response_id: str, text: str) -> Opinion | None:
        try:
            return await judge_text(context, "search", prompt, node_response_id, text, judge_settings)
        except SetAside as error:
            errors.append(str(error))
            return None

    async def expand(parent: SearchNode, count: int) -> list[SearchNode]:
        nonlocal draws
        draw, draws = draws, draws + 1
        messages, sampling, template = _question(context, prompt, parent, settings, count)
        parent_id = _response_id(context, tree_id, parent, root)
        try:
            asked = await context.ask(
                "search",
                prompt,
                settings.model,
                messages,
                sampling,
                template=template,
                response_id=parent_id if template else None,
                draw=0 if template else draw,
            )
        except SetAside as error:
            errors.append(str(error))
            return [SearchNode(parent, i, None, None, Made(None, i, None, None)) for i in range(count)]
        with_reflection = template == "refine" and asks_for_reflection(context.templates["refine"])
        children = []
        for index, choice in enumerate(asked.reply.choices):
            refinement = read_refinement(choice.text, with_reflection=with_reflection)
            made = Made(asked, index, refinement, None)
            # In best-of-n a node is expanded again and again: its children go on counting.
            children.append(
                SearchNode(
                    parent, draw * settings.branch + index if template is None else index, refinement.text, None, made
                )
            )
        for child in children:
            if child.text is not None and child.text not in judging:
                # Equal text is judged once a tree.
                child_id = _response_id(context, tree_id, child, root)
                judging[child.text] = asyncio.ensure_future(judged(child_id, child.text))
        for child in children:
            if child.text is not None:
                child.made.opinion = await judging[child.text]
                child.value = child.made.opinion.verdict.value if child.made.opinion else None
        return children

    start = SearchNode(None, 0, root.text, opinion.verdict.value, Made(None, 0, None, opinion))
    judging[root.text] = asyncio.ensure_future(_known(opinion))
    tree = await search_tree(start, expand, settings, random.Random(seed_of(context.seed, "selection", tree_id)))
    return _tree_rows(context, prompt, root, tree, tree_id, settings, canonical_json(parameters), errors)


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


def _node_id(tree_id: str, node: SearchNode) -> str:
    return content_id("node", tree_id, None if node.parent is None else _node_id(tree_id, node.parent), node.index)


def _response_id(context: Context, tree_id: str, node: SearchNode, root: Response) -> str:
    if node.parent is None:
        return root.response_id
    return content_id("response", context.run_id, "refined", _node_id(tree_id, node))


def _tree_rows(
    context: Context,
    prompt: Prompt,
    root: Response,
    tree: SearchTree,
    tree_id: str,
    settings: SearchSettings,
    parameters: str,
    errors: list[str],
) -> list[Any]:
    run_id = context.run_id
    judged_as: dict[str, str] = {}  # text: the first response of that text in the order of visit
    critique_of: dict[str, str] = {}  # text: the judgement to refine it from
    calls: dict[str, Call] = {}
    judgements: list[Any] = []
    responses: list[Response] = []
    nodes: list[Node] = []
    for node in tree.nodes:
        made: Made = node.made
        response_id = None if node.text is None else _response_id(context, tree_id, node, root)
        if made.asked is not None:
            calls.setdefault(made.asked.call.call_id, made.asked.call)
        if response_id is not None and node.parent is not None:
            responses.append(_refined(context, prompt, node, response_id, settings))
        if node.text is not None and response_id and made.opinion and node.text not in judged_as:
            judged_as[node.text] = response_id
            own = made.opinion.of(run_id, response_id)
            if own.critique is not None:
                critique_of[node.text] = own.critique.judgement_id
            if node.parent is not None:
                judgements += [*own.calls, *own.judgements]
        refined_from = node.parent.text if node.parent is not None and settings.strategy != "best_of_n" else None
        nodes.append(
            Node(
                node_id=_node_id(tree_id, node),
                tree_id=tree_id,
                run_id=run_id,
                prompt_id=prompt.prompt_id,
                parent_node_id=None if node.parent is None else _node_id(tree_id, node.parent),
                depth=node.depth,
                visit=node.visit,
                response_id=response_id,
                judged_response_id=judged_as.get(node.text) if node.text is not None else None,
                critique_judgement_id=critique_of.get(refined_from) if refined_from is not None else None,
                reflection=made.refinement.reflection if made.refinement else None,
                output=_output(made) if refined_from is not None else None,
                value=node.value,
                state=node.state,
                call_id=made.asked.call.call_id if made.asked else None,
            )
        )
    accepted = tree.accepted
    tree_row = Tree(
        tree_id=tree_id,
        run_id=run_id,
        prompt_id=prompt.prompt_id,
        root_response_id=root.response_id,
        strategy=settings.strategy,
        parameters=parameters,
        outcome=tree.outcome,
        nodes_expanded=tree.expanded,
        accepted_node_id=_node_id(tree_id, accepted) if accepted else None,
        error=errors[0] if errors else None,
    )
    rows: list[Any] = [*once([*calls.values(), *judgements]), *responses, *nodes, tree_row]
    if accepted is not None and accepted.text is not None:
        rows.append(
            pair_of(
                context,
                responses[[r.response_id for r in responses].index(_response_id(context, tree_id, accepted, root))],
                accepted.value,
                root,
                tree.nodes[0].value,
                source="tree",
                tree_id=tree_id,
                node_id=_node_id(tree_id, accepted),
            )
        )
    return rows


def _output(made: Made) -> str | None:
    return made.asked.reply.choices[made.choice].text if made.asked else None


def _refined(
    context: Context, prompt: Prompt, node: SearchNode, response_id: str, settings: SearchSettings
) -> Response:
    made: Made = node.made
    assert made.asked is not None and node.text is not None
    choice = made.asked.reply.choices[made.choice]
    return Response(
        response_id=response_id,
        run_id=context.run_id,
        prompt_id=prompt.prompt_id,
        kind="resampled" if settings.strategy == "best_of_n" else "refined",
        text=node.text,
        model_id=made.asked.call.model_id,
        choice_index=made.choice,
        finish_reason=choice.finish_reason,
        tokens=choice.tokens,
        call_id=made.asked.call.call_id,
    )
