"""A training set's columns as the Hub names them, and back: what is read again has the set's own fingerprint."""

from dataclasses import dataclass

import pyarrow as pa

from schemas.errors import FactoryError
from stores.training_sets import TrainingSetRows, fingerprint_of

SCORES = {"chosen_value": "score_chosen", "rejected_value": "score_rejected"}
SPLITS = {"train": "train", "test": "held_out"}
"""the Hub's name of a split, and the lake's"""


@dataclass(frozen=True, slots=True)
class Published:
    """The rows as the Hub's config `default` has them, and what leads back from them."""

    splits: dict[str, pa.Table]
    columns: list[str]
    renamed: dict[str, str]
    left_out: list[str]


def published(built: TrainingSetRows) -> Published:
    """A set's rows under the Hub's names.

    Columns that are NULL in every row are left out, and dictionaries become their values: `datasets` reads neither well.

    Raises:
        FactoryError: the rows would not read back to the fingerprint.
    """
    rows = pa.concat_tables([built.train, built.held_out])
    names = rows.column_names
    columns = _with_split(built, names)
    renamed = (
        {own: new for own, new in SCORES.items() if own in names and new not in names} if "chosen" in names else {}
    )
    left_out = [name for name in names if rows.column(name).null_count == rows.num_rows]
    splits = {
        split: _plain(
            part.drop_columns(left_out).rename_columns([renamed.get(n, n) for n in names if n not in left_out])
        )
        for split, part in (("train", built.train), ("test", built.held_out))
        if part.num_rows
    }
    made = Published(splits, columns, {own: new for own, new in renamed.items() if own not in left_out}, left_out)
    if fingerprint_of(own_rows(splits, made.columns, made.renamed, made.left_out)) != built.row.fingerprint:
        name = f"{built.row.name}@{built.row.version}"
        raise FactoryError(
            f"training set {name} cannot be published, as its rows would not read back to its fingerprint: let its ORDER BY "
            "begin with split DESC, cast columns of unusual types to VARCHAR or DOUBLE, and build it again"
        )
    return made


def own_rows(splits: dict[str, pa.Table], columns: list[str], renamed: dict[str, str], left_out: list[str]) -> pa.Table:
    """The rows under the set's own names, in its order: `fingerprint_of` gives the set's fingerprint.

    Raises:
        KeyError: a column is missing.
    """
    parts = []
    for split, own in SPLITS.items():
        if split not in splits:
            continue
        part = splits[split]
        given = {
            name: part.column(renamed.get(name, name)) for name in columns if name != "split" and name not in left_out
        }
        given |= {name: pa.nulls(part.num_rows) for name in left_out}
        given["split"] = pa.array([own] * part.num_rows, pa.string())
        parts.append(pa.table({name: given[name] for name in columns}))
    return pa.concat_tables(parts, promote_options="permissive")


def _with_split(built: TrainingSetRows, names: list[str]) -> list[str]:
    """The columns with `split` where the query has it: the fingerprint says where."""
    for place in range(len(names) + 1):
        columns = [*names[:place], "split", *names[place:]]
        splits = {split: part for split, part in (("train", built.train), ("test", built.held_out)) if part.num_rows}
        if fingerprint_of(own_rows(splits, columns, {}, [])) == built.row.fingerprint:
            return columns
    return ["split", *names]  # another order of rows: told by `published`


def _plain(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).cast(field.type.value_type))
    return rows.replace_schema_metadata(None)
