"""Makes a lake of a published training set. The repository is a stranger's: all of it is checked, and nothing in it runs.

With lineage, the lake has the rows that the set rests on, and the set is asked again by its own query, through
`stores/door` unless it is one of ours. Without, it has the set's rows in a table of their own.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from factory.publishing.beside import file_name
from factory.publishing.columns import own_rows
from factory.publishing.hub import Place, download
from factory.publishing.lineage import CONFIGS, from_hub
from factory.publishing.manifest import MANIFEST, Manifest, read_manifest
from factory.publishing.shards import read_splits, rows_of_shard
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id
from schemas.tables import SCHEMA_VERSION, TrainingSet
from stores.attach import place as place_of_lake
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.training_sets import fingerprint_of, read_training_set
from stores.training_sets.fitting import COLUMNS, check_rows
from stores.whole import put_folder

PATTERNS = (MANIFEST, "data/*")
ROWS = "published_rows"
"""the table of a set that was published without lineage"""
_PLACE = "place_in_the_set"
_QUERY = f"""-- {ROWS}: the rows of a set that was published without the searches behind them.
-- Out: {{format}}; as they were published.
SELECT * EXCLUDE ({_PLACE}) FROM {ROWS} ORDER BY {_PLACE};
"""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was made of a published set."""

    reference: str
    fingerprint: str
    commit: str
    lineage: bool
    counts: dict[str, int]
    """by table: what it has, each once"""


def pull(place: Place, where: str, tell: Tell) -> Pulled:
    """Makes the lake at `where`, which must not be there.

    Raises:
        FactoryError: there is a lake already, the Hub has no such set, or what it has does not fit.
    """
    folder = place_of_lake(where).folder
    if folder is None:
        raise FactoryError(f"factory pull makes a lake in a folder: give one with --lake, not {where}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FactoryError(
            f"{where} is there already, and a pulled set makes a lake of its own: name another with --lake"
        )
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".part"))
    try:
        tell(f"downloading {place.repo}")
        commit = download(place, made / "fetched", PATTERNS)
        pulled = make_lake(made / "fetched", made / "lake", place.repo, commit, tell)
        put_folder(made / "lake", target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return pulled


def make_lake(fetched: Path, lake: Path, whose: str, commit: str, tell: Tell) -> Pulled:
    """Makes a lake of a fetched folder.

    Raises:
        FactoryError: what was fetched does not fit.
    """
    file = fetched / MANIFEST
    if not file.is_file():
        raise FactoryError(f"{whose} was not published by `factory publish` (it has no {MANIFEST}): import it instead")
    manifest = read_manifest(file.read_bytes(), whose)
    _check_set(manifest, whose)
    tell("checking the rows")
    rows = _checked_rows(fetched, manifest, whose)
    with_lineage = "pairs" in manifest.configs() or "prompts" in manifest.configs()
    if with_lineage and manifest.schema_version != SCHEMA_VERSION:
        raise FactoryError(
            f"{whose} has the tables of schema version {manifest.schema_version}, and this program's are of {SCHEMA_VERSION}: "
            "pull it with the version that its card names, then use `factory migrate`"
        )
    with Lake.open(lake, create=True) as opened:
        counts = _add_lineage(opened, fetched, manifest, whose, tell) if with_lineage else _add_rows(opened, rows)
        row = _pin(opened, manifest, with_lineage=with_lineage)
        tell("reading the set back")
        found = read_training_set(opened, f"{row.name}@{row.version}")
        keep_checksums(opened)
    return Pulled(f"{row.name}@{row.version}", found.row.fingerprint, commit, with_lineage, counts)


def _check_set(manifest: Manifest, whose: str) -> None:
    row = manifest.training_set
    file_name(row.name)
    if row.training_set_id != content_id("training_set", row.name, row.version, row.fingerprint):
        raise FactoryError(f"{whose}: the id of its training set does not fit its name, version and fingerprint")
    try:
        parameters = json.loads(row.parameters)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise FactoryError(f"{whose}: the parameters of its training set cannot be read")
    unknown = set(manifest.configs()) - {"default", "removed", *CONFIGS}
    if (
        unknown
        or "split" not in manifest.columns
        or not set(manifest.configs().get("default", [])) <= {"train", "test"}
    ):
        raise FactoryError(
            f"{whose}: its {MANIFEST} names configs, splits or columns that `factory publish` does not write"
        )


def _checked_rows(fetched: Path, manifest: Manifest, whose: str) -> pa.Table:
    """The set's rows under its own names.

    Raises:
        FactoryError: they have another fingerprint, or do not fit the set's format.
    """
    row, name = manifest.training_set, f"{manifest.training_set.name}@{manifest.training_set.version}"
    try:
        splits = read_splits(fetched, manifest, "default", whose)
        rows = own_rows(splits, manifest.columns, manifest.renamed, manifest.left_out)
    except (KeyError, pa.ArrowException) as error:
        raise FactoryError(f"{whose}: its rows lack columns that its {MANIFEST} names ({error})") from error
    if row.format not in COLUMNS:
        raise FactoryError(f"{whose}: its training set has a format that is not known: {row.format[:40]!r}")
    check_rows(rows, name, row.format, texts=False)
    if fingerprint_of(rows) != row.fingerprint:
        raise FactoryError(
            f"{whose}: its rows do not have the fingerprint of {name}, {row.fingerprint[:12]}: they were changed after they "
            "were published, so do not train on them"
        )
    if (row.train_rows, row.held_out_rows) != tuple(
        splits[s].num_rows if s in splits else 0 for s in ("train", "test")
    ):
        raise FactoryError(f"{whose}: it has other numbers of rows than its training set names")
    return rows


def _add_lineage(opened: Lake, fetched: Path, manifest: Manifest, whose: str, tell: Tell) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in CONFIGS:
        tell(f"adding {name}")
        tables = [
            from_hub(part, name, whose) for shard in manifest.of(name) for part in rows_of_shard(fetched, shard, whose)
        ]
        if not tables:
            continue
        rows = pa.concat_tables(tables)
        added = opened.append_arrow({name: rows}, message=f"{name} of {whose}")
        if added != rows.num_rows:
            raise FactoryError(f"{whose}: its config {name} has {rows.num_rows - added:,} rows with the id of another")
        # A run has a row for each of its events.
        counts[name] = pc.count_distinct(rows.column("run_id" if name == "runs" else 0)).as_py()
    return counts


def _add_rows(opened: Lake, rows: pa.Table) -> dict[str, int]:
    """Puts the rows into a table of their own, with their place in the set."""
    if _PLACE in rows.column_names:
        raise FactoryError(
            f"a column of the published set is named {_PLACE}, which this package adds: it cannot be pulled"
        )
    numbered = rows.append_column(_PLACE, pa.array(range(rows.num_rows), pa.int64()))
    opened.connection.register("given_rows", numbered)

    def write() -> None:
        opened.connection.execute(f"CREATE TABLE lake.{ROWS} AS FROM given_rows")

    opened.in_transaction(write)
    opened.connection.unregister("given_rows")
    return {ROWS: rows.num_rows}


def _pin(opened: Lake, manifest: Manifest, *, with_lineage: bool) -> TrainingSet:
    """The set's row at the new lake's snapshot."""
    row = replace(manifest.training_set, snapshot=opened.latest_snapshot())
    if not with_lineage:
        # What was left out of the query's rows is not in the table, and must not be looked for again.
        row = replace(row, sql=_QUERY.format(format=row.format), views="", parameters=canonical_json({}))
    opened.append([row], message=f"training set {row.name}@{row.version}")
    return row
