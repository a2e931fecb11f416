"""Publishes a training set: rows, audit, facts and refusals, a folder, an upload."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from factory.audit.audit import Options, Report, audit_training_set
from factory.publishing.beside import file_name, write_beside
from factory.publishing.card import Card, card_text, citation_of
from factory.publishing.checks import Refusal, check_allowed, refusals, refuse
from factory.publishing.columns import Published, own_rows, published
from factory.publishing.errata import ERRATA, Errata, read_errata, with_version, write_errata
from factory.publishing.facts import Facts, facts_of
from factory.publishing.folder import folder_to_publish, size_of
from factory.publishing.hub import Place, There, check_private, check_token, look, upload
from factory.publishing.left_out import count_rejected, left_out, texts_left_out
from factory.publishing.lineage import CONFIGS, for_hub, lineage_tables, texts_of, without_addresses, without_names
from factory.publishing.manifest import FORMAT, MANIFEST, Manifest, Shard
from factory.publishing.plots import write_plots
from factory.publishing.shards import drop_leftovers, read_splits, write_shards
from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, fingerprint_of, read_training_set

Tell = Callable[[str], None]
Lock = Callable[[Lake, str], str | None]
"""Gives the text of a set's lock file; None: it cannot."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a publication's user asks for."""

    place: Place
    private: bool = False
    lineage: bool = False
    allowed: tuple[str, ...] = ()
    note: str | None = None
    against: tuple[str, ...] | None = None
    """evaluation sets; None: those in the cache"""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    model_licences: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A set that may be published, and all that its folder is written from."""

    facts: Facts
    report: Report
    tables: dict[tuple[str, str], pa.Table]
    """by config and split, as the Hub has them"""
    shape: Published
    exceptions: list[Refusal]
    errata: Errata


@dataclass(frozen=True, slots=True)
class Done:
    """A publication."""

    card: str
    files: int
    size_bytes: int
    commit: str | None
    """None: nothing was uploaded"""
    prepared: Prepared


def publish(
    lake: Lake, reference: str, asked: Asked, tell: Tell, *, out: Path | None = None, lock: Lock | None = None
) -> Done:
    """Publishes a training set, or writes what would be published.

    Args:
        out: a folder to write to instead of uploading; it takes the place of one written before.
    Raises:
        FactoryError: no such set, something that refuses it, a repository with other content, or a fault of the Hub.
    """
    check_allowed(asked.allowed)
    there = There(None, {})
    if out is None:
        check_token()
        tell(f"looking at {asked.place.repo}")
        there = look(asked.place, (ERRATA,))
        check_private(asked.place, there, asked.private)
    prepared = prepare(lake, reference, asked, there, tell)
    with folder_to_publish(out, MANIFEST) as folder:
        card = write(lake, prepared, asked, folder, tell, lock)
        files, size = size_of(folder)
        commit = None
        if out is None:
            tell(f"uploading {files} files, {size / 1e6:,.1f} MB, to {asked.place.repo}")
            commit = upload(
                asked.place,
                folder,
                private=asked.private,
                message=prepared.facts.reference,
                tag=f"v{prepared.facts.row.version}",
                head=there.head,
                tell=tell,
            )
    return Done(card, files, size, commit, prepared)


def prepare(lake: Lake, reference: str, asked: Asked, there: There, tell: Tell) -> Prepared:
    """Reads, audits and refuses.

    Raises:
        FactoryError: see `publish`.
    """
    tell("reading the rows")
    built = read_training_set(lake, reference)
    file_name(built.row.name)
    shape = published(built)
    before = read_errata(there.files[ERRATA], asked.place.repo) if ERRATA in there.files else None
    errata = with_version(lake, built, before, asked.note, asked.place.repo)
    removed = left_out(lake, built)
    report = audit_training_set(lake, reference, Options(asked.thresholds, against=asked.against), tell)
    tell("reading the lineage")
    lineage, texts = _lineage(lake, built, removed) if asked.lineage else ({}, texts_left_out(removed))
    facts = facts_of(lake, built, removed, asked.model_licences)
    found = refusals(report, facts, count_rejected(lake, built), texts, asked.allowed)
    refuse(found, facts.reference)
    tables = {("default", split): rows for split, rows in shape.splits.items()}
    if removed is not None:
        tables["removed", "train"] = removed.rename_columns([shape.renamed.get(n, n) for n in removed.column_names])
    tables |= {
        (name, "train"): for_hub(lineage[name]) for name in CONFIGS if name in lineage and lineage[name].num_rows
    }
    return Prepared(facts, report, tables, shape, found, errata)


