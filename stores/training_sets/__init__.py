"""Training sets: queries (`*.sql` beside this file), built at a snapshot, pinned to it, and read again from it."""

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from schemas.errors import FactoryError, nearest
from schemas.ids import canonical_json, content_id
from schemas.tables import TrainingSet
from stores.faults import verify
from stores.lake import Lake
from stores.named_files import read_named
from stores.parameters import checked, defaults
from stores.sql import views
from stores.training_sets.fitting import COLUMNS, check_rows
from stores.training_sets.rows import ONLY, WITHOUT, kept_rows, rows_again, rows_as_pinned, rows_now
from stores.training_sets.templates import chat_templates
from stores.whole import whole_folder

FOLDER = Path(__file__).parent
_SLICE = 10_000
_FORMAT = re.compile(r"^-- Out: (preference|prompt_completion|prompt);", re.MULTILINE)


class NoRows(FactoryError):
    """A training set whose query returns no rows."""


class NoneLeft(NoRows):
    """A training set all of whose rows were left out."""


class Refused(FactoryError):
    """A training set whose rows are beyond a threshold of its recipe."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination of a set's rows asks for before they are pinned."""

    excluded_prompts: tuple[str, ...]
    """prompts whose rows are left out, and pinned as a set of their own, NAME.removed"""
    audit: str
    """for the set's row: JSON"""


Examine = Callable[[str, str, pa.Table, int], Examined]
"""Is given a set's name, format, rows and snapshot; raises FactoryError to refuse them."""


@dataclass(frozen=True, slots=True)
class TrainingSetRows:
    """A built training set. Columns of `train` and `held_out`, both conversational (lists of {role, content}):
    preference: prompt, chosen, rejected; prompt_completion: prompt, completion; prompt: prompt; then class and lineage."""

    row: TrainingSet
    train: pa.Table
    held_out: pa.Table
    removed: TrainingSet | None = None
    """when it was built: the set of the rows that were left out"""


def known_training_sets() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.sql"))


def training_set_sql(name: str) -> str:
    """The query of a bundled training set by name, or of the user's own by file path."""
    _, text = read_named(FOLDER, ".sql", name, "training set")
    return text


