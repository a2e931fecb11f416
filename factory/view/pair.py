"""One pair as a person reads it: both texts and how they differ, where they came from, who judged and reviewed them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from factory.view.asking import query
from factory.view.claims import ClaimShown, read_claims
from factory.view.errors import not_there
from schemas.errors import FactoryError
from schemas.tables import Pair, Prompt, Response
from stores.faults import verify
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge said of one side."""

    passed: bool | None
    """None: a tie, or nothing that could be read"""
    value: float | None
    points: float | None
    votes: tuple[int, int, int] | None
    """yes, no, not readable; None: it did not judge this side"""

    @property
    def told(self) -> str:
        """In words: passes, value 1, 3 yes, 0 no."""
        if self.votes is None:
            return "not judged"
        parts = [{True: "passes", False: "fails", None: "undecided"}[self.passed]]
        parts += [
            f"{name} {value:.4g}"
            for name, value in (("value", self.value), ("points", self.points))
            if value is not None
        ]
        yes, no, unparsed = self.votes
        if any(self.votes):
            parts += [f"{yes} yes", f"{no} no", *([f"{unparsed} not readable"] if unparsed else [])]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge's view of a pair."""

    run_id: str
    name: str
    kind: str
    decides: bool
    model: str | None
    chosen: Judged
    rejected: Judged

    @property
    def asked(self) -> str:
        """Which model judged."""
        return self.model or ("a program" if self.kind == "verifier" else "not known")

    @property
    def prefers(self) -> str | None:
        """chosen or rejected, by the values; None: they are equal, or one is not known."""
        ours, theirs = self.chosen.value, self.rejected.value
        return None if ours is None or theirs is None or ours == theirs else "chosen" if ours > theirs else "rejected"


@dataclass(frozen=True, slots=True)
class Step:
    """One node on the way from the failed answer to the accepted one."""

    depth: int
    node_id: str
    value: float | None
    state: str
    response_id: str | None
    call_id: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """One review of the pair."""

    reviewed_at: datetime
    reviewer: str
    verdict: str
    preferred: str | None
    blind: bool
    reason: str | None
    edited_pair_id: str | None
    seconds: float | None
    counts: bool
    """whether it is this reviewer's newest"""


@dataclass(frozen=True, slots=True)
class PairShown:
    """A pair with all that is known of it."""

    pair: Pair
    prompt: Prompt
    chosen: Response
    rejected: Response
    models: dict[str, str]
    """names by id"""
    judges: tuple[Judge, ...]
    comparisons: pa.Table
    items: pa.Table
    """how well each side meets each item of the prompt's checklist; no rows: it was not judged by one"""
    claims: tuple[tuple[str, ClaimShown], ...]
    """of both sides: chosen or rejected, and the claim"""
    path: tuple[Step, ...]
    """from the root; empty: the pair comes from no search"""
    calls: pa.Table
    reviews: tuple[Said, ...]
    edited_from: str | None
    """the pair whose chosen answer a reviewer rewrote into this one's"""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is doubtful, as view `pair_doubts` has it for all pairs at once."""
        pair = self.pair
        known = None not in (pair.chosen_value, pair.rejected_value)
        others = [one for one in self.judges if not one.decides or one.run_id != pair.run_id]
        against = [one["probability"] for one in self.comparisons.to_pylist() if one["probability"] is not None]
        by_stage = sum(against) / len(against) if against else None
        found = {
            "longer": pair.length_ratio is None or pair.length_ratio >= 1.5,
            "unlike": pair.similarity < 0.2,
            "close": known and pair.chosen_value - pair.rejected_value < 0.25,  # type: ignore[operator]
            "flawed": self.chosen.flaw is not None,
            "disputed": any(one.prefers == "rejected" for one in others) or (by_stage is not None and by_stage < 0.5),
        }
        return tuple(name for name, holds in found.items() if holds)


def read_sides(lake: Lake, pair_id: str) -> tuple[Pair, Prompt, Response, Response]:
    """A pair with its prompt, its chosen and its rejected answer.

    Raises:
        NotThere: no such pair; it names those with the nearest ids.
        FactoryError: the pair's other rows are missing.
    """
    found = lake.read(Pair, "pair_id = $id", {"id": pair_id})
    if not found:
        raise not_there(lake, "pairs", pair_id)
    pair = found[0]
    prompts = lake.read(Prompt, "prompt_id = $id", {"id": pair.prompt_id})
    ids = {"ids": [pair.chosen_response_id, pair.rejected_response_id]}
    sides = {one.response_id: one for one in lake.read(Response, "response_id IN (SELECT unnest($ids))", ids)}
    if not prompts or len(sides) < len(set(ids["ids"])):
        raise FactoryError(f"pair {pair_id}: its prompt or answers are not in the lake: see {verify(lake.place.where)}")
    return pair, prompts[0], sides[pair.chosen_response_id], sides[pair.rejected_response_id]


def read_pair(lake: Lake, pair_id: str) -> PairShown:
    """Raises what `read_sides` raises."""
    pair, prompt, chosen, rejected = read_sides(lake, pair_id)
    sides = {"chosen": chosen.response_id, "rejected": rejected.response_id}
    path = _path(lake, pair)
    wrote = [chosen.call_id, rejected.call_id, *(step.call_id for step in path)]
    calls = [id for id in wrote if id is not None]
    edited = lake.query("SELECT min(pair_id) FROM reviews WHERE edited_pair_id = $id", {"id": pair_id})
    models = lake.query(
        "SELECT model_id, name FROM models WHERE model_id IN (SELECT unnest($ids))",
        {"ids": [one.model_id for one in (chosen, rejected) if one.model_id is not None]},
    )
    return PairShown(
        pair=pair,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        models={row["model_id"]: row["name"] for row in models.to_pylist()},
        judges=tuple(_judge(row) for row in query(lake, "pair_judges", sides).to_pylist()),
        comparisons=query(lake, "pair_comparisons", sides),
        items=query(lake, "pair_items", sides),
        claims=_claims(lake, pair),
        path=path,
        calls=query(lake, "pair_calls", {"responses": list(sides.values()), "calls": calls}),
        reviews=tuple(Said(**row) for row in query(lake, "pair_said", {"pair_id": pair_id}).to_pylist()),
        edited_from=edited.column(0)[0].as_py(),
    )


def _claims(lake: Lake, pair: Pair) -> tuple[tuple[str, ClaimShown], ...]:
    found = read_claims(lake, pair.prompt_id)
    sides = (("chosen", pair.chosen_response_id), ("rejected", pair.rejected_response_id))
    return tuple((side, claim) for side, id in sides for claim in found.get(id, ()))


def _path(lake: Lake, pair: Pair) -> tuple[Step, ...]:
    if pair.tree_id is None or pair.node_id is None:
        return ()
    given = {"tree_id": pair.tree_id, "node_id": pair.node_id}
    return tuple(Step(**row) for row in query(lake, "pair_path", given).to_pylist())


def _judge(row: dict[str, Any]) -> Judge:
    sides = [
        Judged(
            row[f"{side}_passed"],
            row[f"{side}_value"],
            row[f"{side}_points"],
            None if row[f"{side}_votes"] is None else tuple(row[f"{side}_votes"]),
        )
        for side in ("chosen", "rejected")
    ]
    return Judge(row["run_id"], row["judge"], row["kind"], row["decides"], row["model"], *sides)
