"""Why a node was kept or pruned, as read from rows, is what the search itself did."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factory.search.tree_search import SearchNode, SearchTree, Strategy, search_tree
from factory.view.selection import Placed, Ranked, reasons_of, siblings_of


def searched(
    drawn: Sequence[tuple[str | None, float | None, str | None]], **changes: Any
) -> tuple[SearchTree, Strategy]:
    """A tree searched by the factory's own search over children drawn in turn: text, value and flaw."""
    given = {"strategy": "bfs", "branch": 3, "keep": 2, "depth": 3, "budget": 30, "threshold": 0.5, "expansion": "full"}
    strategy = Strategy(**{**given, "one_request": True, "selection": "greedy", "accept_flawed": False, **changes})
    supply = iter(drawn * 40)

    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        made = []
        for index in range(first, first + count):
            text, value, flaw = next(supply)
            made.append(SearchNode(parent, index, text, None if text is None else value, flaw=flaw))
        return made

    root = SearchNode(None, 0, "the root", 0.0)
    return asyncio.run(search_tree(root, expand, strategy, random.Random(0))), strategy


def placed_of(tree: SearchTree) -> list[Placed]:
    first: dict[str, int] = {}
    made = []
    for node in tree.nodes:
        seen = None if node.text is None else first.setdefault(node.text, node.visit)
        repeats = seen if seen != node.visit else None
        parent = None if node.parent is None else str(node.parent.visit)
        made.append(Placed(str(node.visit), parent, node.depth, node.visit, node.state, node.value, node.flaw, repeats))
    return made


def read(tree: SearchTree, strategy: Strategy) -> tuple[list[Placed], dict[str, str]]:
    nodes = placed_of(tree)
    parameters = {name: getattr(strategy, name) for name in Strategy.__dataclass_fields__}
    return nodes, reasons_of(nodes, strategy.strategy, parameters, tree.outcome)


children = st.lists(
    st.tuples(
        st.none() | st.sampled_from("abcdefgh"),
        st.none() | st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]),
        st.none() | st.just("echo"),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(
    drawn=children,
    strategy=st.sampled_from(["bfs", "dfs", "best_of_n"]),
    selection=st.sampled_from(["greedy", "proportional"]),
    budget=st.integers(1, 30),
)
def test_every_node_has_a_reason_that_fits_what_the_search_did(
    drawn: list[Any], strategy: str, selection: str, budget: int
) -> None:
    tree, used = searched(drawn, strategy=strategy, selection=selection, budget=budget)
    nodes, why = read(tree, used)
    assert why.keys() == {node.node_id for node in nodes}
    for node in nodes[1:]:
        reason = why[node.node_id]
        assert reason.startswith("accepted") == (node.state == "accepted")
        assert reason.startswith("pruned") == (node.state == "pruned")
        assert ("could be read" in reason) == (node.state in ("unparsed", "unjudged"))
        ranked = siblings_of(nodes, node, strategy, why)
        assert sorted(one.visit for one in ranked) == sorted(one.visit for one in ranked if why[one.node_id])
        assert node.node_id in {one.node_id for one in ranked}
        compared = [one for one in ranked if one.rank is not None]
        assert [one.rank for one in compared] == list(range(1, len(compared) + 1))
        _assert_cut_once(compared)


def _assert_cut_once(compared: Sequence[Ranked]) -> None:
    """Those kept come before those that were not."""
    kept = [one.kept for one in compared]
    assert kept == sorted(kept, reverse=True)


def test_the_siblings_of_a_level_are_in_the_order_of_the_selection() -> None:
    tree, used = searched(
        [("a", 0.2, None), ("b", 0.4, None), ("c", 0.0, None), ("b", 0.4, None), (None, None, None)], depth=2
    )
    nodes, why = read(tree, used)
    level = siblings_of(nodes, nodes[1], "bfs", why)
    assert [(one.visit, one.kept) for one in level] == [(2, True), (1, True), (3, False)]
    assert why["3"] == "pruned: rank 3 of 3, and 2 were kept"
    assert why["2"] == "kept: rank 1 of 3, refined further"
    assert why["4"] == "pruned: the same text as #2"
    assert why["5"] == "no refined answer could be read in the refiner's output"


def test_a_node_that_lost_to_an_equal_one_says_so() -> None:
    tree, used = searched([("the root again", 1.0, None), ("elsewhere", 1.0, None), ("flawed", 1.0, "echo")], depth=1)
    _, why = read(tree, used)
    assert why["1"].startswith("accepted: its value is above the threshold 0.5, and of 3 with this value")
    assert why["2"] == "not accepted: #1 has the same value and is more like the root"
    assert why["3"] == "not accepted: above the threshold 0.5, but its text is flawed (echo)"


def test_a_budget_that_ran_out_is_named() -> None:
    tree, used = searched([("a", 0.2, None), ("b", 0.4, None)], budget=2)
    _, why = read(tree, used)
    assert tree.outcome == "budget" and why["2"] == "not above the threshold 0.5; the budget ran out"
