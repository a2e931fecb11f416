"""The project's SQL, one query per file: `sql(name)` reads one; `views()` are made when a lake is opened."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent

# In dependency order: a view may use those before it.
_VIEWS = (
    "render",
    "is_blank",
    "current_runs",
    "data_runs",
    "current_loops",
    "current_reviews",
    "run_templates",
    "verdicts",
    "failed_responses",
    "failed_prompts",
    "example_order",
    "few_shot",
    "call_messages",
    "tree_paths",
    "accepted_pairs",
    "judge_agreement",
    "preferences",
    "win_rates",
    "claim_scores",
    "answers",
    "flawed_accepted",
    "preference_rows",
    "reviewed_pairs",
    "pair_doubts",
    "pair_contrast",
    "item_scores",
    "judgement_elo",
    "judgement_pairs",
    "rewards",
    "readings",
    "run_progress",
    "run_cost",
    "drift",
    "family",
    "loop_rounds",
)


def sql(name: str) -> str:
    """The text of `stores/sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


@cache
def views() -> str:
    """SQL for all views and macros, which are temporary: a lake stores only tables."""
    return "\n".join(sql(f"views/{name}") for name in _VIEWS)