def check_parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values given for a training set's parameters, in their types.

    Raises:
        FactoryError: no such set, an unknown parameter, or a value of another type.
    """
    return checked(training_set_sql(name), given, "training set", fixed=("run_ids",))


def build_training_set(
    lake: Lake, name: str, given: Mapping[str, Any], run_ids: list[str], examine: Examine | None = None
) -> TrainingSetRows:
    """Runs a training set's query at the newest snapshot and pins it.

    Args:
        given: values for the query's parameters; the rest keep their defaults.
        run_ids: the runs it is built from.
        examine: may refuse the rows, or leave prompts out; the parameters then name the prompts, so that the set is read
            again as it was built.
    Raises:
        FactoryError: no such set, an unknown parameter, a query that is refused, rows that do not fit the format or were
            others when asked again, or (NoRows) no rows.
    """
    query = training_set_sql(name)
    name = Path(name).stem
    lake.check_writable()
    values = checked(query, given, "training set", fixed=("run_ids",))
    parameters = {**defaults(query), **values, "run_ids": sorted(run_ids)}
    format = _format_of(query, name)
    rows, snapshot = rows_now(lake, name, query, parameters)
    if rows.num_rows == 0:
        raise NoRows(
            f"training set {name} has no rows in {', '.join(parameters['run_ids']) or 'this lake'}: see `factory status`, "
            "or lower its thresholds"
        )
    check_rows(rows, name, format)
    fingerprint = fingerprint_of(rows)
    again = rows_again(lake, name, query, parameters, snapshot)
    if again is not None and fingerprint_of(again) != fingerprint:
        raise FactoryError(
            f"training set {name}: its query gave other rows when it was asked again: let its ORDER BY end with an id, and "
            "choose among rows by an id's hash"
        )
    examined = examine(name, format, rows, snapshot) if examine is not None else None
    unnumbered = TrainingSet(
        training_set_id="",
        name=name,
        version=0,
        snapshot=snapshot,
        sql=query,
        views=views(),
        parameters=canonical_json(parameters),
        format=format,
        chat_template_hashes=chat_templates(lake, parameters["run_ids"], format, rows),
        audit=examined.audit if examined is not None else None,
        train_rows=0,
        held_out_rows=0,
        fingerprint="",
        created_at=datetime.now(UTC),
    )
    if examined is None or not examined.excluded_prompts:
        return _pin(lake, unnumbered, rows)
    prompts = list(examined.excluded_prompts)
    without, only = {**parameters, WITHOUT: prompts}, {**parameters, ONLY: prompts}
    left = kept_rows(rows, without)
    if left.num_rows == 0:
        raise NoneLeft(f"training set {name} has no rows left: all its prompts overlap with the evaluation sets")
    apart = replace(unnumbered, name=f"{name}.removed", parameters=canonical_json(only), audit=None)
    removed = _pin(lake, apart, kept_rows(rows, only)).row
    built = _pin(lake, replace(unnumbered, parameters=canonical_json(without)), left)
    return replace(built, removed=removed)


def _pin(lake: Lake, unnumbered: TrainingSet, rows: pa.Table) -> TrainingSetRows:
    train_rows = sum(split == "train" for split in rows.column("split").to_pylist())
    counted = replace(
        unnumbered,
        train_rows=train_rows,
        held_out_rows=rows.num_rows - train_rows,
        fingerprint=fingerprint_of(rows),
    )
    return _split(_pinned(lake, counted), rows)


def _pinned(lake: Lake, built: TrainingSet) -> TrainingSet:
    """The row with the next version, once it is in the lake; or the earlier row with the same fingerprint.

    A set that was examined is not the same as one that was not, or otherwise: its row says what was found and allowed.

    The version is chosen in the transaction that commits it: of builds at the same time, none gets another's.
    """
    pinned = built

    def choose() -> tuple[list[TrainingSet], str]:
        nonlocal pinned
        earlier = [t for t in lake.read(TrainingSet) if t.name == built.name]
        alike = sorted((t for t in earlier if t.fingerprint == built.fingerprint), key=lambda t: t.version)
        unasked = alike[0] if alike and built.audit is None else None
        same = next((t for t in alike if t.audit == built.audit), unasked)
        if same is not None:
            pinned = same
            return [], ""
        if not lake.query("SELECT 1 FROM lake.snapshots() WHERE snapshot_id = $s", {"s": built.snapshot}).num_rows:
            raise FactoryError(f"training set {built.name}: its snapshot has just been expired: build it again")
        version = max((t.version for t in earlier), default=0) + 1
        set_id = content_id("training_set", built.name, version, built.fingerprint)
        pinned = replace(built, training_set_id=set_id, version=version)
        return [pinned], f"training set {built.name}@{version}"

    lake.append_decided(choose, {"snapshot": built.snapshot})
    return pinned


def find_training_set(lake: Lake, reference: str) -> TrainingSet:
    """The row of `name@version`, or of the newest version of `name`."""
    name, _, version = reference.partition("@")
    sets = lake.read(TrainingSet)
    found = [t for t in sets if t.name == name and (not version or str(t.version) == version)]
    if not found:
        known = sorted(f"{t.name}@{t.version}" for t in sets)
        if name in {file.stem for file in FOLDER.glob("*.sql")} - {t.name for t in sets}:
            way = f"`factory build {name}` makes one"
        else:
            way = nearest(reference, known, "it has") if known else "it has none; `factory build` makes one"
        raise FactoryError(f"lake {lake.place.where} has no training set {reference}: {way}")
    return max(found, key=lambda t: t.version)


def read_training_set(lake: Lake, reference: str) -> TrainingSetRows:
    """A training set's rows, queried again at its pinned snapshot.

    Raises:
        FactoryError: no such set, a query that may do more than read the lake, or rows that have changed since it was built
            (the fingerprints differ).
    """
    row = find_training_set(lake, reference)
    return _split(row, pinned_rows(lake, row))


def pinned_rows(lake: Lake, row: TrainingSet) -> pa.Table:
    """All rows of a training set in their order, with the column `split`.

    Raises:
        FactoryError: as `read_training_set`.
    """
    rows = rows_as_pinned(lake, row)
    if row.format not in COLUMNS:
        raise FactoryError(f"training set {row.name}@{row.version} has a format that is not known: {row.format!r}")
    check_rows(rows, row.name, row.format, texts=False)
    if not has_fingerprint(rows, row.fingerprint):
        raise FactoryError(
            f"training set {row.name}@{row.version} has fingerprint {fingerprint_of(rows)[:12]}, but "
            f"{row.fingerprint[:12]} was built: its rows have changed since, so data may be damaged; do not train on it, but "
            f"see what {verify(lake.place.where)} says, and restore what it names from a backup"
        )
    return rows


def has_fingerprint(rows: pa.Table, fingerprint: str) -> bool:
    """Whether these are the rows that a set was built of."""
    return fingerprint_of(rows) == fingerprint or _earliest_fingerprint_of(rows) == fingerprint


def fingerprint_of(rows: pa.Table) -> str:
    """SHA-256 over the SHA-256 of every 10,000 rows as JSON lines, in order; independent of how the rows are stored."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda first: hashlib.sha256(_json_lines(rows, first)).digest(), _slices(rows))
        return hashlib.sha256(b"".join(digests)).hexdigest()


