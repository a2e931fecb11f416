"""What may be used here: what somebody named on this machine, never what only a lake names.

A run is continued, or done again, with the models and prompts in its rows. In a lake from somebody else these may be any
address, any file or dataset, a file to read a key from, or a model whose code `vllm serve` would run. So what a user's own
recipe names is remembered in the user's data directory, and what a lake names has to be among it.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import platformdirs

from factory.inference.client import is_loopback
from factory.inference.keys import key_place
from factory.inference.settings import ModelSettings
from factory.inference.weights import MODELS
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from stores.whole import whole_file

Models = Mapping[str, ModelSettings]
"""by role"""
Sources = Iterable[tuple[str, str]]
"""files, folders and `datasets:ID`, each after the setting that names it, such as prompts.source; other words name nothing"""
_BUNDLED = ("bundled", "bundled:development")


@dataclass(frozen=True, slots=True)
class _Use:
    option: str
    """what to set with -o in order to name it"""
    said: str
    """what would be done, with a file as the lake names it"""
    kept: str
    """the same with the file's whole path"""


def trust(models: Models, sources: Sources) -> None:
    """Remembers what the user's own recipe names.

    Raises:
        OSError: it cannot be written.
    """
    known = _remembered()
    if new := {use.kept for use in _uses(models, sources)} - known:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with whole_file(_file()) as part:
            part.write_text(json.dumps(sorted(known | new), indent=1), "utf-8")


def check_trusted(
    models: Models, sources: Sources, where: str, given: Collection[str] = (), remedy: str | None = None
) -> None:
    """
    Args:
        models, sources: as a lake names them, but for what is given.
        where: as in: run spar-1234567890
        given: the settings that the user gives now, such as models.actor.endpoint.
        remedy: how to name it; None: as a setting of a recipe.
    Raises:
        FactoryError: something would be used that nobody on this machine has named.
    """
    known = _remembered()
    for use in _uses(models, sources):
        if use.kept not in known and not _names(given, use.option):
            how = remedy or f"name it yourself with -o {use.option}=…, or start the recipe with `factory run`"
            raise FactoryError(f"{where} wants {use.said}, which only its lake names: if you trust that, {how}")


def _names(given: Collection[str], option: str) -> bool:
    above, _, last = option.rpartition(".")
    # A model is named by its address or weights; the lake's may not stay where only its arguments or limits are given.
    same = {f"{above}.vllm", f"{above}.vllm.model"} if last == "endpoint" else set()
    return not {option, above, above.partition(".")[0], *same}.isdisjoint(given)


def _uses(models: Models, sources: Sources) -> Iterator[_Use]:
    for role, model in models.items():
        option = f"models.{role}.endpoint"
        for said in _asking(model):
            yield _Use(option, said, said)
        for named in (model.embedded, model.base):
            name = (named or "").removeprefix("embedded:")
            if name not in MODELS:
                yield from _opening(option, "to load", name)
        if model.reward_folder is not None:
            yield from _opening(option, "to load", str(model.reward_folder))
    for option, source in sources:
        if source.startswith("datasets:"):
            said = f"to fetch the dataset {source.removeprefix('datasets:')}"
            yield _Use(option, said, said)
        elif source not in _BUNDLED:
            yield from _opening(option, "to read", source)


def _asking(model: ModelSettings) -> Iterator[str]:
    """What using a model would do beyond computing with its weights, in words; the gravest first."""
    if model.vllm is not None:
        plain = msgspec.to_builtins(model.vllm)
        yield f"to start the program {canonical_json({name: plain[name] for name in ('command', 'model', 'args')})}"
    with_key = model.api_key_file is not None or os.environ.get(model.api_key_env)
    for url in map(urlsplit, model.urls):
        if with_key and not is_loopback(url.hostname or ""):  # a server on this machine gives no key away
            yield f"to send the key in {key_place(model)} to {url.scheme}://{url.netloc}"
        yield f"to ask {url.scheme}://{url.netloc}"


def _opening(option: str, what: str, name: str) -> Iterator[_Use]:
    """The use of a file or folder, if there is one of this name."""
    try:
        path = Path(name).expanduser().absolute()
        there = bool(name) and path.exists()
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown home, a NUL
        return
    if there:
        yield _Use(option, f"{what} {name}", f"{what} {path}")


def _remembered() -> set[str]:
    try:
        return set(map(str, json.loads(_file().read_text("utf-8"))))
    except (OSError, ValueError, TypeError):
        return set()  # nothing is trusted yet


def _file() -> Path:
    return platformdirs.user_data_path("preference-factory") / "trusted.json"
