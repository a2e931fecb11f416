"""Settings that users write: typed, bounded, documented where declared, and read with helpful errors.

A setting is a field of a `Settings` class; `about` says what it means, where its default comes from and which values it
takes. Recipes, stages, judges, models and trainers all use it, so their errors look alike.
"""

import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from schemas.errors import FactoryError, nearest

Read = TypeVar("Read", bound="Settings")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of settings. `__post_init__` may raise a one-sentence ValueError for values that conflict."""


def about(
    meaning: str,
    source: str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> msgspec.Meta:
    """A setting's meaning in a few words, the paper or code its default comes from, and a number's bounds."""
    bounds: dict[str, Any] = {"ge": least, "le": most, "gt": above, "lt": below}
    return msgspec.Meta(description=meaning, extra={"source": source} if source else None, **bounds)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting, as pages and errors describe it."""

    name: str
    type: str
    default: Any
    required: bool
    meaning: str
    source: str | None


_WITHOUT_DOT = re.compile(r"[+-]?\d+e[+-]?\d+", re.IGNORECASE)


def read_settings(cls: type[Read], given: Any, where: str, ready: Mapping[str, Any] | None = None) -> Read:
    """A settings section from plain data, such as parsed YAML.

    Args:
        where: the section's place, with which every error begins.
        ready: fields read already.
    Raises:
        FactoryError: an unknown key (with the nearest valid one), a missing key, or an invalid value.
    """
    if not isinstance(given, dict):
        raise FactoryError(f"{where} must be a mapping, got {given!r}")
    ready = ready or {}
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    for key in given:
        if key not in fields:
            raise FactoryError(f"{where}: unknown key {key!r}: {nearest(str(key), fields)}")
    for name, field in fields.items():
        if field.required and name not in given and name not in ready:
            raise FactoryError(f"{where}: key {name!r} is missing")
    values = {
        key: _read(fields[key].type, value, f"{where}: {key}") for key, value in given.items() if key not in ready
    }
    try:
        return cls(**values, **ready)
    except ValueError as error:
        raise FactoryError(f"{where}: {error}") from None


def _read(annotation: Any, value: Any, where: str) -> Any:
    kind, _ = _taken_apart(annotation)
    if _is_section(kind):
        return None if value is None and _may_be_none(annotation) else read_settings(kind, value or {}, where)
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        member = typing.get_args(kind)[1]
        if _is_section(member):
            return {str(key): read_settings(member, item or {}, f"{where}.{key}") for key, item in value.items()}
    if typing.get_origin(kind) is tuple and isinstance(value, str):
        value = [value]  # a single item may be given without the list
    if kind is float and isinstance(value, str) and _WITHOUT_DOT.fullmatch(value):
        value = float(value)  # YAML 1.1 reads 2e-7, which has no dot, as text
    try:
        return msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        raise FactoryError(_sentence(annotation, value, where, str(error))) from None


def _sentence(annotation: Any, value: Any, where: str, fault: str) -> str:
    kind, meta = _taken_apart(annotation)
    if typing.get_origin(kind) is Literal and isinstance(value, str):
        return f"{where}: unknown value {value!r}: {nearest(value, typing.get_args(kind), 'it is one of')}"
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return f"{where} must be {_in_words(kind)}, got {str(value)[:20]}…, which is too large"
    if ", got `" in fault or meta is None or fault.startswith("Invalid enum"):
        return f"{where} must be {_in_words(kind)}, got {value!r}"
    if all(bound is None for bound in (meta.ge, meta.gt, meta.le, meta.lt)):
        shown = repr(value)
        return f"{where}: {fault}, got {shown[:80]}{'…' if len(shown) > 80 else ''}"
    meaning = f" (it is {meta.description})" if meta.description else ""
    return f"{where} must be {_bounds(meta)}, got {float(value) if kind is float else value}{meaning}"


def _bounds(meta: msgspec.Meta) -> str:
    low, high = meta.ge if meta.ge is not None else meta.gt, meta.le if meta.le is not None else meta.lt
    if low is not None and high is not None:
        return f"in {'[' if meta.ge is not None else '('}{low:g}, {high:g}{']' if meta.le is not None else ')'}"
    if low is not None:
        return f"{'at least' if meta.ge is not None else 'above'} {low:g}"
    return f"{'at most' if meta.le is not None else 'below'} {high:g}"


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping"}


def _in_words(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin in (list, tuple):
        return "a list"
    if isinstance(kind, types.UnionType) or origin is typing.Union:
        return " or ".join(map(_in_words, typing.get_args(kind)))
    if origin is Literal and len(typing.get_args(kind)) == 1:
        return repr(typing.get_args(kind)[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    return _WORDS.get(origin or kind, str(kind))


def _taken_apart(annotation: Any) -> tuple[Any, msgspec.Meta | None]:
    """An annotation's type without None, and its `about`."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return _taken_apart(members[0]) if len(members) == 1 else (annotation, None)
    if typing.get_origin(annotation) is Annotated:
        inner, *metas = typing.get_args(annotation)
        kind, below = _taken_apart(inner)
        found = next((meta for meta in metas if isinstance(meta, msgspec.Meta)), None)
        return kind, found if found is not None else below
    return annotation, None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _may_be_none(annotation: Any) -> bool:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return _may_be_none(arguments[0])
    return type(None) in arguments


def differing(settings: Settings) -> dict[str, Any]:
    """The settings that differ from their defaults, as plain data. Ids hash these, so a setting added later changes no
    id."""
    plain: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(settings)):
        value = getattr(settings, field.name)
        if field.required or value != default_of(field):
            plain[field.name] = differing(value) if isinstance(value, Settings) else msgspec.to_builtins(value)
    return plain


def default_of(field: Any) -> Any:
    """A field's default value; `msgspec.NODEFAULT` if it is required."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def described(cls: type[Settings]) -> Iterator[Setting]:
    """Every setting of a section, in declaration order."""
    for field in msgspec.structs.fields(cls):
        kind, meta = _taken_apart(field.type)
        words = _in_words(kind) if not _is_section(kind) else "a mapping"
        if meta is not None and (meta.ge, meta.gt, meta.le, meta.lt) != (None,) * 4:
            words += f", {_bounds(meta)}"
        extra = (meta.extra if meta is not None else None) or {}
        meaning = (meta.description if meta is not None else None) or ""
        yield Setting(field.name, words, default_of(field), field.required, meaning, extra.get("source"))
