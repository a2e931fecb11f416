"""The project's SQL, one query a file: `sql(name)` reads one, `views()` are made when a lake is opened."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent

# In the order of their dependence: a view may use those before it.
_VIEWS = (
    "render",
    "current_runs",
    "run_templates",
    "verdicts",
    "failed_responses",
    "failed_prompts",
    "call_messages",
    "tree_paths",
    "accepted_pairs",
    "judge_agreement",
    "preferences",
    "win_rates",
    "answers",
    "preference_rows",
    "run_progress",
    "run_cost",
)


def sql(name: str) -> str:
    """The text of `stores/sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


@cache
def views() -> str:
    """What makes all views and macros, temporary ones of a connection: a lake stores tables alone."""
    return "\n".join(sql(f"views/{name}") for name in _VIEWS)
