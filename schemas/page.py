"""Writes `docs/schema.md` from the tables: `python -m schemas.page > docs/schema.md`."""

import inspect

from schemas.columns import columns
from schemas.tables import SCHEMA_VERSION, TABLES


def schema_page() -> str:
    """The page in Markdown. A test fails when the one in `docs/` is another."""
    lines = [
        "# The tables",
        "",
        f"Schema version {SCHEMA_VERSION}. Made from `schemas/tables.py` by `python -m schemas.page`.",
        "Rows are added, not changed. NULL is 'not known', never 0 or false. Time is UTC.",
        "The first column of a table is its id and is unique.",
    ]
    for name, table in TABLES.items():
        lines += ["", f"## `{name}`", "", inspect.getdoc(table) or "", ""]
        lines += ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        for c in columns(table):
            kind = f"{c.sql}{'' if c.nullable else ' NOT NULL'}"
            lines.append(f"| `{c.name}` | `{kind}` | {c.unit or ''} | {c.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(schema_page(), end="")
