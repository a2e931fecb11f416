"""Models in folders: weights as safetensors, as trainers write them. What they are called and which they are.

Nothing here loads a model: the weights are hashed, and of the tokenizer only the chat template is read.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError
from schemas.ids import sha256_text, weights_sha256

ADAPTER = "adapter_config.json"
"""The file by which peft marks the folder of an adapter."""


def folder_of(name: str) -> Path | None:
    """The folder that a model's name in a recipe stands for; None: it is no folder."""
    folder = Path(name).expanduser()
    try:
        return folder if name and folder.is_dir() else None
    except (OSError, ValueError):  # too long a name, a NUL
        return None


def is_adapter(folder: Path) -> bool:
    """Whether it holds only a peft adapter, which needs a base model."""
    return (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path) -> str | None:
    """What the adapter in a folder says it was trained on: a path or a hub id; None: it does not tell."""
    found = read_json(folder, ADAPTER).get("base_model_name_or_path")
    return found if isinstance(found, str) and found else None


def folder_sha256(folder: Path) -> str | None:
    """SHA-256 of a folder's safetensors, computed as `factory train` does; None if there are none."""
    files = sorted(folder.glob("*.safetensors"))
    return _sha256(tuple((file, *_state(file)) for file in files)) if files else None


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A file of a model's folder; empty if there is none.

    Raises:
        FactoryError: it is no JSON object.
    """
    file = folder / name
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FactoryError(f"{file} cannot be read ({error}): copy the model's folder again") from error
    if not isinstance(found, dict):
        raise FactoryError(f"{file} holds no JSON object: copy the model's folder again")
    return found


def chat_template(folder: Path) -> str | None:
    """The text that `tokenizer.chat_template` has in transformers; None: there is none.

    Raises:
        FactoryError: a file of the folder is damaged.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text("utf-8") or None
        except (OSError, ValueError) as error:
            raise FactoryError(f"{file} cannot be read ({error}): copy the model's folder again") from error
    given = read_json(folder, "tokenizer_config.json").get("chat_template")
    if isinstance(given, list):  # several by name
        by_name = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = by_name.get("default")
    return given if isinstance(given, str) and given else None


def template_hash(text: str | None) -> str | None:
    """A chat template's hash in `models`: the same for a folder, the GGUF made from it, and its tokenizer."""
    return None if text is None else sha256_text(text)


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    return weights_sha256([file for file, *_ in files])
