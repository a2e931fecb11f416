"""Claims of answers as a person reads them: each with its support and what it was checked against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.view.asking import query
from factory.view.given import address_part
from factory.view.showing import Shown
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class ClaimShown:
    """A claim with its evidence."""

    response_id: str
    run_id: str
    stage: str
    method: str
    position: int
    claim: str
    question: str | None
    support: float | None
    evidence: tuple[dict[str, Any], ...]
    model: str | None
    call_id: str | None
    """the call that checked it, else the one that took it out"""

    @property
    def told(self) -> str:
        """Its support in words."""
        return "cannot be verified" if self.support is None else f"support {self.support:.3g}"

    @property
    def shown(self) -> list[str]:
        """The evidence in the order shown to the checker: BM25 score or share, and text."""
        weights = ("" if one["weight"] is None else f"{one['weight']:.3g}" for one in self.evidence)
        return [f"{weight}: {one['text']}" for weight, one in zip(weights, self.evidence, strict=True)]


def read_claims(lake: Lake, prompt_id: str) -> dict[str, tuple[ClaimShown, ...]]:
    """The claims of a prompt's answers, by response id."""
    found: dict[str, tuple[ClaimShown, ...]] = {}
    for row in query(lake, "prompt_claims", {"prompt_id": prompt_id}).to_pylist():
        claim = ClaimShown(**{**row, "evidence": tuple(row["evidence"])})
        found[claim.response_id] = (*found.get(claim.response_id, ()), claim)
    return found


def claims_table(claims: Sequence[tuple[str, ClaimShown]], caption: str) -> Shown:
    """Claims as a table of a page, the evidence as texts on the page and as rows in its files.

    Args:
        claims: each with the name of its side or answer.
    """
    about = [
        {"of": name, "claim": one.claim, "support": one.support, "question": one.question, "method": one.method,
         "model": one.model, "stage": one.stage, "run_id": one.run_id, "call_id": one.call_id}
        for name, one in claims
    ]  # fmt: skip
    rows = [{**row, "evidence": list(one.evidence)} for row, (_, one) in zip(about, claims, strict=True)]
    drawn = [
        {"of": row["of"], "claim": row["claim"], "support": one.told, "evidence": " | ".join(one.shown),
         "question": row["question"], "call_id": row["call_id"]}
        for row, (_, one) in zip(about, claims, strict=True)
    ]  # fmt: skip
    links = {"call_id": lambda row: None if row["call_id"] is None else f"/call/{address_part(row['call_id'])}"}
    return Shown("claims", pa.Table.from_pylist(rows), links, caption, drawn=pa.Table.from_pylist(drawn))
