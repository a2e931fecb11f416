"""Reads an endpoint's key. It is sent only to the endpoint, and never appears in a recipe, row, log or message."""

import os
from pathlib import Path

from factory.inference.failures import NO_KEY
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError


def key_place(settings: ModelSettings) -> str:
    """Where the key is read from, for messages."""
    if settings.api_key_file is not None:
        return f"the first line of the file {settings.api_key_file}"
    return f"the environment variable {settings.api_key_env}"


def read_key(settings: ModelSettings) -> str:
    """The key; NO_KEY if the variable is not set, for endpoints that need none.

    Raises:
        FactoryError: the file cannot be read, or does not hold a valid key.
    """
    if settings.api_key_file is None:
        key = os.environ.get(settings.api_key_env) or NO_KEY
    else:
        try:
            first_line = Path(settings.api_key_file).expanduser().read_bytes().partition(b"\n")[0]
        except OSError as error:
            raise FactoryError(
                f"api_key_file {settings.api_key_file} cannot be read ({error.strerror}): give a file whose first line "
                "is the key"
            ) from error
        key = first_line.decode("utf-8", "replace").strip()
    # Anything else cannot be sent, and the client's error would show the key.
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise FactoryError(f"{key_place(settings)} holds no valid key: put one word of printable ASCII there")
    return key
