"""All answers to a prompt, side by side."""

import pyarrow as pa
from starlette.requests import Request
from starlette.routing import Route

from factory.view.answers import CHARACTERS_SHOWN, Answer, read_answers
from factory.view.asking import of_this_lake, query
from factory.view.nodes import votes_of
from factory.view.showing import Page, Shown, address, is_file, routes

ANSWERS_SHOWN = 60


def prompt(request: Request) -> Page:
    """The answers to a prompt; `?run=` (as often as wanted) keeps to runs, `?against=` compares all with one answer."""
    prompt_id, given = request.path_params["prompt_id"], request.query_params
    with of_this_lake(request) as lake:
        found = read_answers(lake, prompt_id, given.getlist("run"), given.get("against"))
        trees = query(lake, "prompt_trees", {"prompt_id": prompt_id}).to_pylist()
    shown = found.answers if is_file(request) else found.answers[:ANSWERS_SHOWN]
    context = {
        "asked": found,
        "answers": shown,
        "trees": trees,
        "chosen_runs": given.getlist("run"),
        "compare": {one.response_id: address(request, against=one.response_id) for one in shown},
        "against": given.get("against"),
        "limit": CHARACTERS_SHOWN,
    }
    rows = pa.Table.from_pylist([_row(one) for one in shown])
    return Page("prompt.html", f"prompt {prompt_id[:12]}", context, [Shown("answers", rows)])


_COLUMNS = (
    "response_id", "run_id", "recipe", "round", "kind", "model", "tokens", "finish_reason", "flaw", "tree_id", "node_id",
)  # fmt: skip


def _row(answer: Answer) -> dict[str, object]:
    plain = {name: getattr(answer, name) for name in _COLUMNS}
    return {**plain, "passed": answer.passed, **votes_of(answer.opinions), "text": answer.text}


ROUTES: list[Route] = routes("/prompt/{prompt_id}", prompt)
