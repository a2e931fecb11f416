"""`errata.json`: every published version of a set, and what changed and why; nothing is replaced without a word."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import polars as pl
import pyarrow as pa

from factory.audit.rows import as_polars, row_ids
from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, read_training_set

ERRATA = "errata.json"


class Erratum(msgspec.Struct, frozen=True, kw_only=True):
    """A published version. Counts are of rows against the version before; NULL: it is not known any more."""

    version: int
    fingerprint: str
    snapshot: int
    created_at: datetime
    rows: int
    added: int | None
    removed: int | None
    changed: int | None
    """rows with the same id and another content"""
    note: str | None


class Errata(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of one set, in order."""

    name: str
    versions: list[Erratum]


def read_errata(text: bytes, whose: str) -> Errata:
    """Raises:
    FactoryError: it does not fit.
    """
    try:
        return msgspec.json.decode(text, type=Errata)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FactoryError(
            f"{whose}: its {ERRATA} does not fit what `factory publish` writes: publish elsewhere"
        ) from error


def write_errata(errata: Errata) -> bytes:
    return msgspec.json.format(msgspec.json.encode(errata), indent=1) + b"\n"


def with_version(lake: Lake, built: TrainingSetRows, before: Errata | None, note: str | None, repo: str) -> Errata:
    """The errata with this version.

    Args:
        before: what is published already.
        note: what changed and why.
    Raises:
        FactoryError: another set or version is published there, this one with other rows, or nothing says why it changes.
    """
    row = built.row
    earlier = before.versions if before is not None else []
    if before is not None and before.name != row.name:
        raise FactoryError(f"{repo} holds the training set {before.name}, not {row.name}: give another name")
    same = next((one for one in earlier if one.version == row.version), None)
    if same is not None and same.fingerprint != row.fingerprint:
        raise FactoryError(
            f"{repo} has {row.name}@{row.version} with the fingerprint {same.fingerprint[:12]}, and this lake's has "
            f"{row.fingerprint[:12]}: a published version never changes; give another name"
        )
    if any(one.version > row.version for one in earlier):
        raise FactoryError(
            f"{repo} has {row.name}@{max(one.version for one in earlier)}, which is later than {row.version}: publish that "
            "elsewhere, or build it again"
        )
    if same is not None:
        changed = msgspec.structs.replace(same, note=note or same.note)
        return Errata(name=row.name, versions=[*(one for one in earlier if one is not same), changed])
    if earlier and not note:
        raise FactoryError(
            f'{repo} has {row.name}@{earlier[-1].version} already: say what changed and why with --note "…", which the card '
            "and errata.json keep"
        )
    added, removed, changed_rows = _difference(lake, built, earlier)
    new = Erratum(
        version=row.version,
        fingerprint=row.fingerprint,
        snapshot=row.snapshot,
        created_at=row.created_at,
        rows=row.train_rows + row.held_out_rows,
        added=added,
        removed=removed,
        changed=changed_rows,
        note=note,
    )
    return Errata(name=row.name, versions=[*earlier, new])


def _difference(
    lake: Lake, built: TrainingSetRows, earlier: Sequence[Erratum]
) -> tuple[int | None, int | None, int | None]:
    """Rows added, removed and changed since the last published version."""
    if not earlier:
        return None, None, None
    last = earlier[-1]
    known = lake.read(TrainingSet, "fingerprint = $f AND name = $n", {"f": last.fingerprint, "n": built.row.name})
    if not known:
        return None, None, None  # published from another lake
    try:
        old = read_training_set(lake, f"{known[0].name}@{known[0].version}")
    except FactoryError:
        return None, None, None  # its snapshot is gone
    then, now = _hashed(old), _hashed(built)
    return (
        now.join(then, on="id", how="anti").height,
        then.join(now, on="id", how="anti").height,
        now.join(then, on="id").filter(pl.col("hash") != pl.col("hash_right")).height,
    )


def _hashed(built: TrainingSetRows) -> pl.DataFrame:
    rows = as_polars(pa.concat_tables([built.train, built.held_out]))
    content = rows.select(name for name in ("prompt", "chosen", "rejected", "completion") if name in rows.columns)
    return pl.DataFrame({"id": row_ids(rows).cast(pl.String), "hash": content.hash_rows(seed=0)})
