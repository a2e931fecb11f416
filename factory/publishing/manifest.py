"""`preference-factory.json`: what a published folder holds, so that it can be checked and made a lake of again."""

import hashlib
import re
from pathlib import Path

import msgspec

from schemas.errors import FactoryError
from schemas.tables import TrainingSet

MANIFEST = "preference-factory.json"
FORMAT = 1
"""Raise it when an older `factory pull` could not read what is written now."""
MOST_BYTES = 64 << 20
_PATH = re.compile(r"data/[0-9a-f]{12}/[a-z_]+/[a-z]+-\d{5}-of-\d{5}\.parquet")


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file of one split of one config."""

    path: str
    config: str
    split: str
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A published training set."""

    format: int
    schema_version: int
    """of the lineage's tables"""
    training_set: TrainingSet
    columns: list[str]
    """the set's own, in order, `split` among them: its fingerprint is over these"""
    renamed: dict[str, str]
    """own name and the Hub's name"""
    left_out: list[str]
    """own columns that are NULL in every row"""
    shards: list[Shard]

    def of(self, config: str, split: str | None = None) -> list[Shard]:
        """A config's files in order."""
        found = [s for s in self.shards if s.config == config and split in (None, s.split)]
        return sorted(found, key=lambda shard: shard.path)

    def configs(self) -> dict[str, list[str]]:
        """Configs and their splits, in the order in which they were written."""
        found: dict[str, list[str]] = {}
        for shard in self.shards:
            splits = found.setdefault(shard.config, [])
            if shard.split not in splits:
                splits.append(shard.split)
        return found


def read_manifest(text: bytes, whose: str) -> Manifest:
    """A manifest, checked: it may be anybody's.

    Raises:
        FactoryError: it is no manifest, of a later format, or names files that this program would not write.
    """
    if len(text) > MOST_BYTES:
        raise FactoryError(f"{whose}: its {MANIFEST} has {len(text):,} bytes, more than any that this program writes")
    try:
        format = msgspec.json.decode(text, type=dict).get("format")
        if isinstance(format, int) and format > FORMAT:
            raise FactoryError(
                f"{whose} was published by a later version of this program (format {format}): update preference-factory"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FactoryError(
            f"{whose}: its {MANIFEST} does not fit what `factory publish` writes ({' '.join(str(error).split())[:200]}): "
            "ask whoever published it"
        ) from error
    for shard in manifest.shards:
        if not is_shard(shard.path) or f"/{shard.config}/{shard.split}-" not in shard.path or shard.rows < 0:
            raise FactoryError(
                f"{whose}: its {MANIFEST} names a file {shard.path[:80]!r}, which this program would not write"
            )
    if len({shard.path for shard in manifest.shards}) != len(manifest.shards):
        raise FactoryError(f"{whose}: its {MANIFEST} names a file twice")
    return manifest


def is_shard(path: str) -> bool:
    """Whether a file of this path is one that `factory publish` writes rows to."""
    return _PATH.fullmatch(path) is not None


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
