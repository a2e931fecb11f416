"""Models' folders, which may be anybody's: what of them is loaded, and what loading them says. Imports no torch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError

NO_CODE: dict[str, Any] = {"trust_remote_code": False}
"""said, or transformers asks on a terminal whether to run the code that a folder brings"""
NO_PICKLES: dict[str, Any] = {"use_safetensors": True}
"""said, or transformers loads a pickle beside the safetensors that rows have the hash of"""
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@contextmanager
def loading(where: str) -> Iterator[None]:
    """What libraries raise about a model's files, as a sentence.

    Args:
        where: what names the model, for the sentence.
    Raises:
        FactoryError: it cannot be loaded.
    """
    try:
        yield
    except Exception as error:  # tokenizers raises no narrower one, and transformers whatever an odd value leads to
        raise FactoryError(f"{where} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def check_index(folder: Path) -> None:
    """
    Raises:
        ValueError: there are no weights under the names by which they are loaded, or their index names some outside the folder,
            which rows have no hash of.
    """
    index = folder / _INDEX
    if not index.is_file():
        if not (folder / _WEIGHTS).is_file():
            raise ValueError(f"the folder has neither {_WEIGHTS} nor {_INDEX}")
        return
    files = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    if strange := sorted(files - {file.name for file in folder.glob("*.safetensors")}):
        raise ValueError(f"{_INDEX} names {strange[0]!r}, which is no safetensors file of this folder")
