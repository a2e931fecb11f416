"""Reads a row's constraints: ours, a list of {id, kwargs}, or IFEval's two columns `instruction_id_list` and `kwargs`."""

from collections.abc import Mapping
from typing import Any

from factory.prompts.files import read_json
from factory.prompts.questions import Columns
from factory.prompts.turns import shown, whole_text
from factory.verifier.constraints import verify
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from schemas.tables import Constraint


def constraints_of(row: Mapping[str, Any], columns: Columns, where: str) -> list[Constraint]:
    """The row's constraints, each tried on a text; empty: it has none.

    Raises:
        FactoryError: a list of another form, an unknown kind, or wrong arguments.
    """
    given = _plain(columns.value(row, "constraints"), where, "constraints")
    ids = _plain(columns.value(row, "instruction_id_list"), where, "instruction_id_list")
    if isinstance(given, list) and given and all(isinstance(member, str) for member in given):
        given, ids = None, given  # columns.constraints=instruction_id_list
    if given and ids:
        raise FactoryError(f"{where}: both constraints and instruction_id_list are given: remove one")
    try:
        constraints = _ours(given or [], where) if given or not ids else _ifeval(ids, row, columns, where)
        if constraints:
            _try(constraints, where)
    except RecursionError as error:
        raise FactoryError(f"{where}: constraints are nested too deep to be read: remove them") from error
    return constraints


def _try(constraints: list[Constraint], where: str) -> None:
    try:
        verify(constraints, "a text to try the checkers on")
    except FactoryError as error:
        raise FactoryError(f"{where}: {error}") from error


def _ours(given: Any, where: str) -> list[Constraint]:
    try:
        constraints = []
        for member in given:
            kwargs = _plain(member.get("kwargs") or {}, where, "kwargs")
            constraints.append(_constraint(member["id"], kwargs, where))
        return constraints
    except (TypeError, KeyError, AttributeError) as error:
        raise FactoryError(f"{where}: constraints must be a list of objects with 'id' and 'kwargs'") from error


def _ifeval(ids: Any, row: Mapping[str, Any], columns: Columns, where: str) -> list[Constraint]:
    kwargs = _plain(columns.value(row, "kwargs"), where, "kwargs")
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise FactoryError(f"{where}: instruction_id_list must be a list of IFEval's ids, got {shown(ids)}")
    if kwargs is None:
        kwargs = [{} for _ in ids]
    if not isinstance(kwargs, list) or len(kwargs) != len(ids):
        raise FactoryError(f"{where}: kwargs must be a list of {len(ids)} objects, one for each of instruction_id_list")
    found = []
    for id, given in zip(ids, kwargs, strict=True):
        one = _plain(given or {}, where, "kwargs")
        if not isinstance(one, dict):
            raise FactoryError(f"{where}: kwargs must be a list of objects, got {shown(one)} in it")
        # Data sets pad with nulls, and pandas turns integers beside them into 3.0.
        known = {name: _number(value) for name, value in one.items() if value is not None and value == value}
        found.append(_constraint(id, known, where))
    return found


def _constraint(id: str, kwargs: Any, where: str) -> Constraint:
    return Constraint(id, whole_text(canonical_json(kwargs), where, "kwargs"))


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(given: Any, where: str, name: str) -> Any:
    """A value that may stand as JSON text, as in a CSV cell."""
    return read_json(given, where, name) if isinstance(given, str) else given
