"""The prompts of a lake: where they come from, in which language, with which constraints."""

from dataclasses import asdict, dataclass

import pyarrow as pa

from factory.view.asking import named_parts, query, text_of
from factory.view.facets import Facet, count_values
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class PromptFilter:
    """Which prompts; None: all."""

    source: str | None = None
    language: str | None = None
    licence: str | None = None
    constraint: str | None = None
    """the kind of a constraint, as IFEval names it, or none"""
    run: str | None = None
    text: str | None = None
    """words that a message contains, whatever their case"""


def list_prompts(lake: Lake, which: PromptFilter, offset: int, limit: int) -> pa.Table:
    """Prompts by id, with the beginnings of their texts and how many answers, trees and pairs they have."""
    given = {**asdict(which), "offset": offset, "limit": limit}
    found = lake.query(text_of("corpus_found") + text_of("corpus_list"), given)
    counts = {
        row["prompt_id"]: row
        for row in query(lake, "corpus_counts", {"ids": found.column("prompt_id").to_pylist()}).to_pylist()
    }
    for name in ("answers", "trees", "pairs"):
        values = [counts[id][name] if id in counts else 0 for id in found.column("prompt_id").to_pylist()]
        found = found.append_column(name, pa.array(values, pa.int64()))
    return found


def count_prompts(lake: Lake, which: PromptFilter) -> dict[str, Facet]:
    """How many of the filtered prompts have each value, by facet."""
    found, given = text_of("corpus_found"), asdict(which)
    return {name: count_values(lake, found + text, given) for name, text in named_parts("corpus_facets").items()}
