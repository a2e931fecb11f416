"""The rows of a searched tree: nodes, their responses and judgements, the calls, and the pair that came of it."""

from dataclasses import dataclass
from typing import Any

from factory.recipes.recipe import SearchSettings
from factory.runs.pairs import pair_of
from factory.search.refinements import Refinement, flaw_of
from factory.search.tree_search import SearchNode, SearchTree
from factory.stages.judge import Opinion, once
from factory.work.context import Asked, Context
from schemas.ids import content_id
from schemas.tables import Call, Node, Prompt, Response, Tree


@dataclass(slots=True)
class Made:
    """How a node was made: the call's choice, what was read in it, and what the judge said."""

    asked: Asked | None  # None at the root, and where the refiner could not be asked
    choice: int
    refinement: Refinement | None
    opinion: Opinion | None


def _node_id(tree_id: str, node: SearchNode) -> str:
    return content_id("node", tree_id, None if node.parent is None else _node_id(tree_id, node.parent), node.index)


def response_id_of(context: Context, tree_id: str, node: SearchNode, root: Response) -> str:
    if node.parent is None:
        return root.response_id
    return content_id("response", context.run_id, "refined", _node_id(tree_id, node))


def tree_rows(
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
        response_id = None if node.text is None else response_id_of(context, tree_id, node, root)
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
                flaw=_flaw(made, node, refined_from),
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
                responses[[r.response_id for r in responses].index(response_id_of(context, tree_id, accepted, root))],
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


def _flaw(made: Made, node: SearchNode, refined_from: str | None) -> str | None:
    if made.asked is None or node.text is None or refined_from is None:
        return None
    return flaw_of(node.text, made.asked.reply.choices[made.choice].finish_reason, refined_from)


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
