"""What a query may do, decided on DuckDB's own syntax tree: it reads the lake's tables, and calls harmless functions.

DuckDB has no privileges, so everything not known here is refused: kinds of nodes, functions, tables. A name is judged
wherever it stands (subqueries, CTEs, lateral joins, lambdas, PIVOT), since every node of the tree is visited. What the
tree cannot tell (time, memory, paths behind links) is left to the process that asks the query, `stores/door/asked.py`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from schemas.errors import FactoryError, nearest
from schemas.tables import TABLES

READING = "SELECT, FROM, WITH, VALUES, SHOW TABLES, DESCRIBE, SUMMARIZE"
TABLE_FUNCTIONS = {
    "generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "snapshots", "table_changes",
    "table_deletions", "table_insertions", "unnest",
}  # fmt: skip
TAKES_A_TABLES_NAME = "preference_rows"
"""the project's macro whose first argument names a table, which `query_table` then reads"""
_NODES = {
    "CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE",
    "BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION",
    "DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER",
}  # fmt: skip
_EXPRESSIONS = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT", "FUNCTION",
    "LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
}  # fmt: skip
_SHOWN = {'"tables"', "__show_tables_expanded"}
_PLAIN_NAME = re.compile(r"[\w -]+")
# Written without brackets, these are columns in the tree and functions afterwards.
_CLOCK_COLUMNS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
_UNSTEADY = {
    *_CLOCK_COLUMNS, "ago", "age", "current_localtime", "current_localtimestamp", "gen_random_uuid", "get_current_time",
    "get_current_timestamp", "now", "random", "reservoir_quantile", "today", "transaction_timestamp", "uuid", "uuidv4",
    "uuidv7", "version",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """Names a query may use beside DuckDB's own functions, in lower case."""

    tables: frozenset[str] = frozenset({*TABLES, "schema_version"})
    macros: frozenset[str] = frozenset()

    def and_those(self, other: "Known") -> "Known":
        return Known(self.tables | other.tables, self.macros | other.macros)


@dataclass(frozen=True, slots=True)
class Checked:
    """A query that passed: what it uses."""

    parameters: frozenset[str]
    """names of `$name`; a number for `?` and `$1`"""
    ordered: bool
    """whether its rows have an order of their own"""
    unsteady: frozenset[str]
    """what may give other rows each time: functions of the clock and of chance, samples"""


@dataclass(slots=True)
class _Walk:
    known: Known
    what: str
    names_a_table: str | None
    ctes: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    unsteady: set[str] = field(default_factory=set)

    def refuse(self, may_not: str) -> FactoryError:
        return FactoryError(
            f"{self.what} may not {may_not}: it may read only the lake's tables and views (`factory sql 'SHOW TABLES'` "
            "lists them) and call only the functions that docs/lake.md lists"
        )


def check(query: str, known: Known = Known(), what: str = "the query", *, names_a_table: str | None = None) -> Checked:
    """Refuses every query but one that only reads.

    Args:
        known: the tables, views and macros it may use.
        what: what errors call it: "the query", "training set mine".
        names_a_table: in the body of `preference_rows`: its parameter that `query_table` may take.
    Raises:
        FactoryError: not valid SQL, not one reading statement, or it uses what is not known to be harmless.
    """
    statement = _tree(query, what)
    walk = _Walk(known, what, names_a_table)
    nodes = list(_nodes(statement))
    for node in nodes:
        if isinstance(entries := node.get("cte_map"), dict):
            walk.ctes |= {str(entry["key"]).lower() for entry in entries.get("map", ())}
    for node in nodes:
        _check_node(node, walk)
    root = statement["node"]
    while root.get("type") == "CTE_NODE":
        root = root["child"]
    ordered = any(modifier["type"] == "ORDER_MODIFIER" for modifier in root.get("modifiers", ()))
    return Checked(frozenset(walk.parameters), ordered, frozenset(walk.unsteady))


def check_expression(text: str, known: Known, what: str, *, names_a_table: str | None = None) -> None:
    """Refuses what is more than one harmless expression, such as a macro's body or a column's default.

    Raises:
        FactoryError: as `check`.
    """
    query = f"SELECT (\n{text}\n)"
    check(query, known, what, names_a_table=names_a_table)
    node = _tree(query, what)["node"]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or node["from_table"]["type"] != "EMPTY":
        raise FactoryError(f"{what} must be one expression")


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A connection of its own: no macro of a lake can stand before `json_serialize_sql`."""
    return duckdb.connect(config={"enable_external_access": "false", "threads": "1"})


def statements_of(text: str, what: str) -> list[str]:
    """The statements of a text, as they stand in it.

    Raises:
        FactoryError: not valid SQL.
    """
    try:
        return [statement.query for statement in _parser().extract_statements(text)]
    except duckdb.Error as error:
        raise FactoryError(f"{what} is not valid SQL: {' '.join(str(error).split())}") from error


def _tree(query: str, what: str) -> dict[str, Any]:
    if "\0" in query:
        raise FactoryError(f"{what} contains a NUL character: remove it")
    try:
        asked = _parser().cursor().execute("SELECT system.main.json_serialize_sql($1::VARCHAR)", [query])
        tree = json.loads(asked.fetchall()[0][0])
    except duckdb.Error as error:
        raise FactoryError(f"{what} is not valid SQL: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise FactoryError(f"{what} is nested too deeply: write it as steps, with WITH") from error
    if tree["error"] and "Only SELECT statements" not in tree["error_message"]:
        raise FactoryError(f"{what} is not valid SQL: {' '.join(tree['error_message'].split())}")
    if tree["error"] or len(tree["statements"]) != 1:
        raise FactoryError(
            f"{what} is refused: only one read-only query at a time ({READING}; a PIVOT names its values with IN): rows are never changed"
        )
    statement: dict[str, Any] = tree["statements"][0]
    return statement


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of the tree; a stack rather than recursion, as a query may be nested deeply."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _check_node(node: dict[str, Any], walk: _Walk) -> None:
    kind = node.get("class", node.get("type"))
    if "class" in node and kind not in _EXPRESSIONS:
        raise walk.refuse(f"use an expression of kind {kind}")
    # A plain type or value, such as a constant's, has a `type` that is an object or none at all.
    is_part = "class" not in node and isinstance(kind, str) and ("modifiers" in node or "sample" in node)
    if is_part and kind not in _NODES:
        raise walk.refuse(f"use a node of kind {kind}")
    if isinstance(node.get("sample"), dict) and node["sample"].get("seed", -1) == -1:
        walk.unsteady.add("a sample without a seed")
    match kind:
        case "BASE_TABLE":
            _check_table(node, walk)
        case "SHOW_REF":
            elsewhere = {node["catalog_name"], node["schema_name"]} - {"", "lake", "main"}
            if node["query"] is None and (elsewhere or node["table_name"] not in _SHOWN):
                raise walk.refuse(f"show {node['table_name']}")
        case "TABLE_FUNCTION":
            _check_table_function(node["function"], walk)
        case "FUNCTION" | "WINDOW":
            _check_function(node, walk)
        case "PARAMETER":
            walk.parameters.add(node["identifier"])
        case "COLUMN_REF":
            names = [name.lower() for name in node["column_names"]]
            walk.unsteady |= _CLOCK_COLUMNS.intersection(names[:1] if len(names) == 1 else ())


def _check_table(node: dict[str, Any], walk: _Walk) -> None:
    catalog, schema, name = (str(node[part]).lower() for part in ("catalog_name", "schema_name", "table_name"))
    full = ".".join(part for part in (catalog, schema, name) if part)
    if catalog not in ("", "lake") or schema not in ("", "main", "lake"):
        raise walk.refuse(f"read {full}")
    _check_name(name, walk, full, is_cte=not catalog and not schema and name in walk.ctes)


def _check_name(name: str, walk: _Walk, shown: str, *, is_cte: bool) -> None:
    # DuckDB opens a file for an unknown name that looks like a path, also for a CTE's name outside its scope.
    if not _PLAIN_NAME.fullmatch(name):
        raise walk.refuse(f"read {shown}")
    # Outside its scope, a CTE's name means the table of that name: here, a view of DuckDB's own.
    if name not in walk.known.tables and (not is_cte or name in _views_of_duckdb()):
        others = nearest(name, sorted(walk.known.tables | walk.ctes), "it has")
        raise FactoryError(f"{walk.what} reads {shown}, which is no table or view of the lake: {others}")


@cache
def _views_of_duckdb() -> frozenset[str]:
    asked = (
        _parser()
        .cursor()
        .execute("SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'")
    )
    return frozenset(name for (name,) in asked.fetchall())


def _check_table_function(function: dict[str, Any], walk: _Walk) -> None:
    name, given = str(function.get("function_name")).lower(), function.get("children", ())
    if name == "query_table" and [argument.get("column_names") for argument in given] == [[walk.names_a_table]]:
        return
    if name == TAKES_A_TABLES_NAME and name in walk.known.macros:
        first = given[0] if given else {}
        value = first.get("value", {}) if first.get("class") == "CONSTANT" and not first.get("alias") else {}
        table = value.get("value") if value.get("type", {}).get("id") == "VARCHAR" else None
        if not isinstance(table, str) or any(_named(argument) for argument in given):
            raise FactoryError(
                f"{walk.what}: the first argument of {name} is a table's name in quotes, and none is named"
            )
        _check_name(table.lower(), walk, table, is_cte=table.lower() in walk.ctes)
        return
    if name not in TABLE_FUNCTIONS | walk.known.macros:
        raise walk.refuse(f"call {name}")


def _named(argument: dict[str, Any]) -> bool:
    """Whether an argument is given by name: `a := 1` and `a = 1` both may be."""
    return bool(argument.get("alias")) or argument.get("class") == "COMPARISON"


def _check_function(node: dict[str, Any], walk: _Walk) -> None:
    name = str(node["function_name"]).lower()
    # A table function is an expression below its TABLE_FUNCTION, which has judged it.
    if name in allowed_functions() | walk.known.macros | TABLE_FUNCTIONS or (
        name == "query_table" and walk.names_a_table
    ):
        if name in _UNSTEADY:
            walk.unsteady.add(name)
        return
    raise walk.refuse(f"call {name}")


@cache
def allowed_functions() -> frozenset[str]:
    """DuckDB's own functions that only compute, in lower case."""
    return frozenset(Path(__file__).with_name("functions.txt").read_text("utf-8").lower().split())
