"""Reward model: a sequence classifier with one output scores a conversation (Bradley-Terry; arXiv:2203.02155, 3.5).

It reads the prompt's own messages and the answer, through its own tokenizer and chat template. The points are its raw
score, the value their logistic function: two answers whose scores differ by d are in the preferred order with probability
sigmoid(d), but a score alone has no zero, so a value of one half means nothing by itself.
"""

import math
from typing import Annotated, ClassVar, Literal

from factory.inference.endpoints import Sampling
from factory.work.context import Context, Work
from factory.work.judging import Judge, Judged, JudgeSettings
from schemas.settings import about
from schemas.tables import Call, Message

_NO_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=1, n=1)
"""none of it is sent"""


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A model that scores a conversation and writes nothing."""

    scores: ClassVar[bool] = True
    batchable: ClassVar[bool] = False

    kind: Annotated[Literal["reward_model"], about("the kind of judge")] = "reward_model"
    model: Annotated[str, about("the role of the reward model")] = "reward_model"
    pass_points: Annotated[float, about("the score that passes a response; none: scores do not decide")] | None = None

    def can_fail(self) -> bool:
        return self.pass_points is not None


async def judge(
    context: Context, judge: Judge, work: Work, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """Scores a text: one judgement."""
    settings = judge.settings
    assert isinstance(settings, Settings)
    messages = [*work.prompt.messages, Message("assistant", text)]
    answered = await context.ask(work.prompt, settings.model, messages, _NO_SAMPLING, response_ids=(response_id,))
    [choice] = answered.reply.choices
    call_id = answered.call.call_id
    try:
        points = float(choice.text)
    except ValueError:  # from a damaged journal
        return [Judged("unparsed", choice.text, None, call_id=call_id)], [answered.call]
    return [Judged(None, choice.text, sigmoid(points), points, settings.pass_points, call_id=call_id)], [answered.call]


def sigmoid(score: float) -> float:
    """1 / (1 + exp(-score)), for scores of any size."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
