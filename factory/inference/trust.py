"""Where keys may go: to addresses that somebody named on this machine, never to one that only a lake names.

A run is continued with the models in its rows. In a lake from somebody else these may be any address and any file to
read a key from, or a model whose code `vllm serve` would run. So what a user's own recipe names is remembered in the
user's data directory, and what a lake names has to be among it.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import platformdirs

from factory.inference.client import is_loopback
from factory.inference.keys import key_place
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from schemas.ids import canonical_json
from stores.whole import whole_file


def trust(models: Iterable[ModelSettings]) -> None:
    """Remembers what the user's own models are given: keys, or a machine to run on.

    Raises:
        OSError: it cannot be written.
    """
    known = _remembered()
    if new := {gift for model in models for gift in _gifts(model)} - known:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with whole_file(_file()) as part:
            part.write_text(json.dumps(sorted(known | new), indent=1), "utf-8")


def check_trusted(models: Iterable[ModelSettings], run_id: str) -> None:
    """
    Args:
        models: as a lake names them.
    Raises:
        FactoryError: one would be given what nobody on this machine has given it.
    """
    unknown = {gift for model in models for gift in _gifts(model)} - _remembered()
    if unknown:
        raise FactoryError(
            f"run {run_id} was started on another machine, and its lake wants {min(unknown)}: if you trust that, name the "
            "model yourself, as in `factory resume RUN -o models.ROLE.endpoint=URL`, or start the recipe with `factory run`"
        )


def _gifts(model: ModelSettings) -> list[str]:
    """What using a model would do beyond sending it prompts, in words; a server on this machine gives nothing away."""
    if model.vllm is not None:
        plain = msgspec.to_builtins(model.vllm)
        return [f"to start the program {canonical_json({name: plain[name] for name in ('command', 'model', 'args')})}"]
    if model.api_key_file is None and not os.environ.get(model.api_key_env):
        return []
    remote = [urlsplit(address) for address in model.endpoint if not address.startswith("embedded:")]
    return [
        f"to send the key in {key_place(model)} to {url.scheme}://{url.netloc}"
        for url in remote
        if not is_loopback(url.hostname or "")
    ]


def _remembered() -> set[str]:
    try:
        return set(map(str, json.loads(_file().read_text("utf-8"))))
    except (OSError, ValueError, TypeError):
        return set()  # nothing is trusted yet


def _file() -> Path:
    return platformdirs.user_data_path("preference-factory") / "trusted.json"
