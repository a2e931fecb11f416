"""A search tree as a person reads it: nodes in order of expansion, with their votes, and why each was kept or pruned.

Reading a tree of any size takes a few queries; texts are read for the nodes that are shown, and judges' words, checks and
exact texts for one node (`node.py`). Nothing here knows of HTTP or terminals.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory.search.refinements import asks_for_reflection, read_refinement
from factory.view.asking import query, query_ids
from factory.view.errors import not_there
from factory.view.selection import Placed, Ranked, reasons_of, siblings_of
from schemas.tables import Constraint, Message
from stores.lake import Lake
from stores.likeness import likeness

NODES_SHOWN = 200
"""of a tree, at once"""


@dataclass(frozen=True, slots=True)
class Vote:
    """One judgement without its text."""

    verdict: str | None
    """yes, no or unparsed; None: points only"""
    value: float | None
    points: float | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge said of a response."""

    judge: str
    kind: str
    """votes, score, verifier, ..."""
    decides: bool
    votes: tuple[Vote, ...]
    passed: bool | None
    """None: a tie, or nothing readable"""

    def count(self, verdict: str) -> int:
        return sum(vote.verdict == verdict for vote in self.votes)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a tree."""

    node_id: str
    parent_id: str | None
    depth: int
    visit: int
    state: str
    value: float | None
    flaw: str | None
    response_id: str | None
    judged_id: str | None
    """the response whose judgements count: equal texts are judged once"""
    judged_at: int | None
    """the visit of the node with that response"""
    critique_id: str | None
    """the judgement it was refined from"""
    call_id: str | None
    why: str
    """why it was kept or pruned, in a few words"""
    text: str | None = None
    """the answer, as read from the refiner's output; None: not read yet, or there is none"""
    reflection: str | None = None
    output: str | None = None
    tokens: int | None = None
    """generated for it"""
    likeness: float | None = None
    """to the root, 0..1, word by word"""
    opinions: tuple[Opinion, ...] = ()

    @property
    def disagreement(self) -> bool:
        """Whether a program and a model that judged it disagree."""
        programs = {o.passed for o in self.opinions if o.kind == "verifier"} - {None}
        models = {o.passed for o in self.opinions if o.kind != "verifier"} - {None}
        return bool(programs and models and programs != models)


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens, None where an endpoint did not tell them."""

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    path_tokens: int | None
    """generated for the nodes on the accepted path and their judgements; None: no node was accepted, or not told"""
    estimated: bool
    """whether the path's tokens are a share of its requests', as the endpoint told none of single choices"""


@dataclass(frozen=True, slots=True)
class SearchTree:
    """A tree without the texts of its nodes."""

    tree_id: str
    run_id: str
    recipe: str | None
    round: int | None
    stage: str
    prompt_id: str
    messages: tuple[Message, ...]
    prompt: str
    """the conversation as one text"""
    constraints: tuple[Constraint, ...]
    language: str | None
    strategy: str
    parameters: dict[str, Any]
    outcome: str
    error: str | None
    expanded: int
    accepted_id: str | None
    pair_id: str | None
    similarity: float | None
    reflects: dict[str, bool]
    """of the run's templates by name: whether the answer comes after a reflection"""
    nodes: tuple[TreeNode, ...]
    """all of them, in order of expansion"""
    spent: Spent

    @property
    def root(self) -> TreeNode | None:
        return next((node for node in self.nodes if node.parent_id is None), None)

    def node(self, node_id: str | None) -> TreeNode | None:
        return next((node for node in self.nodes if node.node_id == node_id), None)

    @property
    def accepted(self) -> TreeNode | None:
        return self.node(self.accepted_id)

    def path(self, node_id: str | None) -> list[TreeNode]:
        """From the root to a node."""
        by_id = {node.node_id: node for node in self.nodes}
        found: list[TreeNode] = []
        while node_id in by_id and len(found) < len(by_id):
            found.append(by_id[node_id])
            node_id = by_id[node_id].parent_id
        return found[::-1]

    def ranked(self, node: TreeNode) -> list[Ranked]:
        """The nodes that competed with this one, in the order of the selection."""
        why = {one.node_id: one.why for one in self.nodes}
        return siblings_of([_placed(one) for one in self.nodes], _placed(node), self.strategy, why)


