"""Where a node of a tree went: its pairs, and the training sets that it is in, or why it is in none."""

from dataclasses import dataclass

from factory.view.asking import query
from factory.view.members import Found, find_members
from factory.view.node import NodeInFull
from factory.view.nodes import SearchTree, TreeNode
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class PairOf:
    """A pair that a node's response is in."""

    pair_id: str
    source: str
    side: str
    """chosen or rejected"""
    similarity: float
    reviews: tuple[str, ...]
    """'reject by Ada', ..."""


@dataclass(frozen=True, slots=True)
class Went:
    """Where a node went."""

    pairs: tuple[PairOf, ...]
    uses: tuple[str, ...]
    """'chosen in spar_dpo@3, train'"""
    why_not: str | None
    """why it is in no training set; None: it is in one, or that is not known yet"""
    unread: tuple[str, ...]
    """training sets that are still being read"""
    unreadable: tuple[str, ...]


def where_it_went(lake: Lake, tree: SearchTree, full: NodeInFull, wait_s: float | None = None) -> Went:
    """A node's pairs and training sets.

    Args:
        wait_s: as in `find_members`.
    """
    node = full.node
    asked = {"run_id": tree.run_id, "prompt_id": tree.prompt_id, "response_ids": [node.response_id or ""]}
    pairs = tuple(
        PairOf(
            row["pair_id"],
            row["source"],
            "chosen" if row["chosen_response_id"] == node.response_id else "rejected",
            row["similarity"],
            tuple(row["reviews"]),
        )
        for row in query(lake, "tree_pairs", asked).to_pylist()
    )
    sides = {pair.pair_id: pair.side for pair in pairs}
    judgements = [said.judgement_id for said in full.said]
    ids = [*sides, node.node_id, *([node.response_id] if node.response_id else []), *judgements]
    found = find_members(lake, tree.run_id, ids, wait_s)
    uses = tuple(f"{sides.get(m.id, m.role)} in {m.set}, {m.split.replace('_', ' ')}" for m in found.members)
    known = not found.unread and not uses
    return Went(pairs, uses, _why_not(tree, node, pairs, found) if known else None, found.unread, found.unreadable)


def _why_not(tree: SearchTree, node: TreeNode, pairs: tuple[PairOf, ...], found: Found) -> str:
    if not found.sets:
        return "no training set has been built from this run"
    readable = ", ".join(name for name in found.sets if not any(why.startswith(name) for why in found.unreadable))
    if not pairs:
        if node.parent_id is None:
            return f"its tree gave no pair: the search ended {tree.outcome}"
        return f"it is in no pair: {node.why}"
    judged = [review for pair in pairs for review in pair.reviews if not review.startswith("accept")]
    if judged:
        return f"its pair was judged by a person: {', '.join(judged)}"
    if node.flaw is not None and any(pair.side == "chosen" for pair in pairs):
        return f"its text is flawed ({node.flaw}), and training sets leave such answers out"
    return f"its {'pair was' if len(pairs) == 1 else 'pairs were'} not chosen by the query of {readable or 'any set'}"
