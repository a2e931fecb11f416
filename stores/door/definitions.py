"""Views and macros that a lake brings along: in a pinned training set's text, or stored in its catalog by old versions.

They are code of whoever made the lake. Each body is checked as a query is, and a definition is written anew around what
was checked, so that nothing but it is executed.
"""

import re
from dataclasses import dataclass

import duckdb

from schemas.errors import FactoryError
from stores.door.checking import TAKES_A_TABLES_NAME, Known, check, check_expression, statements_of

_VIEW = re.compile(r"CREATE TEMP VIEW (?P<name>\w+) AS\b(?P<body>.*)", re.DOTALL)
_MACRO = re.compile(
    r"CREATE TEMP MACRO (?P<name>\w+)\((?P<parameters>[\w, ]*)\) AS(?P<table> TABLE)?\b(?P<body>.*)", re.DOTALL
)
_COMMENTS = re.compile(r"(?:\s|--[^\n]*\n)*")


@dataclass(frozen=True, slots=True)
class Definition:
    """A view or macro; `body` is a query or, in a scalar macro, an expression."""

    name: str
    body: str
    is_macro: bool = False
    is_expression: bool = False
    parameters: tuple[str, ...] = ()

    def statement(self) -> str:
        """SQL that makes it, temporarily, from the checked body."""
        if not self.is_macro:
            return f'CREATE TEMP VIEW "{self.name}" AS\n{self.body}'
        head = f'CREATE TEMP MACRO "{self.name}"({", ".join(self.parameters)}) AS'
        return f"{head} (\n{self.body}\n)" if self.is_expression else f"{head} TABLE\n{self.body}"


def read_definitions(text: str, what: str) -> list[Definition]:
    """The definitions of a text such as `stores.sql.views()`.

    Raises:
        FactoryError: it holds anything but CREATE TEMP VIEW and CREATE TEMP MACRO.
    """
    return [_read(statement, what) for statement in statements_of(text, what)]


def _read(statement: str, what: str) -> Definition:
    text = statement[_COMMENTS.match(statement).end() :].rstrip().rstrip(";")  # type: ignore[union-attr]
    if found := _VIEW.fullmatch(text):
        return Definition(found["name"].lower(), found["body"])
    if found := _MACRO.fullmatch(text):
        parameters = tuple(name.strip() for name in found["parameters"].split(",") if name.strip())
        return Definition(found["name"].lower(), found["body"], True, not found["table"], parameters)
    raise FactoryError(f"{what} holds other statements than CREATE TEMP VIEW and CREATE TEMP MACRO: it is not used")


def check_definitions(definitions: list[Definition], known: Known, taken: frozenset[str], what: str) -> Known:
    """`known` with the names of the definitions, all of which are harmless.

    Args:
        taken: names of functions that a macro may not have: a call by such a name could mean either.
    Raises:
        FactoryError: a body that `check` refuses, or a macro with a function's name.
    """
    tables = frozenset(d.name for d in definitions if not d.is_macro)
    macros = frozenset(d.name for d in definitions if d.is_macro)
    if clash := sorted(macros & taken):
        raise FactoryError(f"{what} defines {clash[0]}, which is a function of DuckDB: it is not used")
    known = known.and_those(Known(tables, macros))
    for one in definitions:
        of = f"{what}: {one.name}"
        names_a_table = one.parameters[0] if one.name == TAKES_A_TABLES_NAME and one.parameters else None
        if one.is_expression:
            check_expression(one.body, known, of)
        else:
            check(one.body, known, of, names_a_table=names_a_table)
    return known


def names_of_functions(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """All functions of DuckDB and the extensions that the connection has loaded, in lower case."""
    asked = "SELECT DISTINCT lower(function_name) FROM system.main.duckdb_functions() WHERE internal"
    return frozenset(name for (name,) in connection.execute(asked).fetchall())
