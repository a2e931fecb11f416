"""A search tree, one of its nodes, and a pair's diff, in a terminal. Texts of models are plain text, never markup."""

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from factory.monitor.difference import parts_of
from factory.monitor.plain_text import NOT_TOLD, counted, cut, money, shortened, visible
from factory.templates.rendering import conversation
from factory.view.asking import query_ids
from factory.view.drawing import drawn_nodes
from factory.view.node import NodeInFull, read_node
from factory.view.nodes import Opinion, SearchTree, TreeNode
from factory.view.pair import read_pair
from factory.view.tree import NODES_SHOWN, read_tree, with_texts
from factory.view.went import Went, where_it_went
from schemas.errors import FactoryError
from stores.lake import Lake

TEXT_CHARACTERS, TEXT_LINES = 4_000, 60
"""of a prompt or an answer"""
NODE_CHARACTERS = 100
CRITIQUE_CHARACTERS = 160
_STATE_STYLES = {
    "accepted": "bold green", "pruned": "dim", "unparsed": "yellow", "unjudged": "yellow", "open": "default",
}  # fmt: skip
_FOLLOWED = {True: "followed", False: "not followed", None: "not known"}


def print_tree(lake: Lake, tree_id: str, console: Console, *, full: bool = False) -> None:
    """Prints a search tree: each node's visit, state, value, votes and start of its text; critiques above their refinements.

    Args:
        full: all nodes of a large tree are drawn, and texts are shown whole.
    """
    tree = read_tree(lake, tree_id)
    count = len(tree.nodes) if full else NODES_SHOWN
    tree = with_texts(lake, tree, [node.node_id for node in tree.nodes[:count]], whole=full)
    critiques = _critiques(lake, tree, count)
    console.print(_text(tree.prompt, full, "bold"))
    facts = f"{tree.strategy}, {tree.outcome} after {counted(tree.expanded, 'refinement')}"
    error = f", {visible(tree.error)}" if tree.error else ""
    drawn = Tree(Text(f"tree {tree_id}: {facts}{error}", "dim"), guide_style="dim")
    branches: dict[str | None, Tree] = {None: drawn}
    for line in drawn_nodes(tree, 0, count):
        node = line.node
        above = branches.get(node.parent_id, drawn)
        branches[node.node_id] = above.add(_node_label(node, line.dots, critiques.get(node.node_id), full))
    console.print(drawn)
    if len(tree.nodes) > count:
        console.print(Text(f"{len(tree.nodes):,} nodes, the first {count:,} drawn (--full draws all)", "dim"))
    console.print(Text(_spent(tree), "dim"))


def print_node(
    lake: Lake, tree_id: str, console: Console, *, given: str, against: str, space: bool, sets: bool
) -> None:
    """Prints one node of a tree in full.

    Args:
        given: its visit, or the beginning of its id.
        against: parent, root or accepted: the node whose text the difference starts from.
        space: white space counts, and is shown as signs.
        sets: wait for the training sets that have to be read to say where it went.
    Raises:
        FactoryError: the tree has no such node.
    """
    tree = read_tree(lake, tree_id)
    found = [n for n in tree.nodes if str(n.visit) == given.lstrip("#")] or [
        n for n in tree.nodes if n.node_id.startswith(given)
    ]
    if len(found) != 1:
        raise FactoryError(
            f"tree {tree_id[:12]} has no node {given[:40]!r}: give a number from 0 to {len(tree.nodes) - 1}"
        )
    parent = tree.node(found[0].parent_id)
    tree = with_texts(lake, tree, [node.node_id for node in (found[0], parent) if node is not None])
    node = tree.node(found[0].node_id)
    assert node is not None
    full = read_node(lake, tree, node, against, space=space)
    console.print(Text(f"#{node.visit} {node.why}", "bold"))
    console.print(
        Panel(_compared(full, _has_marks(console), space), title=f"{against} → #{node.visit}", title_align="left")
    )
    grid = _grid()
    for opinion in node.opinions:
        grid.add_row(f"judge {visible(opinion.judge)}", _opinion(opinion))
    if node.disagreement:
        grid.add_row("", Text("the verifier and a model's judge disagree", "yellow"))
    for one in full.constraints:
        grid.add_row(visible(one.constraint_id), f"{_FOLLOWED[one.after]}; before: {_FOLLOWED[one.before]}")
    for place, sibling in enumerate(tree.ranked(node)):
        grid.add_row("" if place else "siblings", visible(f"#{sibling.visit} {sibling.why}"))
    _add_went(grid, where_it_went(lake, tree, full, None if sets else 0.5))
    for name, value in (("node_id", node.node_id), ("response_id", node.response_id), ("call_id", node.call_id)):
        if value is not None:
            grid.add_row(name, visible(value))
    console.print(grid)


