"""The progress of a lake's runs, from its rows alone, even while another process is writing to it.

Rows are committed every few seconds, those of a tree when it ends, so the display lags a little behind.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, fields

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from factory.monitor.plain_text import NOT_TOLD, clock, few, money, visible
from factory.monitor.table import bar, table_of
from factory.recipes.reading import recipe_of
from factory.runs.pending import pending_prompts
from factory.runs.places import with_places
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.locks import is_held
from stores.sql import sql

REFRESH_EVERY_S = 2.0
_STYLES = {"running": "cyan", "finished": "green", "interrupted": "yellow", "stopped": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's status from its rows; see stores/sql/report/status.sql."""

    run_id: str
    status: str
    """running, finished, stopped, failed, or interrupted: its process died"""
    reason: str | None
    prompts: int
    done: int | None
    """prompts that need nothing more; None: the recipe can no longer be read"""
    answered: int
    judged: int
    failing: int
    trees: int
    accepted: int
    set_aside: int
    readings: int
    """votes, scores, comparisons and refinements"""
    unreadable: int
    """of `readings`"""
    requests: int
    from_journal: int
    failed: int
    """requests given up"""
    retries: int
    tokens: int | None
    """None: the endpoint told none"""
    tokens_per_s: float | None
    cost: float | None
    """in the currency of the recipe's prices; None if it has none"""
    elapsed_s: float
    """of the latest attempt"""
    left_s: float | None
    """None: not running, or not known yet"""


def read_status(lake: Lake, run_id: str = "", now_s: float | None = None) -> list[RunStatus]:
    """The runs whose ids have this prefix, by the time of their latest attempts.

    Args:
        now_s: seconds since 1970; None: now.
    """
    now_s = time.time() if now_s is None else now_s
    given = {"run_id": run_id, "held": is_held(lake.place), "now_s": now_s}
    found = []
    for row in lake.query(sql("report/status"), given).to_pylist():
        done, left_s = _done(lake, row)
        known = {"done": done, "left_s": left_s, "elapsed_s": row["until_s"] - row["since_s"], **row}
        found.append(RunStatus(**{field.name: known[field.name] for field in fields(RunStatus)}))
    return found


def _done(lake: Lake, row: dict[str, object]) -> tuple[int | None, float | None]:
    """How many prompts of a run are done, and the seconds left at the rate of this attempt."""
    run_id, prompts = str(row["run_id"]), int(str(row["prompts"]))
    if row["status"] == "finished":
        return prompts, None
    try:
        recipe = recipe_of(with_places(str(row["recipe"]), run_id), f"run {run_id}")
    except FactoryError:
        return None, None  # the user's own template or training set is gone
    left = pending_prompts(lake, run_id, recipe)
    done = prompts - left.num_rows
    since_s, first_s, now_s = row["since_s"], row["first_call_s"], row["until_s"]
    if row["status"] != "running" or not isinstance(first_s, float) or not isinstance(now_s, float):
        return done, None
    touched = lake.query(
        "SELECT DISTINCT prompt_id FROM calls WHERE run_id = $run_id AND epoch(started_at) >= $since_s",
        {"run_id": run_id, "since_s": since_s},
    )
    done_since = touched.num_rows - _common(touched, left)
    return done, (now_s - first_s) / done_since * left.num_rows if done_since and left.num_rows else None


def _common(one: pa.Table, other: pa.Table) -> int:
    return pc.sum(pc.is_in(one.column("prompt_id"), value_set=other.column("prompt_id").combine_chunks())).as_py() or 0


def print_status(lake: Lake, run_id: str, console: Console) -> None:
    """Prints one run in full, several as a table."""
    found = read_status(lake, run_id)
    if len(found) == 1:
        console.print(picture_of(found[0]))
    else:
        table_of(_as_table(found), console, limit=1_000)


def watch_status(lake: Lake, run_id: str, console: Console) -> None:
    """Refreshes every REFRESH_EVERY_S until no run is active, or Ctrl-C.

    Raises:
        FactoryError: the console is not a terminal.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        raise FactoryError("--watch needs a terminal: leave it out to see the status once")
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            found = read_status(lake, run_id)
            active = [run for run in found if run.status == "running"]
            # At most one run is active; if none is, the newest shows how it ended.
            live.update(Group(*(picture_of(run) for run in active or found[-1:])), refresh=True)
            if not active:
                return
            time.sleep(REFRESH_EVERY_S)


def picture_of(run: RunStatus) -> RenderableType:
    """A run as a few lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    left = f", about {clock(run.left_s)} left" if run.left_s is not None else ""
    title = Text.assemble((run.run_id, "bold"), "  ", (run.status, _STYLES.get(run.status, "")))
    grid.add_row("run", title + Text(f"  {clock(run.elapsed_s)} since it last started{left}", "dim"))
    if run.reason:
        grid.add_row("why", Text(visible(run.reason)))
    if run.done is not None:
        grid.add_row("prompts", bar(run.done, run.prompts, "done"))
    grid.add_row("", f"{run.answered:,} answered, {run.judged:,} judged, {run.failing:,} with an answer that failed")
    share = f" ({run.accepted / run.trees:.0%})" if run.trees else ""
    grid.add_row("trees", f"{run.trees:,} searched: {run.accepted:,} gave a pair{share}")
    if run.unreadable:
        share = f"{run.unreadable:,} of {run.readings:,} ({run.unreadable / run.readings:.0%})"
        grid.add_row(
            "not readable", Text(f"{share} votes, scores, comparisons and refinements: FROM readings", "yellow")
        )
    grid.add_row("requests", f"{run.requests:,} answered, {run.from_journal:,} read from the journal")
    if run.failed or run.retries:
        grid.add_row("errors", f"{run.retries:,} requests repeated, {run.failed:,} given up")
    rate = "" if run.tokens_per_s is None else f", {run.tokens_per_s:,.0f}/s{_of_when(run)}"
    grid.add_row("tokens", NOT_TOLD if run.tokens is None else f"{run.tokens:,} generated{rate}")
    if run.cost is not None:
        grid.add_row("cost", f"{money(run.cost)}, by the recipe's prices; answers from the journal cost nothing")
    if run.set_aside:
        grid.add_row("set aside", Text(f"{run.set_aside:,}: factory sql 'FROM failed_prompts'", "yellow"))
    if run.status == "interrupted":
        grid.add_row("", Text(f"its process died: factory resume {run.run_id} continues it", "yellow"))
    return grid


def _of_when(run: RunStatus) -> str:
    return " in the last minute" if run.status == "running" else " on average"


def _as_table(runs: list[RunStatus]) -> pa.Table:
    """Runs as rows, for `table_of`."""
    shown = [
        {
            "run": run.run_id,
            "status": run.status,
            "prompts": f"{'?' if run.done is None else run.done} of {run.prompts}",
            "trees": run.trees,
            "accepted": run.accepted,
            "requests": run.requests,
            "tokens": run.tokens,
            "tokens/s": None if run.tokens_per_s is None else few(run.tokens_per_s),
            "errors": run.retries + run.failed,
            "cost": None if run.cost is None else money(run.cost),
            "left": None if run.left_s is None else clock(run.left_s),
        }
        for run in runs
    ]
    names = (
        "run",
        "status",
        "prompts",
        "trees",
        "accepted",
        "requests",
        "tokens",
        "tokens/s",
        "errors",
        "cost",
        "left",
    )
    return pa.Table.from_pylist(shown) if shown else pa.table({name: pa.array([], pa.string()) for name in names})
