"""All answers to a prompt, side by side."""

from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.routing import Route

from factory.view.answers import CHARACTERS_SHOWN, Answer, Answered, read_answers
from factory.view.asking import of_this_lake, query
from factory.view.given import address_part
from factory.view.nodes import votes_of
from factory.view.showing import Href, Page, Shown, address, is_file, routes

ANSWERS_SHOWN = 60


def prompt(request: Request) -> Page:
    """The answers to a prompt; `?run=` (as often as wanted) keeps to runs, `?against=` compares all with one answer."""
    prompt_id, given = request.path_params["prompt_id"], request.query_params
    with of_this_lake(request) as lake:
        found = read_answers(lake, prompt_id, given.getlist("run"), given.get("against"))
        trees = query(lake, "prompt_trees", {"prompt_id": prompt_id}).to_pylist()
        compared = query(lake, "prompt_comparisons", {"prompt_id": prompt_id})
        judged = query(lake, "prompt_meta_judgements", {"prompt_id": prompt_id})
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
    tables = [Shown("answers", rows), *_which_is_better(found, compared, judged)]
    return Page("prompt.html", f"prompt {prompt_id[:12]}", context, tables)


_COLUMNS = (
    "response_id", "run_id", "recipe", "round", "stage", "kind", "model", "tokens", "finish_reason", "flaw", "tree_id", "node_id",
    "reward",
)  # fmt: skip


def _row(answer: Answer) -> dict[str, object]:
    plain = {name: getattr(answer, name) for name in _COLUMNS}
    return {**plain, "passed": answer.passed, **votes_of(answer.opinions), "text": answer.text}


def _which_is_better(found: Answered, compared: pa.Table, judged: pa.Table) -> list[Shown]:
    """Comparisons of the answers, and of judgements of one: with ids in the files, with the answers' numbers on the page."""
    places = {one.response_id: place for place, one in enumerate(found.answers, 1)}
    tables = []
    rows = [row for row in compared.to_pylist() if {row["first_response_id"], row["second_response_id"]} <= {*places}]
    if rows:
        drawn = [
            {"first": places[row["first_response_id"]], "second": places[row["second_response_id"]], **_better(row)}
            for row in rows
        ]
        tables.append(_compared("comparisons", "Answers", rows, drawn))
    rows = [row for row in judged.to_pylist() if row["response_id"] in places]
    if rows:
        drawn = [
            {
                "answer": places[row["response_id"]],
                "first": _vote(row, "first"),
                "second": _vote(row, "second"),
                **_better(row),
            }
            for row in rows
        ]
        tables.append(_compared("meta_judgements", "Judgements", rows, drawn))
    return tables


def _compared(name: str, what: str, rows: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> Shown:
    links: dict[str, Href] = {"call_id": lambda row: f"/call/{address_part(row['call_id'])}"}
    caption = f"{what} compared: how probable it is that the one shown first is better"
    return Shown(name, pa.Table.from_pylist(rows), links, caption, drawn=pa.Table.from_pylist(drawn))


def _better(row: dict[str, Any]) -> dict[str, Any]:
    probability = "not readable" if row["probability"] is None else f"{row['probability']:.3g}"
    return {"first is better": probability, "by": row["model"], "stage": row["stage"], "call_id": row["call_id"]}


def _vote(row: dict[str, Any], side: str) -> str:
    """A judgement by its number among the judge's, and its points."""
    vote, points = row[f"{side}_vote"], row[f"{side}_points"]
    if vote is None:
        return "not in the lake"
    return f"judgement {vote + 1}" + ("" if points is None else f", {points:.3g} points")


ROUTES: list[Route] = routes("/prompt/{prompt_id}", prompt)
