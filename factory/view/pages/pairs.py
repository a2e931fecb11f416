"""Pairs: a list by what is doubtful about them, and one pair with both texts side by side and all that led to it."""

from dataclasses import asdict
from typing import Any

import pyarrow as pa
from starlette.requests import Request

from factory.view.asking import of_this_lake
from factory.view.claims import claims_table
from factory.view.facets import Facet, in_bins
from factory.view.given import address_part, number_of, text_of_query
from factory.view.members import find_members, pair_ids
from factory.view.pair import Judged, PairShown, read_pair
from factory.view.pair_list import BINS, DOUBTS, LOOKED_UP, SORTS, Filter, count_facets, is_large, list_pairs
from factory.view.plots import Histogram, histogram
from factory.view.showing import Href, Page, Shown, address, is_file, routes
from factory.view.sides import parts_between, side_of
from stores.lake import Lake

ON_A_PAGE = 50
_ALL = 1_000_000
SETS_S = 0.2
"""for reading training sets, to say which of them hold a pair"""
FACETS = {
    "doubt": "doubts", "reviewed": "reviews", "source": "pairings", "run": "runs", "language": "languages",
}  # fmt: skip


def which_of(request: Request, lake: Lake) -> Filter:
    """The filter that the address asks for."""
    given = {name: text_of_query(request, name) for name in ("run", "source", "language", "doubt", "reviewed")}
    reference = text_of_query(request, "set")
    return Filter(
        **given,
        likeness=number_of(request, "likeness", least=0),
        margin=number_of(request, "margin", least=0),
        ids=None if reference is None else tuple(pair_ids(lake, reference)),
    )


def pairs(request: Request) -> Page:
    """The list. Its facets take a while on a large lake: the page comes without them and asks for them then."""
    sort = text_of_query(request, "sort") or "doubts"
    at = number_of(request, "page", least=1) or 1
    as_file = is_file(request)
    with of_this_lake(request) as lake:
        which = which_of(request, lake)
        cheap = is_large(lake) and "deep" not in request.query_params and which.doubt not in LOOKED_UP
        most = _ALL if as_file else ON_A_PAGE + 1
        found = list_pairs(lake, which, sort, 0 if as_file else (at - 1) * ON_A_PAGE, most, cheap=cheap)
        counted = count_facets(lake, which, cheap=cheap) if "facets" in request.query_params else None
    more = not as_file and found.num_rows > ON_A_PAGE
    rows = found if as_file else _shown(found.slice(0, ON_A_PAGE))
    links: dict[str, Href] = {"pair_id": lambda row: f"/pair/{address_part(row['pair_id'])}"}
    before = 0 if as_file else (at - 1) * ON_A_PAGE
    shown = Shown(
        "pairs",
        rows,
        links,
        count=before + rows.num_rows,
        capped=more,
        hidden=("source", "run_id", "prompt_id", "tree_id"),
    )
    context = {
        "cheap": cheap,
        "sort": sort,
        "sorts": SORTS,
        "doubts": DOUBTS,
        "facet_names": FACETS,
        "counts": counted,
        "plots": [] if counted is None else _plots(request, which, counted),
        "chosen": {name: request.query_params.get(name) for name in (*FACETS, "likeness", "margin", "set")},
        "at": at,
        "before": address(request, page=str(at - 1), facets=None) if at > 1 else None,
        "after": address(request, page=str(at + 1), facets=None) if more else None,
        "first": rows.column("pair_id")[0].as_py() if rows.num_rows else None,
        "review": _review_address(request),
    }
    return Page("pairs.html", "pairs", context, [shown])


def _shown(found: pa.Table) -> pa.Table:
    """The rows with their doubts as words in one column."""
    words = [", ".join(name for name in DOUBTS if row[name]) for row in found.to_pylist()]
    rest = found.drop_columns(["doubts", *DOUBTS])
    return rest.add_column(1, "doubts", pa.array(words, pa.string()))


