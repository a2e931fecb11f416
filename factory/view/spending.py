"""What a tree cost: its own calls, the tokens of the accepted path, and the price."""

from collections.abc import Iterable, Sequence
from typing import Any

from factory.view.asking import query
from factory.view.nodes import SearchTree, Spent
from stores.lake import Lake


def own_calls(lake: Lake, tree: SearchTree) -> list[dict[str, Any]]:
    """The tree's own calls: refining its nodes and judging what came out."""
    asked = {"run_id": tree.run_id, "prompt_id": tree.prompt_id, "stage": tree.stage}
    made = {node.call_id for node in tree.nodes}
    judged = {node.response_id for node in tree.nodes if node.parent_id is not None}
    rows = query(lake, "tree_calls", asked).to_pylist()
    return [r for r in rows if r["call_id"] in made or (r["response_ids"] and r["response_ids"][0] in judged)]


def spent_on(tree: SearchTree, calls: Sequence[dict[str, Any]], tokens: dict[str, int | None]) -> Spent:
    """
    Args:
        calls: the tree's own.
        tokens: generated for the responses of the accepted path, by id; None: not told.
    """
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
        _cost(tree, calls),
    )


def _cost(tree: SearchTree, calls: Sequence[dict[str, Any]]) -> float | None:
    """As view `run_cost` sums it: answers read from the journal cost nothing."""
    if not tree.prices:
        return None
    paid = [call for call in calls if not call["from_journal"]]
    millionths: float = 0.0
    for call in paid:
        read, generated = tree.prices.get(call["role"], (None, None))
        if read is None or generated is None:
            return None
        for price, tokens in ((read, call["prompt_tokens"]), (generated, call["completion_tokens"])):
            if price and tokens is None:
                return None
            millionths += price * (tokens or 0)
    return millionths / 1e6


def prices_of(models: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Prices by role, from a recipe's `models`; roles without both are left out."""
    found = {}
    for role, settings in models.items():
        given = settings if isinstance(settings, dict) else {}
        read, generated = given.get("prompt_price"), given.get("completion_price")
        if isinstance(read, int | float) and isinstance(generated, int | float):
            found[role] = (float(read), float(generated))
    return found


def _share(call: dict[str, Any] | None) -> int | None:
    """One choice's share of a call's tokens."""
    if call is None or call["completion_tokens"] is None:
        return None
    share: int = round(call["completion_tokens"] / max(call["choices"], 1))
    return share


def _sum(figures: Iterable[int | None]) -> int | None:
    """None if one is not known."""
    found = list(figures)
    return None if any(figure is None for figure in found) else sum(figure or 0 for figure in found)
