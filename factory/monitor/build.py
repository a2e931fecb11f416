"""Builds a training set and says what is in it, beside the control where it has one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from schemas.errors import FactoryError
from stores.lake import Lake
from stores.likeness import words
from stores.training_sets import TrainingSetRows, build_training_set, training_set_sql, write_parquet

CONTROL = "independent_dpo"


def build_and_report(
    lake: Lake, name: str, parameters: Mapping[str, Any], run_ids: list[str] | None, out: Path | None, console: Console
) -> None:
    """Builds, pins, writes Parquet and prints rows, classes, lengths and likeness.

    Args:
        run_ids: the runs it is made of, by id or beginning; None: every run of the lake.
        out: folder of the Parquet files; None: `training_sets/NAME@VERSION` in the lake's folder, or below this one.
    """
    training_set_sql(name)  # a misspelt name is said before anything that is missing in the lake
    runs = _runs(lake, run_ids)
    built = build_training_set(lake, name, parameters, runs)
    reference = f"{built.row.name}@{built.row.version}"
    folder = out or (lake.place.folder or Path()) / "training_sets" / reference
    files = write_parquet(built, folder)
    rows = pa.concat_tables([built.train, built.held_out])
    console.print(f"[bold]{reference}[/bold], pinned at snapshot {built.row.snapshot} of {', '.join(runs)}")
    console.print(f"fingerprint {built.row.fingerprint}")
    _print_rows(built, rows, console)
    if built.row.format == "preference":
        _print_likeness(lake, runs, name, rows, console)
    for file in files:
        console.print(f"wrote {file}", soft_wrap=True)
    if not built.held_out.num_rows:
        console.print("no prompt fell into the held-out split: -p held_out=0.25 holds out more")


def _runs(lake: Lake, run_ids: list[str] | None) -> list[str]:
    known: list[str] = lake.query("SELECT run_id FROM current_runs ORDER BY run_id").column(0).to_pylist()
    chosen = [run for run in known if run_ids is None or any(run.startswith(word) for word in run_ids)]
    if not chosen:
        raise FactoryError(
            f"lake {lake.place.where} has no such run: it has {', '.join(known) or 'none'}; `factory run` makes one"
        )
    return chosen


def _print_rows(built: TrainingSetRows, rows: pa.Table, console: Console) -> None:
    table = Table("class", "rows", "train", "held out", "words of the prompt", "words of the answer")
    for column in range(1, 6):
        table.columns[column].justify = "right"
    classes = sorted(set(rows.column("class").to_pylist()))
    for name in [*classes, "all"] if len(classes) > 1 else classes:
        part, train, held_out = (
            side if name == "all" else side.filter(pc.equal(side.column("class"), name))
            for side in (rows, built.train, built.held_out)
        )
        answer = "chosen" if "chosen" in rows.column_names else "completion"
        table.add_row(
            name,
            str(part.num_rows),
            str(train.num_rows),
            str(held_out.num_rows),
            _lengths(part, "prompt"),
            _lengths(part, answer),
        )
    console.print(table)


def _lengths(rows: pa.Table, column: str) -> str:
    """Median and greatest number of words."""
    counts = sorted(sum(len(words(turn["content"])) for turn in turns) for turns in rows.column(column).to_pylist())
    return f"{counts[len(counts) // 2]} (at most {counts[-1]})"


def _print_likeness(lake: Lake, runs: list[str], name: str, rows: pa.Table, console: Console) -> None:
    """How alike chosen and rejected are: this set beside the control of passing over failing sampled answers."""
    table = Table("pairs", "number", "similarity", "length ratio", "shared prefix (words)", title="likeness, means")
    sides = [(name, rows)]
    if name != CONTROL:
        control = lake.query(
            "SELECT similarity, length_ratio, shared_prefix_words FROM pairs "
            "WHERE source = 'sampling' AND list_contains($runs, run_id) ORDER BY pair_id",
            {"runs": runs},
        )
        sides.append((f"{CONTROL} (control)", control))
    for label, side in sides:
        if side.num_rows:
            means = [pc.mean(side.column(c)).as_py() for c in ("similarity", "length_ratio", "shared_prefix_words")]
            table.add_row(label, str(side.num_rows), *(f"{mean:.2f}" for mean in means))
    console.print(table)
