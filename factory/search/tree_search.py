"""Searches for a refinement that the judge accepts: BFS, DFS or best-of-n over refinements of a failed answer.

Source: SPaR (arXiv:2412.11605, 3.3 and its code). A whole expansion is judged before acceptance is tested, and the
best node over the threshold is accepted. Our additions: of equally good nodes the one most like the root is accepted; a
node with a flaw (cut off, an echo of the instruction) is not, unless `accept_flawed`; a node whose text is already in
the tree is not expanded; with `expansion: eager`, children are made one by one until one can be accepted.

Pure: `expand` refines and judges (see `factory/stages/search.py`); nothing here knows about models or rows.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stores.likeness import likeness


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a tree is searched; the settings of stage `search` explain each field."""

    strategy: str
    branch: int
    keep: int
    depth: int
    budget: int
    threshold: float
    expansion: str
    one_request: bool
    selection: str
    accept_flawed: bool


@dataclass(slots=True, eq=False)
class SearchNode:
    """A node while its tree is searched."""

    parent: "SearchNode | None"
    index: int
    """among its siblings, from 0"""
    text: str | None
    """the refined answer; None when it could not be parsed"""
    value: float | None
    """in [0, 1]; None when there is no readable verdict"""
    made: Any = None
    """how `expand` made the node"""
    flaw: str | None = None
    """what is wrong with the text whatever the judge says (`factory/work/flaws.py`)"""
    depth: int = 0
    visit: int = 0
    state: str = "open"


@dataclass(slots=True)
class SearchTree:
    """A searched tree: its nodes by visit, the root first."""

    nodes: list[SearchNode]
    outcome: str = "exhausted"
    accepted: SearchNode | None = None
    texts: set[str] = field(default_factory=set)

    @property
    def expanded(self) -> int:
        return len(self.nodes) - 1


Expand = Callable[[SearchNode, int, int], Awaitable[list[SearchNode]]]
"""Refines a node in one request and judges the results: `count` children, from index `first`."""


async def search_tree(root: SearchNode, expand: Expand, strategy: Strategy, rng: random.Random) -> SearchTree:
    """Searches from `root` until a node is accepted, or depth or budget runs out.

    At most `strategy.budget` nodes are expanded. The outcome is `accepted`, `exhausted` (nothing left within the
    depth), `budget`, or `failed` (no refinement could be parsed and judged).
    """
    tree = SearchTree([root], texts={root.text} if root.text is not None else set())
    await SEARCHES[strategy.strategy](tree, expand, strategy, rng)
    if tree.accepted is None and all(node.value is None for node in tree.nodes[1:]):
        tree.outcome = "failed"
    return tree


async def _bfs(tree: SearchTree, expand: Expand, strategy: Strategy, rng: random.Random) -> None:
    level = [tree.nodes[0]]
    for _ in range(strategy.depth):
        grown = await _grow(tree, level, expand, strategy)
        if _accept_best(tree, grown, strategy) or _spent(tree, strategy):
            return
        level = _select(tree, grown, strategy, rng)


async def _dfs(tree: SearchTree, expand: Expand, strategy: Strategy, rng: random.Random) -> None:
    async def descend(node: SearchNode) -> bool:
        grown = await _grow(tree, [node], expand, strategy)
        if _accept_best(tree, grown, strategy) or _spent(tree, strategy):
            return True
        kept = _select(tree, grown, strategy, rng)
        if node.depth + 1 == strategy.depth:
            return False
        for child in kept:
            if await descend(child):
                return True
        return False

    await descend(tree.nodes[0])


async def _best_of_n(tree: SearchTree, expand: Expand, strategy: Strategy, rng: random.Random) -> None:
    """Independent answers, `branch` at a time, until one passes or `budget` are drawn: the baseline."""
    while not _spent(tree, strategy):
        grown = await _grow(tree, [tree.nodes[0]], expand, strategy)
        if _accept_best(tree, grown, strategy):
            return


SEARCHES: dict[str, Callable[[SearchTree, Expand, Strategy, random.Random], Awaitable[None]]] = {
    "bfs": _bfs,
    "dfs": _dfs,
    "best_of_n": _best_of_n,
}


