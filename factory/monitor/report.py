"""A run's results in a terminal: its summary, a search tree, a pair's diff.

Figures come from stores/sql/report/*.sql. Models' output is shown as plain text, never as markup or escapes.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, groupby
from typing import Any

from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from factory.monitor.plain_text import NOT_TOLD, clock, counted, cut, shortened, visible
from factory.runs.readable import quoted
from factory.work.textless import textless_stages
from schemas.errors import FactoryError
from stores.faults import verify
from stores.lake import Lake
from stores.likeness import words
from stores.sql import sql
from stores.training_sets import format_of, known_training_sets

SHOWN_SET_ASIDE = 5
TEXT_CHARACTERS, TEXT_LINES = 4_000, 60
"""of a prompt or an answer"""
NODE_CHARACTERS = 100
CRITIQUE_CHARACTERS = 160
_BARS = "·▁▂▃▄▅▆▇█"
_STATE_STYLES = {
    "accepted": "bold green", "pruned": "dim", "unparsed": "yellow", "unjudged": "yellow", "open": "default",
}  # fmt: skip


def print_summary(lake: Lake, run_id: str, console: Console) -> None:
    """Prints a run's outcome, its cost, what was set aside, and what to do next."""
    of_run = {"run_id": run_id}
    (outcome,) = lake.query(sql("report/outcome"), of_run).to_pylist()
    reason = f": {visible(outcome['reason'])}" if outcome["reason"] else ""
    title = Text.assemble(("run ", "dim"), (run_id, "bold"), f" {outcome['status']}{reason}")
    console.print(title + Text(f", {clock(outcome['elapsed_s'])} in all", "dim"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    if outcome["judges"] > 1:
        outcome |= next(iter(lake.query(sql("report/agreement"), of_run).to_pylist()), {})
    for label, text in _outcome_lines(outcome):
        grid.add_row(label, text)
    for label, query, line_of in (("flawed", "flaws", _flaws), ("not readable", "unreadable", _unreadable)):
        if rows := lake.query(sql(f"report/{query}"), of_run).to_pylist():
            grid.add_row(label, Text(line_of(rows), "yellow"))
    for stage in textless_stages(lake, run_id):
        of = f"{stage.without:,} of {counted(stage.answers, 'answer')} of stage {stage.stage}"
        grid.add_row("no text", visible(f"{of}, which are neither judged nor paired: {stage.why()}"))
    likeness = lake.query(sql("report/likeness"), of_run).to_pylist()
    grid.add_row("pairs", ", ".join(f"{row['pairs']:,} {row['source']}" for row in likeness) or "none")
    if outcome["accepted_trees"]:
        (savings,) = lake.query(sql("report/savings"), of_run).to_pylist()
        grid.add_row("a refinement", _savings(savings))
    rows = lake.query(sql("report/rows_by_table"), of_run).to_pylist()
    grid.add_row("rows", ", ".join(f"{row['name']} {row['rows']:,}" for row in rows))
    console.print(grid)
    console.print()
    _print_cost(lake, run_id, console)
    _print_likeness(likeness, console)
    if outcome["call_errors"]:
        _print_set_aside(lake.query(sql("report/set_aside"), of_run).to_pylist(), console)
    where = "" if lake.place.where == "lake" else f" --lake {shlex.quote(lake.place.where)}"
    for noun, id in (pick_example(lake, run_id) if likeness else {}).items():
        _print_command(f"factory {noun} {id[:12]}{where}", console)
        (print_tree if noun == "tree" else print_pair)(lake, id, console)
        console.print()
    console.print(Text("next", "dim"))
    for command in _next_commands(run_id, outcome, bool(likeness)):
        _print_command(f"  {command}{where}", console)


def _print_command(command: str, console: Console) -> None:
    console.print(Text(command, "cyan"), soft_wrap=True)


def _outcome_lines(outcome: dict[str, Any]) -> Iterator[tuple[str, str]]:
    counts = {name: value or 0 for name, value in outcome.items()}
    prompts = f"{counts['prompts']:,}, {counts['answered_prompts']:,} answered"
    yield "prompts", f"{prompts}, {counts['failed_prompts']:,} with an answer that failed"
    judged = counts["passed"] + counts["failed"] + counts["undecided"]
    undecided = f", {counts['undecided']:,} undecided" if counts["undecided"] else ""
    passed = f"{counts['passed']:,} passed{_share(counts['passed'], judged)}, {counts['failed']:,} failed{undecided}"
    yield "answers", f"{counts['answers']:,} sampled: {passed}"
    if outcome.get("agreement") is not None:
        ties = f", {counts['agreement_ties']:,} tied" if counts["agreement_ties"] else ""
        kappa = "" if outcome["kappa"] is None else f" (kappa {outcome['kappa']:.2f})"
        yield (
            "judge",
            (
                f"the model agrees with the verifier on {outcome['agreement']:.0%} of "
                f"{outcome['agreement_answers']:,} answers{kappa}{ties}, refined ones included"
            ),
        )
    if counts["trees"]:
        ends = ("accepted", "exhausted", "budget", "failed")
        outcomes = ", ".join(f"{counts[f'{end}_trees']:,} {end}" for end in ends if counts[f"{end}_trees"])
        yield "trees", f"{counts['trees']:,} searched, {counts['nodes_expanded']:,} refinements: {outcomes}"
    speed = f", {outcome['tokens_per_s']:,.0f} tokens/s on average" if outcome["tokens_per_s"] else ""
    yield (
        "model",
        (
            f"{counts['calls']:,} calls ({counts['from_journal']:,} from the journal, {counts['retries']:,} repeated, "
            f"{counts['call_errors']:,} failed), {_tokens_generated(counts)}{speed}"
        ),
    )


def _flaws(rows: Sequence[dict[str, Any]]) -> str:
    """Answers with a flaw, by kind of answer: '3 of 40 refined (2 unended, 1 echo)'."""
    kinds = []
    for kind, found in groupby(rows, lambda row: row["kind"]):
        flaws = list(found)
        each = ", ".join(f"{row['answers']:,} {row['flaw']}" for row in flaws)
        kinds.append(f"{sum(row['answers'] for row in flaws):,} of {flaws[0]['of_all']:,} {kind} ({each})")
    return "; ".join(kinds)


def _unreadable(rows: Sequence[dict[str, Any]]) -> str:
    """Votes, scores, comparisons and refinements that could not be read, with one of each."""
    return "; ".join(
        f"{row['unreadable']:,} of {row['total']:,} {row['kind']} of {visible(row['name'])}"
        f"{_share(row['unreadable'], row['total'])}: {visible(quoted(row['example'] or ''))}"
        for row in rows
    )


def _tokens_generated(counts: dict[str, Any]) -> str:
    """Unknown is not 0: an endpoint may not tell how many tokens it generated."""
    answered, untold = counts["calls"] - counts["call_errors"], counts["untold_calls"]
    if untold and untold == answered:
        return f"tokens generated: {NOT_TOLD}"
    of_all = f" ({NOT_TOLD} for {counted(untold, 'call')})" if untold else ""
    return f"{counts['completion_tokens']:,} tokens generated{of_all}"


def _savings(savings: dict[str, Any]) -> str:
    """What the search spent per accepted refinement, and what it saved."""
    requests, tokens = (savings[name] / savings["accepted"] for name in ("requests", "tokens"))
    each = f"{requests:.1f} requests and {tokens:,.0f} tokens of search"
    spared = [
        f"{savings[f'spared_{what}']:,} of {savings[f'spared_{what}'] + savings[what]:,} {what}"
        for what in ("refinements", "votes")
        if savings[f"spared_{what}"]
    ]
    return f"{each}; not requested, as they could change nothing: {' and '.join(spared)}" if spared else each


def _share(part: int, whole: int, of: str = "") -> str:
    return f" ({part / whole:.0%}{of})" if whole else ""


def _print_cost(lake: Lake, run_id: str, console: Console) -> None:
    rows = lake.query(sql("report/cost"), {"run_id": run_id}).to_pylist()
    if not rows:
        return
    table = Table("stage", "template", "model", "calls", "prompt tokens", "generated tokens", "latency", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows:
        latency = "" if row["mean_latency_s"] is None else f"{row['mean_latency_s']:.2f} s"
        figures = [
            "not told" if row[n] is None else f"{row[n]:,}" for n in ("calls", "prompt_tokens", "completion_tokens")
        ]
        table.add_row(row["stage"], row["template"], Text(visible(row["model"])), *figures, latency)
    console.print(table)
    console.print()


def _print_likeness(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """How similar the two sides of the pairs are, by pairing: more so if they differ only in what matters."""
    if not rows:
        return
    table = Table("pairs", "0    similarity    1", "mean", "median", "length ratio", "shared start", box=None)
    table.columns[1].no_wrap, table.columns[1].min_width = True, 20
    for column in table.columns[2:]:
        column.justify = "right"
    for row, colour in zip(rows, cycle(("green", "cyan", "magenta", "yellow")), strict=False):
        ratio = row["median_length_ratio"]
        table.add_row(
            Text(visible(row["source"])),
            Text(histogram(row["histogram"]), colour),
            f"{row['mean_similarity']:.2f}",
            f"{row['median_similarity']:.2f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{row['median_shared_prefix_words']:.0f} words",
        )
    console.print(table)
    console.print()


def histogram(counts: Sequence[int]) -> str:
    """Counts as bars of equal width; the largest is full, and none above zero is invisible."""
    top = max(counts, default=0)
    return "".join(_BARS[-(-8 * count // top) if top else 0] * 2 for count in counts)


def _print_set_aside(rows: Sequence[dict[str, Any]], console: Console) -> None:
    if not rows:
        return
    console.print(Text(f"set aside: {counted(len(rows), 'prompt')}", "yellow"))
    grid = Table.grid(padding=(0, 2))
    for row in rows[:SHOWN_SET_ASIDE]:
        text = Text.assemble(visible(row["error"]), (f" ({shortened(row['prompt'], 60)})", "dim"))
        grid.add_row(f"  prompt {row['position'] + 1}", row["stage"], text)
    console.print(grid)
    if len(rows) > SHOWN_SET_ASIDE:
        console.print(Text(f"  and {len(rows) - SHOWN_SET_ASIDE} more: factory sql 'FROM failed_prompts'", "dim"))
    console.print()


def _next_commands(run_id: str, outcome: dict[str, Any], paired: bool) -> Iterator[str]:
    if outcome["status"] != "finished":
        yield f"factory resume {run_id}"
    if paired:
        yield 'factory sql "SELECT pair_id, source, similarity FROM pairs ORDER BY similarity DESC"'
    else:
        yield 'factory sql "SELECT verdict, points, critique FROM judgements LIMIT 10"'
    training_sets = [
        name for name in json.loads(outcome["recipe"]).get("training_sets", ()) if name in known_training_sets()
    ]
    if training_sets and outcome["answers"]:
        yield "factory build"
        origin = outcome["actor_origin"] or ""
        model = origin if origin.startswith("embedded:") else "MODEL"
        objective = {"preference": "dpo", "prompt_completion": "rft"}[format_of(training_sets[0])]
        yield f"factory train {objective} --set {training_sets[0]} --model {model}"
    yield "factory view"


def pick_example(lake: Lake, run_id: str) -> dict[str, str]:
    """The run's most telling pair that is still easy to read, and its tree if it has one, as ids by `tree` and `pair`;
    empty without pairs."""
    rows = lake.query(sql("report/example"), {"run_id": run_id}).to_pylist()
    return {noun: id for noun, id in rows[0].items() if id is not None} if rows else {}


def print_tree(lake: Lake, tree_id: str, console: Console, *, full: bool = False) -> None:
    """Prints a search tree: each node's visit, state, value and start of its text; critiques above their refinements.

    Args:
        full: texts are shown whole.
    """
    nodes = lake.query(sql("report/tree"), {"tree_id": tree_id}).to_pylist()
    first = nodes[0]
    console.print(_text(first["prompt"], full, "bold"))
    facts = f"{first['strategy']}, {first['outcome']} after {first['nodes_expanded']} refinements"
    error = f", {visible(first['error'])}" if first["error"] else ""
    drawn = Tree(Text(f"tree {tree_id}: {facts}{error}", "dim"), guide_style="dim")
    branches = {None: drawn}
    for node in nodes:
        branches[node["node_id"]] = branches[node["parent_node_id"]].add(_node_label(node, full))
    console.print(drawn)


def _text(text: str, full: bool, style: str = "") -> Text:
    """A text from a row; if it is long, its beginning and a note."""
    if full:
        return Text(visible(text), style)
    kept, note = cut(visible(text), TEXT_CHARACTERS, TEXT_LINES)
    return Text.assemble((kept, style), (f"\n{note}" if note else "", "dim"))


def _node_label(node: dict[str, Any], full: bool) -> Text:
    style = _STATE_STYLES.get(node["state"], "default")  # a lake of somebody else may hold anything
    value = "" if node["value"] is None else f" {node['value']:.2f}"
    state = "failed answer" if node["visit"] == 0 else node["state"]
    label = Text.assemble((f"#{node['visit']} {state}{value}", f"{style} bold"), " ")
    if node["judged_at"] is not None and node["judged_at"] != node["visit"]:
        label.append(f"(same text as #{node['judged_at']}) ", "dim italic")
    text = node["text"] if node["text"] is not None else node["output"]
    shown = visible if full else partial(shortened, characters=NODE_CHARACTERS)
    label.append("(no output)" if text is None else shown(text), style)
    if node["critique"] is not None:
        critique = visible(node["critique"]) if full else shortened(node["critique"], CRITIQUE_CHARACTERS)
        label.append(f"\n↳ critique: {critique}", "italic magenta")
    return label


def print_pair(lake: Lake, pair_id: str, console: Console, *, full: bool = False) -> None:
    """Prints a pair: its prompt, the diff from rejected to chosen, and where both come from.

    Args:
        full: texts are shown and compared whole; by default, the beginnings of long ones.
    """
    found = lake.query(sql("report/pair"), {"pair_id": pair_id}).to_pylist()
    if len(found) != 1:
        raise FactoryError(f"pair {pair_id} lacks its prompt or answers: see {verify(lake.place.where)}")
    (pair,) = found
    console.print(Panel(_text(pair["prompt"], full), title="prompt", title_align="left"))
    rejected, chosen = visible(pair["rejected"]), visible(pair["chosen"])
    notes = ["", ""]
    if not full:  # before they are compared: that takes memory for each pair of words
        rejected, notes[0] = cut(rejected, TEXT_CHARACTERS, TEXT_LINES)
        chosen, notes[1] = cut(chosen, TEXT_CHARACTERS, TEXT_LINES)
    difference = word_difference(rejected, chosen)
    # Without colours, as in a file, use the marks of `git diff --word-diff`.
    body = _difference_text(difference, marks=console.color_system is None or console.no_color)
    for side, note in zip(("rejected", "chosen"), notes, strict=True):
        body.append(f"\n{side}: {note}" if note else "", "dim")
    console.print(Panel(body, title="rejected → chosen", title_align="left"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    ratio = "" if pair["length_ratio"] is None else f", length ratio {pair['length_ratio']:.2f}"
    grid.add_row(
        "likeness", f"similarity {pair['similarity']:.2f}{ratio}, first {pair['shared_prefix_words']} words shared"
    )
    values = ["not known" if pair[n] is None else f"{pair[n]:.2f}" for n in ("rejected_value", "chosen_value")]
    grid.add_row("value", " → ".join(values))
    grid.add_row("source", pair["source"])
    for name in ("pair_id", "run_id", "prompt_id", "chosen_response_id", "rejected_response_id", "tree_id", "node_id"):
        if pair[name] is not None:
            grid.add_row(name, pair[name])
    console.print(grid)


def word_difference(old: str, new: str) -> list[tuple[str, str]]:
    """A word-level diff of two texts: ("same" | "removed" | "added", text).

    The parts except the removed ones make up `new`, white space included; the fewest words possible change
    (Levenshtein, as in `stores/likeness.py`). White space alone is no change.
    """
    old_words, new_words = words(old), words(new)
    old_ends, new_ends = _ends(old, old_words), _ends(new, new_words)
    parts: list[tuple[str, str]] = []
    old_at = new_at = 0
    # Changes lie between matching blocks; the last block is empty, at the end of both texts.
    for same in Levenshtein.opcodes(old_words, new_words).as_matching_blocks():
        if same.a > old_at:
            parts.append(("removed", old[old_ends[old_at] : old_ends[same.a]]))
        if same.b > new_at:
            parts.append(("added", new[new_ends[new_at] : new_ends[same.b]]))
        old_at, new_at = same.a + same.size, same.b + same.size
        if same.size:
            parts.append(("same", new[new_ends[same.b] : new_ends[new_at]]))
    if rest := new[new_ends[-1] :]:
        parts.append(("same", rest))
    return parts


def _ends(text: str, found: Sequence[str]) -> list[int]:
    """Where each word ends, 0 first: a word includes the white space before it."""
    ends = [0]
    for word in found:
        ends.append(text.index(word, ends[-1]) + len(word))
    return ends


def _difference_text(parts: Sequence[tuple[str, str]], *, marks: bool) -> Text:
    body = Text()
    for kind, text in parts:
        bare = text.lstrip()
        space = text[: len(text) - len(bare)]
        if kind == "same":
            body.append(text)
        elif kind == "removed":
            body.append(space).append(f"[-{bare}-]" if marks else bare, "red strike")
        else:
            body.append(space or (" " if body.plain and not body.plain[-1].isspace() else ""))
            body.append(f"{{+{bare}+}}" if marks else bare, "bold green")
    return body
