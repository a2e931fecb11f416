"""Judge: one judge judges every sampled answer. A recipe may repeat the stage with another judge and name.

Kinds of judges are in `factory/judges/`. The recipe's first judge that can judge an answer decides; the others are
recorded to show how well they agree.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from factory.work.context import Context, Work
from factory.work.judging import JudgeSettings, assess_or_none, kind_of, once
from schemas.tables import Call, Judgement

Settings = JudgeSettings


def settings_class(given: Mapping[str, Any], where: str) -> type[JudgeSettings]:
    """The settings of the kind of judge that a recipe's entry names."""
    found: type[JudgeSettings] = kind_of(str(given.get("kind", "votes")), f"{where}: kind").Settings
    return found


def older_forms(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Converts an entry with `by` (votes, verifier, or both, the verifier first) to today's entries.

    With `by: verifier`, the entry may keep settings of votes; they are ignored.
    """
    entry = dict(given)
    by = entry.pop("by", None)
    if by is None:
        return [entry]
    if by not in ("votes", "verifier", "both"):
        return [{**entry, "kind": by}]  # rejected later as an unknown kind
    votes = {**entry, "kind": "votes"}
    name = {"name": entry["name"]} if "name" in entry else {}
    if by == "verifier":
        return [{"stage": "judge", "kind": "verifier", **name}]
    return [votes] if by == "votes" else [{"stage": "judge", "name": "verifier", "kind": "verifier"}, votes]


async def run(context: Context, work: Work, settings: JudgeSettings) -> Work:
    """Judges every answer that lacks this judge's verdict."""
    (judge,) = context.judges
    judged = {id: any(j.judge == judge.name for j in rows) for id, rows in work.judgements.items()}
    decided = {id: any(j.decides for j in rows) for id, rows in work.judgements.items()}
    lacking = [response for response in work.answers if not judged.get(response.response_id)]
    assessments = await asyncio.gather(
        *(
            assess_or_none(context, work, r.response_id, r.text, decided=decided.get(r.response_id, False))
            for r in lacking
        )
    )
    rows: list[Judgement | Call] = []
    for response, assessment in zip(lacking, assessments, strict=True):
        if assessment is not None:
            work.judgements.setdefault(response.response_id, []).extend(assessment.judgements)
            rows += [*assessment.calls, *assessment.judgements]
    if rows:
        context.emit(once(rows))
    return work
