"""Judges, and what a stage's judges find in one text.

Each file in `factory/judges/` is a kind of judge. It has `Settings` (a `JudgeSettings`) and `judge`, an async function
that takes a prompt with its rows and a text, and returns one judge's judgements of the text and the calls behind them; none
if it has nothing to judge by.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from factory.inference.endpoints import SetAside
from factory.work.context import Context, Template, Work
from factory.work.stage import StageSettings
from factory.work.verdicts import Verdict, verdict_of
from schemas.errors import FactoryError, nearest
from schemas.ids import content_id, sha256_text
from schemas.tables import Call, Judgement, Prompt

KINDS = Path(__file__).parents[1] / "judges"


class JudgeSettings(StageSettings, frozen=True, kw_only=True):
    """The settings of every kind of judge."""

    needs: ClassVar[Mapping[str, str]] = {"sample": "make the answers it judges"}
    on_answers: ClassVar[bool] = True

    kind: str

    def can_judge(self, prompt: Prompt) -> bool:
        """Whether it can judge answers to this prompt."""
        return True

    def can_fail(self) -> bool:
        """Whether it can fail a response, as a search needs to start."""
        return True


@cache
def judge_kinds() -> tuple[str, ...]:
    """All kinds of judges: the files in `factory/judges/`."""
    return tuple(sorted(file.stem for file in KINDS.glob("*.py") if file.stem != "__init__"))


def kind_of(kind: str, where: str = "kind") -> Any:
    """The module of a kind of judge.

    Raises:
        FactoryError: there is no such kind.
    """
    if kind not in judge_kinds():
        raise FactoryError(f"{where}: unknown kind of judge {kind!r}: {nearest(kind, judge_kinds())}")
    return importlib.import_module(f"factory.judges.{kind}")


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge of a recipe."""

    name: str
    """in the rows; its kind, unless the recipe names it"""
    settings: JudgeSettings
    templates: Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement, before its row has an id."""

    verdict: str | None
    critique: str
    value: float | None
    points: float | None = None
    pass_points: float | None = None
    probabilities: dict[str, float] | None = None
    call_id: str | None = None
    item_id: str | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All judgements of one text, and the calls behind them."""

    judgements: list[Judgement]
    calls: list[Call]

    @property
    def deciding(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.decides]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.deciding)

    @property
    def critique(self) -> Judgement | None:
        """The judgement to refine from: the first 'no', else the first readable one."""
        readable = [j for j in self.deciding if j.value is not None]
        return next((j for j in readable if j.verdict == "no"), readable[0] if readable else None)

    def of(self, run_id: str, response_id: str) -> "Assessment":
        """This assessment, for another response with the same text."""
        judgements = [
            replace(
                j,
                response_id=response_id,
                judgement_id=content_id("judgement", run_id, response_id, j.judge, j.model_id, j.vote),
            )
            for j in self.judgements
        ]
        return Assessment(judgements, [replace(call, response_ids=[response_id]) for call in self.calls])


def of_judges(judgements: Iterable[Judgement], judges: Sequence[Judge]) -> Assessment:
    """The assessment of a response by these judges: the first that has judged it decides."""
    by_name: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_name.setdefault(judgement.judge, []).append(judgement)
    found = [by_name[judge.name] for judge in judges if judge.name in by_name]
    return Assessment([replace(j, decides=rank == 0) for rank, rows in enumerate(found) for j in rows], [])


async def assess(context: Context, work: Work, response_id: str, text: str, *, decided: bool = False) -> Assessment:
    """Assesses a text with a stage's judges. The first that judges it decides; the others are only recorded.

    Args:
        decided: whether another judge has already decided.
    Raises:
        SetAside: a judge's model cannot be asked.
    """
    judgements: list[Judgement] = []
    calls: list[Call] = []
    for judge in context.judges:
        if judge.settings.can_judge(work.prompt):
            found, asked = await kind_of(judge.settings.kind).judge(context, judge, work, response_id, text)
            judgements += _rows(context, judge, work.prompt, response_id, found, decides=not decided)
            calls += asked
            decided = decided or bool(found)
    return Assessment(judgements, calls)


async def assess_or_none(
    context: Context, work: Work, response_id: str, text: str, *, decided: bool = False
) -> Assessment | None:
    """`assess`, or None if a judge's model cannot be asked (its call records why)."""
    try:
        return await assess(context, work, response_id, text, decided=decided)
    except SetAside:
        return None


def _rows(
    context: Context, judge: Judge, prompt: Prompt, response_id: str, found: Sequence[Judged], *, decides: bool
) -> list[Judgement]:
    """A judge's judgements as rows."""
    roles = judge.settings.roles()
    model_id = context.asker.endpoints[roles[0]].model.model_id if roles else None
    template = next(iter(judge.templates.values()), None)
    return [
        Judgement(
            judgement_id=content_id("judgement", context.run_id, response_id, judge.name, model_id, index),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            response_id=response_id,
            judge=judge.name,
            kind=judge.settings.kind,
            decides=decides,
            model_id=model_id,
            template_hash=sha256_text(template.text) if template else None,
            vote=index,
            verdict=one.verdict,
            points=one.points,
            value=one.value,
            pass_points=one.pass_points,
            probabilities=one.probabilities,
            critique=one.critique,
            call_id=one.call_id,
            item_id=one.item_id,
            weight=one.weight,
        )
        for index, one in enumerate(found)
    ]


def once(rows: Iterable[Judgement | Call]) -> list[Judgement | Call]:
    """Rows without duplicate calls: answers with the same text share one, which names the first of them."""
    kept = {row.call_id if isinstance(row, Call) else row.judgement_id: row for row in reversed(list(rows))}
    return list(reversed(kept.values()))
