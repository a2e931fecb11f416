"""A tree as read for a person agrees with the lake: texts, votes, tokens, calls, and where each node went."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.view.calls import KEY, read_call
from factory.view.errors import NotThere
from factory.view.node import AGAINST, read_node
from factory.view.nodes import SearchTree
from factory.view.tree import read_tree, with_texts
from factory.view.went import where_it_went
from schemas.tables import Check, Constraint, Node, Prompt, Response, Tree
from stores.lake import Lake
from stores.likeness import likeness
from stores.training_sets import build_training_set, read_training_set
from tests.rows import asked, fill, row, sampled, votes
from tests.runs import PRICES, answer, run_spar
from tests.scripted_endpoint import running_endpoint
from tests.views import run_lake

__all__ = ["run_lake"]


@pytest.fixture
def opened(run_lake: Path) -> Iterator[Lake]:
    with Lake.open(run_lake, read_only=True) as lake:
        yield lake


def all_trees(lake: Lake) -> list[SearchTree]:
    ids = lake.query("SELECT tree_id FROM trees ORDER BY tree_id").column(0).to_pylist()
    found = [read_tree(lake, id) for id in ids]
    assert len(found) > 3
    return [with_texts(lake, tree, [node.node_id for node in tree.nodes]) for tree in found]


def test_texts_read_from_outputs_are_those_of_the_responses(opened: Lake) -> None:
    texts = dict(zip(*opened.query("SELECT response_id, text FROM responses").columns, strict=True))
    texts = {id.as_py(): text.as_py() for id, text in texts.items()}
    for tree in all_trees(opened):
        for node in tree.nodes:
            assert node.text == texts.get(node.response_id)
            if node.text is not None:
                assert node.likeness == likeness(node.text, texts[tree.root.response_id]).similarity  # type: ignore[index, union-attr]


def test_votes_and_passed_are_those_of_the_verdicts(opened: Lake) -> None:
    verdicts = {(r["response_id"], r["judge"]): r for r in opened.query("FROM verdicts").to_pylist()}
    seen = 0
    for tree in all_trees(opened):
        for node in tree.nodes:
            for opinion in node.opinions:
                found = verdicts[node.judged_id, opinion.judge]
                assert opinion.passed == found["passed"]
                assert opinion.count("yes") == found["yes_votes"] and opinion.count("no") == found["no_votes"]
                seen += 1
    assert seen > 20


def test_tokens_of_a_tree_are_those_of_its_calls_and_the_paths_are_part_of_them(opened: Lake) -> None:
    trees = all_trees(opened)
    (total,) = (
        opened.query("SELECT sum(completion_tokens) AS t FROM calls WHERE stage = 'search'").column("t").to_pylist()
    )
    assert sum(tree.spent.completion_tokens or 0 for tree in trees) == total
    for tree in trees:
        assert (tree.spent.path_tokens is None) == (tree.accepted is None)
        assert (tree.spent.path_tokens or 0) <= (tree.spent.completion_tokens or 0)


def test_every_call_is_shown_as_it_was_sent_with_all_its_choices_and_no_key(opened: Lake) -> None:
    calls = opened.query(
        "SELECT call_id, choices FROM calls QUALIFY row_number() OVER (PARTITION BY stage, template ORDER BY call_id) <= 3"
    ).to_pylist()
    for row_of_call in calls:
        call = read_call(opened, row_of_call["call_id"])
        assert call.as_sent and len(call.replies) == row_of_call["choices"]
        words = shlex.split(call.curl)
        assert json.loads(words[-1]) == call.body and words[1].endswith("/v1/chat/completions")
        assert f"Authorization: Bearer {KEY}" in words
    assert len(calls) == 12


def test_a_difference_to_each_other_node_holds_the_nodes_own_text(opened: Lake) -> None:
    tree = next(tree for tree in all_trees(opened) if tree.accepted)
    for node in tree.nodes:
        for against in AGAINST:
            full = read_node(opened, tree, node, against)
            if full.parts is not None:
                assert "".join(part.text for part in full.parts if part.kind != "removed") == full.node.text
            else:
                assert full.other is None or full.other.node_id == node.node_id or node.text is None
        assert node.parent_id is None or full.critique


def test_where_a_node_went_is_what_the_training_sets_hold(run_lake: Path, tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "lake"
    shutil.copytree(run_lake, place)
    with Lake.open(place) as lake:
        (run_id,) = lake.query("SELECT run_id FROM current_runs").column(0).to_pylist()
        tree = next(tree for tree in all_trees(lake) if tree.pair_id)
        accepted, root = tree.accepted, tree.root
        assert accepted and root
        assert (
            where_it_went(lake, tree, read_node(lake, tree, accepted)).why_not
            == "no training set has been built from this run"
        )
        for name in ("spar_dpo", "spar_rft"):
            build_training_set(lake, name, {"held_out": 0.3}, [run_id])
        held = read_training_set(lake, "spar_dpo@1").held_out.column("pair_id").to_pylist()
        split = "held out" if tree.pair_id in held else "train"
        assert f"chosen in spar_dpo@1, {split}" in where_it_went(lake, tree, read_node(lake, tree, accepted)).uses
        assert f"refinement in spar_rft@1, {split}" in where_it_went(lake, tree, read_node(lake, tree, accepted)).uses
        assert f"rejected in spar_dpo@1, {split}" in where_it_went(lake, tree, read_node(lake, tree, root)).uses
        lost = next(node for node in tree.nodes if node.state == "pruned" or (node.state == "open" and node.visit))
        went = where_it_went(lake, tree, read_node(lake, tree, lost))
        assert not went.pairs and (went.uses or went.why_not == f"it is in no pair: {lost.why}")


def test_an_unknown_id_names_the_nearest(opened: Lake) -> None:
    (id,) = opened.query("SELECT min(tree_id) AS id FROM trees").column("id").to_pylist()
    with pytest.raises(NotThere, match=id) as error:
        read_tree(opened, id[:-3] + "xyz")
    assert error.value.near[0] == id


WANTED = [
    Constraint("punctuation:no_comma", "{}"),
    Constraint("of another version", "{}"),
    Constraint("length_constraints:number_words", "{}"),  # without the arguments that it needs
]


def small_tree(lake: Lake, constraints: list[Constraint]) -> SearchTree:
    """A failed answer with commas, and a refinement without them that the model's judge fails."""
    fill(
        lake,
        row(Prompt, "p1", messages=asked("Say hello."), constraints=constraints),
        sampled("r0", text="Hello, you, there."),
        row(Response, "r1", run_id="run", prompt_id="p1", kind="refined", text="Hello you there."),
        row(Tree, "t", run_id="run", prompt_id="p1", root_response_id="r0", strategy="bfs", parameters="not JSON",
            outcome="exhausted", nodes_expanded=1),
        row(Node, "n0", tree_id="t", run_id="run", prompt_id="p1", response_id="r0", judged_response_id="r0", state="open"),
        row(Node, "n1", tree_id="t", run_id="run", prompt_id="p1", parent_node_id="n0", depth=1, visit=1, response_id="r1",
            judged_response_id="r1", output="Refined response:\nHello you there.", reflection=None, state="open"),
        *votes("r1", "y", judge="verifier"),
        *votes("r1", "nny", decides=False),
    )  # fmt: skip
    tree = read_tree(lake, "t")
    return with_texts(lake, tree, ["n0", "n1"])


