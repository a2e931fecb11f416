"""Reviewing pairs one after another, and what reviewers said: `/review` shows a pair and takes a verdict, `/reviews` counts.

A blind page shows two answers, first and second, whose order is a hash of pair and reviewer; nothing on it, in its address or
in the order of the pairs tells which one is chosen until the reviewer has answered.
"""

import time
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from factory.evaluation.figures import Figure
from factory.view.asking import of_this_lake, query
from factory.view.given import address_part, text_of_query
from factory.view.pages.pairs import which_of
from factory.view.pair import read_sides
from factory.view.pair_list import is_large
from factory.view.readers import Readers
from factory.view.review_figures import Agreement, between_reviewers, reviewers, with_judges
from factory.view.review_queue import Next, next_pair
from factory.view.reviewing import LONGEST_NAME, Opinion, check_reviewer, first_side, review
from factory.view.showing import Page, Shown, render, routes
from factory.view.sides import parts_between, text_side
from schemas.errors import FactoryError
from stores.lake import Lake

Form = dict[str, str]
LONGEST_LOOK_S = 24 * 3600
LONGEST_EDITED = 200_000
"""characters of an answer that may be edited here: a request has a size that it may not exceed"""
TELLING = ("longer", "flawed", "disputed")
"""doubts that tell which side is chosen"""
MOST_SKIPPED = 200
"""pairs put off that an address remembers"""


def shown(request: Request) -> Response:
    """Who reviews and what; then the next pair: its address is its own, so that it can be sent and gone back to."""
    if text_of_query(request, "reviewer") is None:
        return render(request, _start(request))
    if text_of_query(request, "pair") is None:
        with of_this_lake(request) as lake:
            coming = _next(request, lake)
        if coming.pair_id is None:
            return render(request, Page("review_end.html", "review", {"reviewed": coming.reviewed, "done": None}))
        return RedirectResponse(_with(request, pair=coming.pair_id), 303)
    return render(request, _one(request))


def _start(request: Request) -> Page:
    with of_this_lake(request) as lake:
        choices = query(lake, "review_choices").to_pylist()
        names = [name for name in reviewers(lake).column("reviewer").to_pylist() if len(name) <= LONGEST_NAME]
    context = {
        "sets": [row["name"] for row in choices if row["kind"] == "set"],
        "runs": [row["name"] for row in choices if row["kind"] == "run"],
        "names": names,
        "given": dict(request.query_params),
    }
    return Page("review_start.html", "review", context)


def _next(request: Request, lake: Lake) -> Next:
    given = request.query_params
    reviewer = given["reviewer"]
    check_reviewer(reviewer)
    if "blind" in given and given.get("doubt") in TELLING:
        raise FactoryError(
            f"pairs with the doubt {given['doubt']} cannot be reviewed blind: it tells which side is chosen"
        )
    skipped = tuple(id for id in given.get("skip", "").split(",") if id)
    return next_pair(
        lake,
        which_of(request, lake),
        reviewer,
        blind="blind" in given,
        unseen="unseen" in given,
        skipped=skipped,
        cheap=is_large(lake),
    )


def _one(request: Request, problem: str | None = None, form: Form | None = None) -> Page:
    given, form = request.query_params, form or {}
    reviewer, pair_id, blind = given["reviewer"], given["pair"], "blind" in given
    check_reviewer(reviewer)
    with of_this_lake(request) as lake:
        _, prompt, chosen, rejected = read_sides(lake, pair_id)
        before = query(lake, "pair_said", {"pair_id": pair_id}).to_pylist()
        last = _last(lake, text_of_query(request, "done"), reviewer)
    first, second = chosen.text, rejected.text
    if blind and first_side(pair_id, reviewer) == "rejected":
        first, second = second, first
    # From the second to the first as they are shown: an alignment from rejected to chosen might tell which is which.
    parts = parts_between(second, first)
    names = ("first", "second") if blind else ("chosen", "rejected")
    texts = ((first, "added"), (second, "removed"))
    context = {
        "reviewer": reviewer,
        "pair_id": pair_id,
        "prompt": prompt,
        "blind": blind,
        "sides": [text_side(name, text, parts, own) for name, (text, own) in zip(names, texts, strict=True)],
        "own": [row for row in before if row["reviewer"] == reviewer and row["counts"]],
        "others": [] if blind else [row for row in before if row["reviewer"] != reviewer and row["counts"]],
        "last": last,
        "edited": None if blind or len(chosen.text) > LONGEST_EDITED else form.get("edited", chosen.text),
        "reason": form.get("reason", ""),
        "shown_at": form.get("shown_at", f"{time.time():.3f}"),
        "problem": problem,
        "skip": _with(request, pair=None, done=None, skip=_and_skip(given.get("skip", ""), pair_id)),
        "posting": request.url.path + "?" + request.url.query,
    }
    return Page("review.html", "review", context, status=200 if problem is None else 400)


