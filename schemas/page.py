"""Writes `docs/schema.md` from the tables: `python -m schemas.page > docs/schema.md`."""

import inspect

from schemas.columns import columns
from schemas.tables import SCHEMA_VERSION, TABLES


def schema_page() -> str:
    """The page in Markdown. A test fails if `docs/schema.md` differs."""
    lines = [
        "# The tables",
        "",
        f"Schema version {SCHEMA_VERSION}. Generated from `schemas/tables.py` by `python -m schemas.page`.",
        "Rows are added, never changed. NULL means unknown, never 0 or false. Times are UTC.",
        "A table's first column is its id and is unique.",
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
