"""The pairs of a lake by what is doubtful about them: a page of the list, and what its facets count."""

from dataclasses import dataclass

import pyarrow as pa

from factory.view.asking import named_parts, query, text_of
from factory.view.facets import Facet, count_values
from schemas.errors import FactoryError, nearest
from stores.lake import Lake

DOUBTS = {
    "longer": "the chosen answer is at least half as long again",
    "unlike": "less than a fifth of the words are shared",
    "close": "the judge's values differ by less than 0.25",
    "flawed": "the chosen answer has a flaw",
    "disputed": "another judge or a comparison ranks them the other way round",
}
REVIEWED = ("no", "accept", "reject", "edit")
SORTS = {"doubts": "most doubts", "longest": "longer one chosen", "unlike": "least alike", "close": "closest values"}
BINS = 20
LOOKED_UP = ("flawed", "disputed")
"""doubts that other and larger tables tell"""
MANY = 300_000
"""pairs and judgements together above which those are looked up only if asked for"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pairs; raises FactoryError for a value that no pair can have."""

    run: str | None = None
    source: str | None = None
    language: str | None = None
    doubt: str | None = None
    reviewed: str | None = None
    likeness: int | None = None
    """a bin of the histogram: [n / 20, (n + 1) / 20)"""
    margin: int | None = None
    """a bin of chosen_value - rejected_value: [n / 10 - 1, (n + 1) / 10 - 1)"""
    ids: tuple[str, ...] | None = None
    """the pairs of a training set"""

    def __post_init__(self) -> None:
        for what, given, known in (("doubt", self.doubt, DOUBTS), ("reviewed", self.reviewed, REVIEWED)):
            if given is not None and given not in known:
                raise FactoryError(f"the filter {what} is not {given[:80]!r}: {nearest(given, known)}")
        for what, number in (("likeness", self.likeness), ("margin", self.margin)):
            if number is not None and not 0 <= number < BINS:
                raise FactoryError(f"the filter {what} is the number of a bar, 0 to {BINS - 1}, not {number}")

    def parameters(self, cheap: bool) -> dict[str, object]:
        likeness, margin = _ends(self.likeness, 0.0, 0.05), _ends(self.margin, -1.0, 0.1)
        return {
            **{name: getattr(self, name) for name in ("run", "source", "language", "doubt", "reviewed")},
            "likeness_from": likeness[0],
            "likeness_to": likeness[1],
            "margin_from": margin[0],
            "margin_to": margin[1],
            "ids": None if self.ids is None else list(self.ids),
            "cheap": cheap,
        }


def _ends(number: int | None, least: float, step: float) -> tuple[float | None, float | None]:
    """The ends of a histogram's bin; the last one has no upper end, as it also holds the largest value."""
    if number is None:
        return None, None
    return least + number * step, None if number == BINS - 1 else least + (number + 1) * step


def is_large(lake: Lake) -> bool:
    """Whether flaws and disputes take too long to be looked up for all pairs unasked."""
    return (
        int(lake.query("SELECT (SELECT count(*) FROM pairs) + (SELECT count(*) FROM judgements)").column(0)[0].as_py())
        > MANY
    )


def list_pairs(lake: Lake, which: Filter, sort: str | None, offset: int, limit: int, *, cheap: bool) -> pa.Table:
    """A page of the list, with the beginnings of its texts.

    Args:
        sort: one of SORTS; None: by id.
        cheap: leave out flaws and disputes; pairs are then neither sorted nor found by them.
    """
    if sort is not None and sort not in SORTS:
        raise FactoryError(f"pairs cannot be sorted by {sort[:80]!r}: {nearest(sort, SORTS, 'by one of')}")
    asked = {**which.parameters(cheap), "sort": sort, "offset": offset, "limit": limit}
    found = lake.query(text_of("pairs_found") + text_of("pairs_list"), asked)
    rows = found.to_pylist()
    responses = [row[f"{side}_response_id"] for row in rows for side in ("chosen", "rejected")]
    texts = dict.fromkeys(responses, "")
    given = {"prompts": [row["prompt_id"] for row in rows], "responses": responses}
    if rows:
        texts |= {row["id"]: row["text"] for row in query(lake, "pairs_texts", given).to_pylist()}
    shown = found.drop_columns(["chosen_response_id", "rejected_response_id"])
    for name in ("prompt_id", "chosen_response_id", "rejected_response_id"):
        values = [texts.get(row[name], "") for row in rows]
        shown = shown.append_column(name.partition("_")[0], pa.array(values, pa.string()))
    return shown


def count_facets(lake: Lake, which: Filter, *, cheap: bool) -> dict[str, Facet]:
    """How many of the filtered pairs have each value, by facet.

    Args:
        cheap: as in `list_pairs`; facets that do not need what is looked up leave it out anyway.
    """
    found, plain = text_of("pairs_found"), which.doubt not in LOOKED_UP
    return {
        name: count_values(lake, found + text, which.parameters(cheap or (plain and name != "doubt")))
        for name, text in named_parts("pairs_facets").items()
    }
