"""Builds training sets and reports what is in them, and how similar the sides of their pairs are."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.audit.audit import AuditSettings, examination
from factory.monitor.plain_text import visible
from factory.runs.audit_settings import settings_of
from factory.runs.places import with_places
from schemas.errors import FactoryError
from schemas.objectives import NARROW_GAP
from stores.checksums import keep_checksums, refuse_damage
from stores.lake import Lake
from stores.likeness import words
from stores.training_sets import NoRows, TrainingSetRows, build_training_set, training_set_sql, write_parquet

LIKENESS = ("similarity", "length_ratio", "shared_prefix_words")


def build_and_report(
    lake: Lake,
    name: str | None,
    parameters: Mapping[str, Any],
    run_ids: list[str] | None,
    out: Path | None,
    console: Console,
    asked: AuditSettings | None = None,
    allowed: Sequence[str] = (),
) -> None:
    """Builds, pins, writes Parquet and prints rows, classes, lengths and likeness.

    Args:
        name: a training set; None: all that the runs' recipes name.
        run_ids: the runs to use, by id or prefix; None: every run of the lake.
        out: folder for the Parquet files; None: `training_sets/NAME@VERSION` in the lake's folder, else in this one.
        asked: thresholds and evaluation sets beside those of the runs' recipes.
        allowed: checks that may be beyond their thresholds.
    Raises:
        FactoryError: no such set or run, a damaged lake, a set whose rows a check refuses, or one without rows; of several
            sets, only if all have none.
    """
    if name is not None:
        training_set_sql(name)  # reports a misspelt name before anything missing in the lake
    runs = _runs(lake, run_ids)
    names = [name] if name is not None else _named_by_recipes(lake, runs)
    examine = examination(lake, _with_recipes(lake, runs, asked), allowed)
    refuse_damage(lake)
    empty: list[NoRows] = []
    for one in names:
        try:
            built = build_training_set(lake, one, parameters, runs, examine)
        except NoRows as error:
            empty.append(error)
            continue
        reference = f"{built.row.name}@{built.row.version}"
        folder = out or (lake.place.folder or Path()) / "training_sets" / reference
        _report(
            lake, built, runs, write_parquet(built, folder / reference if out and len(names) > 1 else folder), console
        )
    if len(empty) == len(names):
        raise empty[0]
    keep_checksums(lake)
    for reason in empty:
        console.print(Text(f"left out: {reason}", "yellow"), soft_wrap=True)


def _with_recipes(lake: Lake, runs: list[str], asked: AuditSettings | None) -> AuditSettings:
    theirs = settings_of(lake, runs)
    if asked is None:
        return theirs
    against = tuple(dict.fromkeys((*theirs.decontaminate, *asked.decontaminate)))
    return AuditSettings({**theirs.thresholds, **asked.thresholds}, against)


def _runs(lake: Lake, run_ids: list[str] | None) -> list[str]:
    """The runs asked for, or all that were made for data: an evaluation's answers never train a model."""
    known: list[str] = lake.query("SELECT run_id FROM data_runs ORDER BY run_id").column(0).to_pylist()
    chosen = [run for run in known if run_ids is None or any(run.startswith(word) for word in run_ids)]
    if not chosen:
        raise FactoryError(
            f"lake {lake.place.where} has no such run: it has {', '.join(known) or 'none'}; `factory run` starts one"
        )
    return chosen


def _named_by_recipes(lake: Lake, runs: list[str]) -> list[str]:
    recipes = lake.query(
        "SELECT run_id, recipe FROM current_runs WHERE list_contains($runs, run_id) ORDER BY started_at", {"runs": runs}
    )
    found = [with_places(run["recipe"], run["run_id"]) for run in recipes.to_pylist()]
    named = [name for recipe in found for name in recipe.get("training_sets", ())]
    if not named:
        raise FactoryError("the recipes of these runs name no training sets: give one, as in `factory build spar_dpo`")
    return list(dict.fromkeys(named))


def _report(lake: Lake, built: TrainingSetRows, runs: list[str], files: list[Path], console: Console) -> None:
    rows = pa.concat_tables([built.train, built.held_out])
    reference = f"{built.row.name}@{built.row.version}"
    pinned = f", pinned at snapshot {built.row.snapshot} of {', '.join(runs)}"
    console.print(Text.assemble((reference, "bold"), pinned), soft_wrap=True)
    console.print(f"fingerprint {built.row.fingerprint}")
    _print_rows(built, rows, console)
    if set(LIKENESS) <= set(rows.column_names):
        _print_likeness(lake, runs, reference, rows, console)
    if {"chosen_win_rate", "rejected_win_rate"} <= set(rows.column_names):
        _print_win_rates(rows, console)
    if built.row.audit is not None:
        _print_audit(built, console)
    for file in files:
        console.print(Text(f"wrote {file}"), soft_wrap=True)
    if not built.held_out.num_rows:
        console.print("no prompt is in the held-out split: -p held_out=0.25 holds out more")


