"""Votes: a language model votes yes or no several times, and the majority decides (SPaR, arXiv:2412.11605, 3.2)."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from factory.inference.journal import Choice
from factory.inference.logprobs import opening_probabilities
from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.insisting import ALTERNATIVES, Logprobs, about_logprobs, insist
from factory.work.judging import Judge, Judged, JudgeSettings
from factory.work.stage import TopP, sampling_of
from factory.work.verdict_text import read_json_verdict, read_yes_or_no
from schemas.settings import about
from schemas.tables import Call, Message

_VALUES = {"yes": 1.0, "no": 0.0}

VERDICT_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            # Critique first: a verdict written before its reasons does not follow from them.
            "properties": {"critique": {"type": "string"}, "verdict": {"type": "string", "enum": ["yes", "no"]}},
            "required": ["critique", "verdict"],
            "additionalProperties": False,
        },
    },
}
"""OpenAI's `response_format` for a vote."""


class Settings(JudgeSettings, frozen=True, kw_only=True):
    """A model that votes yes or no."""

    kind: Annotated[Literal["votes"], about("the kind of judge")] = "votes"
    model: Annotated[str, about("the role of the model that judges")] = "refiner"
    votes: Annotated[int, about("the number of votes per response", "SPaR's code", least=1)] = 5
    first_votes: (
        Annotated[int, about("votes asked first; the others only if they can still change the verdict", least=1)] | None
    ) = None
    temperature: Annotated[float, about("sampling temperature", "SPaR's code", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per vote", least=1)] = 2048
    retries: Annotated[
        int, about("how often all votes are asked again if they tie or none is readable", "SPaR's code", least=0)
    ] = 1
    verdict: Annotated[
        Literal["text", "json", "word"],
        about(
            "format of a vote: text, read after 'Final Judgement'; JSON by a schema; or one word without reasons, read from "
            "its log-probabilities if the endpoint gives them"
        ),
    ] = "text"
    logprobs: Annotated[Logprobs, about_logprobs("a word's")] = True

    def __post_init__(self) -> None:
        if self.first_votes is not None and not self.votes / 2 < self.first_votes < self.votes:
            raise ValueError(
                f"first_votes must be more than half of votes ({self.votes}) but not all, got {self.first_votes}: "
                "fewer cannot settle a verdict"
            )

    def insists_on(self) -> str | None:
        return super().insists_on() if self.verdict == "word" else None

    def templates(self) -> dict[str, TemplateUse]:
        default = {"text": "judge", "json": "judge_json", "word": "judge_word"}[self.verdict]
        return {"judge": TemplateUse(default, ("prompt", "response", "reference"))}


async def judge(
    context: Context, judge: Judge, work: Work, response_id: str, text: str
) -> tuple[list[Judged], list[Call]]:
    """Asks for votes on a text, in rounds, until they are settled."""
    prompt, settings, template = work.prompt, judge.settings, judge.templates["judge"]
    assert isinstance(settings, Settings)
    question = render(
        template.text, prompt=conversation(prompt.messages), response=text, reference=prompt.reference or ""
    )
    more: dict[str, Any] = {"response_format": VERDICT_FORMAT} if settings.verdict == "json" else {}
    if settings.verdict == "word" and settings.logprobs:
        more = ALTERNATIVES
    first = settings.first_votes or settings.votes
    rounds = [count for count in (first, settings.votes - first) if count]
    # Further rounds break ties and replace unreadable votes.
    rounds += [settings.votes] * settings.retries
    votes: list[Judged] = []
    calls: list[Call] = []
    for draw, count in enumerate(rounds):
        answered = await context.ask(
            prompt,
            settings.model,
            [Message("user", question)],
            sampling_of(settings, count, **more),
            template=template.name,
            response_ids=(response_id,),
            draw=draw,
        )
        calls.append(answered.call)
        if settings.verdict == "word":
            insist(answered.reply.choices, settings.logprobs, f"judge {judge.name}")
        for choice in answered.reply.choices:
            if settings.verdict == "word":
                votes.append(read_word_vote(choice, answered.call.call_id))
                continue
            read = read_json_vote if settings.verdict == "json" else read_vote
            verdict, critique = read(choice.text, choice.finish_reason)
            votes.append(Judged(verdict, critique, _VALUES.get(verdict), call_id=answered.call.call_id))
        if is_settled([vote.verdict for vote in votes], max(0, settings.votes - len(votes))):
            break
    return votes, calls


def read_vote(text: str, finish_reason: str | None = None) -> tuple[str, str]:
    """The verdict after the last 'Final Judgement' or the like, else `unparsed`, as of a vote cut off; and the text."""
    found = None if finish_reason == "length" else read_yes_or_no(text)
    return found or "unparsed", text


def read_json_vote(text: str, finish_reason: str | None = None) -> tuple[str, str]:
    """Verdict and critique of a reply in VERDICT_FORMAT, or near it; anything else is `unparsed`, with the raw text."""
    found = None if finish_reason == "length" else read_json_verdict(text)
    verdict, critique = found or ("unparsed", text)
    # JSON can spell half an emoji, which has no UTF-8 encoding.
    return verdict, critique.encode("utf-8", "replace").decode()


_WORD = re.compile(r"[\W_]*(yes|no)\b", re.IGNORECASE)


def read_word_vote(choice: Choice, call_id: str | None = None) -> Judged:
    """A vote of one word: the likelier of yes and no as the first word, else the word that opens the text.

    The value is the probability of yes, or 1 or 0 without log-probabilities.
    """
    shares = opening_probabilities(choice.logprobs, ("yes", "no")) if choice.logprobs else None
    if shares is None:
        word = _WORD.match(choice.text)
        shares = {word[1].lower(): 1.0} if word else {}
    yes, no = shares.get("yes", 0.0), shares.get("no", 0.0)
    if yes == no:
        return Judged("unparsed", choice.text, None, call_id=call_id)
    return Judged("yes" if yes > no else "no", choice.text, yes, probabilities=shares, call_id=call_id)


def is_settled(verdicts: Sequence[str | None], left: int) -> bool:
    """Whether `left` further votes can neither tie nor reverse the verdict."""
    yes, no = (sum(verdict == word for verdict in verdicts) for word in ("yes", "no"))
    return abs(yes - no) > left
