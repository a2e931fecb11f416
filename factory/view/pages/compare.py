"""Two training sets, snapshots, runs or models side by side: `/compare?a=…&b=…`, and one prompt under both."""

from itertools import pairwise
from typing import Any

from starlette.requests import Request

from factory.monitor.difference import Part
from factory.view.asking import of_this_lake, query
from factory.view.comparing import MOST, Compared, Shift, compare, find, rows_of
from factory.view.errors import not_there
from factory.view.given import address_part, text_of_query
from factory.view.plots import Histogram, paired
from factory.view.showing import Href, Page, Shown, address, is_file, routes
from factory.view.sides import Side, parts_between, text_side
from schemas.tables import Prompt
from stores.lake import Lake

PROMPT_ROWS = 20
"""of each side, of one prompt"""


def comparison(request: Request) -> Page:
    """Which two to compare, their comparison, or with `prompt`, that prompt under both.

    The comparison takes a while: the page comes without it and asks for it then (`?result=1`).
    """
    a, b = text_of_query(request, "a"), text_of_query(request, "b")
    with of_this_lake(request) as lake:
        choices = query(lake, "compare_choices").column("name").to_pylist()
        context: dict[str, Any] = {
            "choices": choices,
            "a": a or "",
            "b": b or "",
            "names": None,
            "found": None,
            "most": MOST,
        }
        if a is None or b is None:
            return Page("compare.html", "compare", context)
        one, other = find(lake, a), find(lake, b)
        prompt_id = text_of_query(request, "prompt")
        if prompt_id is not None:
            return _one_prompt(lake, one, other, prompt_id, context)
        context["names"] = {"a": one.shown, "b": other.shown}
        if "result" not in request.query_params and not is_file(request):
            return Page("compare.html", "compare", context)
        found = compare(lake, one, other)
    links: dict[str, Href] = {"prompt_id": lambda row: address(request, prompt=row["prompt_id"], result=None)}
    tables = [
        Shown("rows", found.rows, links, "Rows that are not the same"),
        Shown("constraints", found.kinds, caption="Rows whose prompt has a constraint of the kind"),
    ]
    plots = [_plot(shift) for shift in found.shifts]
    if found.kinds.num_rows:
        plots.append(_kinds_plot(found.kinds.to_pylist()))
    return Page("compare.html", "compare", {**context, "found": found, "plots": plots}, tables)


def _plot(shift: Shift) -> Histogram:
    ends = [f"{end:.3g}" for end in shift.ends]
    labels = [f"{low} to {high}" for low, high in pairwise(ends)]
    medians = " → ".join("none" if one is None else f"{one:.3g}" for one in (shift.median_a, shift.median_b))
    return paired(shift.title, shift.a, shift.b, labels, f"median {medians}", ends[0], ends[-1])


def _kinds_plot(rows: list[dict[str, Any]]) -> Histogram:
    """Shares of each side's constraints, in the order of the table below the plot."""
    a, b = ([row[side] / max(sum(each[side] for each in rows), 1) for row in rows] for side in ("a", "b"))
    labels = [row["kind"] for row in rows]
    return paired("kinds of constraints", a, b, labels, "in the table's order", "frequent", "rare")


def _one_prompt(lake: Lake, a: Compared, b: Compared, prompt_id: str, context: dict[str, Any]) -> Page:
    prompts = lake.read(Prompt, "prompt_id = $id", {"id": prompt_id})
    if not prompts:
        raise not_there(lake, "prompts", prompt_id)
    rows = [rows_of(lake, one, prompt_id).to_pylist()[:PROMPT_ROWS] for one in (a, b)]
    pairs: list[list[Side | None]] = []
    for at in range(max(map(len, rows))):
        one, other = (side[at] if at < len(side) else None for side in rows)
        for name, label in (("first", "chosen"), ("second", "rejected")):
            texts = [None if row is None else row[name] for row in (one, other)]
            if texts != [None, None]:
                pairs.append(_sides(texts, label if any(row and row["second"] for row in (one, other)) else "answer"))
    runs = "&".join(f"run={address_part(one.name)}" for one in (a, b) if one.kind == "run")
    context |= {
        "prompt": prompts[0],
        "names": {"a": a.shown, "b": b.shown},
        "pairs": pairs,
        "answers": f"/prompt/{address_part(prompt_id)}" + (f"?{runs}" if runs else ""),
        "back": f"/compare?a={address_part(a.reference)}&b={address_part(b.reference)}",
    }
    return Page("compare_prompt.html", "one prompt under both", context)


def _sides(texts: list[str | None], name: str) -> list[Side | None]:
    a, b = texts
    if a is not None and b is not None:
        pieces = parts_between(a, b, fold=True)
        return [text_side(f"a: {name}", a, pieces, "removed"), text_side(f"b: {name}", b, pieces, "added")]
    return [
        None if text is None else text_side(f"{side}: {name}", text, [Part("same", text, 0)], "same")
        for side, text in (("a", a), ("b", b))
    ]


ROUTES = routes("/compare", comparison)
