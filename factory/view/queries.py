"""The pages' own queries: `page_sql("tree_head")` is the text of `sql/tree_head.sql`."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def page_sql(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text("utf-8")
