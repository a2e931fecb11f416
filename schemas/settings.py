"""What a recipe's settings are made of: a base class, and what is told of each field."""

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
) -> msgspec.Meta:
    """What a field is, where its default comes from, and its bounds."""
    bounds: dict[str, Any] = {"ge": least, "le": most, "gt": above, "lt": below}
    return msgspec.Meta(description=meaning, extra={"source": source} if source else None, **bounds)
