"""Where an endpoint's key comes from. The key goes to the endpoint alone, never into a recipe, row, log or message."""

import os
from pathlib import Path

from factory.inference.replies import NO_KEY
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError


def key_place(settings: ModelSettings) -> str:
    """Where the key is read from, in words."""
    if settings.api_key_file is not None:
        return f"the first line of the file {settings.api_key_file}"
    return f"the environment variable {settings.api_key_env}"


def read_key(settings: ModelSettings) -> str:
    """The key; NO_KEY where the variable is not set, for endpoints that ask for none.

    Raises:
        FactoryError: the file cannot be read, or what is there cannot be a key.
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
    # Nothing else can be sent, and the client's error about it would show the key.
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise FactoryError(f"{key_place(settings)} holds no key: put one word of plain letters, digits and signs there")
    return key
