"""How lakes of earlier schema versions are read (`read_N.sql`) and changed (`NNN_name.sql`, to version NNN)."""

from pathlib import Path

from schemas.tables import SCHEMA_VERSION

_FOLDER = Path(__file__).parent


def reading(version: int) -> str:
    """What makes temporary views that show the tables of a lake of `version` in today's shape."""
    return "\n".join((_FOLDER / f"read_{step}.sql").read_text("utf-8") for step in range(version, SCHEMA_VERSION))


def steps(version: int) -> list[str]:
    """The texts that change a lake of `version`, in their order; they read from the views of `reading`."""
    files = sorted(_FOLDER.glob("[0-9]*.sql"))
    return [file.read_text("utf-8") for file in files if int(file.name[:3]) > version]
