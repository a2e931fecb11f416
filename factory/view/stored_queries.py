"""Ready-made queries: a folder of `.sql` files, each with a title in its first line and parameters in its header.

-- Trees that cost most and gave nothing. In: $run VARCHAR = '', $rows BIGINT = 50.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError
from stores.parameters import defaults

FOLDER = Path(__file__).parent / "queries"
_NAME = re.compile(r"[\w-]{1,80}")
_USED = re.compile(r"\$([A-Za-z_]\w*)")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query of a folder."""

    name: str
    title: str
    text: str


def stored_queries(folder: Path | None = None) -> dict[str, StoredQuery]:
    """This package's queries, and those of a folder of the user's, by name; the user's win.

    Raises:
        FactoryError: there is no such folder, or a file in it cannot be read.
    """
    found = {}
    for place in (FOLDER, *([] if folder is None else [folder])):
        if not place.is_dir():
            raise FactoryError(f"there is no folder of queries {place.name!r}: give --queries a folder with .sql files")
        for file in sorted(place.glob("*.sql")):
            try:
                text = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise FactoryError(f"the query {file.name} cannot be read as UTF-8 text: {error}") from error
            if _NAME.fullmatch(file.stem):
                title = text.partition("\n")[0].lstrip("- ").partition(" In: ")[0].rstrip(".")
                found[file.stem] = StoredQuery(file.stem, title, text)
    return found


def parameters_of(text: str) -> dict[str, Any]:
    """The parameters that a query uses, in order, with the defaults that its header declares, else ''."""
    declared = defaults(text)
    code = re.sub(r"--[^\n]*|'(?:[^']|'')*'", " ", text)
    return {name: declared.get(name, "") for name in dict.fromkeys(_USED.findall(code))}


def values_of(text: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters' values: those given in a form, as numbers where they look like one and no text is declared."""
    values: dict[str, Any] = {}
    for name, default in parameters_of(text).items():
        value = given.get(name)
        if value is None:
            values[name] = default
        elif _NUMBER.fullmatch(value) and (name not in defaults(text) or not isinstance(default, str)):
            values[name] = float(value) if "." in value else int(value)
        else:
            values[name] = value
    return values