def read_tree(lake: Lake, tree_id: str) -> SearchTree:
    """A tree with all of its nodes, without texts, votes and tokens of the nodes (`with_texts` adds them).

    Raises:
        NotThere: there is no such tree.
    """
    found = query(lake, "tree_head", {"tree_id": tree_id}).to_pylist()
    if not found:
        raise not_there(lake, "trees", "tree_id", tree_id)
    (head,) = found
    parameters = _object(head["parameters"])
    rows = query(lake, "tree_nodes", {"tree_id": tree_id}).to_pylist()
    visits = {row["response_id"]: row["visit"] for row in reversed(rows) if row["response_id"] is not None}
    placed = [_placed_row(row, visits) for row in rows]
    why = reasons_of(placed, head["strategy"], parameters, head["outcome"])
    return SearchTree(
        tree_id=tree_id,
        run_id=head["run_id"],
        recipe=head["recipe"],
        round=head["round"],
        stage=head["stage"],
        prompt_id=head["prompt_id"],
        messages=tuple(Message(m["role"], m["content"]) for m in head["messages"] or ()),
        prompt=head["prompt"] or "",
        constraints=tuple(Constraint(c["id"], c["kwargs"]) for c in head["constraints"] or ()),
        language=head["language"],
        strategy=head["strategy"],
        parameters=parameters,
        outcome=head["outcome"],
        error=head["error"],
        expanded=head["nodes_expanded"],
        accepted_id=head["accepted_node_id"],
        pair_id=head["pair_id"],
        similarity=head["similarity"],
        reflects={name: asks_for_reflection(text) for name, text in dict(head["templates"] or ()).items()},
        nodes=tuple(_node(row, visits, why) for row in rows),
        spent=Spent(0, None, None, None, False),
    )


def with_texts(lake: Lake, tree: SearchTree, shown: Iterable[str], *, whole: bool = False) -> SearchTree:
    """The tree with the texts, votes and tokens of some of its nodes, and what it cost.

    Args:
        shown: ids of nodes. The root's is always among them, for the likeness to it.
        whole: texts as the lake keeps them; by default, refined ones come from the refiner's outputs, which lie together
            in the lake and so are read many times as fast.
    """
    wanted = {*shown, *([tree.root.node_id] if tree.root else ())}
    picked = [node for node in tree.nodes if node.node_id in wanted]
    calls = _calls(lake, tree)
    templates = {call["call_id"]: call["template"] for call in calls}
    outputs = {
        row["node_id"]: row
        for row in query(lake, "tree_outputs", {"tree_id": tree.tree_id, "node_ids": sorted(wanted)}).to_pylist()
    }
    plain = [n for n in picked if whole or (outputs.get(n.node_id) or {}).get("output") is None]
    texts = read_texts(lake, [node.response_id for node in plain])
    ids = _known(id for n in tree.path(tree.accepted_id) + picked for id in (n.response_id, n.judged_id))
    opinions = opinions_of(query_ids(lake, "tree_votes", ids, {"run_id": tree.run_id}).to_pylist())
    tokens = {row["response_id"]: row["tokens"] for row in query_ids(lake, "tree_answers", ids).to_pylist()}
    root_text = texts.get(tree.root.response_id or "") if tree.root else None

    def filled(node: TreeNode) -> TreeNode:
        wrote = outputs.get(node.node_id) or {"output": None, "reflection": None}
        text = texts.get(node.response_id or "")
        if text is None and wrote["output"] is not None and node.state != "unparsed":
            reflects = tree.reflects.get(templates.get(node.call_id) or "", wrote["reflection"] is not None)
            text = read_refinement(wrote["output"], with_reflection=reflects).text
        return replace(
            node,
            text=text,
            reflection=wrote["reflection"],
            output=wrote["output"],
            tokens=tokens.get(node.response_id or ""),
            likeness=None if text is None or root_text is None else likeness(text, root_text).similarity,
            opinions=opinions.get(node.judged_id or "", ()),
        )

    nodes = tuple(filled(node) if node.node_id in wanted else node for node in tree.nodes)
    return replace(tree, nodes=nodes, spent=_spent(tree, calls, tokens))


def read_texts(lake: Lake, response_ids: Iterable[str | None]) -> dict[str, str]:
    """Texts of responses by id."""
    known = _known(response_ids)
    rows = query_ids(lake, "texts", known).to_pylist() if known else []
    return {row["response_id"]: row["text"] for row in rows}


