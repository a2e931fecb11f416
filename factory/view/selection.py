"""Why a search kept or pruned each node, and its siblings in the order in which they were compared.

The rules are those of `factory/search/tree_search.py`, applied to the rows it left: in BFS a whole level competes, in DFS
the children of one node, in best-of-n all answers.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NOT_COMPARED = ("unparsed", "unjudged")


@dataclass(frozen=True, slots=True)
class Placed:
    """What the selection knew of a node."""

    node_id: str
    parent_id: str | None
    depth: int
    visit: int
    state: str
    value: float | None
    flaw: str | None
    repeats: int | None
    """the visit of an earlier node with the same text"""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A node among those it competed with."""

    node_id: str
    visit: int
    rank: int | None
    """from 1; None: it was not compared (no text, no verdict, a repeated text)"""
    kept: bool
    """accepted, or kept to be refined further"""
    value: float | None
    why: str


@dataclass(frozen=True, slots=True)
class _Pool:
    """Nodes that competed with each other."""

    nodes: list[Placed]
    order: list[Placed]
    """those that were compared, best first"""
    rank: dict[str, int]
    accepted: Placed | None
    kept: int
    with_value: Counter[float | None]


def reasons_of(nodes: Sequence[Placed], strategy: str, parameters: Mapping[str, Any], outcome: str) -> dict[str, str]:
    """Each node's reason by id, in a few words."""
    pools: dict[Any, list[Placed]] = defaultdict(list)
    for node in nodes:
        if node.parent_id is not None:
            pools[_competition(node, strategy)].append(node)
    refined = {node.parent_id for node in nodes}
    reasons = {n.node_id: "the failed answer that the search starts from" for n in nodes if n.parent_id is None}
    for members in pools.values():
        pool = _pool(members)
        reasons |= {node.node_id: _reason(node, pool, refined, parameters, outcome) for node in members}
    return reasons


def siblings_of(nodes: Sequence[Placed], node: Placed, strategy: str, why: Mapping[str, str]) -> list[Ranked]:
    """The nodes that competed with `node`, itself among them: as they were ranked, the kept ones first; then those that were
    not compared, in order of expansion.

    Args:
        why: each node's reason, from `reasons_of`.
    """
    if node.parent_id is None:
        return []
    of = _competition(node, strategy)
    pool = _pool([n for n in nodes if n.parent_id is not None and _competition(n, strategy) == of])
    refined = {n.parent_id for n in nodes}
    rest = sorted((n for n in pool.nodes if n.node_id not in pool.rank), key=lambda n: n.visit)
    return [
        Ranked(n.node_id, n.visit, pool.rank.get(n.node_id), _is_kept(n, pool, refined), n.value, why[n.node_id])
        for n in [*pool.order, *rest]
    ]


def _competition(node: Placed, strategy: str) -> Any:
    if strategy == "dfs":
        return node.parent_id
    return "all" if strategy == "best_of_n" else node.depth


def _pool(nodes: list[Placed]) -> _Pool:
    """A proportional selection draws its order, which no row keeps: those it kept come before those it did not."""
    compared = [n for n in nodes if n.state not in _NOT_COMPARED and n.repeats is None and n.value is not None]
    place = {"accepted": 0, "open": 1}
    order = sorted(compared, key=lambda n: (place.get(n.state, 2), -(n.value or 0.0), n.visit))
    return _Pool(
        nodes,
        order,
        {n.node_id: rank for rank, n in enumerate(order, 1)},
        next((n for n in order if n.state == "accepted"), None),
        sum(n.state == "open" for n in order),
        Counter(n.value for n in order),
    )


def _is_kept(node: Placed, pool: _Pool, refined: set[str | None]) -> bool:
    return node.state == "accepted" or node.node_id in refined or (node.state == "open" and pool.accepted is None)


def _reason(node: Placed, pool: _Pool, refined: set[str | None], parameters: Mapping[str, Any], outcome: str) -> str:
    given = parameters.get("threshold")
    threshold = float(given) if isinstance(given, int | float) else None
    limit = "the threshold" if threshold is None else f"the threshold {threshold:g}"
    is_above = threshold is not None and node.value is not None and node.value > threshold
    if node.state == "accepted":
        equals = pool.with_value[node.value]
        alike = f", and of {equals} with this value it is most like the root" if equals > 1 else ""
        return f"accepted: its value is above {limit}{alike}"
    if node.state == "unparsed":
        return "no refined answer could be read in the refiner's output"
    if node.state == "unjudged":
        return "no verdict on it could be read"
    if node.repeats is not None:
        return f"{node.state if node.state == 'pruned' else 'not refined'}: the same text as #{node.repeats}"
    if is_above and node.flaw is not None:
        return f"{'pruned' if node.state == 'pruned' else 'not accepted'}: above {limit}, but its text is flawed ({node.flaw})"
    if (best := pool.accepted) is not None and node.node_id not in refined:
        if not is_above:
            return f"not above {limit}; #{best.visit} was accepted"
        better = "was better" if node.value != best.value else "has the same value and is more like the root"
        return f"not accepted: #{best.visit} {better}"
    place = f"rank {pool.rank.get(node.node_id, '?')} of {len(pool.order)}"
    if node.state == "pruned":
        drawn = " (drawn in proportion to value)" if parameters.get("selection") == "proportional" else ""
        return f"pruned: {place}, and {pool.kept} {'was' if pool.kept == 1 else 'were'} kept{drawn}"
    if node.node_id in refined:
        return f"kept: {place}, refined further"
    if node.depth == parameters.get("depth"):
        return f"not above {limit}, on the last level"
    return (
        f"not above {limit}; the budget ran out"
        if outcome == "budget"
        else f"kept: {place}, but the search ended before"
    )