async def _grow(
    tree: SearchTree, parents: Sequence[SearchNode], expand: Expand, strategy: Strategy
) -> list[SearchNode]:
    """Expands parents within the budget, and visits their children in order."""
    eager = strategy.expansion == "eager"
    asked = list(_requests(tree, parents, strategy))
    if not eager:
        families = await asyncio.gather(*(expand(*request) for request in asked))
        return [_visit(tree, child) for family in families for child in family]
    grown: list[SearchNode] = []
    for request in asked:
        grown += [_visit(tree, child) for child in await expand(*request)]
        if _accepts(strategy, grown[-1]):
            break
    return grown


def _requests(
    tree: SearchTree, parents: Sequence[SearchNode], strategy: Strategy
) -> Iterator[tuple[SearchNode, int, int]]:
    """The calls of `expand`: all children of a node at once, or one by one."""
    left = strategy.budget - tree.expanded
    for parent in parents:
        first = sum(node.parent is parent for node in tree.nodes)  # best-of-n returns to the root
        count = min(strategy.branch, left)
        left -= count
        if strategy.one_request and strategy.expansion != "eager":
            if count:
                yield parent, first, count
        else:
            yield from ((parent, index, 1) for index in range(first, first + count))


def _visit(tree: SearchTree, child: SearchNode) -> SearchNode:
    assert child.parent is not None
    child.depth = child.parent.depth + 1
    child.visit = len(tree.nodes)
    tree.nodes.append(child)
    if child.text is None:
        child.state = "unparsed"
    elif child.value is None:
        child.state = "unjudged"
    return child


def _accepts(strategy: Strategy, node: SearchNode) -> bool:
    good = node.value is not None and node.value > strategy.threshold
    return good and (node.flaw is None or strategy.accept_flawed)


def _accept_best(tree: SearchTree, grown: Sequence[SearchNode], strategy: Strategy) -> bool:
    """Accepts the best acceptable node: by value, then by likeness to the root, so that the pair differs in little else."""
    acceptable = [node for node in grown if _accepts(strategy, node)]
    if not acceptable:
        return False
    highest = max(node.value or 0.0 for node in acceptable)
    best = [node for node in acceptable if node.value == highest]
    tree.accepted = best[0] if len(best) == 1 else max(best, key=lambda node: likeness_to_root(tree, node))
    tree.accepted.state, tree.outcome = "accepted", "accepted"
    return True


def likeness_to_root(tree: SearchTree, node: SearchNode) -> float:
    """0..1, word by word."""
    return likeness(node.text or "", tree.nodes[0].text or "").similarity


def _spent(tree: SearchTree, strategy: Strategy) -> bool:
    if tree.expanded < strategy.budget:
        return False
    tree.outcome = "budget"
    return True


def _select(tree: SearchTree, grown: Sequence[SearchNode], strategy: Strategy, rng: random.Random) -> list[SearchNode]:
    """The nodes to expand further, best first; the other judged ones are pruned.

    So is one that only its flaw kept from being accepted: its critique names no fault that could be mended.
    """
    candidates = []
    for node in grown:
        if node.state != "open":
            continue
        if node.text in tree.texts or (node.value or 0.0) > strategy.threshold:
            node.state = "pruned"
            continue
        assert node.text is not None
        tree.texts.add(node.text)
        candidates.append(node)
    ranked = sorted(candidates, key=lambda node: (-(node.value or 0.0), node.visit))
    if strategy.selection == "proportional":
        ranked = _drawn(ranked, rng)
    for node in ranked[strategy.keep :]:
        node.state = "pruned"
    return ranked[: strategy.keep]


def _drawn(nodes: list[SearchNode], rng: random.Random) -> list[SearchNode]:
    """All nodes, drawn without replacement in proportion to value; nodes of value 0 come last."""
    left, order = list(nodes), []
    while left:
        weights = [node.value or 0.0 for node in left]
        node = rng.choices(left, weights)[0] if sum(weights) > 0 else left[0]
        left.remove(node)
        order.append(node)
    return order