def print_pair(lake: Lake, pair_id: str, console: Console, *, full: bool = False) -> None:
    """Prints a pair: its prompt, the diff from rejected to chosen, who judged it, where both come from, and its reviews.

    Args:
        full: texts are shown and compared whole; by default, the beginnings of long ones.
    """
    found = read_pair(lake, pair_id)
    pair = found.pair
    console.print(Panel(_text(conversation(found.prompt.messages), full), title="prompt", title_align="left"))
    rejected, chosen = visible(found.rejected.text), visible(found.chosen.text)
    notes = ["", ""]
    if not full:  # before they are compared: that takes memory for each pair of words
        rejected, notes[0] = cut(rejected, TEXT_CHARACTERS, TEXT_LINES)
        chosen, notes[1] = cut(chosen, TEXT_CHARACTERS, TEXT_LINES)
    # Without colours, as in a file, use the marks of `git diff --word-diff`.
    body = difference_text(_difference(rejected, chosen), marks=_has_marks(console))
    for side, note in zip(("rejected", "chosen"), notes, strict=True):
        body.append(f"\n{side}: {note}" if note else "", "dim")
    console.print(Panel(body, title="rejected → chosen", title_align="left"))
    grid = _grid()
    ratio = "" if pair.length_ratio is None else f", length ratio {pair.length_ratio:.2f}"
    grid.add_row("likeness", f"similarity {pair.similarity:.2f}{ratio}, first {pair.shared_prefix_words} words shared")
    values = ["not known" if value is None else f"{value:.2f}" for value in (pair.rejected_value, pair.chosen_value)]
    grid.add_row("value", " → ".join(values))
    for judge in found.judges:
        said = f"chosen {judge.chosen.told}; rejected {judge.rejected.told}; prefers {judge.prefers or 'neither'}"
        by = visible(judge.asked) + (", decides" if judge.decides else "")
        grid.add_row(f"judge {visible(judge.name)}", f"{said} ({by})")
    grid.add_row("source", visible(pair.source))
    for at, step in enumerate(found.path):
        value = "not known" if step.value is None else f"{step.value:.2f}"
        what = f"refinement {step.depth}" if step.depth else "failed answer"
        grid.add_row("" if at else "path", visible(f"{what}: {step.state}, value {value}, node {step.node_id}"))
    for review in found.reviews:
        if review.counts:
            why = f": {review.reason}" if review.reason else ""
            grid.add_row("review", visible(f"{review.verdict} by {review.reviewer}{why}"))
    for name in ("pair_id", "run_id", "prompt_id", "chosen_response_id", "rejected_response_id", "tree_id", "node_id"):
        if (id := getattr(pair, name)) is not None:
            grid.add_row(name, visible(id))
    console.print(grid)


SHOW = {"tree": print_tree, "pair": print_pair}
"""By noun, as `print_summary` takes them."""


def _critiques(lake: Lake, tree: SearchTree, count: int) -> dict[str, str]:
    """By node: the judge's critique that its children were refined from."""
    asked = {node.parent_id: node.critique_id for node in tree.nodes if node.critique_id is not None}
    of = {n.node_id: n.judged_id for n in tree.nodes[:count] if n.node_id in asked and n.judged_id is not None}
    rows = query_ids(lake, "critiques", sorted(set(of.values())), {"run_id": tree.run_id}).to_pylist()
    wrote = {row["judgement_id"]: row["critique"] for row in rows}
    return {id: wrote[asked[id] or ""] for id in of if (asked[id] or "") in wrote}


def _text(text: str, full: bool, style: str = "") -> Text:
    """A text from a row; if it is long, its beginning and a note."""
    if full:
        return Text(visible(text), style)
    kept, note = cut(visible(text), TEXT_CHARACTERS, TEXT_LINES)
    return Text.assemble((kept, style), (f"\n{note}" if note else "", "dim"))


