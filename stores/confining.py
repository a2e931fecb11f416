"""Keeps a lake's connection to the lake: it reads and writes below the data path alone, and loads nothing more.

A lake may come from a stranger. Its catalog can hold SQL (views, macros, sort orders) and paths of files anywhere, which
DuckDB would follow; both are checked when the lake is opened. What a PostgreSQL server does itself is outside of this.
"""

import os
from pathlib import Path

import duckdb

from schemas.errors import FactoryError
from stores.attach import Place, identifier, quoted
from stores.door.checking import Known, check_expression
from stores.door.definitions import Definition, check_definitions, names_of_functions
from stores.sql import sql

METADATA = "__ducklake_metadata_lake"


def confine(connection: duckdb.DuckDBPyConnection, at: Place) -> None:
    """From here on, DuckDB opens files below the lake's data path alone, and loads no extension; it cannot be undone.

    Its SQLite extension opens files by itself: no SQL that a lake holds may reach the connection unchecked.
    """
    connection.execute("SET allow_unsigned_extensions = false")
    connection.execute(f"SET allowed_directories = [{quoted(at.data_path)}]")
    connection.execute("SET enable_external_access = false")


def refuse_foreign_code(connection: duckdb.DuckDBPyConnection, at: Place) -> None:
    """Checks what the catalog of an attached lake stores beside rows.

    Raises:
        FactoryError: SQL that may do more than read the lake, or a file outside the lake's data.
    """
    if at.catalog.startswith("sqlite:") and _asked(connection, at, sql("catalog_computed")):
        raise FactoryError(
            f"lake {at.where} has views, triggers or computed columns in its catalog, which this program never makes: do not "
            "use it unless you trust whoever made it"
        )
    strays = _asked(connection, at, sql("catalog_strays"))
    if strays:
        # DuckDB follows `..` out of its allowed directories.
        raise FactoryError(
            f"lake {at.where} names a file outside its data folder, {str(strays[0][0])!r}, which this program never does: do "
            "not use it unless you trust whoever made it"
        )
    code = _asked(connection, at, sql("catalog_code"))
    if not code:
        return
    what = f"lake {at.where}, in what it stores"
    definitions = [
        Definition(str(name).lower(), str(text), kind != "view", kind == "macro")
        for kind, name, text in code
        if kind in ("view", "macro", "table macro")
    ]
    known = check_definitions(definitions, Known(), names_of_functions(connection), what)
    for kind, name, text in code:
        if kind in ("default", "sort order"):
            check_expression(str(text), known, f"{what}: {name}")


def refuse_links(at: Place) -> None:
    """Raises:
    FactoryError: below the data path lies a link, which would lead DuckDB to a file elsewhere.
    """
    if "://" in at.data_path:
        return
    for folder, folders, files in os.walk(at.data_path):
        for name in (*folders, *files):
            if Path(folder, name).is_symlink():
                raise FactoryError(
                    f"lake {at.where} holds a link in its data, {name!r}: put the file itself in its place"
                )


def _asked(connection: duckdb.DuckDBPyConnection, at: Place, text: str) -> list[tuple[object, ...]]:
    """The catalog's own rows, by its own SQL."""
    if at.catalog.startswith("sqlite:"):
        # Not through Python's sqlite3: closing the file there would drop the locks that DuckDB's SQLite holds on it.
        return connection.execute(f"FROM sqlite_query({quoted(METADATA)}, {quoted(text)})").fetchall()
    schema = at.metadata_schema or "public"
    connection.execute(f"USE {METADATA}.{identifier(schema)}")
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.execute("USE lake")