def _lineage(lake: Lake, built: TrainingSetRows, removed: pa.Table | None) -> tuple[dict[str, pa.Table], pa.Table]:
    rows = [part for part in (built.train, built.held_out, removed) if part is not None]
    if any("prompt_id" not in part.column_names for part in rows):
        raise FactoryError(
            f"{built.row.name}@{built.row.version} has no lineage to publish, as its rows have no prompt_id: leave out "
            "--with-lineage, or add the column to its query"
        )
    prompts = sorted({id for part in rows for id in part.column("prompt_id").to_pylist() if id is not None})
    runs = msgspec.json.decode(built.row.parameters, type=dict[str, Any]).get("run_ids", [])
    with Lake.open(lake.place.where, at=built.row.snapshot) as pinned:
        found = without_names(dict(lineage_tables(pinned, prompts, runs)))
        return found, texts_of(pinned, found)


def write(lake: Lake, prepared: Prepared, asked: Asked, folder: Path, tell: Tell, lock: Lock | None) -> str:
    """Writes the folder; returns the card's text.

    Raises:
        FactoryError: the files do not read back to the set's fingerprint.
    """
    facts, shape = prepared.facts, prepared.shape
    tell("writing Parquet")
    shards = write_shards(prepared.tables, folder)
    drop_leftovers(folder)
    manifest = Manifest(
        format=FORMAT,
        schema_version=SCHEMA_VERSION,
        training_set=facts.row,
        columns=shape.columns,
        renamed=shape.renamed,
        left_out=shape.left_out,
        shards=shards,
    )
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    read = read_splits(folder, manifest, "default", "what was written")
    if fingerprint_of(own_rows(read, shape.columns, shape.renamed, shape.left_out)) != facts.row.fingerprint:
        raise FactoryError(
            f"{facts.reference} does not read back from Parquet to its fingerprint: nothing is published"
        )
    _check_types(prepared.tables)
    (folder / ERRATA).write_bytes(write_errata(prepared.errata))
    (folder / "CITATION.cff").write_text(citation_of(asked.place.repo, facts), "utf-8")
    write_beside(lake, facts, folder)
    locked = None
    if lock is not None and (text := lock(lake, facts.reference)) is not None:
        locked = lock_name(facts.reference)
        (folder / locked).write_text(without_addresses(text), "utf-8")
    card = card_text(
        Card(
            repo=asked.place.repo,
            facts=facts,
            report=prepared.report,
            configs=manifest.configs(),
            key=_key(shards),
            column_names=next(iter(shape.splits.values())).column_names,
            errata=prepared.errata.versions,
            exceptions=prepared.exceptions,
            plots=write_plots(prepared.report, folder),
            lock=locked,
        )
    )
    (folder / "README.md").write_text(card, "utf-8")
    return card


def lock_name(reference: str) -> str:
    """The name of a set's lock file beside its card."""
    return f"{reference.partition('@')[0]}.lock.yaml"


def _key(shards: Sequence[Shard]) -> str:
    return shards[0].path.split("/")[1]


def _check_types(tables: Mapping[tuple[str, str], pa.Table]) -> None:
    """Raises:
    FactoryError: a column of a type that `datasets`, and so the Hub's viewer, cannot load.
    """
    import datasets

    for (config, _), rows in tables.items():
        for column in rows.schema:
            try:
                datasets.Features.from_arrow_schema(pa.schema([column]))
            except (ValueError, TypeError) as error:
                raise FactoryError(
                    f"column {column.name} of config {config} has type {column.type}, which the Hub's viewer cannot load: "
                    "cast it in the set's query"
                ) from error
