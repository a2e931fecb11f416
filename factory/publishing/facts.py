"""What a card says of a training set, read from the lake's rows: nothing here is written by hand."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from factory.audit.rows import as_polars
from factory.audit.words import word_count
from factory.publishing.licences import Licence, licence_of_model, together
from factory.publishing.lineage import recipe_of_run, without_addresses
from schemas.tables import Model, Run, TrainingRun, TrainingSet
from stores.lake import Lake
from stores.parameters import those_used
from stores.sql import sql
from stores.training_sets import TrainingSetRows

_IDS = ("prompt_id", "run_id", "pair_id", "response_id")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_DEPTH = 20
"""trainings that a model's licence is looked for through"""


@dataclass(frozen=True, slots=True)
class Source:
    """Where prompts come from."""

    source: str
    licence: str | None
    prompts: int
    rows: int
    share: float


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that answered, judged or refined for the set's prompts."""

    model_id: str
    name: str
    revision: str | None
    origin: str
    licence: str | None
    roles: tuple[str, ...]
    temperatures: tuple[float, ...]
    calls: int
    chosen: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words of a column's texts."""

    column: str
    mean: float
    median: float
    most: int


@dataclass(frozen=True, slots=True)
class MadeBy:
    """A run that the set's rows come from."""

    run_id: str
    recipe: Mapping[str, Any]
    seed: int
    code_version: str
    templates: Mapping[str, str]

    @property
    def is_import(self) -> bool:
        """Whether its rows came from a file, so that it has no recipe to run again."""
        return self.recipe.get("name") == "import"


@dataclass(frozen=True, slots=True)
class Facts:
    """A training set's facts."""

    row: TrainingSet
    parameters: Mapping[str, Any]
    prompts: int
    classes: dict[str, int]
    languages: dict[str | None, int]
    sources: tuple[Source, ...]
    models: tuple[ModelUse, ...]
    judges: tuple[dict[str, Any], ...]
    measured: tuple[dict[str, Any], ...]
    """evaluations of the judging models as judges"""
    agreements: tuple[dict[str, Any], ...]
    trees: tuple[dict[str, Any], ...]
    reviews: tuple[dict[str, Any], ...]
    """people's current reviews of the set's pairs, by verdict"""
    runs: tuple[MadeBy, ...]
    lengths: tuple[Lengths, ...]
    likeness: dict[str, float]
    papers: tuple[str, ...]
    licence: Licence
    removed: dict[str, int]
    """rows that were left out, by why"""

    @property
    def reference(self) -> str:
        return f"{self.row.name}@{self.row.version}"

    @property
    def rows(self) -> int:
        return self.row.train_rows + self.row.held_out_rows

    @property
    def made_at(self) -> datetime:
        return self.row.created_at


def facts_of(lake: Lake, built: TrainingSetRows, removed: pa.Table | None, model_licences: Mapping[str, str]) -> Facts:
    """The facts of a set.

    Args:
        lake: as it is now, for what has been measured since.
        removed: rows that were left out, with `removed_because`.
        model_licences: licences that the publisher names.
    """
    row = built.row
    parameters = json.loads(row.parameters)
    runs = [run for run in parameters.get("run_ids") or [] if isinstance(run, str)]
    rows = pa.concat_tables([built.train, built.held_out])
    with Lake.open(lake.place.where, at=row.snapshot) as pinned:
        asked = _asked(pinned, rows, runs)
    models = tuple(_model(lake, found, model_licences) for found in asked["models"])
    judging = [found["model_id"] for found in asked["judges"] if found["model_id"]]
    made_by = tuple(_made_by(run) for run in asked["runs"])
    sources = tuple(
        Source(
            without_addresses(s["source"] or "unknown"),
            s["licence"],
            s["prompts"],
            s["rows"],
            s["rows"] / rows.num_rows,
        )
        for s in asked["sources"]
    )
    return Facts(
        row=row,
        parameters=parameters,
        prompts=_distinct(rows, "prompt_id"),
        classes=_counts(rows, "class"),
        languages={found["language"]: found["prompts"] for found in asked["languages"]},
        sources=sources,
        models=models,
        judges=tuple(asked["judges"]),
        measured=tuple(lake.query(sql("publishing/measured"), {"models": judging, "role": "judge"}).to_pylist()),
        agreements=tuple(asked["agreement"]),
        trees=tuple(asked["trees"]),
        reviews=tuple(asked["reviews"]),
        runs=made_by,
        lengths=_lengths(rows),
        likeness=_likeness(rows),
        papers=tuple(dict.fromkeys(_ARXIV.findall("\n".join([row.sql, *(json.dumps(r.recipe) for r in made_by)])))),
        licence=together([*(s.licence for s in sources), *(m.licence for m in models)]),
        removed={} if removed is None else _counts(removed, "removed_because"),
    )