def _plots(request: Request, which: Filter, counted: dict[str, Facet]) -> list[tuple[str, Histogram | None]]:
    """Titles and histograms; None: counting was stopped."""
    titles = {
        "likeness": ("likeness of the two texts", 0.0, 0.05),
        "margin": ("value of chosen minus rejected", -1.0, 0.1),
    }
    plots = []
    for name, (title, least, step) in titles.items():
        on = getattr(which, name)
        hrefs = [
            address(request, facets=None, page=None, **{name: None if on == at else str(at)}) for at in range(BINS)
        ]
        ends = [least + step * at for at in range(BINS + 1)]
        found = counted[name]
        plots.append((title, None if found is None else histogram(title, in_bins(found, BINS), ends, hrefs, on)))
    return plots


def _review_address(request: Request) -> str:
    """Where the pairs of this list are reviewed."""
    kept = ("run", "set", "source", "language", "doubt")
    query = {name: request.query_params[name] for name in kept if name in request.query_params}
    return "/review" + (
        "?" + "&".join(f"{name}={address_part(value)}" for name, value in query.items()) if query else ""
    )


def pair(request: Request) -> Page:
    """One pair."""
    with of_this_lake(request) as lake:
        found = read_pair(lake, request.path_params["pair_id"])
        went = find_members(lake, found.pair.run_id, [found.pair.pair_id], SETS_S)
    pieces = parts_between(found.rejected.text, found.chosen.text, fold="whole" not in request.query_params)
    context = {
        "found": found,
        "went": went,
        "doubts": DOUBTS,
        "sides": (
            side_of("chosen", found.chosen, pieces, "added", found.models),
            side_of("rejected", found.rejected, pieces, "removed", found.models),
        ),
        "has_folds": any(piece.kind == "folded" for piece in pieces),
    }
    return Page("pair.html", f"pair {found.pair.pair_id}", context, _tables(found))


def _tables(found: PairShown) -> list[Shown]:
    tables = []
    if found.calls.num_rows:
        tables.append(Shown("calls", found.calls, {"call_id": _call}, "Calls that wrote and judged it"))
    if found.judges:
        tables.append(_judges(found))
    if found.items.num_rows:
        tables.append(Shown("checklist", found.items, caption="How well each side meets each item, from 0 to 1"))
    if found.comparisons.num_rows:
        tables.append(
            Shown("comparisons", found.comparisons, caption="Compared: how probable it is that chosen is better")
        )
    if found.claims:
        tables.append(claims_table(found.claims, "Claims, and what they were checked against"))
    if found.reviews:
        rows = [asdict(one) for one in found.reviews]
        tables.append(
            Shown("reviews", pa.Table.from_pylist(rows), {"edited_pair_id": _edited_pair}, "Reviews, the newest first")
        )
    return tables


def _judges(found: PairShown) -> Shown:
    """What each judge said of both sides: as figures in the files, in words on the page."""
    rows, drawn = [], []
    for one in found.judges:
        about = {"judge": one.name, "kind": one.kind, "decides": one.decides, "run_id": one.run_id, "model": one.model}
        rows.append(
            {**about, **_figures("chosen", one.chosen), **_figures("rejected", one.rejected), "prefers": one.prefers}
        )
        drawn.append(
            {
                "judge": f"{one.name}, decides" if one.decides else one.name,
                "run_id": one.run_id,
                "model": one.asked,
                "chosen": one.chosen.told,
                "rejected": one.rejected.told,
                "prefers": "rejected ⚑" if one.prefers == "rejected" else one.prefers or "neither",
            }
        )
    links: dict[str, Href] = {"run_id": lambda row: f"/run/{address_part(row['run_id'])}"}
    return Shown("judges", pa.Table.from_pylist(rows), links, "Who judged it", drawn=pa.Table.from_pylist(drawn))


def _figures(side: str, said: Judged) -> dict[str, Any]:
    yes, no, unparsed = said.votes or (None, None, None)
    figures = {
        "passed": said.passed,
        "value": said.value,
        "points": said.points,
        "yes": yes,
        "no": no,
        "unparsed": unparsed,
    }
    return {f"{side}_{name}": value for name, value in figures.items()}


def _call(row: dict[str, Any]) -> str:
    return f"/call/{address_part(row['call_id'])}"


def _edited_pair(row: dict[str, Any]) -> str | None:
    return None if row["edited_pair_id"] is None else f"/pair/{address_part(row['edited_pair_id'])}"


ROUTES = [*routes("/pairs", pairs), *routes("/pair/{pair_id}", pair)]
