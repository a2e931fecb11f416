"""A run's results in a terminal.

Figures come from stores/sql/report/*.sql. Models' output is shown as plain text, never as markup or escapes.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.monitor.plain_text import NOT_TOLD, clock, counted, shortened, visible
from factory.runs.readable import quoted
from factory.work.textless import textless_stages
from schemas.objectives import TRAINER
from stores.lake import Lake
from stores.sql import sql
from stores.training_sets import format_of, known_training_sets

SHOWN_SET_ASIDE = 5
_BARS = "·▁▂▃▄▅▆▇█"

Show = Callable[[Lake, str, Console], None]
"""Prints the tree or pair with an id."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's outcome in lines, and the rows behind its tables."""

    run_id: str
    outcome: dict[str, Any]
    """the row of report/outcome.sql, with the judges' agreement"""
    lines: tuple[tuple[str, str], ...]
    """label and sentence"""
    warnings: frozenset[str]
    """labels of the lines that a reader should not miss"""
    cost: list[dict[str, Any]]
    likeness: list[dict[str, Any]]


def read_summary(lake: Lake, run_id: str) -> Summary:
    """A run's outcome. The texts in it may come from anywhere."""
    of_run = {"run_id": run_id}
    (outcome,) = lake.query(sql("report/outcome"), of_run).to_pylist()
    if outcome["judges"] > 1:
        outcome |= next(iter(lake.query(sql("report/agreement"), of_run).to_pylist()), {})
    lines = list(_outcome_lines(outcome))
    for label, query, line_of in (("flawed", "flaws", _flaws), ("not readable", "unreadable", _unreadable)):
        if rows := lake.query(sql(f"report/{query}"), of_run).to_pylist():
            lines.append((label, line_of(rows)))
    for stage in textless_stages(lake, run_id):
        of = f"{stage.without:,} of {counted(stage.answers, 'answer')} of stage {stage.stage}"
        lines.append(("no text", f"{of}, which are neither judged nor paired: {stage.why()}"))
    for row in lake.query(sql("report/orders"), of_run).to_pylist():
        lines.append((row["stage"], _orders(row)))
    likeness = lake.query(sql("report/likeness"), of_run).to_pylist()
    lines.append(("pairs", ", ".join(f"{row['pairs']:,} {row['source']}" for row in likeness) or "none"))
    if outcome["accepted_trees"]:
        (savings,) = lake.query(sql("report/savings"), of_run).to_pylist()
        lines.append(("a refinement", _savings(savings)))
    rows = lake.query(sql("report/rows_by_table"), of_run).to_pylist()
    lines.append(("rows", ", ".join(f"{row['name']} {row['rows']:,}" for row in rows)))
    cost = lake.query(sql("report/cost"), of_run).to_pylist()
    return Summary(run_id, outcome, tuple(lines), frozenset({"flawed", "not readable"}), cost, likeness)


def print_summary(lake: Lake, run_id: str, console: Console, show: Mapping[str, Show] | None = None) -> None:
    """Prints a run's outcome, its cost, what was set aside, an example, and what to do next.

    Args:
        show: how the example's `tree` and `pair` are printed; None: only the commands that do so.
    """
    summary = read_summary(lake, run_id)
    outcome, likeness = summary.outcome, summary.likeness
    reason = f": {visible(outcome['reason'])}" if outcome["reason"] else ""
    title = Text.assemble(("run ", "dim"), (run_id, "bold"), f" {outcome['status']}{reason}")
    console.print(title + Text(f", {clock(outcome['elapsed_s'])} in all", "dim"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, text in summary.lines:
        grid.add_row(label, Text(visible(text), "yellow" if label in summary.warnings else ""))
    console.print(grid)
    console.print()
    _print_cost(summary.cost, console)
    _print_likeness(likeness, console)
    if outcome["call_errors"]:
        _print_set_aside(lake.query(sql("report/set_aside"), {"run_id": run_id}).to_pylist(), console)
    where = "" if lake.place.where == "lake" else f" --lake {shlex.quote(lake.place.where)}"
    for noun, id in (pick_example(lake, run_id) if likeness else {}).items():
        _print_command(f"factory {noun} {id[:12]}{where}", console)
        if show is not None:
            show[noun](lake, id, console)
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


def _orders(row: dict[str, Any]) -> str:
    """How often a comparing model contradicts itself when two answers change places."""
    said = f"{row['pairs']:,} times two answers were compared, {row['both']:,} of them readably in both orders"
    if not row["both"]:
        return said
    said += f"; the orders contradict each other in {row['contradicting']:,}{_share(row['contradicting'], row['both'])}"
    return f"{said}, whose mean counts" if row["contradicting"] else said


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


def _print_cost(rows: Sequence[dict[str, Any]], console: Console) -> None:
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
        trainer, config = _trained_by(json.loads(outcome["recipe"]), training_sets[0])
        yield f"factory train {trainer} --set {training_sets[0]} --model {model}{config}"
    yield "factory view"


def _trained_by(recipe: dict[str, Any], training_set: str) -> tuple[str, str]:
    """The trainer that a recipe names for a set, or that the set's format asks for, and the option with its presets."""
    for given in (recipe.get("train") or {}).values():
        if isinstance(given, dict) and given.get("set") == training_set:
            config = given.get("config") or []
            named = [config] if isinstance(config, str) else config
            trainer = given.get("trainer") or TRAINER[format_of(training_set)]
            return visible(str(trainer)), "".join(f" --config {shlex.quote(visible(str(one)))}" for one in named)
    return TRAINER[format_of(training_set)], ""


def pick_example(lake: Lake, run_id: str) -> dict[str, str]:
    """The run's most telling pair that is still easy to read, and its tree if it has one, as ids by `tree` and `pair`;
    empty without pairs."""
    rows = lake.query(sql("report/example"), {"run_id": run_id}).to_pylist()
    return {noun: id for noun, id in rows[0].items() if id is not None} if rows else {}