def _earliest_fingerprint_of(rows: pa.Table) -> str:
    """SHA-256 over all rows as JSON lines: the fingerprint of the oldest training sets."""
    digest = hashlib.sha256()
    for first in _slices(rows):
        digest.update(_json_lines(rows, first))
    return digest.hexdigest()


def _slices(rows: pa.Table) -> range:
    return range(0, rows.num_rows, _SLICE)


def _json_lines(rows: pa.Table, first: int) -> memoryview:
    import polars

    lines = io.BytesIO()
    # Polars writes JSON several times as fast as Python, where most of a build would be spent.
    polars.DataFrame(rows.slice(first, _SLICE)).write_ndjson(lines)
    return lines.getbuffer()


def write_parquet(built: TrainingSetRows, folder: Path) -> list[Path]:
    """`train.parquet` and `test.parquet` (the held-out split), as `datasets` names them; empty splits are skipped.

    They replace the folder as a whole: one set's training rows never lie beside another's held-out rows.

    Raises:
        FactoryError: the folder holds other files.
    """
    splits = {"train.parquet": built.train, "test.parquet": built.held_out}
    with whole_folder(folder, splits) as made:
        for name, rows in splits.items():
            if rows.num_rows:
                pyarrow.parquet.write_table(rows, made / name, compression="zstd")
    return [folder / name for name, rows in splits.items() if rows.num_rows]


def _split(row: TrainingSet, rows: pa.Table) -> TrainingSetRows:
    import pyarrow.compute as pc

    plain = rows.drop_columns(["split"])
    train = pc.equal(rows.column("split"), "train")
    if pc.all(train.slice(0, row.train_rows)).as_py():  # ordered by split: cut, not copied
        return TrainingSetRows(row, plain.slice(0, row.train_rows), plain.slice(row.train_rows))
    return TrainingSetRows(row, plain.filter(train), plain.filter(pc.invert(train)))


def format_of(name: str) -> str:
    """The format of a training set's rows: preference, prompt_completion or prompt."""
    return _format_of(training_set_sql(name), name)


def _format_of(query: str, name: str) -> str:
    found = _FORMAT.search(query)
    if found is None:
        raise FactoryError(
            f"training set {name}: its SQL header must declare its output format: '-- Out: preference; ...', "
            "'-- Out: prompt_completion; ...' or '-- Out: prompt; ...'"
        )
    return found[1]