def _node_label(node: TreeNode, dots: str, critique: str | None, full: bool) -> Text:
    style = _STATE_STYLES.get(node.state, "default")  # a lake of somebody else may hold anything
    value = "" if node.value is None else f" {node.value:.2f}"
    state = "failed answer" if node.visit == 0 else node.state
    label = Text.assemble((f"#{node.visit} {state}{value}", f"{style} bold"), " ")
    if len(dots) > 1:
        label.append(f"{dots} ", style)
    if node.repeats is not None:
        label.append(f"(same text as #{node.repeats}) ", "dim italic")
    if node.disagreement:
        label.append("(judges disagree) ", "yellow")
    text = node.text if node.text is not None else node.output
    shown = visible if full else partial(shortened, characters=NODE_CHARACTERS)
    label.append("(no output)" if text is None else shown(text), style)
    if node.visit:
        label.append(f"\n{visible(node.why)}", "dim")
    if critique is not None:
        told = visible(critique) if full else shortened(critique, CRITIQUE_CHARACTERS)
        label.append(f"\n↳ critique: {told}", "italic magenta")
    return label


def _spent(tree: SearchTree) -> str:
    spent = tree.spent
    if spent.completion_tokens is None:
        return f"tokens: {NOT_TOLD}"
    cost = "" if spent.cost is None else f", cost {money(spent.cost)} by the recipe's prices"
    path = (
        ""
        if spent.path_tokens is None
        else f", {'about ' if spent.estimated else ''}{spent.path_tokens:,} of them on the accepted path"
    )
    return f"{counted(spent.completion_tokens, 'token')} generated in {counted(spent.calls, 'call')}{path}{cost}"


def _opinion(opinion: Opinion) -> str:
    passed = {True: "passed", False: "failed", None: "undecided"}[opinion.passed]
    votes = ", ".join(
        f"{n} {w}" for w in ("yes", "no", "unparsed") if (n := opinion.count(w)) and opinion.kind == "votes"
    )
    return f"{passed}{f' ({votes})' if votes else ''}{', decides' if opinion.decides else ''}"


def _compared(full: NodeInFull, marks: bool, space: bool) -> Text:
    if full.parts is None:
        return Text(visible(full.node.text if full.node.text is not None else full.node.output or "(no text)"))
    parts = [(part.kind, visible(part.marked if space else part.text)) for part in full.parts]
    folded = [
        ("dim", f" … {p.words} unchanged words … ") if p.kind == "folded" else one
        for p, one in zip(full.parts, parts, strict=True)
    ]
    return difference_text(folded, marks=marks)


def _add_went(grid: Table, went: Went) -> None:
    lines = [*went.uses, *(f"{pair.side} in pair {pair.pair_id}" for pair in went.pairs), *went.unreadable]
    if went.why_not:
        lines.append(f"in no training set, because {went.why_not}")
    if went.unread:
        lines.append(f"{', '.join(went.unread)} not read yet: --sets waits for it")
    for place, line in enumerate(lines):
        grid.add_row("" if place else "went", visible(line))


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    return grid


def _has_marks(console: Console) -> bool:
    return console.color_system is None or console.no_color


def _difference(old: str, new: str) -> list[tuple[str, str]]:
    parts = parts_of(old, new, fold=False)
    if parts is None:  # too long to be compared
        return [("removed", old), ("added", f"\n{new}")]
    return [(part.kind, part.text) for part in parts]


def difference_text(parts: Sequence[tuple[str, str]], *, marks: bool) -> Text:
    """A difference in colours, or with the marks of `git diff --word-diff`."""
    body = Text()
    for kind, text in parts:
        bare = text.lstrip()
        space = text[: len(text) - len(bare)]
        if kind in ("same", "dim"):
            body.append(text, "dim" if kind == "dim" else "")
        elif kind == "removed":
            body.append(space).append(f"[-{bare}-]" if marks else bare, "red strike")
        else:
            body.append(space or (" " if body.plain and not body.plain[-1].isspace() else ""))
            body.append(f"{{+{bare}+}}" if marks else bare, "bold green")
    return body
