"""Turns a lake's location into DuckDB's `ATTACH`: extensions from wheels, catalogs, object stores."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb

from schemas.errors import FactoryError
from stores.without_pandas import keep_pandas_out

# No rows in the catalog: DuckLake stores nested values there as text and misreads some texts with quotes and braces.
# Parquet keeps them intact; `compact` merges the small files.
INLINED_ROWS = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lake is: DuckLake's catalog and its data path."""

    where: str
    """as the user wrote it, for messages; a URL never contains a password"""
    catalog: str
    data_path: str
    extensions: tuple[str, ...]
    metadata_schema: str | None
    folder: Path | None
    """the folder of a lake on disk; None if the catalog is a server"""


def place(where: str) -> Place:
    """A folder, or `postgresql://user@host:port/database?data_path=s3://bucket/path&metadata_schema=name`.

    Passwords come from `PGPASSWORD` or `~/.pgpass`, object-store keys from `AWS_*`, never from the URL.
    """
    if not where.startswith(("postgres://", "postgresql://")):
        folder = Path(where)
        catalog = f"sqlite:{folder / 'catalog.sqlite'}"
        return Place(where, catalog, f"{folder.absolute() / 'data'}/", ("sqlite_scanner",), None, folder)
    url = urlsplit(where)
    if url.password:
        raise FactoryError("the lake's URL contains a password: remove it and use PGPASSWORD or ~/.pgpass instead")
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    unknown = options.keys() - {"data_path", "metadata_schema"}
    if unknown or "data_path" not in options:
        raise FactoryError(
            f"lake {where}: a PostgreSQL catalog takes data_path (required) and metadata_schema after '?', "
            f"as in postgresql://me@host/db?data_path=s3://bucket/data/"
        )
    parts = {"dbname": url.path.lstrip("/"), "host": url.hostname, "port": url.port, "user": url.username}
    dsn = " ".join(f"{key}={unquote(str(value))}" for key, value in parts.items() if value)
    data_path = options["data_path"].rstrip("/") + "/"
    remote = ("httpfs",) if "://" in data_path else ()
    return Place(
        where, f"postgres:{dsn}", data_path, ("postgres_scanner", *remote), options.get("metadata_schema"), None
    )


def connect(*, brief: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection without DuckDB's progress bar, which would go to standard output during long queries.

    Args:
        brief: for many statements over few rows: one thread and less planning.
    """
    keep_pandas_out()
    # The extensions come from wheels, as DuckDB does. Checking the signatures of their 70 MB would double the time to
    # open a lake.
    threads = {"threads": "1"} if brief else {}
    ours_alone = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", **ours_alone, **threads})
    connection.execute("SET enable_progress_bar = false")
    if brief:
        # With it, DuckLake queries its catalog again for each column of each empty table: half of all its queries.
        connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    return connection


def load_extensions(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> None:
    """Loads DuckDB's extensions from their wheels: nothing is downloaded at run time."""
    version = duckdb.__version__
    for name in ("ducklake", *names):
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        if package is None or package.origin is None:
            raise FactoryError(
                f"DuckDB's extension {name} is not installed: pip install duckdb-extension-"
                f"{name.replace('_', '-')}=={version}"
            )
        file = Path(package.origin).parent / "extensions" / f"v{version}" / f"{name}.duckdb_extension"
        # LOAD by path, not INSTALL: nothing is written to the user's home, and versions cannot mismatch.
        connection.execute(f"LOAD '{file}'")


def quoted(text: str) -> str:
    """The text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def attach(
    connection: duckdb.DuckDBPyConnection, at: Place, *, snapshot: int | None, create: bool, read_only: bool = False
) -> None:
    """Attaches the lake as `lake` and makes it the default catalog; at `snapshot` it is read-only."""
    load_extensions(connection, at.extensions)
    # A retry would commit rows checked against a stale snapshot: an id that another writer added would appear twice.
    connection.execute("SET ducklake_max_retry_count = 0")
    if at.data_path.startswith("s3://"):
        _create_s3_secret(connection)
    options = [f"DATA_PATH {quoted(at.data_path)}", f"DATA_INLINING_ROW_LIMIT {INLINED_ROWS}"]
    if at.folder is not None:
        # The catalog stores file paths relative to the data path, so a folder may be moved or copied.
        options.append("OVERRIDE_DATA_PATH true")
    if at.metadata_schema:
        options.append(f"METADATA_SCHEMA {quoted(at.metadata_schema)}")
    if not create:
        options.append("CREATE_IF_NOT_EXISTS false")
    if read_only:
        options.append("READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {int(snapshot)}")
    connection.execute(f"ATTACH {quoted('ducklake:' + at.catalog)} AS lake ({', '.join(options)})")
    connection.execute("USE lake")


def _create_s3_secret(connection: duckdb.DuckDBPyConnection) -> None:
    """The object store's keys, from the environment variables that every S3 client reads."""
    try:
        key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    except KeyError as error:
        raise FactoryError(
            f"the lake's data is in an object store, and {error.args[0]} is not set: "
            "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_REGION, AWS_ENDPOINT_URL where needed)"
        ) from error
    options = ["TYPE s3", f"KEY_ID {quoted(key)}", f"SECRET {quoted(secret)}"]
    options.append(f"REGION {quoted(os.environ.get('AWS_REGION', 'us-east-1'))}")
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        url = urlsplit(endpoint)
        options += [f"ENDPOINT {quoted(url.netloc)}", f"USE_SSL {str(url.scheme == 'https').lower()}"]
        options.append("URL_STYLE 'path'")
    connection.execute(f"CREATE OR REPLACE SECRET object_store ({', '.join(options)})")
