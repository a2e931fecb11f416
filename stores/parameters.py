"""A query's parameters, declared in its header: `$name TYPE`, or `$name TYPE = DEFAULT` if optional."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from schemas.errors import FactoryError, nearest

_DECLARED = re.compile(
    r"\$(\w+) (VARCHAR\[\]|VARCHAR|DOUBLE|BIGINT|BOOLEAN)(?: = (NULL|true|false|'[^']*'|-?\d+(?:\.\d+)?))?"
)


def _boolean(given: Any) -> bool:
    if str(given).lower() not in ("true", "false"):
        raise ValueError(given)
    return str(given).lower() == "true"


_READ: dict[str, Callable[[Any], Any]] = {"DOUBLE": float, "BIGINT": int, "BOOLEAN": _boolean}
_IS = {"DOUBLE": "a number", "BIGINT": "a number", "BOOLEAN": "true or false"}


def defaults(query: str) -> dict[str, Any]:
    """The default values of parameters, by name."""
    return {name: _read(kind, default) for name, kind, default in _DECLARED.findall(query) if default}


def checked(query: str, given: Mapping[str, Any], of: str, fixed: tuple[str, ...]) -> dict[str, Any]:
    """`given`, converted to the types the query declares.

    Args:
        of: what errors call the query, such as "training set".
        fixed: parameters the user may not give.
    Raises:
        FactoryError: an unknown parameter, or one that must be a number, or true or false, and is not.
    """
    kinds = {name: kind for name, kind, _ in _DECLARED.findall(query) if name not in fixed}
    values = {}
    for name, value in given.items():
        if name not in kinds:
            raise FactoryError(f"unknown parameter {name!r} of the {of}: {nearest(name, kinds)}")
        try:
            values[name] = value if value is None else _READ.get(kinds[name], str)(value)
        except (ValueError, TypeError) as error:
            raise FactoryError(f"parameter {name} of the {of} must be {_IS[kinds[name]]}, got {value!r}") from error
    return values


def those_used(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters the query uses; DuckDB refuses others."""
    names = {name for statement in connection.extract_statements(query) for name in statement.named_parameters}
    return {name: value for name, value in parameters.items() if name in names}


def _read(kind: str, default: str) -> Any:
    if default == "NULL":
        return None
    return _READ[kind](default) if kind in _READ else default.strip("'")