def test_the_failing_constraint_is_named_before_and_after_and_a_disagreement_marked(lake: Lake) -> None:
    tree = small_tree(lake, WANTED[:1])
    node = tree.nodes[1]
    assert node.disagreement and not tree.nodes[0].disagreement
    full = read_node(lake, tree, node)
    assert [(one.constraint_id, one.before, one.after) for one in full.constraints] == [
        ("punctuation:no_comma", False, True)
    ]
    assert full.checked_now and full.not_checked is None
    assert [(said.judge, said.verdict) for said in full.said] == [
        ("verifier", "yes"), ("votes", "no"), ("votes", "no"), ("votes", "yes"),
    ]  # fmt: skip


def test_recorded_checks_name_what_each_node_of_the_drawing_fails(lake: Lake) -> None:
    checks = [
        row(Check, f"c{at}", run_id="run", prompt_id="p1", response_id=f"r{at}", constraint_id="punctuation:no_comma", followed=at == 1)
        for at in (0, 1)
    ]  # fmt: skip
    fill(lake, *checks)
    tree = small_tree(lake, WANTED[:1])
    assert [node.failing for node in tree.nodes] == [("punctuation:no_comma",), ()]
    full = read_node(lake, tree, tree.nodes[1])
    assert not full.checked_now and [(one.before, one.after) for one in full.constraints] == [(False, True)]


def test_a_constraint_that_this_version_does_not_know_is_said_and_harms_nothing(lake: Lake) -> None:
    tree = small_tree(lake, WANTED)
    full = read_node(lake, tree, tree.nodes[1])
    assert [one.after for one in full.constraints] == [None] * 3 and full.not_checked and not full.checked_now


def test_tokens_that_an_endpoint_did_not_tell_are_not_known(lake: Lake) -> None:
    tree = small_tree(lake, [])
    assert tree.nodes[1].tokens is None and tree.parameters == {}


def test_a_trees_cost_is_its_part_of_the_runs(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, 4, **PRICES)
    with Lake.open(tmp_path / "lake") as lake:
        trees = [read_tree(lake, id) for id in lake.query("SELECT tree_id FROM trees").column(0).to_pylist()]
        costs = [with_texts(lake, tree, []).spent.cost for tree in trees]
        (of_stage,) = lake.query("SELECT sum(cost) AS c FROM run_cost WHERE stage = 'search'").column("c").to_pylist()
    assert sum(cost or 0.0 for cost in costs) == pytest.approx(of_stage) and of_stage > 0


@pytest.mark.parametrize("strategy", ["dfs", "best_of_n"])
def test_trees_of_every_strategy_are_read_alike(tmp_path: Path, strategy: str) -> None:
    settings = {"stages__search__strategy": strategy, "stages__search__budget": 8, "stages__search__expansion": "eager"}
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, 4, **settings)
    with Lake.open(tmp_path / "lake") as lake:
        texts = {r["response_id"]: r["text"] for r in lake.query("SELECT response_id, text FROM responses").to_pylist()}
        ids = lake.query("SELECT tree_id FROM trees").column(0).to_pylist()
        for tree in (read_tree(lake, id) for id in ids):
            tree = with_texts(lake, tree, [node.node_id for node in tree.nodes])
            for node in tree.nodes:
                assert node.text == texts.get(node.response_id) and node.why
                assert node.parent_id is None or node.node_id in {one.node_id for one in tree.ranked(node)}
            assert tree.accepted is None or tree.spent.path_tokens
        total = sum(with_texts(lake, read_tree(lake, id), []).spent.completion_tokens or 0 for id in ids)
        assert (
            total == lake.query("SELECT sum(completion_tokens) FROM calls WHERE stage = 'search'").column(0)[0].as_py()
        )
