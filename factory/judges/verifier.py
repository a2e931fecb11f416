"""Verifier: IFEval's checkers (arXiv:2311.07911) test the prompt's own constraints."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from factory.verifier.constraints import follows_loosely, verify
from factory.work.context import Context, Work
from factory.work.judging import Judge, Judged, JudgeSettings
from schemas.ids import content_id
from schemas.settings import about
from schemas.tables import Call, Check, Prompt


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A program that checks the prompt's constraints and says which ones failed."""

    kind: Annotated[Literal["verifier"], about("the kind of judge")] = "verifier"
    checks: Annotated[bool, about("whether to record each constraint's verdicts, strict and loose")] = False

    def can_judge(self, prompt: Prompt) -> bool:
        return bool(prompt.constraints)


async def judge(
    context: Context, judge: Judge, work: Work, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """One judgement, whose points are the share of constraints met.

    A failing text's value is half its share: nearer misses rank higher, and none reaches acceptance at 0.5.
    """
    prompt = work.prompt
    found = verify(prompt.constraints, text)
    if isinstance(judge.settings, Settings) and judge.settings.checks:
        # Before the judgement, without which all of this is done again: a response is never judged but not checked.
        context.emit(_checks(context.run_id, prompt, response_id, text, found.followed))
    value = 1.0 if found.passed else found.score / 2
    return [Judged("yes" if found.passed else "no", found.critique, value, points=found.score)], []


def _checks(run_id: str, prompt: Prompt, response_id: str, text: str, followed: Sequence[bool]) -> Iterator[Check]:
    for position, (constraint, strictly) in enumerate(zip(prompt.constraints, followed, strict=True)):
        yield Check(
            check_id=content_id("check", run_id, response_id, position),
            run_id=run_id,
            prompt_id=prompt.prompt_id,
            response_id=response_id,
            position=position,
            constraint_id=constraint.id,
            followed=strictly,
            followed_loosely=strictly or follows_loosely(constraint, text),
        )
