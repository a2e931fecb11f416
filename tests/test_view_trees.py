"""The tree table, the tree page and the answers to a prompt, as a browser gets them."""

import re
import shutil
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from factory.view import tree_list
from factory.view.facets import in_bins
from factory.view.tree import NODES_SHOWN
from factory.view.tree_list import (
    BINS,
    COUNTED_TO,
    FACETS,
    HISTOGRAMS,
    ORDERS,
    TreeFilter,
    facet,
    filter_of,
    list_trees,
)
from schemas.errors import FactoryError
from schemas.tables import Node, Pair, Prompt, Response, Run, Tree
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import asked, fill, row, sampled
from tests.views import pages, pages_of, run_lake, stop_counting

__all__ = ["pages", "run_lake"]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> [red]\x1b[31m\u202eabc"


@pytest.fixture
def opened(run_lake: Path) -> Iterator[Lake]:
    with Lake.open(run_lake, read_only=True) as lake:
        yield lake


def ids_of(lake: Lake, where: str) -> set[str]:
    return set(lake.query(f"SELECT tree_id FROM trees WHERE {where}").column(0).to_pylist())


def first(lake: Lake, query: str) -> Any:
    return lake.query(query).column(0)[0].as_py()


BEST = "(SELECT max(value) FROM nodes AS n WHERE n.tree_id = trees.tree_id AND depth > 0)"


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ({}, "true"),
        ({"outcome": "accepted"}, "outcome = 'accepted'"),
        ({"outcome": "exhausted", "recipe": "spar", "round": "0"}, "outcome = 'exhausted'"),
        ({"recipe": "another"}, "false"),
        ({"depth": "1"}, "NOT EXISTS (FROM nodes AS n WHERE n.tree_id = trees.tree_id AND depth > 1)"),
        ({"value": "0.9-1"}, f"{BEST} >= 0.9"),
        ({"value": "0.6-0.7"}, f"{BEST} >= 0.6 AND {BEST} < 0.7"),
        (
            {"likeness": "0.1-0.2"},
            "tree_id IN (SELECT tree_id FROM pairs WHERE similarity >= 0.1 AND similarity < 0.2)",
        ),
        ({"model": "mock"}, "true"),
        ({"model": "another"}, "false"),
        ({"constraint": "none such"}, "false"),
        ({"unknown": "x"}, "true"),
    ],
    ids=str,
)
def test_a_filter_keeps_the_trees_that_sql_keeps(opened: Lake, address: dict[str, str], where: str) -> None:
    for order in ORDERS:
        rows = list_trees(opened, filter_of(address), order, rows=1_000)
        assert set(rows.column("tree_id").to_pylist()) == ids_of(opened, where)


def test_rows_are_in_the_order_asked_for_and_pages_hold_each_tree_once(opened: Lake) -> None:
    values = list_trees(opened, TreeFilter(), "highest value").column("value").drop_null().to_pylist()
    assert values == sorted(values, reverse=True) and len(set(values)) > 1
    pages = [list_trees(opened, TreeFilter(), "newest", page, 2).column("tree_id").to_pylist() for page in range(4)]
    seen = [id for page in pages for id in page]
    assert len(seen) == len(set(seen)) == len(ids_of(opened, "true"))


def test_a_facet_counts_what_its_link_then_shows(opened: Lake) -> None:
    chosen = filter_of({"outcome": "accepted"})
    for name in FACETS:
        for value in facet(opened, chosen, name, seconds=60) or ():
            shown = list_trees(opened, filter_of({"outcome": "accepted", name: value.value}), "newest", rows=1_000)
            assert value.rows == shown.num_rows
    for name in HISTOGRAMS:
        counts = in_bins(facet(opened, chosen, name, seconds=60), BINS)
        assert sum(counts) == len(ids_of(opened, "outcome = 'accepted'"))
        for at, count in enumerate(counts):
            shown = list_trees(
                opened, filter_of({"outcome": "accepted", name: tree_list.bin_name(at)}), "newest", rows=1_000
            )
            assert shown.num_rows == count


