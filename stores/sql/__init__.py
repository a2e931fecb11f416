"""The project's SQL, one query a file: `sql(name)` reads one, `VIEWS` are made with a lake in their order."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def sql(name: str) -> str:
    """The text of `stores/sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


# In the order of their dependence: a view may use those before it.
VIEWS = [
    (_FOLDER / "views" / f"{name}.sql").read_text("utf-8")
    for name in (
        "render",
        "current_runs",
        "verdicts",
        "failed_responses",
        "failed_prompts",
        "call_messages",
        "tree_paths",
        "accepted_pairs",
        "judge_agreement",
        "run_progress",
        "run_cost",
    )
]
