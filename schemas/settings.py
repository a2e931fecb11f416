"""What a recipe's settings are made of: a base class, and what is told of each field."""

from collections.abc import Sequence
from typing import Any

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of a recipe."""


def about(
    meaning: str,
    source: str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    one_of: Sequence[str] | None = None,
) -> msgspec.Meta:
    """What a field is, where its default comes from, and its bounds: one argument for each thing that can be told."""
    bounds: dict[str, Any] = {"ge": least, "le": most, "gt": above, "lt": below}
    extra = {"source": source, "one_of": one_of}
    return msgspec.Meta(description=meaning, extra=extra, **{key: v for key, v in bounds.items() if v is not None})
