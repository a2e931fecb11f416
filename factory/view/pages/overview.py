"""The lake at a glance: its runs and loops; one run over time; one loop's rounds side by side."""

from dataclasses import asdict

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from factory.monitor.rounds import figures_of, numbers_of, rounds_of, rounds_svg
from factory.monitor.status import RunStatus, read_status
from factory.view.asking import of_this_lake, query
from factory.view.errors import not_there
from factory.view.given import address_part
from factory.view.plots import Line, line
from factory.view.rewards import read_rewards, rewards_plot, rewards_tables
from factory.view.run_plots import run_plots
from factory.view.showing import Href, Page, Shown, is_file, routes
from stores.lake import Lake
from stores.locks import is_held
from stores.sql import sql

Figures = dict[tuple[int, str], RunStatus]
"""by snapshot and run"""
_SHOWN = (
    "run_id", "recipe", "status", "prompts", "done", "trees", "accepted", "acceptance", "requests", "tokens", "cost", "errors",
    "started_at",
)  # fmt: skip


def overview(request: Request) -> Page:
    """Runs and loops. Their figures take a while on a large lake: the page comes without them and asks for them then."""
    with of_this_lake(request) as lake:
        runs = query(lake, "overview_runs")
        counted = "figures" in request.query_params or is_file(request)
        active = is_held(lake.place)
        shown = _with_figures(request, lake, runs) if counted and runs.num_rows else runs
        given = {"loop_id": "", "held": is_held(lake.place, "loop")}
        loops = lake.query(sql("report/loops"), given)
        sets = query(lake, "overview_sets") if not runs.num_rows else None
    tables = [
        Shown("runs", shown, {"run_id": lambda row: f"/run/{address_part(row['run_id'])}"}, "Runs"),
        Shown("loops", loops, {"loop_id": lambda row: f"/loop/{address_part(row['loop_id'])}"}, "Loops"),
    ]
    if sets is not None:  # as in a lake that was pulled without lineage
        links: dict[str, Href] = {"training_set": lambda row: f"/sql?sql={address_part(row['sql'])}"}
        tables.append(Shown("sets", sets, links, "Training sets", hidden=("sql",)))
    wanted = not counted and bool(runs.num_rows)
    plots = [] if wanted else _over_time(shown)
    return Page("overview.html", "overview", {"wanted": wanted, "active": active, "plots": plots}, tables)


def _over_time(runs: pa.Table) -> list[Line]:
    """The runs that searched, by start: how many searches were accepted, and what they cost."""
    rows = [row for row in reversed(runs.to_pylist()) if row["trees"]]
    names = [row["run_id"] for row in rows]
    plots = [
        line("share of searches accepted, by run", [row["acceptance"] for row in rows], names),
        line("tokens generated, by run", [row["tokens"] for row in rows], names),
        line("cost by the recipes' prices, by run", [row["cost"] for row in rows], names),
    ]
    return [plot for plot in plots if plot is not None]


def _with_figures(request: Request, lake: Lake, runs: pa.Table) -> pa.Table:
    known = {row["run_id"]: row for row in runs.to_pylist()}
    rows = []
    for found in _statuses(request, lake, list(known)):
        acceptance = found.accepted / found.trees if found.trees else None
        errors = found.retries + found.failed
        rows.append({**known[found.run_id], **asdict(found), "acceptance": acceptance, "errors": errors})
    rows.sort(key=lambda row: (row["started_at"], row["run_id"]), reverse=True)
    return pa.Table.from_pylist([{name: row[name] for name in _SHOWN} for row in rows])


def _statuses(request: Request, lake: Lake, run_ids: list[str]) -> list[RunStatus]:
    """Each run's figures, counted once for each snapshot of the lake, as that takes long on a large one."""
    snapshot = lake.latest_snapshot()
    counted: Figures = request.app.state.figures
    if is_held(lake.place) or any((snapshot, run_id) not in counted for run_id in run_ids):
        counted = {(snapshot, found.run_id): found for found in read_status(lake)}
        request.app.state.figures = counted
    return [counted[snapshot, run_id] for run_id in run_ids if (snapshot, run_id) in counted]


def run(request: Request) -> Page:
    """One run: its figures, what it asked over time, how its searches ended or what it paid, and what it cost."""
    run_id = request.path_params["run_id"]
    with of_this_lake(request) as lake:
        found = [one for one in read_status(lake, run_id) if one.run_id == run_id]
        if not found:
            raise not_there(lake, "runs", run_id)
        (about,) = query(lake, "report_run", {"run_id": run_id}).to_pylist()
        cost = query(lake, "run_cost", {"run_id": run_id})
        plots = run_plots(lake, run_id)
        tables = [Shown("cost", cost, caption="What it asked of which model")]
        rewards = read_rewards(lake, run_id) if about["purpose"] == "training" else None
        if rewards is not None:
            tables = [*rewards_tables(lake, run_id, rewards), *tables]
    paid = rewards_plot(rewards) if rewards is not None else None
    context = {"run": found[0], "about": about, "plots": [*([paid] if paid else []), *plots], "rewards": rewards}
    return Page("run.html", run_id, context, tables)


def loop(request: Request) -> Page:
    """One loop: its rounds side by side, evaluations with their 95% intervals."""
    loop_id = request.path_params["loop_id"]
    with of_this_lake(request) as lake:
        rounds = rounds_of(lake, loop_id)
        if not rounds:
            raise not_there(lake, "loops", loop_id)
    names = [f"round {one['round']}" for one in rounds]
    drawn = [{"figure": name, **dict(zip(names, cells, strict=True))} for name, cells in figures_of(rounds)]
    runs = [(one["round"], one["run_id"]) for one in rounds if one["run_id"]]
    notes = [f"round {one['round']}: not kept, {reason}" for one in rounds for reason in one["not_kept"] or ()]
    caption = "Rounds; evaluations in percent with their 95% intervals"
    rows, figures = pa.Table.from_pylist(numbers_of(rounds)), pa.Table.from_pylist(drawn)
    shown = Shown("rounds", rows, caption=caption, drawn=figures)
    return Page("loop.html", loop_id, {"loop_id": loop_id, "runs": runs, "notes": notes}, [shown])


def rounds_plot(request: Request) -> Response:
    with of_this_lake(request) as lake:
        drawn = rounds_svg(lake, request.path_params["loop_id"])
        if drawn is None:
            raise not_there(lake, "loops", request.path_params["loop_id"])
    return Response(drawn, media_type="image/svg+xml")


ROUTES = [
    *routes("/", overview),
    *routes("/run/{run_id}", run),
    Route("/loop/{loop_id}/rounds.svg", rounds_plot),
    *routes("/loop/{loop_id}", loop),
]
