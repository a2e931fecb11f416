"""Reads a search tree: nodes in order of expansion, with their votes, and why each was kept or pruned.

Reading a tree of any size takes a few queries; texts are read for the nodes that are shown, and judges' words, checks and
exact texts for one node (`node.py`). Nothing here knows of HTTP or terminals.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from factory.search.refinements import asks_for_reflection, read_refinement
from factory.view.asking import json_object, query, query_ids, query_one
from factory.view.nodes import Opinion, SearchTree, Spent, TreeNode, Vote
from factory.view.selection import reasons_of
from factory.view.spending import own_calls, prices_of, spent_on
from schemas.tables import Constraint, Message
from stores.lake import Lake
from stores.likeness import likeness

NODES_SHOWN = 200
"""of a tree, at once"""


def read_tree(lake: Lake, tree_id: str) -> SearchTree:
    """A tree with all of its nodes, without texts, votes and tokens of the nodes (`with_texts` adds them).

    Raises:
        NotThere: there is no such tree.
    """
    head = query_one(lake, "tree_head", "trees", tree_id)
    parameters = json_object(head["parameters"])
    nodes = _nodes(query(lake, "tree_nodes", {"tree_id": tree_id}).to_pylist())
    why = reasons_of(nodes, head["strategy"], parameters, head["outcome"])
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
        prices=prices_of(json_object(head["models"] or "")),
        reflects={name: asks_for_reflection(text) for name, text in dict(head["templates"] or ()).items()},
        nodes=tuple(replace(node, why=why[node.node_id]) for node in nodes),
        spent=Spent(0, None, None, None, False, None),
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
    calls = own_calls(lake, tree)
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
    failing: dict[str, list[str]] = defaultdict(list)
    for row in query_ids(lake, "checked", ids, {"run_id": tree.run_id}).to_pylist():
        if not row["followed"]:
            failing[row["response_id"]].append(row["constraint_id"])
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
            failing=tuple(failing.get(node.judged_id or "", ())),
        )

    nodes = tuple(filled(node) if node.node_id in wanted else node for node in tree.nodes)
    return replace(tree, nodes=nodes, spent=spent_on(tree, calls, tokens))


def read_texts(lake: Lake, response_ids: Iterable[str | None]) -> dict[str, str]:
    """Texts of responses by id."""
    known = _known(response_ids)
    rows = query_ids(lake, "texts", known).to_pylist() if known else []
    return {row["response_id"]: row["text"] for row in rows}


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


def _nodes(rows: Sequence[dict[str, Any]]) -> list[TreeNode]:
    """Nodes without the reasons."""
    visits = {row["response_id"]: row["visit"] for row in reversed(rows) if row["response_id"] is not None}
    judged_at = [visits.get(row["judged_id"]) for row in rows]
    return [
        TreeNode(**row, repeats=visit if visit != row["visit"] else None)
        for row, visit in zip(rows, judged_at, strict=True)
    ]


def _known(ids: Iterable[str | None]) -> list[str]:
    return sorted({id for id in ids if id is not None})