@pytest.mark.parametrize("address", [{"value": "0.4"}, {"value": "1-1.1"}, {"depth": "-1"}, {"round": "½"}])
def test_a_filter_that_cannot_be_is_refused_in_a_sentence(address: dict[str, str]) -> None:
    with pytest.raises(FactoryError, match="in the address"):
        filter_of(address)


def test_a_facet_that_takes_too_long_is_said(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_counting(monkeypatch, "")
    shown = pages.get("/trees?facets=1").text
    assert shown.count("was stopped") == len(FACETS) + len(HISTOGRAMS)
    assert "counting …" not in shown


def test_the_page_comes_without_facets_and_asks_for_each_by_itself(pages: TestClient) -> None:
    shown = unescape(pages.get("/trees?outcome=accepted").text)
    parts = re.findall(r'id="facet-(\w+)"[^>]*data-load="([^"]+)"', shown)
    assert [name for name, _ in parts] == [*FACETS, *HISTOGRAMS]
    for name, href in parts:
        part = pages.get(href).text
        assert f'id="facet-{name}"' in part and "data-load" not in part
    assert pages.get("/trees?part=nonsense").status_code == 400


def test_a_bar_leads_to_its_trees_and_a_chosen_one_back(pages: TestClient) -> None:
    bars = re.findall(r'<a href="([^"]+)" aria-label="0.9 to 1: (\d+)">', pages.get("/trees?part=value").text)
    ((href, count),) = bars
    rows = pages.get(unescape(href).replace("/trees?", "/trees.json?")).json()
    assert len(rows) == int(count) and all(r["value"] >= 0.9 for r in rows)
    back = re.findall(r'<a href="([^"]+)" aria-label="0.9 to 1: ', pages.get(f"{unescape(href)}&part=value").text)
    assert back == ["/trees"]


def test_counts_beyond_the_cap_are_said_to_be(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.view.tree_list.COUNTED_TO", 2)
    monkeypatch.setattr("factory.view.pages.trees.COUNTED_TO", 2)
    assert ">2 rows" in unescape(pages.get("/trees").text)
    assert COUNTED_TO == 10_000


def test_a_tree_of_the_list_leads_to_the_next_and_back_to_the_list(pages: TestClient, opened: Lake) -> None:
    shown = unescape(pages.get("/trees?outcome=accepted").text)
    links = re.findall(r'href="(/tree/[^"]+)"', shown)
    assert len(links) == len(ids_of(opened, "outcome = 'accepted'"))
    seen = [links[0]]
    while follow := re.search(r'href="([^"]+)" data-key="n"', page := unescape(pages.get(seen[-1]).text)):
        seen.append(follow[1])
    assert seen == links
    assert 'href="/trees?outcome=accepted"' in page


def test_keys_lead_to_siblings_parent_child_root_and_the_accepted_node(pages: TestClient, opened: Lake) -> None:
    tree_id = first(opened, "SELECT tree_id FROM trees WHERE outcome = 'accepted' ORDER BY nodes_expanded DESC, 1")
    nodes = pages.get(f"/tree/{tree_id}.json").json()
    by_id = {node["node_id"]: node for node in nodes}
    accepted = next(node for node in nodes if node["state"] == "accepted")

    def moves(address: str) -> dict[str, str]:
        found = re.findall(r'href="([^"]+)" data-key="(\w)"', unescape(pages.get(address).text))
        return {key: href for href, key in found}

    here = moves(f"/tree/{tree_id}")
    assert here["h"].endswith(f"node={accepted['parent_id']}") and here["a"].endswith(f"node={accepted['node_id']}")
    child = moves(here["g"])["l"]
    assert by_id[child.rpartition("=")[2]]["depth"] == 1
    ranked = pages.get(f"/tree/{tree_id}.json?table=siblings").json()
    assert ranked[0]["node_id"] == accepted["node_id"] and here["j"].endswith(ranked[1]["node_id"])
    modes = [
        re.search(r"diff=(\w+)", moves(f"/tree/{tree_id}?diff={mode}")["d"]) for mode in ("parent", "root", "accepted")
    ]
    assert [mode and mode[1] for mode in modes] == ["root", "accepted", "parent"]


def test_a_tree_page_names_states_votes_and_why(pages: TestClient, opened: Lake) -> None:
    for tree_id in ids_of(opened, "true"):
        shown = unescape(pages.get(f"/tree/{tree_id}").text)
        for node in pages.get(f"/tree/{tree_id}.json").json():
            assert f"node {node['visit']}, level {node['depth']}" in shown
        assert shown.count('class="beginning"') == first(
            opened, f"SELECT count(*) FROM nodes WHERE tree_id = '{tree_id}'"
        )
        assert re.search(r"votes: \d yes, \d no|votes: 5 (yes|no)", shown)


@pytest.mark.parametrize("path", ["/tree/{}", "/prompt/{}", "/call/{}"])
def test_an_unknown_id_offers_the_nearest(pages: TestClient, opened: Lake, path: str) -> None:
    noun = path.split("/")[1]
    id = first(opened, f"SELECT min({noun}_id) FROM {noun}s")
    answer = pages.get(path.format(id[:-2] + "zz"))
    assert answer.status_code == 404 and f'href="{path.format(id)}"' in answer.text
    assert pages.get(path.format(id)).status_code == 200


def test_ids_that_cannot_be_ranked_in_time_are_not_named(pages: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.view.errors.within", lambda *_: None)
    answer = unescape(pages.get("/tree/none").text)
    assert "trees has no row whose tree_id is 'none': `factory sql 'FROM trees'` lists them" in answer


@pytest.mark.parametrize("query", ["diff=sideways", "from=-1", "node=none", "list=value%3D7"])
def test_an_address_that_cannot_be_is_answered_in_a_sentence(pages: TestClient, opened: Lake, query: str) -> None:
    tree_id = first(opened, "SELECT min(tree_id) FROM trees")
    answer = pages.get(f"/tree/{tree_id}?{query}")
    assert answer.status_code in (400, 404) and 'role="alert"' in answer.text


def test_the_answers_to_a_prompt_stand_side_by_side_with_their_verdicts(pages: TestClient, opened: Lake) -> None:
    prompt_id = first(opened, "SELECT prompt_id FROM trees WHERE outcome = 'accepted' ORDER BY 1")
    rows = pages.get(f"/prompt/{prompt_id}.json").json()
    assert len(rows) == first(opened, f"SELECT count(*) FROM responses WHERE prompt_id = '{prompt_id}'")
    shown = pages.get(f"/prompt/{prompt_id}").text
    assert shown.count("<article") == len(rows)
    judged = opened.query("SELECT response_id, passed FROM verdicts WHERE decides").to_pylist()
    verdicts = {found["response_id"]: found["passed"] for found in judged}
    sampled_rows = [one for one in rows if one["kind"] == "sampled"]
    assert all(one["passed"] == verdicts[one["response_id"]] for one in sampled_rows)
    compared = pages.get(f"/prompt/{prompt_id}?against={rows[0]['response_id']}").text
    assert "<del>" in compared and "<del>" not in shown
    assert pages.get(f"/prompt/{prompt_id}.json?run=another").json() == []


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A lake whose every text is hostile, and with a tree of 20,000 nodes and another round of the same prompt."""
    place = tmp_path / "hostile"
    with Lake.open(place, create=True) as lake:
        for at, run in enumerate(("run", "later")):
            fill(
                lake,
                row(Run, f"e{at}", run_id=run, recipe_name=HOSTILE, status="finished", iteration=at),
                row(Tree, f"t{at}", run_id=run, prompt_id="p1", root_response_id="r0", strategy="dfs", outcome=HOSTILE,
                    parameters='{"<b>": "<i>"}', nodes_expanded=20_000, error=HOSTILE, stage=HOSTILE),
                row(Pair, f"pair{at}", run_id=run, prompt_id="p1", chosen_response_id="r1", rejected_response_id="r0",
                    source=HOSTILE, tree_id=f"t{at}", node_id="n1", similarity=0.5),
            )  # fmt: skip
        fill(
            lake,
            row(Prompt, "p1", messages=asked(HOSTILE), source=HOSTILE, constraints=[]),
            sampled("r0", text=HOSTILE + "a", flaw=HOSTILE),
            row(Response, "r1", run_id="run", prompt_id="p1", kind="refined", text=HOSTILE * 9_000, flaw=HOSTILE),
            row(Node, "n0", tree_id="t0", run_id="run", prompt_id="p1", response_id="r0", state=HOSTILE, flaw=HOSTILE),
            row(Node, "n1", tree_id="t0", run_id="run", prompt_id="p1", parent_node_id="n0", depth=1, visit=1,
                response_id="r1", state="open", flaw=HOSTILE, output=HOSTILE, reflection=HOSTILE),
        )  # fmt: skip
        lake.connection.execute(
            "INSERT INTO lake.nodes BY NAME SELECT 'n' || i AS node_id, 'n' || (i - 1) AS parent_node_id, i AS depth, i AS visit, "
            "NULL AS response_id, 'unparsed' AS state, tree_id, run_id, prompt_id FROM range(2, 20000) AS t(i), "
            "(SELECT tree_id, run_id, prompt_id FROM lake.nodes WHERE node_id = 'n1')"
        )
    return place


def test_nothing_from_a_row_is_markup_and_a_tree_of_20_000_nodes_is_a_page(hostile: Path) -> None:
    with pages_of(hostile) as client:
        for path in (
            "/trees",
            "/trees?facets=1",
            "/tree/t0",
            "/tree/t0?node=n1&diff=root&space=1",
            "/tree/t0?node=n0",
            "/prompt/p1",
            "/tree/t1",
        ):
            answer = client.get(path)
            assert answer.status_code == 200
            assert not re.search(r"<script>|<img|onerror=\"|<b>\"|<i>", answer.text.replace("&lt;", ""))
            assert "\x1b" not in answer.text and "\u202e" not in answer.text
        shown = client.get("/tree/t0").text
        assert shown.count('class="beginning"') == NODES_SHOWN and "20,000 nodes" in shown
        later = unescape(re.search(r'<a href="([^"]+)">later ones</a>', shown)[1])  # type: ignore[index]
        assert "node 399, level 399" in client.get(later).text
        assert client.get("/tree/t0.csv").text.count("\n") == 20_001
        assert 'type="range"' in shown and "/tree/t1" in shown


def test_a_tree_that_lost_its_nodes_is_still_a_page(run_lake: Path, tmp_path: Path) -> None:
    place = tmp_path / "lake"
    shutil.copytree(run_lake, place)
    with Lake.open(place) as lake:
        tree_id = first(lake, "SELECT min(tree_id) FROM trees")
        lake.connection.execute("DELETE FROM lake.nodes")
        lake.connection.execute("DELETE FROM lake.prompts")
    with pages_of(place) as client:
        assert client.get(f"/tree/{tree_id}").status_code == 200
        assert client.get(f"/tree/{tree_id}.json").json() == []
        assert client.get("/trees?facets=1").status_code == 200


def test_training_sets_are_read_beside_the_page_which_looks_again(
    run_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "lake"
    shutil.copytree(run_lake, place)
    with Lake.open(place) as lake:
        build_training_set(lake, "spar_dpo", {"held_out": 0.0}, [first(lake, "SELECT run_id FROM current_runs")])
        tree_id = first(lake, "SELECT tree_id FROM pairs WHERE tree_id IS NOT NULL ORDER BY 1")
    monkeypatch.setattr("factory.view.pages.tree.SETS_WAIT_S", 0.0)
    with pages_of(place) as client:
        shown = client.get(f"/tree/{tree_id}").text
        assert "spar_dpo@1 being read" in shown and "data-every" in shown and "in no training set" not in shown
        ends_s = time.monotonic() + 60
        while "being read" in shown and time.monotonic() < ends_s:
            time.sleep(0.1)
            shown = client.get(f"/tree/{tree_id}").text
        assert "chosen in spar_dpo@1, train" in shown and "data-every" not in shown
