"""A tree as lines: nodes below their parents, each with what a drawing shows of it."""

from collections import defaultdict
from dataclasses import dataclass

from factory.view.nodes import SearchTree, TreeNode

INDENTED_TO = 12
"""levels that are indented; deeper ones are told by their number"""
SIGNS = {
    "root": "■", "accepted": "✔", "kept": "◆", "open": "○", "pruned": "✕", "unparsed": "⁇", "unjudged": "?",
}  # fmt: skip
"""By state, a shape: colour alone tells nothing to many."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A node's line."""

    node: TreeNode
    state: str
    """root, accepted, kept (refined further), open, pruned, unparsed, unjudged"""
    sign: str
    indent: int
    on_path: bool
    """whether it is on the way from the root to the accepted node"""
    dots: str
    """the deciding judge's votes: ● yes, ○ no, ? not readable"""
    votes: str
    """the same in words"""


def drawn_nodes(tree: SearchTree, first: int, count: int) -> list[Drawn]:
    """The nodes first, first + 1, ... in order of expansion, each below its parent if that is among them."""
    picked = tree.nodes[first : first + count]
    here = {node.node_id for node in picked}
    children: dict[str | None, list[TreeNode]] = defaultdict(list)
    for node in picked:
        children[node.parent_id if node.parent_id in here else None].append(node)
    refined = {node.parent_id for node in tree.nodes}
    path = {node.node_id for node in tree.path(tree.accepted_id)}
    lines: list[Drawn] = []
    stack = children[None][::-1]
    while stack:  # not recursive: a tree may be deeper than Python's stack
        node = stack.pop()
        lines.append(_drawn(node, node.node_id in refined, node.node_id in path))
        stack += children[node.node_id][::-1]
    return lines


def _drawn(node: TreeNode, refined: bool, on_path: bool) -> Drawn:
    state = "root" if node.parent_id is None else "kept" if refined and node.state == "open" else node.state
    deciding = next((opinion for opinion in node.opinions if opinion.decides), None)
    signs = {"yes": "●", "no": "○", "unparsed": "?"}
    dots = "" if deciding is None else "".join(signs.get(vote.verdict or "", "·") for vote in deciding.votes)
    words = "" if deciding is None else _votes(deciding.judge, {w: deciding.count(w) for w in signs})
    return Drawn(node, state, SIGNS.get(state, "·"), min(node.depth, INDENTED_TO), on_path, dots, words)


def _votes(judge: str, counts: dict[str, int]) -> str:
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{judge}: {told}" if told else f"{judge}: points only"
