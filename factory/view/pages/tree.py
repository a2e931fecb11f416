"""One search tree drawn as a tree of texts with one of its nodes in full, and one call to a model."""

from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa
from starlette.requests import Request
from starlette.routing import Route

from factory.view.asking import of_this_lake, query
from factory.view.calls import read_call
from factory.view.drawing import drawn_nodes
from factory.view.errors import NotThere
from factory.view.given import address_part, number_of
from factory.view.node import AGAINST, NodeInFull, read_node
from factory.view.nodes import SearchTree, TreeNode, votes_of
from factory.view.showing import Page, Shown, address, is_file, routes
from factory.view.tree import NODES_SHOWN, read_tree, with_texts
from factory.view.tree_list import filter_of, trees_around
from factory.view.went import Went, where_it_went
from schemas.errors import FactoryError, nearest

SETS_WAIT_S = 0.2
"""seconds that a page waits for training sets that were not read before"""


def tree(request: Request) -> Page:
    """A tree, and one of its nodes in full."""
    tree_id, given = request.path_params["tree_id"], request.query_params
    against, space, first = (
        given.get("diff", "parent"),
        given.get("space") == "1",
        number_of(request, "from", least=0) or 0,
    )
    if against not in AGAINST:
        raise FactoryError(f"diff in the address is {against[:40]!r}: {nearest(against, AGAINST)}")
    with of_this_lake(request) as lake:
        with lake.one_snapshot():  # what a run adds meanwhile is not half there, and the catalog is read once
            found = read_tree(lake, tree_id)
            node = _chosen(found, given.get("node"))
            if is_file(request):
                found = with_texts(lake, found, [one.node_id for one in found.nodes])
                return Page("tree.html", "tree", {}, _tables(found, node))
            shown = found.nodes[first : first + NODES_SHOWN]
            also = [node, found.accepted, found.node(node.parent_id)] if node else []
            found = with_texts(lake, found, [one.node_id for one in (*shown, *also) if one is not None])
            node = found.node(node.node_id) if node else None
            full = read_node(lake, found, node, against, space=space) if node else None
            went = where_it_went(lake, found, full, SETS_WAIT_S) if full else None
            same_prompt = query(lake, "prompt_trees", {"prompt_id": found.prompt_id}).to_pylist()
        listed = dict(parse_qsl(given.get("list", ""))) or {"run": found.run_id}
        # Outside: a query that is stopped would end the transaction.
        around = trees_around(lake, filter_of(listed), listed.get("order") or "newest", tree_id)
    before, after = max(first - NODES_SHOWN, 0), first + NODES_SHOWN
    context = _context(request, found, full, went) | {
        "drawn": drawn_nodes(found, first, NODES_SHOWN),
        "first": first,
        "last": min(after, len(found.nodes)),
        "earlier": address(request, **{"from": str(before) if before else None}) if first else None,
        "later": address(request, **{"from": str(after)}) if after < len(found.nodes) else None,
        "around": {side: _beside(given.get("list"), around.get(side)) for side in ("before", "after")},
        "place": around.get("place"),
        "listed": "/trees?" + urlencode(listed),
        "rounds": same_prompt,
        "round_at": next((at for at, one in enumerate(same_prompt) if one["tree_id"] == tree_id), 0),
    }
    return Page("tree.html", f"tree {tree_id[:12]}", context)


def _beside(listed: str | None, tree_id: str | None) -> str | None:
    return (
        None
        if tree_id is None
        else f"/tree/{address_part(tree_id)}" + (f"?{urlencode({'list': listed})}" if listed else "")
    )


def _chosen(tree: SearchTree, node_id: str | None) -> TreeNode | None:
    """The node that the address names; without one, the accepted one, else the first refinement.

    Raises:
        NotThere: the tree has no such node.
    """
    if node_id is None:
        return tree.accepted or next((n for n in tree.nodes if n.parent_id is not None), tree.root)
    if (node := tree.node(node_id)) is None:
        raise NotThere(f"tree {tree.tree_id[:12]} has no node {node_id[:80]!r}: leave `node` out of the address")
    return node


def _context(request: Request, tree: SearchTree, full: NodeInFull | None, went: Went | None) -> dict[str, Any]:
    """What the template needs of the node, and where its keys lead."""
    node = full.node if full else None

    def to(other: TreeNode | None) -> str | None:
        return None if other is None else address(request, node=other.node_id)

    siblings = [] if node is None else tree.ranked(node)
    at = next((place for place, one in enumerate(siblings) if node and one.node_id == node.node_id), None)
    by_id = {one.node_id: one for one in tree.nodes}
    beside = [
        None if at is None or not 0 <= at + step < len(siblings) else by_id[siblings[at + step].node_id]
        for step in (1, -1)
    ]
    next_mode = AGAINST[(AGAINST.index(full.against) + 1) % len(AGAINST)] if full else "parent"
    moves = {
        "j": ("next sibling", to(beside[0])),
        "k": ("previous sibling", to(beside[1])),
        "h": ("parent", to(tree.node(node.parent_id) if node else None)),
        "l": ("first child", to(next((n for n in tree.nodes if node and n.parent_id == node.node_id), None))),
        "g": ("root", to(tree.root)),
        "a": ("accepted node", to(tree.accepted)),
        "d": (f"difference to the {next_mode}", address(request, diff=next_mode)),
        "r": ("review its pair", None if tree.pair_id is None else f"/review?pair={address_part(tree.pair_id)}"),
    }
    return {
        "tree": tree, "full": full, "went": went, "moves": moves, "siblings": siblings, "against": AGAINST,
        "to": {one.node_id: to(one) for one in (by_id[s.node_id] for s in siblings)},
        "space": None if request.query_params.get("space") == "1" else "1",
    }  # fmt: skip


def _tables(tree: SearchTree, node: TreeNode | None) -> list[Shown]:
    """The nodes, and the siblings of one of them; the page draws both by itself."""
    rows = [_row(one) for one in tree.nodes]
    siblings = [] if node is None else [asdict(one) for one in tree.ranked(node)]
    return [Shown("nodes", pa.Table.from_pylist(rows)), Shown("siblings", pa.Table.from_pylist(siblings))]


_NODE_COLUMNS = (
    "node_id", "parent_id", "depth", "visit", "state", "value", "flaw", "likeness", "tokens", "why", "call_id", "text",
)  # fmt: skip


def _row(node: TreeNode) -> dict[str, Any]:
    plain = {name: getattr(node, name) for name in _NODE_COLUMNS}
    return {**plain, **votes_of(node.opinions), "disagreement": node.disagreement}


def call(request: Request) -> Page:
    """A call: the request as it was sent and the reply."""
    call_id = request.path_params["call_id"]
    with of_this_lake(request) as lake:
        found = read_call(lake, call_id)
    turns = pa.Table.from_pylist([{"role": m.role, "content": m.content} for m in found.messages])
    replies = pa.Table.from_pylist([{"choice": at, "text": text} for at, text in enumerate(found.replies)])
    tables = [Shown("messages", turns), Shown("replies", replies)]
    return Page("call.html", f"call {call_id[:12]}", {"call": found}, tables)


ROUTES: list[Route] = [*routes("/tree/{tree_id}", tree), *routes("/call/{call_id}", call)]
