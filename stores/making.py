"""Makes a lake: the catalog's file, and the tables in it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb

from schemas.columns import ddl
from schemas.errors import FactoryError
from schemas.tables import SCHEMA_VERSION, TABLES
from stores.faults import MAKING_ADVICE

# Sorted by response when rows are added and again when files are merged. Ids are hashes: the answers that a training set
# chooses by hash then lie together, and a query for them skips all other row groups with their texts.
SORTED_BY_RESPONSE = ("responses", "judgements")
FILES = {
    # As small as the default (snappy) and read twice as fast; a lake is mostly text.
    "parquet_compression": "lz4",
    "parquet_row_group_size": "10240",
    # A merge sorts a file's rows in memory.
    "target_file_size": "128MB",
}


def let_readers_in(catalog: Path, where: str) -> None:
    """Makes an empty SQLite file with a write-ahead log, so that readers never wait for a writing run.

    Raises:
        FactoryError: the file cannot be made.
    """
    try:
        with closing(sqlite3.connect(catalog)) as made:
            made.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise FactoryError(f"lake {where} cannot be made: {error}: {MAKING_ADVICE}") from error


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates the tables if there are none, in the transaction in progress."""
    there = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
    if "schema_version" not in there:
        for option, value in FILES.items():
            connection.execute(f"CALL lake.set_option('{option}', '{value}')")
        connection.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])
        for name, table in TABLES.items():
            connection.execute(ddl(name, table))
        for name in SORTED_BY_RESPONSE:
            connection.execute(f"ALTER TABLE {name} SET SORTED BY (response_id)")


def forget_where(connection: duckdb.DuckDBPyConnection) -> None:
    """Replaces the absolute path that DuckLake writes into a folder's catalog by the data's place beside the catalog.

    A lake may be moved and given away: where it was made is nobody's business, and soon wrong. It is always opened with
    its own `data/`, whatever its catalog says.
    """
    named = "FROM __ducklake_metadata_lake.ducklake_metadata WHERE key = 'data_path'"
    if connection.execute(f"SELECT value {named}").fetchall() != [("data/",)]:
        connection.execute(
            "UPDATE __ducklake_metadata_lake.ducklake_metadata SET value = 'data/' WHERE key = 'data_path'"
        )


def read_version(connection: duckdb.DuckDBPyConnection, where: str) -> int:
    """The schema version of an attached lake.

    Raises:
        FactoryError: it has none, or a later one.
    """
    try:
        # fetchall, not fetchone: a half-read result keeps its transaction, and so the catalog's lock.
        [(version,)] = connection.execute("SELECT max(version) FROM lake.schema_version").fetchall()
    except duckdb.CatalogException as error:
        raise FactoryError(
            f"{where} is a DuckLake, but not one made by this factory: choose another place with --lake"
        ) from error
    if version is None:
        raise FactoryError(f"the data of lake {where} is damaged: its schema version is gone; restore it from a backup")
    if version > SCHEMA_VERSION:
        raise FactoryError(
            f"lake {where} has schema version {version}, but this factory only knows {SCHEMA_VERSION}: "
            "update preference-factory, or choose another place with --lake"
        )
    return int(version)
