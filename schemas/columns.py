"""A table is defined once: a frozen dataclass whose fields carry their meaning.

The Arrow schema, the lake's DDL and `docs/schema.md` are all generated from it, so they cannot drift apart.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa


def column(meaning: str, unit: str | None = None) -> Any:
    """A table's column: its meaning in one line and the unit of its numbers."""
    return field(metadata={"meaning": meaning, "unit": unit})


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    arrow: pa.DataType
    sql: str
    nullable: bool
    meaning: str
    unit: str | None


_SCALARS: dict[Any, tuple[pa.DataType, str]] = {
    str: (pa.string(), "VARCHAR"),
    int: (pa.int64(), "BIGINT"),
    float: (pa.float64(), "DOUBLE"),
    bool: (pa.bool_(), "BOOLEAN"),
    datetime: (pa.timestamp("us", tz="UTC"), "TIMESTAMPTZ"),
}


def _types(annotation: Any) -> tuple[pa.DataType, str]:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list:
        arrow, sql = _types(arguments[0])
        return pa.list_(arrow), f"{sql}[]"
    if origin is dict:
        (key, key_sql), (value, value_sql) = map(_types, arguments)
        return pa.map_(key, value), f"MAP({key_sql}, {value_sql})"
    if isinstance(annotation, types.UnionType):
        return _types(_without_none(annotation))
    if dataclasses.is_dataclass(annotation):
        members = [(name, *_types(kind)) for name, kind in typing.get_type_hints(annotation).items()]
        struct = pa.struct([(name, arrow) for name, arrow, _ in members])
        return struct, f"STRUCT({', '.join(f'{name} {sql}' for name, _, sql in members)})"
    raise TypeError(f"no column type for {annotation!r}")


def _without_none(annotation: types.UnionType) -> Any:
    (kind,) = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return kind


def columns(table: type) -> list[Column]:
    """The table's columns in declaration order; `X | None` is a nullable column."""
    hints = typing.get_type_hints(table)
    described = []
    for member in dataclasses.fields(table):
        annotation = hints[member.name]
        nullable = isinstance(annotation, types.UnionType)
        arrow, sql = _types(annotation)
        meta = member.metadata
        described.append(Column(member.name, arrow, sql, nullable, meta["meaning"], meta["unit"]))
    return described


def arrow_schema(table: type) -> pa.Schema:
    return pa.schema([pa.field(c.name, c.arrow, nullable=c.nullable) for c in columns(table)])


def to_arrow(table: type, rows: Sequence[Any]) -> pa.Table:
    """Rows (instances of `table`) as an Arrow table of `arrow_schema(table)`."""
    schema = arrow_schema(table)
    arrays = [pa.array(_plain(getattr(row, f.name) for row in rows), type=f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(values: Iterable[Any]) -> list[Any]:
    """Nested dataclasses as dicts, which Arrow accepts as structs."""
    return [
        [dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for v in value]  # type: ignore[arg-type]
        if isinstance(value, list)
        else value
        for value in values
    ]


def from_arrow(table: type, rows: pa.Table) -> list[Any]:
    """The inverse of `to_arrow`: one instance of `table` per row, nested structs as their dataclasses."""
    hints = typing.get_type_hints(table)
    nested = {
        name: typing.get_args(kind)[0]
        for name, kind in hints.items()
        if typing.get_origin(kind) is list and dataclasses.is_dataclass(typing.get_args(kind)[0])
    }
    maps = {
        name
        for name, kind in hints.items()
        if dict in (typing.get_origin(kind), *map(typing.get_origin, typing.get_args(kind)))
    }
    made = []
    for row in rows.to_pylist():
        for name, member in nested.items():
            row[name] = [member(**value) for value in row[name]]
        for name in maps:
            row[name] = None if row[name] is None else dict(row[name])
        made.append(table(**row))
    return made


def ddl(name: str, table: type) -> str:
    """`CREATE TABLE` for DuckLake, which has no primary keys: the store keeps ids unique."""
    lines = ",\n  ".join(f"{c.name} {c.sql}{'' if c.nullable else ' NOT NULL'}" for c in columns(table))
    return f"CREATE TABLE {name} (\n  {lines}\n)"
