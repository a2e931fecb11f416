"""Pairings: queries (`*.sql` beside this file) that say which of a run's responses is preferred over which."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from schemas.errors import FactoryError, own_words
from schemas.ids import content_id
from schemas.tables import Pair
from stores.door.asking import ask
from stores.door.question import LONG, Question
from stores.lake import Lake
from stores.likeness import likeness
from stores.named_files import read_named
from stores.parameters import checked, defaults, those_used
from stores.sql import sql

FOLDER = Path(__file__).parent
_OURS = ("run_id", "prompt_ids")
_COLUMNS = ("prompt_id", "chosen_response_id", "rejected_response_id", "chosen_value", "rejected_value")
_MAY_LACK = ("tree_id", "node_id")
_SCHEMA = pa.schema(
    [(name, pa.float64() if name.endswith("_value") else pa.string()) for name in (*_COLUMNS, *_MAY_LACK)]
)


@dataclass(frozen=True, slots=True)
class Pairing:
    """A pairing's query and its parameters."""

    source: str
    """its name, stored with its pairs"""
    sql: str
    parameters: dict[str, Any]


def known_pairings() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.sql"))


def pairing_sql(name: str) -> str:
    """The query of a bundled pairing by name, or of the user's own by file path."""
    return read_named(FOLDER, ".sql", name, "pairing")[1]


def load_pairing(name: str, given: Mapping[str, Any] | None = None) -> Pairing:
    """A bundled pairing by name, or the user's own by file path.

    Args:
        given: values for the parameters its header declares; the rest keep their defaults.
    Raises:
        FactoryError: no such pairing, or an unknown parameter.
    """
    file, query = read_named(FOLDER, ".sql", name, "pairing")
    values = checked(query, given or {}, f"pairing {file.stem}", fixed=_OURS)
    return Pairing(file.stem, query, {**defaults(query), **values})


def unpaired(lake: Lake, run_id: str, pairing: Pairing, prompt_ids: Sequence[str] | None = None) -> list[Pair]:
    """The pairing's pairs that are not in the lake yet.

    Args:
        prompt_ids: the prompts whose responses are paired; None: all of the run.
    Raises:
        FactoryError: DuckDB refuses the query, or its columns are not a pairing's.
    """
    asked = {**pairing.parameters, "run_id": run_id, "prompt_ids": None if prompt_ids is None else list(prompt_ids)}
    with lake.one_snapshot(pairing.sql) as snapshot:
        try:
            given = _asked(lake, pairing, asked, snapshot)
            lake.connection.register("given", _as_pairs(given, pairing.source))
            found = lake.query(sql("new_pairs"), {"run_id": run_id, "source": pairing.source})
        except (duckdb.ProgrammingError, duckdb.DataError) as error:
            raise FactoryError(f"pairing {pairing.source}: its query fails: {own_words(error)}") from error
        finally:
            lake.connection.unregister("given")
    return [_pair(run_id, pairing.source, **row) for row in found.to_pylist()]


def _asked(lake: Lake, pairing: Pairing, parameters: Mapping[str, Any], snapshot: int) -> pa.Table:
    """The query's rows; one that is not ours, perhaps from the lake of somebody else, is asked in a confined process."""
    if pairing.sql in map(pairing_sql, known_pairings()):
        return lake.query(pairing.sql, those_used(lake.connection, pairing.sql, parameters))
    what = f"pairing {pairing.source}"
    return ask(Question(lake.place.where, pairing.sql, dict(parameters), snapshot, what, LONG))


def _as_pairs(given: pa.Table, source: str) -> pa.Table:
    names = set(given.schema.names)
    if missing := sorted(set(_COLUMNS) - names):
        raise FactoryError(
            f"pairing {source}: its rows lack {', '.join(missing)}: a pairing returns {', '.join(_COLUMNS)}, and optionally "
            f"{' and '.join(_MAY_LACK)}"
        )
    for name in _MAY_LACK:
        if name not in names:
            given = given.append_column(name, pa.nulls(given.num_rows, pa.string()))
    try:
        return given.select([*_COLUMNS, *_MAY_LACK]).cast(_SCHEMA)
    except pa.ArrowInvalid as error:
        raise FactoryError(
            f"pairing {source}: ids must be text and values numbers: {' '.join(str(error).split())}"
        ) from error


def _pair(
    run_id: str,
    source: str,
    *,
    chosen: str,
    rejected: str,
    chosen_response_id: str,
    rejected_response_id: str,
    **row: Any,
) -> Pair:
    return Pair(
        pair_id=content_id("pair", run_id, source, chosen_response_id, rejected_response_id),
        run_id=run_id,
        source=source,
        chosen_response_id=chosen_response_id,
        rejected_response_id=rejected_response_id,
        **row,
        **dataclasses.asdict(likeness(chosen, rejected)),
    )
