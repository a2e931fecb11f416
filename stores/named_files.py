"""The project's own texts, found by name, and the user's, found by path: recipes, templates, queries."""

import difflib
from pathlib import Path

from schemas.errors import FactoryError, nearest


def read_named(folder: Path, ending: str, name: str, kind: str) -> tuple[Path, str]:
    """Path and text of `folder/NAME.ending`, else of the user's file at the path `name`.

    Args:
        ending: the extension of the folder's files, such as ".yaml"; the user's file may have another.
        kind: what errors call it, such as "prompt template".
    Raises:
        FactoryError: no such file, or not UTF-8 text.
    """
    file = folder / f"{name}{ending}"
    if not file.is_file():
        file = Path(name)
    if not file.is_file():
        known = sorted(path.stem for path in folder.glob(f"*{ending}"))
        # A misspelt path is close to a file that is there, not to a name.
        beside = [str(path) for path in file.parent.glob(f"*{file.suffix}")] if file.suffix and "*" not in name else []
        if difflib.get_close_matches(name, beside, 1):
            raise FactoryError(f"there is no {kind} {name!r}: {nearest(name, beside)}")
        raise FactoryError(f"there is no {kind} {name!r}: {nearest(name, known, 'give one of')} (or a file's path)")
    try:
        return file, file.read_text("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise FactoryError(
            f"{kind} {file} is not UTF-8 text (byte {error.start + 1} is the first that is not): save it as UTF-8"
        ) from error
