"""Verifier: IFEval's checkers (arXiv:2311.07911) test the prompt's own constraints."""

from typing import Annotated, Literal

from factory.verifier.constraints import verify
from factory.work.context import Context
from factory.work.judging import Judge, Judged, JudgeSettings
from schemas.settings import about
from schemas.tables import Call, Prompt


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A program that checks the prompt's constraints and says which ones failed."""

    kind: Annotated[Literal["verifier"], about("the kind of judge")] = "verifier"

    def can_judge(self, prompt: Prompt) -> bool:
        return bool(prompt.constraints)


async def judge(
    context: Context, judge: Judge, prompt: Prompt, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """One judgement, whose points are the share of constraints met.

    A failing text's value is half its share: nearer misses rank higher, and none reaches acceptance at 0.5.
    """
    found = verify(prompt.constraints, text)
    value = 1.0 if found.passed else found.score / 2
    return [Judged("yes" if found.passed else "no", found.critique, value, points=found.score)], []
