"""Verifier: a program judges, IFEval's checkers (arXiv:2311.07911) over the prompt's own constraints."""

from typing import Annotated, Literal

from factory.verifier.constraints import verify
from factory.work.context import Context
from factory.work.judging import Judge, Judged, JudgeSettings
from schemas.settings import about
from schemas.tables import Call, Prompt


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A program that checks the prompt's constraints and says in words which one failed."""

    kind: Annotated[Literal["verifier"], about("the kind of judge")] = "verifier"

    def can_judge(self, prompt: Prompt) -> bool:
        return bool(prompt.constraints)


async def judge(
    context: Context, judge: Judge, prompt: Prompt, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """One judgement, whose points are the share of constraints that are followed.

    The value of a failing text is half its share: of two failures the nearer one is the greater, and none of them
    reaches acceptance at 0.5.
    """
    found = verify(prompt.constraints, text)
    value = 1.0 if found.passed else found.score / 2
    return [Judged("yes" if found.passed else "no", found.critique, value, points=found.score)], []
