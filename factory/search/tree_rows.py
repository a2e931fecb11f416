"""The rows of a searched tree: nodes, their responses and judgements, and the calls."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from factory.search.refinements import Refinement
from factory.search.tree_search import SearchNode, SearchTree
from factory.work.context import Context, Work
from factory.work.judging import Assessment, once
from factory.work.request import Answered
from schemas.ids import canonical_json, content_id
from schemas.tables import Call, Judgement, Node, Prompt, Response, Tree


@dataclass(frozen=True)
class Search:
    """A search from one failed answer."""

    context: Context
    work: Work
    root: Response
    strategy: str
    parameters: dict[str, Any]

    @property
    def prompt(self) -> Prompt:
        return self.work.prompt

    @cached_property
    def tree_id(self) -> str:
        # A stage named `search` is not hashed, so that its tree ids are those of earlier versions.
        named = [] if self.context.stage == "search" else [self.context.stage]
        return content_id("tree", self.context.run_id, self.root.response_id, self.parameters, *named)


@dataclass(slots=True)
class Made:
    """How a node was made: the call's choice, the refinement in it, and its assessment."""

    answered: Answered | None
    """None at the root, and if the refiner could not be asked"""
    choice: int
    refinement: Refinement | None
    assessment: Assessment | None


def _node_id(tree_id: str, node: SearchNode) -> str:
    return content_id("node", tree_id, None if node.parent is None else _node_id(tree_id, node.parent), node.index)


def response_id_of(search: Search, node: SearchNode) -> str:
    """The id of a node's response."""
    if node.parent is None:
        return search.root.response_id
    return content_id("response", search.context.run_id, "refined", _node_id(search.tree_id, node))


def tree_rows(search: Search, tree: SearchTree, error: str | None) -> list[Any]:
    """All rows of a tree.

    Args:
        error: the first error among the search's requests.
    """
    judged_as: dict[str, str] = {}  # by text: its first response, by visit
    critique_of: dict[str, str] = {}  # by text: the judgement to refine it from
    calls: dict[str, Call] = {}
    judgements: list[Judgement | Call] = []
    responses: list[Response] = []
    nodes: list[Node] = []
    for node in tree.nodes:
        made: Made = node.made
        response_id = None if node.text is None else response_id_of(search, node)
        if made.answered is not None:
            calls.setdefault(made.answered.call.call_id, made.answered.call)
        if response_id is not None and node.parent is not None:
            responses.append(_response(search, node, response_id))
        if node.text is not None and response_id and made.assessment and node.text not in judged_as:
            judged_as[node.text] = response_id
            own = made.assessment.of(search.context.run_id, response_id)
            if own.critique is not None:
                critique_of[node.text] = own.critique.judgement_id
            if node.parent is not None:
                judgements += [*own.calls, *own.judgements]
        nodes.append(_node(search, node, response_id, judged_as, critique_of))
    accepted = tree.accepted
    tree_row = Tree(
        tree_id=search.tree_id,
        run_id=search.context.run_id,
        prompt_id=search.prompt.prompt_id,
        stage=search.context.stage,
        root_response_id=search.root.response_id,
        strategy=search.strategy,
        parameters=canonical_json(search.parameters),
        outcome=tree.outcome,
        nodes_expanded=tree.expanded,
        accepted_node_id=_node_id(search.tree_id, accepted) if accepted else None,
        error=error,
    )
    return [*once([*calls.values(), *judgements]), *responses, *nodes, tree_row]


def _node(
    search: Search, node: SearchNode, response_id: str | None, judged_as: dict[str, str], critique_of: dict[str, str]
) -> Node:
    made: Made = node.made
    refined_from = node.parent.text if node.parent is not None and search.strategy != "best_of_n" else None
    return Node(
        node_id=_node_id(search.tree_id, node),
        tree_id=search.tree_id,
        run_id=search.context.run_id,
        prompt_id=search.prompt.prompt_id,
        parent_node_id=None if node.parent is None else _node_id(search.tree_id, node.parent),
        depth=node.depth,
        visit=node.visit,
        response_id=response_id,
        judged_response_id=judged_as.get(node.text) if node.text is not None else None,
        critique_judgement_id=critique_of.get(refined_from) if refined_from is not None else None,
        reflection=made.refinement.reflection if made.refinement else None,
        output=_output(made) if refined_from is not None else None,
        flaw=node.flaw,
        value=node.value,
        state=node.state,
        call_id=made.answered.call.call_id if made.answered else None,
    )


def _output(made: Made) -> str | None:
    return made.answered.reply.choices[made.choice].text if made.answered else None


def _response(search: Search, node: SearchNode, response_id: str) -> Response:
    made: Made = node.made
    assert made.answered is not None and node.text is not None
    choice = made.answered.reply.choices[made.choice]
    return Response(
        response_id=response_id,
        run_id=search.context.run_id,
        prompt_id=search.prompt.prompt_id,
        kind="resampled" if search.strategy == "best_of_n" else "refined",
        text=node.text,
        stage=search.context.stage,
        model_id=made.answered.call.model_id,
        choice_index=made.choice,
        finish_reason=choice.finish_reason,
        tokens=choice.tokens,
        logprobs=None,
        flaw=node.flaw,
        call_id=made.answered.call.call_id,
    )