def _print_win_rates(rows: pa.Table, console: Console) -> None:
    """The spread of the win rates that a model is trained towards, and a warning if there is hardly any."""
    chosen, rejected = (rows.column(f"{side}_win_rate") for side in ("chosen", "rejected"))
    gap = statistics.median(pc.subtract(chosen, rejected).to_pylist())
    rates = chosen.to_pylist() + rejected.to_pylist()
    said = (
        f"win rates: {min(rates):.3f} to {max(rates):.3f}, standard deviation {statistics.pstdev(rates):.3f}, median gap "
        f"between chosen and rejected {gap:.3f}"
    )
    console.print(Text(said), soft_wrap=True)
    if gap < NARROW_GAP:
        console.print(
            Text(
                "the judge prefers hardly any answer, so that there is little to learn: take another judge, let it give its "
                "reasons (stages.compare.reasons=true), or sample answers that differ more",
                "yellow",
            ),
            soft_wrap=True,
        )


def _print_audit(built: TrainingSetRows, console: Console) -> None:
    """What was asked of the rows before they were pinned, from the set's row."""
    found = json.loads(built.row.audit or "{}")
    for name, check in found.get("checks", {}).items():
        figure = check.get("reason") or f"{check['figure']:.3g} (threshold {check['threshold']:g})"
        allowed = ", allowed" if check["allowed"] else ""
        console.print(Text(visible(f"audit: {name} {check['status']}{allowed}: {figure}")), soft_wrap=True)
    if "decontaminated" in found:
        against = ", ".join(found["decontaminated"]) or "no evaluation set"
        said = f"decontaminated against {against}: {found['removed_prompts']:,} prompts left out"
        if built.removed is not None:
            count = built.removed.train_rows + built.removed.held_out_rows
            said += f", their {count:,} rows are {built.removed.name}@{built.removed.version}"
        console.print(Text(visible(said)), soft_wrap=True)


def _print_rows(built: TrainingSetRows, rows: pa.Table, console: Console) -> None:
    table = Table("class", "rows", "train", "held out", "words of the prompt", "words of the answer")
    for column in table.columns[1:]:
        column.justify = "right"
    classes = sorted(set(rows.column("class").to_pylist())) if "class" in rows.column_names else []
    parts = {name: _of_class(rows, built, name) for name in classes}
    if len(classes) != 1:
        parts["all"] = (rows, built.train, built.held_out)
    for name, (part, train, held_out) in parts.items():
        answer = next((column for column in ("chosen", "completion") if column in rows.column_names), None)
        figures = (str(side.num_rows) for side in (part, train, held_out))
        answered = _lengths(part, answer) if answer is not None else "none"
        table.add_row(Text(visible(str(name))), *figures, _lengths(part, "prompt"), answered)
    console.print(table)


def _of_class(rows: pa.Table, built: TrainingSetRows, name: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    sides = (side.filter(pc.equal(side.column("class"), name)) for side in (rows, built.train, built.held_out))
    part, train, held_out = sides
    return part, train, held_out


def _lengths(rows: pa.Table, column: str) -> str:
    """Median and maximum number of words."""
    counts = sorted(sum(len(words(turn["content"])) for turn in turns) for turns in rows.column(column).to_pylist())
    return f"{counts[len(counts) // 2]} (at most {counts[-1]})"


def _print_likeness(lake: Lake, runs: list[str], reference: str, rows: pa.Table, console: Console) -> None:
    """How similar chosen and rejected are: in this set, and in each pairing of the same runs."""
    table = Table("pairs", "number", "similarity", "length ratio", "shared prefix (words)", title="likeness, means")
    pairs = lake.query(
        "SELECT source, similarity, length_ratio, shared_prefix_words FROM pairs WHERE list_contains($runs, run_id) "
        "ORDER BY source, pair_id",
        {"runs": runs},
    )
    sources = sorted(set(pairs.column("source").to_pylist()))
    sides = {reference: rows} | {f"all {s}": pairs.filter(pc.equal(pairs.column("source"), s)) for s in sources}
    for label, side in sides.items():
        means = [pc.mean(side.column(name)).as_py() for name in LIKENESS]
        table.add_row(
            Text(visible(label)), str(side.num_rows), *("" if mean is None else f"{mean:.2f}" for mean in means)
        )
    console.print(table)