def _calls(lake: Lake, tree: SearchTree) -> list[dict[str, Any]]:
    """The tree's own calls: refining its nodes and judging what came out."""
    asked = {"run_id": tree.run_id, "prompt_id": tree.prompt_id, "stage": tree.stage}
    made = {node.call_id for node in tree.nodes}
    judged = {node.response_id for node in tree.nodes if node.parent_id is not None}
    rows = query(lake, "tree_calls", asked).to_pylist()
    return [r for r in rows if r["call_id"] in made or (r["response_ids"] and r["response_ids"][0] in judged)]


def _spent(tree: SearchTree, calls: Sequence[dict[str, Any]], tokens: dict[str, int | None]) -> Spent:
    steps = [node for node in tree.path(tree.accepted_id) if node.parent_id is not None]
    by_id = {call["call_id"]: call for call in calls}
    judged = {node.judged_id for node in steps}
    told = [tokens.get(node.response_id or "") for node in steps]
    shares = [t if t is not None else _share(by_id.get(n.call_id)) for n, t in zip(steps, told, strict=True)]
    made = {node.call_id for node in tree.nodes}
    judging = [c["completion_tokens"] for c in calls if c["call_id"] not in made and c["response_ids"][0] in judged]
    return Spent(
        len(calls),
        _sum(call["prompt_tokens"] for call in calls),
        _sum(call["completion_tokens"] for call in calls),
        _sum([*shares, *judging]) if steps else None,
        None in told,
    )


def _share(call: dict[str, Any] | None) -> int | None:
    """One choice's share of a call's tokens."""
    return (
        None
        if call is None or call["completion_tokens"] is None
        else round(call["completion_tokens"] / call["choices"])
    )


def opinions_of(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[Opinion, ...]]:
    """By response: each judge's votes in one opinion, in the rows' order."""
    grouped: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        grouped[row["response_id"]][row["judge"]].append(row)
    return {id: tuple(_opinion(said) for said in by_judge.values()) for id, by_judge in grouped.items()}


def _opinion(rows: Sequence[dict[str, Any]]) -> Opinion:
    first = rows[0]
    votes = tuple(Vote(r["verdict"], r["value"], r["points"]) for r in rows)
    points = [vote.points for vote in votes if vote.points is not None]
    yes, no = (sum(vote.verdict == word for vote in votes) for word in ("yes", "no"))
    if first["pass_points"] is not None:
        passed = sum(points) / len(points) >= first["pass_points"] if points else None
    else:
        passed = None if yes == no else yes > no
    return Opinion(first["judge"], first["kind"], first["decides"], votes, passed)


def _node(row: dict[str, Any], visits: dict[str, int], why: dict[str, str]) -> TreeNode:
    return TreeNode(
        node_id=row["node_id"],
        parent_id=row["parent_node_id"],
        depth=row["depth"],
        visit=row["visit"],
        state=row["state"],
        value=row["value"],
        flaw=row["flaw"],
        response_id=row["response_id"],
        judged_id=row["judged_response_id"],
        judged_at=visits.get(row["judged_response_id"]),
        critique_id=row["critique_judgement_id"],
        call_id=row["call_id"],
        why=why[row["node_id"]],
    )


def _placed_row(row: dict[str, Any], visits: dict[str, int]) -> Placed:
    judged_at = visits.get(row["judged_response_id"])
    return Placed(
        node_id=row["node_id"],
        parent_id=row["parent_node_id"],
        depth=row["depth"],
        visit=row["visit"],
        state=row["state"],
        value=row["value"],
        flaw=row["flaw"],
        repeats=judged_at if judged_at != row["visit"] else None,
    )


def _placed(node: TreeNode) -> Placed:
    repeats = node.judged_at if node.judged_at != node.visit else None
    return Placed(
        node.node_id, node.parent_id, node.depth, node.visit, node.state, node.value, node.flaw, repeats
    )  # fmt: skip


def _known(ids: Iterable[str | None]) -> list[str]:
    return sorted({id for id in ids if id is not None})


def _sum(figures: Iterable[int | None]) -> int | None:
    """None if one is not known."""
    found = list(figures)
    return None if any(figure is None for figure in found) else sum(figure or 0 for figure in found)


def _object(text: str) -> dict[str, Any]:
    """A JSON object of a row; a lake of somebody else may hold anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
