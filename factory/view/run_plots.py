"""A run over time as lines: what it asked, and how its searches ended."""

from factory.view.asking import query
from factory.view.plots import Line, line
from stores.lake import Lake


def run_plots(lake: Lake, run_id: str) -> list[Line]:
    """Requests, tokens and accepted searches of a run; those of which there are two figures or more."""
    time = query(lake, "run_over_time", {"run_id": run_id}).to_pylist()
    searched = query(lake, "run_acceptance", {"run_id": run_id}).to_pylist()
    when = [row["started_at"].strftime("%H:%M:%S") for row in time]
    tokens = [None if row["tokens"] is None else row["tokens"] / row["seconds"] for row in time]
    plots = [
        line("requests a second", [row["requests"] / row["seconds"] for row in time], when),
        line("tokens a second", tokens, when),
        line(
            "share of searches accepted, in the order of the prompts",
            [row["accepted"] / row["trees"] for row in searched],
            [f"prompt {row['position']:,}" for row in searched],
        ),
    ]
    return [plot for plot in plots if plot is not None]
