"""A published dataset's rows as the training set that a lock file describes: the fingerprint says whether they are."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from factory.reruns.lock_file import LockedSet
from schemas.errors import FactoryError
from stores.training_sets import has_fingerprint

HUB_NAMES = {"chosen_value": "score_chosen", "rejected_value": "score_rejected"}
"""a set's own column -> the Hub's name for it"""
_SPLITS = {"train": "train", "test": "held_out"}
"""a file's name begins so -> the value of `split`"""


def published_rows(where: str, locked: LockedSet) -> pa.Table:
    """All rows of the set, in its order and with its columns.

    Args:
        where: a folder with Parquet files named train… and test…, at any depth, or a hub id, `owner/name[@revision]`.
    Raises:
        FactoryError: there is no such folder or dataset, or none of what it holds has the set's fingerprint.
    """
    folder = Path(where) if Path(where).is_dir() else _download(where)
    name = f"{locked.name}@{locked.version}"
    tried = 0
    for splits in _candidates(folder):
        tried += 1
        rows = _as_set(splits, locked)
        if rows is not None and has_fingerprint(rows, locked.fingerprint):
            return rows
    if not tried:
        raise FactoryError(
            f"{where} holds no Parquet files named train… or test…: give the dataset's folder or its hub id"
        )
    raise FactoryError(
        f"{where} holds no rows with the fingerprint {locked.fingerprint[:12]} of {name}: it is another dataset, another "
        "version of it, or it has been changed since it was published; give the version that the lock file is from"
    )


def _candidates(folder: Path) -> Iterator[dict[str, list[Path]]]:
    """Files by split, of each folder below that has some."""
    found: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.rglob("*.parquet")):
        begin = file.name.partition("-")[0].partition(".")[0]
        if begin in _SPLITS and not any(part.startswith(".") for part in file.relative_to(folder).parts[:-1]):
            found[file.parent][_SPLITS[begin]].append(file)
    yield from found.values()


def _as_set(splits: dict[str, list[Path]], locked: LockedSet) -> pa.Table | None:
    """None: these files are about something else."""
    counts = {"train": locked.train_rows, "held_out": locked.held_out_rows}
    tables = {}
    for split, count in counts.items():
        try:
            parts = [pyarrow.parquet.ParquetFile(file) for file in splits.get(split, [])]
            if sum(part.metadata.num_rows for part in parts) != count:
                return None
            if parts:
                tables[split] = _own_columns(pa.concat_tables([part.read() for part in parts]), split, locked)
        except (pa.ArrowException, OSError) as error:
            raise FactoryError(
                f"the published rows cannot be read ({' '.join(str(error).split())[:200]}): fetch them again"
            ) from error
    return _in_order(tables, locked) if tables and all(table is not None for table in tables.values()) else None


def _own_columns(rows: pa.Table, split: str, locked: LockedSet) -> pa.Table | None:
    columns = {}
    if len(set(rows.column_names)) < len(rows.column_names):
        return None
    for name in locked.columns:
        published = next((n for n in (name, HUB_NAMES.get(name)) if n in rows.column_names), None)
        if name == "split":
            columns[name] = pa.array([split] * rows.num_rows, pa.string())
        elif published is not None:
            columns[name] = rows.column(published)
        elif name in ("prompt", "chosen", "rejected", "completion"):
            return None
        else:  # left out, as NULL in every row
            columns[name] = pa.nulls(rows.num_rows)
    return pa.table(columns)


def _in_order(tables: dict[str, pa.Table | None], locked: LockedSet) -> pa.Table:
    at = {"train": 0, "held_out": 0}
    parts = []
    for number, length in enumerate(locked.stretches):
        split = "held_out" if number % 2 else "train"
        table = tables.get(split)
        if length and table is not None:
            parts.append(table.slice(at[split], length))
            at[split] += length
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise FactoryError(f"the published splits of {locked.name} have columns of other types: {error}") from error


def _download(where: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = where.partition("@")
    try:
        return Path(
            snapshot_download(repository, repo_type="dataset", revision=revision or None, allow_patterns=["*.parquet"])
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FactoryError(
            f"--data {where}: neither a folder nor a dataset that the hub gives ({' '.join(str(error).split())[:200]})"
        ) from error
