"""All answers to a prompt, of one run or several, with what their judges said."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.monitor.difference import Part, parts_of
from factory.view.asking import query, query_one
from factory.view.claims import ClaimShown, read_claims
from factory.view.nodes import Opinion
from factory.view.tree import opinions_of
from schemas.tables import Constraint
from stores.lake import Lake

CHARACTERS_SHOWN = 20_000
"""of each answer"""


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a prompt's checklist."""

    run_id: str
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class ItemScore:
    """How well an answer meets an item, by one judge."""

    judge: str
    item: str
    value: float | None
    """0..1; None: it could not be read"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and its verdicts."""

    response_id: str
    run_id: str
    recipe: str | None
    round: int | None
    purpose: str | None
    """of its run"""
    stage: str
    """of its run; of an online training: before, step 1, step 2, ..., after"""
    kind: str
    text: str
    model: str | None
    tokens: int | None
    finish_reason: str | None
    flaw: str | None
    tree_id: str | None
    """the first tree that it is in"""
    node_id: str | None
    visit: int | None
    state: str | None
    reward: float | None
    """what an online training paid for it; None: nothing"""
    opinions: tuple[Opinion, ...]
    items: tuple[ItemScore, ...]
    """in the order of the checklist; empty: it was not judged by one"""
    claims: tuple[ClaimShown, ...]
    parts: tuple[Part, ...] | None
    """the difference from the answer that all are compared with; None: there is none, or it is too long"""

    @property
    def passed(self) -> bool | None:
        return next((opinion.passed for opinion in self.opinions if opinion.decides), None)


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt and its answers."""

    prompt_id: str
    text: str
    source: str
    licence: str | None
    constraints: tuple[Constraint, ...]
    reference: str | None
    evolved_from: str | None
    checklist: tuple[Item, ...]
    """of all runs that wrote one"""
    answers: tuple[Answer, ...]
    runs: tuple[str, ...]
    """all runs that answered, in the order of the answers"""


def read_answers(lake: Lake, prompt_id: str, run_ids: Sequence[str] = (), against: str | None = None) -> Answered:
    """A prompt's answers, by round and run.

    Args:
        run_ids: only those of these runs; empty: of all.
        against: the response that the others' texts are compared with.
    Raises:
        NotThere: there is no such prompt.
    """
    head = query_one(lake, "prompt_head", "prompts", prompt_id)
    rows = query(lake, "prompt_answers", {"prompt_id": prompt_id}).to_pylist()
    opinions = opinions_of(query(lake, "prompt_votes", {"prompt_id": prompt_id}).to_pylist())
    checklist = query(lake, "prompt_checklist", {"prompt_id": prompt_id}).to_pylist()
    scored: dict[str, list[ItemScore]] = defaultdict(list)
    for row in checklist:
        if row["response_id"] is not None:
            scored[row["response_id"]].append(ItemScore(row["judge"], row["item"], row["value"]))
    claims = read_claims(lake, prompt_id)
    runs = tuple(dict.fromkeys(row["run_id"] for row in rows))
    base = next((row["text"] for row in rows if row["response_id"] == against), None)
    return Answered(
        prompt_id,
        head["text"] or "",
        head["source"],
        head["licence"],
        tuple(Constraint(c["id"], c["kwargs"]) for c in head["constraints"] or ()),
        head["reference"],
        head["evolved_from"],
        tuple(dict.fromkeys(Item(row["run_id"], row["item"], row["weight"]) for row in checklist)),
        tuple(
            _answer(row, opinions, scored, claims, base, against)
            for row in rows
            if not run_ids or row["run_id"] in run_ids
        ),
        runs,
    )


def _answer(
    row: dict[str, Any],
    opinions: dict[str, tuple[Opinion, ...]],
    scored: dict[str, list[ItemScore]],
    claims: dict[str, tuple[ClaimShown, ...]],
    base: str | None,
    against: str | None,
) -> Answer:
    judged = row.pop("judged_response_id") or row["response_id"]
    parts = None
    if base is not None and row["response_id"] != against:
        parts = parts_of(base[:CHARACTERS_SHOWN], row["text"][:CHARACTERS_SHOWN])
    return Answer(
        **row,
        opinions=opinions.get(judged, ()),
        items=tuple(scored.get(judged, ())),
        claims=claims.get(row["response_id"], ()),
        parts=None if parts is None else tuple(parts),
    )
