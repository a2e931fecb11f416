"""The table of search trees, with facets and histograms that filter it."""

from dataclasses import dataclass
from urllib.parse import urlencode

import pyarrow as pa
from starlette.requests import Request
from starlette.routing import Route

from factory.view.asking import of_this_lake
from factory.view.facets import COUNTED_TO, Counted, Facet, in_bins
from factory.view.given import address_part, number_of
from factory.view.plots import Histogram, histogram
from factory.view.showing import Page, Shown, address, is_file, routes
from factory.view.tree_list import (
    BINS,
    FACETS,
    HISTOGRAMS,
    ORDERS,
    ROWS_A_PAGE,
    as_query,
    bin_name,
    count_trees,
    facet,
    filter_of,
    list_trees,
)
from schemas.errors import FactoryError, nearest

VALUE_SHOWN, VALUE_LINKED = 80, 500
"""characters of a facet's value that are shown, and up to which it can be chosen"""


def trees(request: Request) -> Page:
    """A page of trees. Each facet comes afterwards, by itself (`?part=outcome`); with `?facets=1`, all of them at once."""
    given = dict(request.query_params)
    filter, order, at = filter_of(given), given.get("order") or "newest", number_of(request, "page", least=0) or 0
    part = given.get("part")
    if part is not None and part not in (*FACETS, *HISTOGRAMS):
        raise FactoryError(f"there is no facet {part[:40]!r}: {nearest(part, (*FACETS, *HISTOGRAMS))}")
    with of_this_lake(request) as lake:
        wanted = [part] if part else [*FACETS, *HISTOGRAMS] if "facets" in given else []
        facets = {name: _facet(request, name, facet(lake, filter, name)) for name in wanted}
        if part:
            rows, count = pa.table({}), 0
        else:
            count = count_trees(lake, filter)
            most = COUNTED_TO if is_file(request) else ROWS_A_PAGE
            rows = list_trees(lake, filter, order, 0 if is_file(request) else at, most)
    listed = urlencode({**as_query(filter), **({"order": order} if order != "newest" else {})})
    shown = Shown(
        "trees",
        rows,
        {
            "tree_id": lambda row: f"/tree/{address_part(row['tree_id'])}?{urlencode({'list': listed})}",
            "prompt": lambda row: f"/prompt/{address_part(row['prompt_id'])}",
            "run_id": lambda row: f"/run/{address_part(row['run_id'])}",
        },
        "Trees",
        min(count, COUNTED_TO),
        count > COUNTED_TO,
        ("prompt_id",),
    )
    context = {
        "part": part,
        "facets": [(name, facets.get(name)) for name in (*FACETS, *HISTOGRAMS) if part in (None, name)],
        "filter": [
            (name, text, address(request, **{name: None, "page": None})) for name, text in as_query(filter).items()
        ],
        "orders": list(ORDERS),
        "order": order,
        "before": address(request, page=str(at - 1) if at > 1 else None) if at else None,
        "after": address(request, page=str(at + 1)) if (at + 1) * ROWS_A_PAGE < min(count, COUNTED_TO) else None,
        "at": at,
        "beyond": count > COUNTED_TO,
        "limit": COUNTED_TO,
        "value_shown": VALUE_SHOWN,
    }
    return Page("trees.html", "search trees", context, [shown])


@dataclass(frozen=True, slots=True)
class FacetShown:
    """A facet with the address of each of its values."""

    values: tuple[tuple[Counted, bool, str | None], ...] | None
    """value, whether it is chosen, address that chooses it or takes it back (None: too long for one); None: stopped"""
    plot: Histogram | None = None


def _facet(request: Request, name: str, found: Facet) -> FacetShown:
    now = request.query_params.get(name)

    def choosing(value: str) -> str:
        return address(request, **{name: None if value == now else value, "part": None, "page": None})

    if found is None:
        return FacetShown(None)
    if name in HISTOGRAMS:
        bins = [bin_name(bin) for bin in range(BINS)]
        ends = [bin / BINS for bin in range(BINS + 1)]
        hrefs = [choosing(bin) for bin in bins]
        return FacetShown(
            (), histogram(name, in_bins(found, BINS), ends, hrefs, bins.index(now) if now in bins else None)
        )
    return FacetShown(
        tuple((v, v.value == now, choosing(v.value) if len(v.value) <= VALUE_LINKED else None) for v in found)
    )


ROUTES: list[Route] = routes("/trees", trees)
