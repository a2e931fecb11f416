"""The lock file: everything that decides a training set or a model, as one readable file (YAML).

It is a stranger's text: read without aliases or tags, of bounded size, and checked to its last field. Its SQL is only ever
asked through `stores/door`, its objective is one of a few words, and no path or address in it is followed.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from stores.whole import whole_file

MOST_BYTES = 20_000_000
"""A loss curve of half a million steps is smaller."""
DEEPEST = 50

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Versions = dict[str, str]
"""package or `python` -> version"""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class LockedSet(_Section, frozen=True, kw_only=True):
    """A training set, as its row has it, and the shape of its rows."""

    name: str
    version: Annotated[int, msgspec.Meta(ge=1)]
    training_set_id: str
    snapshot: Count
    format: Literal["preference", "prompt_completion", "prompt"]
    fingerprint: Sha256
    train_rows: Count
    held_out_rows: Count
    columns: list[str]
    """of its rows, in their order; `split` is one of them"""
    stretches: list[Count]
    """rows in a row of the same split: of train, then held out, then train again, ..."""
    parameters: dict[str, Any]
    chat_template_hashes: list[str]
    sql: str
    views: str | None


class LockedModel(_Section, frozen=True, kw_only=True):
    """A model that answered, judged or was trained, as its row names it."""

    model_id: str
    name: str
    origin: str
    revision: str | None
    """revision, or SHA-256 of its weights"""
    chat_template_hash: str | None


class LockedRun(_Section, frozen=True, kw_only=True):
    """A run that made the rows: what `factory run` needs to make such rows again."""

    run_id: str
    seed: int
    iteration: int
    parent_run_id: str | None
    code_version: str
    package_versions: Versions
    parameters: dict[str, Any]
    recipe: dict[str, Any]
    recipe_hash: str
    templates: dict[str, str]
    pairings: dict[str, str]


class LockedTraining(_Section, frozen=True, kw_only=True):
    """A training: what `factory rerun` does again, and what came out."""

    training_run_id: str
    objective: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(OBJECTIVES)})$")]
    status: Literal["finished", "diverged"]
    base_model: str
    base_weights_sha256: Sha256
    start: LockedModel | None
    reference: LockedModel | None
    """None: there is none, or it is the start"""
    chat_template_hash: str | None
    configuration: dict[str, Any]
    seed: int
    hardware: str
    package_versions: Versions
    output: str | None
    weights_sha256: Sha256 | None
    loss_curve: list[float]


class Lock(_Section, frozen=True, kw_only=True):
    """A lock file."""

    format: Literal[1]
    """of the file"""
    made_by: str
    packages: Versions
    """those of the machine that wrote it or, for a model, that trained it; `python` among them"""
    container: str
    """a command that gives the same packages on another machine"""
    training_set: LockedSet
    training: LockedTraining | None
    """None: the file is about the set"""
    models: list[LockedModel]
    """that made the set's rows"""
    runs: list[LockedRun]


def lock_text(lock: Lock, name: str) -> str:
    """The file's text.

    Args:
        name: of the file, for the commands at its top.
    """
    head = (
        "# Everything that decides what is named below. To do it again, on any machine:\n"
        f"#   factory rerun {name} --lake LAKE         with the lake\n"
        f"#   factory rerun {name} --data FOLDER       with the published dataset alone: its folder or its hub id\n"
    )
    text: str = yaml.dump(msgspec.to_builtins(lock), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return head + text


def write_lock(lock: Lock, file: Path) -> None:
    """Writes the file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(file) as part:
        part.write_text(lock_text(lock, file.name), "utf-8")


def read_lock(file: Path) -> Lock:
    """
    Raises:
        FactoryError: there is no such file, or it is no lock file.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise FactoryError(
                f"lock file {file} has more than {MOST_BYTES:,} bytes: it is none that `factory lock` wrote"
            )
        text = file.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise FactoryError(f"there is no lock file {file}: `factory lock NAME@V -o {file.name}` writes one") from None
    except UnicodeDecodeError as error:
        raise FactoryError(f"lock file {file} is not UTF-8 text: copy it again") from error
    return lock_of_text(text, f"lock file {file}")


def lock_of_text(text: str, what: str = "the lock file") -> Lock:
    """
    Raises:
        FactoryError: the text is no lock file.
    """
    try:
        _refuse_bombs(text, what)
        lock = msgspec.convert(yaml.load(text, Loader=_Loader), Lock)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise FactoryError(
            f"{what} cannot be used ({' '.join(str(error).split())[:200]}): write it again with `factory lock`"
        ) from error
    rows = lock.training_set.train_rows, lock.training_set.held_out_rows
    stretches = lock.training_set.stretches
    if (sum(stretches[::2]), sum(stretches[1::2])) != rows:
        raise FactoryError(f"{what}: stretches do not add up to {rows[0]} and {rows[1]} rows: write it again")
    return lock


def _refuse_bombs(text: str, what: str) -> None:
    """A few lines of aliases stand for billions of values, and reading deep nesting takes the square of its depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise FactoryError(
                f"{what} has an alias (*{event.anchor}), which `factory lock` never writes: it is not used"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise FactoryError(
                f"{what} cannot be used (it is nested deeper than {DEEPEST}): write it again with `factory lock`"
            )


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are read, lists of plain values in one line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    flow = not any(isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]
