"""How lakes of earlier schema versions are read (`read_N.sql`) and migrated (`NNN_name.sql`, to version NNN)."""

import re
from pathlib import Path

from schemas.tables import SCHEMA_VERSION

_FOLDER = Path(__file__).parent


def reading(version: int) -> str:
    """SQL for temporary views that show the tables of a lake of `version` in today's shape."""
    texts: list[str] = []
    for step in range(version, SCHEMA_VERSION):
        text = (_FOLDER / f"read_{step}.sql").read_text("utf-8")
        for table in re.findall(r"CREATE TEMP VIEW (\w+)", text):
            # A table that several versions changed: the later view reads the earlier one, under another name.
            earlier = f"{table}_of_version_{step}"
            renamed = [old.replace(f"CREATE TEMP VIEW {table} AS", f"CREATE TEMP VIEW {earlier} AS") for old in texts]
            if renamed != texts:
                texts, text = renamed, re.sub(rf"\blake\.{table}\b", earlier, text)
        texts.append(text)
    return "\n".join(texts)


def steps(version: int) -> list[tuple[str, str]]:
    """The steps that migrate a lake of `version`, one for each later version, in order.

    A step is two SQL texts: temporary views of the tables in the next version's shape, and the change, which reads from
    them. So a step's meaning never changes, whatever later versions do.
    """
    files = sorted(_FOLDER.glob("[0-9]*.sql"))
    later = [(int(file.name[:3]), file) for file in files if int(file.name[:3]) > version]
    return [((_FOLDER / f"read_{to - 1}.sql").read_text("utf-8"), file.read_text("utf-8")) for to, file in later]
