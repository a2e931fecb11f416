"""Another judge about a training set's pairs: how often it thinks the chosen side worse, asked in both orders.

A judge that chose the pairs itself flatters them: SPaR's own refiner agrees with 90.5% of them, another model with 79.0%
(arXiv:2412.11605). The sample is written as a file of labelled pairs and compared as `factory evaluate judge --labelled` does.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from factory.audit.finding import Check, Finding, Measured, judged
from factory.audit.rows import as_polars, row_ids
from factory.evaluation.judging import Run, evaluate_labelled
from factory.evaluation.labelled import imported, read_labelled
from factory.evaluation.recipes import labelled_recipe
from factory.inference.settings import ModelSettings
from factory.templates.rendering import conversation
from schemas.errors import FactoryError
from schemas.ids import seed_of
from schemas.tables import Evaluation, Message
from stores.lake import Lake
from stores.training_sets import TrainingSetRows

CHECK = Check(
    "second_judge",
    "Share of a sample of pairs whose chosen side another judge, asked in both orders, thinks worse.",
    lambda given: Measured(None, why_not="give --second-judge N and --judge MODEL to ask another judge"),
    0.25,
)


def ask_second_judge(
    lake: Lake,
    built: TrainingSetRows,
    judge: ModelSettings,
    count: int,
    reasons: bool,
    run: Run,
    threshold: float | None = None,
) -> Finding:
    """Asks another judge about so many pairs, chosen by their ids' hashes; its answers are a run of purpose evaluation.

    Args:
        lake: writable; no other run may be using it.
        reasons: whether the judge reasons before it decides.
        run: carries out a run.
    Raises:
        FactoryError: the set has no pairs whose sides differ, or the judge cannot be asked.
    """
    name = f"{built.row.name}@{built.row.version}"
    lines = sample(built, count)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}-{len(lines)}-pairs.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        labelled = imported(read_labelled(file), lake.place.where, lambda what, rows: None)
        recipe = labelled_recipe(judge, labelled.run_id, reasons, {})
        figures = {row.metric: row for row in evaluate_labelled(lake, labelled, recipe, 0, run)}
    return judged(CHECK, _measured(figures), threshold)


def sample(built: TrainingSetRows, count: int) -> list[str]:
    """Labelled pairs as JSON lines; in half of them, by hash, the chosen side is output 1.

    Raises:
        FactoryError: the rows are no pairs, or none has two different sides.
    """
    reference = f"{built.row.name}@{built.row.version}"
    if built.row.format != "preference":
        raise FactoryError(
            f"training set {reference} has no pairs to ask another judge about: leave out --second-judge"
        )
    rows = pl.concat([as_polars(table) for table in (built.train, built.held_out) if table.num_rows])
    ids = row_ids(rows).to_list()
    found: dict[tuple[str, ...], str] = {}
    for id, row in sorted(zip(ids, rows.select("prompt", "chosen", "rejected").to_dicts(), strict=True), key=_by_hash):
        asked = conversation([Message(turn["role"], turn["content"]) for turn in row["prompt"]])
        chosen, rejected = (row[side][-1]["content"] for side in ("chosen", "rejected"))
        if not asked.strip() or not chosen.strip() or not rejected.strip() or chosen.strip() == rejected.strip():
            continue
        label = 1 + seed_of("second judge", id) % 2
        outputs = (chosen, rejected) if label == 1 else (rejected, chosen)
        line = {"input": asked, "output_1": outputs[0], "output_2": outputs[1], "label": label}
        found.setdefault((asked, *sorted(outputs)), json.dumps(line, ensure_ascii=False))
        if len(found) == count:
            break
    if not found:
        raise FactoryError(
            f"training set {reference} has no pair whose sides differ: `factory audit` shows which are equal"
        )
    return list(found.values())


def _by_hash(row: tuple[str, object]) -> int:
    return seed_of("second judge's sample", row[0])


def _measured(figures: dict[str, Evaluation]) -> Measured:
    """Of the judge's accuracy, what is missing to 1."""
    agreed, bias = figures["accuracy"], figures["position_bias"]
    if agreed.value is None or agreed.low is None or agreed.high is None:
        return Measured(None, why_not="the second judge decided no pair")
    shown = {"undecided": figures["undecided"].value, "same position wins in both orders": bias.value}
    detail = {name: round(value, 3) for name, value in shown.items() if value is not None}
    return Measured(
        1 - agreed.value, 1 - agreed.high, 1 - agreed.low, agreed.examples, detail={**detail, "run": agreed.run_id}
    )