def _asked(pinned: Lake, rows: pa.Table, runs: list[str]) -> dict[str, list[Any]]:
    given = [
        rows.column(n).cast(pa.string()) if n in rows.column_names else pa.nulls(rows.num_rows, pa.string())
        for n in _IDS
    ]
    pinned.connection.register("published", pa.table(dict(zip(_IDS, given, strict=True))))
    found: dict[str, list[Any]] = {}
    for name in ("sources", "languages", "models", "judges", "trees", "agreement", "reviews"):
        text = sql(f"publishing/{name}")
        found[name] = pinned.query(text, those_used(pinned.connection, text, {"runs": runs})).to_pylist()
    pinned.connection.unregister("published")
    where = "run_event_id IN (SELECT run_event_id FROM current_runs WHERE list_contains($runs, run_id))"
    found["runs"] = sorted(pinned.read(Run, where, {"runs": runs}), key=lambda run: run.run_id)
    return found


def _made_by(run: Run) -> MadeBy:
    return MadeBy(run.run_id, recipe_of_run(run.recipe), run.seed, run.code_version, run.templates)


def _model(lake: Lake, found: dict[str, Any], given: Mapping[str, str]) -> ModelUse:
    return ModelUse(
        model_id=found["model_id"],
        name=found["name"],
        revision=found["revision"],
        origin=without_addresses(found["origin"]),
        licence=model_licence(lake, found["name"], found["training_run_id"], given),
        roles=tuple(role for role in found["roles"] if role),
        temperatures=tuple(t for t in found["temperatures"] if t is not None),
        calls=found["calls"],
        chosen=found["chosen"],
        rejected=found["rejected"],
    )


def model_licence(lake: Lake, name: str, training_run_id: str | None, given: Mapping[str, str]) -> str | None:
    """A model's licence: by its name, else that of the model it was trained from; None: unknown."""
    for _ in range(_DEPTH):
        licence = licence_of_model(name, given)
        if licence is not None or training_run_id is None:
            return licence
        runs = lake.read(TrainingRun, "training_run_id = $id", {"id": training_run_id})
        if not runs:
            return None
        starts = lake.read(Model, "model_id = $id", {"id": runs[0].start_model_id}) if runs[0].start_model_id else []
        if not starts:
            return licence_of_model(runs[0].base_model.removeprefix("embedded:"), given)
        name, training_run_id = starts[0].name, starts[0].training_run_id
    return None


def _distinct(rows: pa.Table, column: str) -> int:
    return int(pc.count_distinct(rows.column(column)).as_py()) if column in rows.column_names else 0


def _counts(rows: pa.Table, column: str) -> dict[str, int]:
    if column not in rows.column_names:
        return {}
    counted = as_polars(rows.select([column])).to_series().cast(pl.String).value_counts(sort=True)
    return dict(sorted(counted.iter_rows(), key=lambda found: (-found[1], str(found[0]))))


def _lengths(rows: pa.Table) -> tuple[Lengths, ...]:
    """Of the texts in words, counted as likeness counts them."""
    found = []
    for column in ("prompt", "chosen", "rejected", "completion"):
        if column not in rows.column_names:
            continue
        texts = as_polars(rows.select([column])).select(
            text=pl.col(column).list.eval(pl.element().struct.field("content").cast(pl.String)).list.join(" ")
        )
        words = texts.select(words=word_count("text"))["words"]
        found.append(Lengths(column, float(words.mean() or 0), float(words.median() or 0), int(words.max() or 0)))  # type: ignore[arg-type]
    return tuple(found)


def _likeness(rows: pa.Table) -> dict[str, float]:
    names = [name for name in ("similarity", "length_ratio", "shared_prefix_words") if name in rows.column_names]
    means = {name: pc.mean(rows.column(name)).as_py() for name in names}
    return {name: float(mean) for name, mean in means.items() if mean is not None}
