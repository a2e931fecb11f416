"""BFS, DFS and best-of-n against hand-worked examples, and the rules that hold for every tree."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.search.tree_search import SearchNode, SearchTree, search_tree
from factory.stages.search import Settings as SearchSettings


def search(values: dict[str, float | None], **changes: object) -> tuple[SearchTree, list[str]]:
    """Searches the tree in which child i of node 'x' is 'xi', with the values given (0.1 where none is)."""
    asked: list[str] = []

    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        asked.append(parent.text or "")
        names = [f"{parent.text}{i}" for i in range(first, first + count)]
        return [SearchNode(parent, first + i, name, values.get(name, 0.1)) for i, name in enumerate(names)]

    root = SearchNode(None, 0, "r", 0.0)
    tree = asyncio.run(search_tree(root, expand, SearchSettings(**changes), random.Random(0)))  # type: ignore[arg-type]
    return tree, asked


def visited(tree: SearchTree) -> list[str]:
    return [node.text or "-" for node in tree.nodes]


def test_bfs_expands_whole_levels_and_the_two_best_of_each():
    tree, asked = search({"r1": 0.4, "r2": 0.3}, strategy="bfs")
    assert asked == ["r", "r1", "r2", "r10", "r11"]
    assert visited(tree) == [
        "r", "r0", "r1", "r2", "r10", "r11", "r12", "r20", "r21", "r22", "r100", "r101", "r102", "r110", "r111", "r112",
    ]  # fmt: skip
    assert tree.expanded == 15
    assert tree.outcome == "exhausted"


def test_bfs_judges_the_whole_level_before_it_accepts_the_best():
    tree, asked = search({"r0": 0.6, "r2": 0.8}, strategy="bfs")
    assert asked == ["r"]
    assert visited(tree) == ["r", "r0", "r1", "r2"]
    assert tree.outcome == "accepted"
    assert tree.accepted is tree.nodes[3]


def test_of_equal_nodes_the_first_visited_is_accepted():
    tree, _ = search({"r1": 1.0, "r2": 1.0})
    assert tree.accepted is tree.nodes[2]


def test_a_value_at_the_threshold_is_not_accepted():
    tree, _ = search({"r0": 0.5}, depth=1)
    assert tree.accepted is None


def test_eager_expansion_asks_for_child_after_child_and_stops_at_the_first_accepted():
    tree, asked = search({"r1": 0.6, "r2": 0.8}, expansion="eager")
    assert asked == ["r", "r"]
    assert visited(tree) == ["r", "r0", "r1"]
    assert tree.accepted is tree.nodes[2]


def test_eager_expansion_without_an_accepted_child_visits_what_full_expansion_does():
    for strategy in ("bfs", "dfs"):
        values: dict[str, float | None] = {"r1": 0.4, "r2": 0.3}
        full, _ = search(values, strategy=strategy)
        eager, asked = search(values, strategy=strategy, expansion="eager")
        assert visited(eager) == visited(full)
        assert len(asked) == eager.expanded


def test_a_request_each_visits_what_one_request_does():
    values: dict[str, float | None] = {"r1": 0.4, "r2": 0.3, "r12": 0.7}
    together, _ = search(values)
    apart, asked = search(values, one_request=False)
    assert visited(apart) == visited(together)
    assert asked == ["r"] * 3 + ["r1"] * 3 + ["r2"] * 3


def test_dfs_goes_down_the_best_child_first_and_comes_back():
    tree, asked = search({"r1": 0.4, "r2": 0.3}, strategy="dfs")
    assert asked == ["r", "r1", "r10", "r11", "r2", "r20", "r21"]
    assert tree.expanded == 21
    assert tree.outcome == "exhausted"


def test_dfs_stops_where_it_accepts():
    tree, asked = search({"r1": 0.4, "r2": 0.3, "r112": 0.9}, strategy="dfs")
    assert asked == ["r", "r1", "r10", "r11"]
    assert visited(tree)[-1] == "r112"
    assert tree.accepted is tree.nodes[-1]


def test_nodes_that_are_not_kept_are_pruned():
    tree, _ = search({"r1": 0.4, "r2": 0.3}, depth=2)
    states = {node.text: node.state for node in tree.nodes}
    assert states["r0"] == "pruned"
    assert states["r1"] == states["r2"] == "open"


def test_the_budget_ends_the_search_in_the_middle_of_a_level():
    tree, asked = search({"r1": 0.4, "r2": 0.3}, budget=5)
    assert visited(tree) == ["r", "r0", "r1", "r2", "r10", "r11"]
    assert asked == ["r", "r1"]
    assert tree.outcome == "budget"


def test_a_tree_without_a_single_verdict_has_failed():
    tree, asked = search({"r0": None, "r1": None, "r2": None})
    assert asked == ["r"]
    assert tree.outcome == "failed"
    assert [node.state for node in tree.nodes[1:]] == ["unjudged"] * 3


def test_a_text_that_stands_in_the_tree_already_is_not_expanded():
    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        return [SearchNode(parent, 0, "r", 0.4), SearchNode(parent, 1, "a", 0.3), SearchNode(parent, 2, "a", 0.3)]

    root = SearchNode(None, 0, "r", 0.0)
    tree = asyncio.run(search_tree(root, expand, SearchSettings(depth=1), random.Random(0)))
    assert [node.state for node in tree.nodes[1:]] == ["pruned", "open", "pruned"]


def test_best_of_n_draws_until_one_passes():
    tree, asked = search({"r1": 0.9}, strategy="best_of_n", budget=10)
    assert (asked, tree.expanded, tree.outcome) == (["r"], 3, "accepted")


def test_best_of_n_stops_at_its_budget():
    tree, _ = search({}, strategy="best_of_n", budget=7)
    assert (tree.expanded, tree.outcome) == (7, "budget")


def test_proportional_selection_follows_value_and_repeats_with_its_seed():
    def kept(seed: int) -> list[str | None]:
        async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
            return [SearchNode(parent, i, f"{parent.text}{i}", (0.0, 0.1, 0.4)[i]) for i in range(count)]

        one = SearchSettings(keep=1, depth=2, selection="proportional")
        tree = asyncio.run(search_tree(SearchNode(None, 0, "r", 0.0), expand, one, random.Random(seed)))
        return [node.parent.text for node in tree.nodes if node.depth == 2 and node.parent]

    assert kept(3) == kept(3)
    drawn = [kept(seed)[0] for seed in range(200)]
    assert "r0" not in drawn
    assert 120 < drawn.count("r2") < 195


@pytest.mark.parametrize("strategy", ["bfs", "dfs", "best_of_n"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_search_keeps_to_budget_branch_and_depth(strategy: str, data: st.DataObject):
    branch, keep, depth = (data.draw(st.integers(1, 4), name) for name in ("branch", "keep", "depth"))
    budget = data.draw(st.integers(1, 40), "budget")
    rng = random.Random(data.draw(st.integers(0, 1000), "values"))

    async def expand(parent: SearchNode, first: int, count: int) -> list[SearchNode]:
        made = []
        for i in range(count):
            text = None if rng.random() < 0.2 else str(rng.random())
            value = None if text is None or rng.random() < 0.2 else rng.random() * 0.7
            made.append(SearchNode(parent, first + i, text, value))
        return made

    one = SearchSettings(strategy=strategy, branch=branch, keep=keep, depth=depth, budget=budget)
    tree = asyncio.run(search_tree(SearchNode(None, 0, "r", 0.0), expand, one, random.Random(0)))
    assert tree.expanded <= budget
    assert max(node.depth for node in tree.nodes) <= (1 if strategy == "best_of_n" else depth)
    assert [node.visit for node in tree.nodes] == list(range(len(tree.nodes)))
    over = [node for node in tree.nodes[1:] if node.value is not None and node.value > 0.5]
    assert (tree.accepted is not None) == bool(over) == (tree.outcome == "accepted")
    for node in tree.nodes:
        assert (node.text is None) == (node.state == "unparsed")
        children = [child for child in tree.nodes if child.parent is node]
        assert strategy == "best_of_n" or len(children) <= branch
        assert not children or node.state == "open"
