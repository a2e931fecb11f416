"""A run as one HTML file for a colleague: its outcome, cost, histograms, and examples. Nothing in it is loaded or runs."""

import json
from dataclasses import dataclass, replace
from typing import Any

from factory.monitor.difference import Part, parts_of
from factory.monitor.plain_text import clock
from factory.monitor.report import Summary, pick_example, read_summary
from factory.view.asking import query
from factory.view.drawing import Drawn, drawn_nodes
from factory.view.environment import make_environment
from factory.view.facets import in_bins
from factory.view.node import NodeInFull, read_node
from factory.view.nodes import SearchTree
from factory.view.plots import Histogram, Line, histogram
from factory.view.rewards import read_rewards, rewards_plot
from factory.view.run_plots import run_plots
from factory.view.tree import read_tree, with_texts
from factory.view.tree_list import BINS, HISTOGRAMS, TreeFilter, facet, list_trees
from stores.lake import Lake

TREES, LOST_TREES, PAIRS = 4, 2, 6
"""examples: accepted trees, others, and pairs"""
NODES_DRAWN = 60
CHARACTERS = 6_000
"""of a text"""
_FACET_S = 30.0


@dataclass(frozen=True, slots=True)
class TreeExample:
    """A tree and the node that it is told by: the accepted one, else the best."""

    tree: SearchTree
    drawn: list[Drawn]
    full: NodeInFull | None


@dataclass(frozen=True, slots=True)
class PairExample:
    """A pair and its difference."""

    row: dict[str, Any]
    parts: tuple[Part, ...] | None
    cut: bool


@dataclass(frozen=True, slots=True)
class ByKind:
    """How searches ended for one kind of constraint."""

    constraint: str
    trees: str
    accepted: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """What the file shows."""

    summary: Summary
    about: dict[str, Any]
    recipe: str
    elapsed: str
    snapshot: int
    plots: list[Line]
    histograms: list[Histogram]
    by_kind: list[ByKind]
    trees: list[TreeExample]
    pairs: list[PairExample]


def read_report(lake: Lake, run_id: str) -> RunReport:
    """Reads a run for the file; of one snapshot, where nobody writes meanwhile."""
    summary = read_summary(lake, run_id)
    (about,) = query(lake, "report_run", {"run_id": run_id}).to_pylist()
    paid = rewards_plot(read_rewards(lake, run_id)) if about["purpose"] == "training" else None
    return RunReport(
        summary,
        about,
        _indented(about["recipe"]),
        clock(summary.outcome["elapsed_s"]),
        lake.latest_snapshot(),
        [*([paid] if paid else []), *run_plots(lake, run_id)],
        [shown for name in HISTOGRAMS if (shown := _histogram(lake, run_id, name)) is not None],
        _by_kind(lake, run_id),
        [_tree(lake, tree_id) for tree_id in _tree_ids(lake, run_id)],
        [_pair(row) for row in query(lake, "report_pairs", {"run_id": run_id, "pairs": PAIRS}).to_pylist()],
    )


def page_of(report: RunReport) -> str:
    """The file's text; the same rows give the same text."""
    return (
        make_environment().get_template("run_report.html").render(report=report, title=f"run {report.summary.run_id}")
    )


def _histogram(lake: Lake, run_id: str, name: str) -> Histogram | None:
    counts = in_bins(facet(lake, TreeFilter(run=run_id), name, _FACET_S), BINS)
    if not sum(counts):
        return None
    titles = {
        "value": "highest value of a tree's refinements",
        "likeness": "likeness of the two sides of a tree's pair",
    }
    return histogram(f"{titles[name]}: trees", counts, [bin / BINS for bin in range(BINS + 1)])


def _by_kind(lake: Lake, run_id: str) -> list[ByKind]:
    of_run = TreeFilter(run=run_id)
    found = facet(lake, of_run, "constraint", _FACET_S) or ()
    accepted = facet(lake, replace(of_run, outcome="accepted"), "constraint", _FACET_S) or ()
    by_kind = {one.value: one.told for one in accepted}
    return [ByKind(one.value, one.told, by_kind.get(one.value, "0")) for one in found]


def _tree_ids(lake: Lake, run_id: str) -> list[str]:
    """The run's example, its largest accepted trees, and those that were close to one."""
    accepted = list_trees(lake, TreeFilter(run=run_id, outcome="accepted"), "most refinements", rows=TREES)
    lost = list_trees(lake, TreeFilter(run=run_id, outcome="exhausted"), "highest value", rows=LOST_TREES)
    example = pick_example(lake, run_id).get("tree")
    first = [example] if example else []
    found = list(dict.fromkeys([*first, *accepted.column("tree_id").to_pylist()]))[:TREES]
    return [*found, *lost.column("tree_id").to_pylist()]


def _tree(lake: Lake, tree_id: str) -> TreeExample:
    tree = read_tree(lake, tree_id)
    best = max(tree.nodes[1:], key=lambda node: (node.value or 0.0, -node.visit), default=None)
    node = tree.accepted or best
    also = [one for one in (node, tree.node(node.parent_id) if node else None) if one is not None]
    tree = with_texts(lake, tree, [one.node_id for one in (*tree.nodes[:NODES_DRAWN], *also)])
    node = tree.node(node.node_id) if node else None
    full = None if node is None else read_node(lake, tree, node, "root")
    return TreeExample(tree, drawn_nodes(tree, 0, NODES_DRAWN), full)


def _pair(row: dict[str, Any]) -> PairExample:
    rejected, chosen = row["rejected"][:CHARACTERS], row["chosen"][:CHARACTERS]
    parts = parts_of(rejected, chosen)
    cut = rejected != row["rejected"] or chosen != row["chosen"]
    return PairExample(row, None if parts is None else tuple(parts), cut)


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
