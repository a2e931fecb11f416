"""Where an endpoint's key comes from. The key itself goes to the endpoint alone: into no recipe, row, log or message."""

import os
from pathlib import Path

from factory.inference.replies import NO_KEY
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError


def key_place(settings: ModelSettings) -> str:
    """Where the key is looked for, in words."""
    if settings.api_key_file is not None:
        return f"the first line of the file {settings.api_key_file}"
    return f"the environment variable {settings.api_key_env}"


def read_key(settings: ModelSettings) -> str:
    """The key; of an endpoint that asks for none, where no variable is set, a word that is none.

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
    # Anything else could not be sent, and the error that says so would show it.
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise FactoryError(f"{key_place(settings)} holds no key: put one word of plain letters, digits and signs there")
    return key
