"""A loop's rounds side by side: a table in the terminal, and a plot."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.monitor.plain_text import clock, label, money, visible
from stores.lake import Lake
from stores.locks import is_held
from stores.sql import sql
from stores.whole import whole_file

DRIFT = {
    "acceptance": "trees accepted",
    "share_with_pair": "prompts with a pair",
    "value_gap": "value gap of pairs",
    "similarity": "likeness of pairs",
    "chosen_words": "words, chosen",
    "rejected_words": "words, rejected",
    "answer_words": "words, all answers",
    "diversity": "diversity (distinct-2)",
    "judge_agreement": "judge agrees with verifier",
    "judge_flips": "judge flips between orders",
    "unanimous": "votes unanimous",
}
"""columns of `loop_rounds`, and what people read"""
SECONDS = {"run_s": "run", "build_s": "build", "train_s": "train", "evaluate_s": "evaluate"}
HEADLINES = (
    "instruction_loose",
    "prompt_strict",
    "instruction_loose_seen",
    "instruction_loose_unseen",
    "agreement",
    "fixed",
)
"""the metrics that the table and the plot show, if an evaluation has them"""


def rounds_of(lake: Lake, loop_id: str) -> list[dict[str, Any]]:
    """A loop's rounds with their figures, in order; `evaluations` of each by role, benchmark and metric."""
    rounds: list[dict[str, Any]] = lake.query(sql("report/rounds"), {"loop_id": loop_id}).to_pylist()
    measured = lake.query(sql("report/round_evaluations"), {"loop_id": loop_id}).to_pylist()
    for one in rounds:
        one["evaluations"] = {
            f"{row['role']} {row['benchmark']} {row['metric']}": row for row in measured if row["round"] == one["round"]
        }
    return rounds


def print_loops(lake: Lake, loop_id: str, console: Console) -> int:
    """Prints the loops whose ids have this prefix; if there is just one, its rounds. Returns how many there are."""
    loops = lake.query(sql("report/loops"), {"loop_id": loop_id, "held": is_held(lake.place, "loop")}).to_pylist()
    for one in loops:
        done = "no step is done" if one["round"] is None else f"done up to {one['step']} of round {one['round']}"
        why = f" ({visible(one['reason'])})" if one["reason"] else ""
        again = "" if one["status"] in ("running", "finished") else f"; factory resume {one['loop_id']} continues it"
        told = f"  {one['status']}{why}, {done} of {one['rounds']}{again}"
        console.print(Text.assemble(("loop ", "dim"), (one["loop_id"], "bold"), told), soft_wrap=True)
    if len(loops) == 1:
        print_rounds(lake, loops[0]["loop_id"], console)
    return len(loops)


def print_rounds(lake: Lake, loop_id: str, console: Console) -> None:
    """Prints a table with a column for each round; rows without any figure are left out."""
    rounds = rounds_of(lake, loop_id)
    if not rounds:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(loop_id, overflow="fold")
    for one in rounds:
        table.add_column(f"round {one['round']}", justify="right")
    for name, cells in figures_of(rounds):
        table.add_row(Text(visible(name)), *(Text(visible(cell)) for cell in cells))
    console.print(table)
    for one in rounds:
        for reason in one["not_kept"] or ():
            console.print(Text(f"round {one['round']}: not kept, {visible(reason)}", "yellow"), soft_wrap=True)


def figures_of(rounds: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What is shown of rounds: each figure's name and its cells, one per round; figures that no round has are left out."""
    figures = [(words, [_number(one[name]) for one in rounds]) for name, words in DRIFT.items()]
    headline = [name for name in _metrics(rounds) if name.rpartition(" ")[2] in HEADLINES]
    for name in headline or _metrics(rounds):
        figures.append((name, [_with_interval(one["evaluations"].get(name)) for one in rounds]))
    figures.append(("kept", ["" if one["kept"] is None else ", ".join(one["kept"]) for one in rounds]))
    for name in ("requests", "tokens"):
        figures.append((f"{name} paid", ["" if one[name] is None else f"{one[name]:,}" for one in rounds]))
    figures.append(("cost", ["" if one["cost"] is None else money(one["cost"]) for one in rounds]))
    for name, words in SECONDS.items():
        figures.append((f"time to {words}", ["" if one[name] is None else clock(one[name]) for one in rounds]))
    return [(name, cells) for name, cells in figures if any(cells)]


def numbers_of(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rounds as rows of a table: all that the lake has of each, every evaluation with both ends of its 95% interval."""
    metrics = _metrics(rounds)
    return [
        {name: value for name, value in one.items() if name != "evaluations"}
        | {
            f"{metric}{end}": one["evaluations"].get(metric, {}).get(column)
            for metric in metrics
            for end, column in (("", "value"), (" low", "low"), (" high", "high"))
        }
        for one in rounds
    ]


def plot_rounds(lake: Lake, loop_id: str, file: Path) -> bool:
    """Writes `rounds_svg` to a file; returns whether there was anything to plot."""
    if (drawn := rounds_svg(lake, loop_id)) is None:
        return False
    with whole_file(file) as part:
        part.write_text(drawn, "utf-8")
    return True


def rounds_svg(lake: Lake, loop_id: str) -> str | None:
    """An SVG with a panel for each figure over the rounds, evaluations with their 95% intervals; None: nothing to plot."""
    rounds = rounds_of(lake, loop_id)
    points: list[dict[str, Any]] = []
    for one in rounds:
        for name, words in DRIFT.items():
            if one[name] is not None:
                points.append({"panel": words, "round": one["round"], "value": one[name], "low": None, "high": None})
        for name, row in one["evaluations"].items():
            if row["value"] is not None and row["metric"] in HEADLINES:
                points.append(
                    {"panel": label(name), "round": one["round"]} | {key: row[key] for key in ("value", "low", "high")}
                )
    if not points:
        return None
    from lets_plot import (
        LetsPlot,
        aes,
        facet_wrap,
        geom_errorbar,
        geom_line,
        geom_point,
        ggplot,
        ggsize,
        ggtitle,
        labs,
        scale_x_continuous,
        theme_light,
    )

    LetsPlot.set_theme(theme_light())
    columns = {key: [point[key] for point in points] for key in points[0]}
    panels = len(set(columns["panel"]))
    plot = (
        ggplot(columns, aes("round", "value"))
        + geom_line(color="#1f5fa8")
        + geom_errorbar(aes(ymin="low", ymax="high"), width=0.15, color="#1f5fa8")
        + geom_point(size=3, color="#1f5fa8")
        + facet_wrap("panel", ncol=3, scales="free_y")
        + scale_x_continuous(breaks=sorted(set(columns["round"])))
        + labs(x="round", y="")
        + ggtitle(label(loop_id))
        + ggsize(960, 120 + 200 * -(-panels // 3))
    )
    return str(plot.to_svg())


def headline(lake: Lake, loop_id: str) -> str:
    """The rounds so far in one line, for the live display."""
    told = []
    for one in rounds_of(lake, loop_id):
        figures = [
            f"{name} {_with_interval(row)}"
            for name, row in one["evaluations"].items()
            if row["metric"] in HEADLINES[:1]
        ]
        if one["acceptance"] is not None:
            figures.insert(0, f"{one['acceptance']:.0%} of trees accepted")
        if figures:
            told.append(f"round {one['round']}: {', '.join(figures)}")
    return "; ".join(told)


def _metrics(rounds: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for one in rounds for name in one["evaluations"]))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _with_interval(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    interval = "" if row["low"] is None else f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    return f"{100 * row['value']:.1f}{interval}"
