"""Figures of judges and refiners in a terminal, with what each means, and what changed when answers were judged again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.evaluation.again import WORDS, JudgedAgain
from factory.evaluation.figures import Figure
from factory.monitor.plain_text import counted, shortened, visible
from schemas.tables import Evaluation
from stores.lake import Lake

MEANINGS = {
    "agreement": "same verdict",
    "f1": "F1 of finding what passes",
    "f1_failing": "F1 of finding what fails",
    "kappa": "agreement beyond chance: 0 is chance, 1 perfect",
    "pass_rate": "passed by this judge",
    "true_pass_rate": "passed by the verifier",
    "pass_rate_before": "passed by the earlier judge",
    "undecided": "no verdict: unreadable or a tie; left out above",
    "accuracy": "prefers the labelled output, both orders averaged",
    "single_order_accuracy": "the same in one order alone",
    "position_bias": "the same position wins in both orders",
    "first_position_wins": "the output shown first wins; 50% is unbiased",
    "length_bias": "the longer output wins",
    "longer_is_better": "the same among the labels: the unbiased length bias",
    "fixed": "passes the judge and has no flaw",
    "fixed_by_verifier": "the same by the verifier",
    "unreadable": "no refinement could be read",
    "flawed": "cut off, an echo, unchanged, or otherwise flawed",
    "changed": "of the words changed: 1 - similarity",
    "changed_where_fixed": "the same where it was fixed",
    "failing": "of the actor's answers failed, and were refined",
}
OF_PAIRS = {"f1": "mean of both sides' F1"}
OF_REFINERS = {"undecided": "the judge has no verdict: not fixed"}
TEXT_CHARACTERS = 70


def print_judged(title: str, rows: Sequence[Evaluation], console: Console) -> None:
    """Prints figures of a judge or a refiner, and what they were made from."""
    figures = {row.metric: Figure(row.value, row.low, row.high, row.examples) for row in rows}
    console.print(Text(visible(title), "bold"))
    console.print(_table(figures))
    first = rows[0]
    if json.loads(first.settings).get("self_judge"):
        console.print(Text("a self-judge: the refiner judged its own refinements, which flatters it", "yellow"))
    console.print(
        Text(f"run {first.run_id}, prompts {first.prompts_hash[:12]}: FROM evaluations", "dim"), soft_wrap=True
    )


def _table(figures: Mapping[str, Figure]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric")
    for name in ("value", "95% interval", "of"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("meaning", style="dim")
    meanings = MEANINGS | (OF_PAIRS if "accuracy" in figures else OF_REFINERS if "fixed" in figures else {})
    for metric, one in figures.items():
        known = one.low is not None and one.high is not None
        between = f"{_shown(metric, one.low)} to {_shown(metric, one.high)}" if known else ""
        table.add_row(metric, _shown(metric, one.value), between, f"{one.examples:,}", meanings.get(metric, ""))
    return table


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.2f}" if metric == "kappa" or metric.startswith("f1") else f"{value:.1%}"


def print_again(lake: Lake, again: JudgedAgain, limit: int, console: Console) -> None:
    """Prints which verdicts changed: a table of flips, agreement and kappa, and the answers that flipped."""
    earlier = again.earlier
    before = f"{earlier.judge or 'the deciding judges'} of {earlier.run_id}"
    console.print(Text(visible(f"{before} against {again.judge} of {again.run_id}"), "bold"), soft_wrap=True)
    if not again.changes:
        console.print("no answer has verdicts of both")
        return
    counts = again.table
    verdicts = (True, False, None)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("before ↓  now →")
    for after in verdicts:
        table.add_column(WORDS[after], justify="right")
    for verdict in verdicts:
        table.add_row(WORDS[verdict], *(f"{counts[verdict, after]:,}" for after in verdicts))
    console.print(table)
    console.print()
    console.print(_table(again.figures))
    console.print()
    _print_flipped(lake, again, limit, console)


def _print_flipped(lake: Lake, again: JudgedAgain, limit: int, console: Console) -> None:
    flipped = again.flipped
    console.print(
        f"{counted(len(flipped), 'answer')} of {len(again.changes):,} changed" + (":" if flipped and limit else "")
    )
    shown = flipped[:limit]
    if not shown:
        return
    ids = [one.response_id for one in shown]
    found = lake.query("SELECT response_id, text FROM responses WHERE list_contains($ids, response_id)", {"ids": ids})
    texts = {row["response_id"]: row["text"] for row in found.to_pylist()}
    table = Table("answer", "before", "now", "text", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for one in shown:
        text = shortened(texts.get(one.response_id, ""), TEXT_CHARACTERS)
        table.add_row(one.response_id[:12], WORDS[one.before], WORDS[one.after], Text(text))
    console.print(table)
    if len(flipped) > limit:
        console.print(Text(f"the first {limit} shown (--rows, --format json)", "dim"))


def again_as_json(again: JudgedAgain) -> str:
    """Everything that `print_again` shows, and all flipped answers, as JSON."""
    return json.dumps(
        {
            "run_id": again.run_id,
            "before": asdict(again.earlier),
            "table": [
                {"before": WORDS[before], "after": WORDS[after], "answers": times}
                for (before, after), times in sorted(again.table.items(), key=lambda item: str(item[0]))
            ],
            "figures": {metric: asdict(figure) for metric, figure in again.figures.items()},
            "flipped": [
                {
                    "prompt_id": one.prompt_id,
                    "response_id": one.response_id,
                    "before": WORDS[one.before],
                    "after": WORDS[one.after],
                }
                for one in again.flipped
            ],
        },
        indent=1,
    )