def _and_skip(skipped: str, pair_id: str) -> str:
    return ",".join([*(id for id in skipped.split(",") if id and id != pair_id), pair_id][-MOST_SKIPPED:])


def _last(lake: Lake, pair_id: str | None, reviewer: str) -> dict[str, object] | None:
    """What this reviewer said of the pair before."""
    if pair_id is None:
        return None
    rows = query(lake, "pair_said", {"pair_id": pair_id}).to_pylist()
    own = [row for row in rows if row["reviewer"] == reviewer and row["counts"]]
    return {"pair_id": pair_id, **own[0]} if own else None


async def answered(request: Request) -> Response:
    """Takes a verdict, and leads to the next pair; a verdict that cannot be kept leads back, with all that was written."""
    body = (await request.body()).decode("utf-8", "replace")
    return await run_in_threadpool(_answered, request, dict(parse_qsl(body, keep_blank_values=True)))


def _answered(request: Request, form: Form) -> Response:
    given = request.query_params
    if not given.get("reviewer") or not given.get("pair"):
        raise FactoryError("a review names its pair and its reviewer in the address: begin at /review")
    readers: Readers = request.app.state.readers
    try:
        opinion = _opinion(given["reviewer"], given["pair"], "blind" in given, form)
        with Lake.open(readers.where) as lake:
            review(lake, given["pair"], opinion)
    except FactoryError as error:
        return render(request, _one(request, str(error), form))
    return RedirectResponse(_with(request, pair=None, done=given["pair"]), 303)


def _opinion(reviewer: str, pair_id: str, blind: bool, form: Form) -> Opinion:
    """What the form says.

    Raises:
        FactoryError: no button of this page, or an opinion that cannot be kept.
    """
    first = first_side(pair_id, reviewer) if blind else "chosen"
    second = "rejected" if first == "chosen" else "chosen"
    said = form.get("said", "")
    preferred = {"first": first, "second": second, "neither": "neither"}.get(said)
    verdict = said if preferred is None else "accept" if preferred == "chosen" else "reject"
    if blind and preferred is None:
        raise FactoryError("whoever does not know which side is chosen says first, second or neither")
    # A browser sends the lines of a field with CR and LF, whatever they were.
    edited = form.get("edited", "").replace("\r\n", "\n") if verdict == "edit" else None
    return Opinion(
        reviewer=reviewer,
        verdict=verdict,
        preferred=preferred,
        edited=edited,
        reason=form.get("reason", "").replace("\r\n", "\n").strip() or None,
        first_side=first if blind else None,
        seconds=_seconds_since(form.get("shown_at", "")),
    )


def _seconds_since(shown_at: str) -> float | None:
    """None: the page does not say when it was shown, or so long ago that nobody looked at it for that long."""
    try:
        seconds = time.time() - float(shown_at)
    except ValueError:
        return None
    return round(seconds, 3) if 0 <= seconds <= LONGEST_LOOK_S else None


def _with(request: Request, **changes: str | None) -> str:
    query = {**dict(request.query_params), **changes}
    return "/review?" + urlencode([(name, value) for name, value in query.items() if value is not None])


def reviews(request: Request) -> Page:
    """Who has reviewed how much, and how far they agree with each other and with the judges."""
    with of_this_lake(request) as lake:
        counts = reviewers(lake)
        people, judges = between_reviewers(lake), with_judges(lake)
        rows = query(lake, "review_rows")
    tables = [
        Shown("reviewers", counts, caption="Reviewers: the newest review of each pair"),
        Shown(
            "agreement",
            _as_rows(people, "reviewer", "other"),
            caption="Two reviewers: do both accept the pair as it is?",
        ),
        Shown("judges", _as_rows(judges, "reviewer", "judge"), caption="Reviewers and judges: which side is better?"),
        Shown(
            "reviews",
            rows,
            {"pair_id": lambda row: f"/pair/{address_part(row['pair_id'])}"},
            "All reviews, the newest first",
        ),
    ]
    return Page("reviews.html", "reviews", {}, tables)


def _as_rows(found: list[Agreement], one: str, other: str) -> pa.Table:
    def ends(name: str, figure: Figure) -> dict[str, float | None]:
        return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}

    rows = [
        {
            one: each.one,
            other: each.other,
            "pairs": each.pairs,
            **ends("agreement", each.agreement),
            **ends("kappa", each.kappa),
        }
        for each in found
    ]
    figures = [f"{name}{end}" for name in ("agreement", "kappa") for end in ("", "_low", "_high")]
    kinds = {one: pa.string(), other: pa.string(), "pairs": pa.int64(), **dict.fromkeys(figures, pa.float64())}
    return pa.Table.from_pylist(rows, pa.schema(list(kinds.items())))


ROUTES = [
    Route("/review", shown, methods=["GET"]),
    Route("/review", answered, methods=["POST"]),
    *routes("/reviews", reviews),
]
