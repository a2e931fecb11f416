"""Where prompts and answers came from: known faults of data sets, licences of prompts, terms of generators."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from factory.audit.finding import Check, Measured, not_applicable, share
from factory.audit.rows import Audited


def known_faults(given: Audited) -> Measured:
    rows = given.known("source")
    faults: dict[str, str] = {}
    for source in rows["source"].unique().to_list():
        for known in _table()["faults"]:
            if re.search(known["match"], source.partition(" ")[0], re.IGNORECASE):
                faults[source] = f"{known['fault']} ({known['see']})"
    return share(rows, pl.col("source").is_in(list(faults)), detail=faults)


def licences(given: Audited) -> Measured:
    """An unknown licence is no licence: such rows cannot be passed on."""
    rows = given.known("source")
    if "licence" not in rows.columns:
        rows = rows.with_columns(licence=pl.lit(None, pl.String))
    restricted = f"(?i){_table()['restricted_licences']}"
    bad = pl.col("licence").is_null() | pl.col("licence").str.contains(restricted)
    counts = rows.with_columns(pl.col("licence").fill_null("unknown"))["licence"].value_counts(sort=True)
    return share(rows, bad, detail={f"licence {name}": count for name, count in counts.head(8).iter_rows()})


def generator_terms(given: Audited) -> Measured:
    sides = [side for side in ("chosen_model", "rejected_model") if side in given.rows.columns]
    rows = given.known("chosen_model")
    names = {name for side in sides for name in rows[side].drop_nulls().unique().to_list()}
    if not names:
        return not_applicable("it is not known which model wrote the answers")
    found = {name: terms for name in sorted(names) if (terms := terms_of(name))}
    bad = pl.any_horizontal(pl.col(side).is_in(list(found)).fill_null(False) for side in sides)
    return share(rows, bad, detail=found)


def terms_of(model: str) -> str | None:
    """The terms that restrict what a model's answers may be used for; None: none is known."""
    for known in _table()["generators"]:
        if re.search(known["match"], model, re.IGNORECASE):
            return str(known["terms"])
    return None


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    return table


CHECKS = (
    Check(
        "known_faults",
        "Share of rows whose prompt comes from a data set with a fault that was published.",
        known_faults,
        0.0,
        needs=("source",),
        of_prompts=True,
    ),
    Check(
        "licences",
        "Share of rows whose prompt has an unknown, non-commercial or otherwise restricted licence.",
        licences,
        0.0,
        needs=("source",),
        of_prompts=True,
    ),
    Check(
        "generator_terms",
        "Share of rows with an answer by a model whose terms restrict what its answers may be used for.",
        generator_terms,
        0.0,
        needs=("chosen_model",),
    ),
)
