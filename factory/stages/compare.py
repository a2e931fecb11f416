"""Compare: which of two answers to a prompt is better, asked in both orders (RLAIF, arXiv:2309.00267).

The probability that the answer shown first is better comes from the log-probabilities of the labels '1' and '2' if the
endpoint returns them, else from the share of votes. Every pair of a prompt's sampled answers is compared.
"""

import asyncio
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, ClassVar, Literal

from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.comparing import check_room, which_is_better
from factory.work.context import Context, Work
from factory.work.insisting import Logprobs, about_logprobs
from factory.work.stage import StageSettings, TopP
from schemas.ids import content_id, sha256_text
from schemas.settings import about
from schemas.tables import Call, Comparison, Response


class Settings(StageSettings, frozen=True, kw_only=True):
    """A model that compares two answers."""

    needs: ClassVar[Mapping[str, str]] = {"sample": "make the answers to compare"}
    on_answers: ClassVar[bool] = True

    model: Annotated[str, about("the role of the model that compares")] = "refiner"
    which: Annotated[
        Literal["every", "paired"],
        about("which answers are compared: every two of a prompt, or the pairs of the run that `answers` names"),
    ] = "every"
    reasons: Annotated[
        bool, about("whether it gives its reasons before the label; false: the label alone, which suits small models")
    ] = True
    votes: Annotated[int, about("the number of votes per order of two answers", least=1)] = 1
    logprobs: Annotated[Logprobs, about_logprobs("the labels'")] = True
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per comparison", "arXiv:2309.00267", least=1)] = 512

    def __post_init__(self) -> None:
        check_room(self.reasons, self.max_tokens)

    def templates(self) -> dict[str, TemplateUse]:
        return {
            "compare": TemplateUse(
                "compare" if self.reasons else "compare_word", ("prompt", "first", "second", "reference")
            )
        }


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Compares every pair of answers that this stage has not compared, in both orders.

    Raises:
        FactoryError: log-probabilities are required, and the endpoint returns none.
    """
    done = {(c.first_response_id, c.second_response_id) for c in work.comparisons if c.stage == context.stage}
    orders = [
        (first, second)
        for pair in combinations(work.answers, 2)
        if settings.which == "every" or frozenset(answer.response_id for answer in pair) in work.paired
        for first, second in (pair, pair[::-1])
        if (first.response_id, second.response_id) not in done
    ]
    compared = await asyncio.gather(*(_compare(context, work, first, second, settings) for first, second in orders))
    found = [one for one in compared if one is not None]
    # Equal answers share one call.
    calls = {call.call_id: call for call, _ in reversed(found)}
    comparisons = [comparison for _, comparison in found]
    work.comparisons += comparisons
    if comparisons:
        context.emit([*calls.values(), *comparisons])
    return work


async def _compare(
    context: Context, work: Work, first: Response, second: Response, settings: Settings
) -> tuple[Call, Comparison] | None:
    """None if the comparing model cannot be asked (its call records why)."""
    prompt, template = work.prompt, context.templates["compare"]
    question = render(
        template.text,
        prompt=conversation(prompt.messages),
        first=first.text,
        second=second.text,
        reference=prompt.reference or "",
    )
    ids = (first.response_id, second.response_id)
    found = await which_is_better(context, prompt, settings, template.name, question, ids)
    if found is None:
        return None
    call = found.answered.call
    comparison = Comparison(
        comparison_id=content_id("comparison", context.run_id, context.stage, *ids),
        run_id=context.run_id,
        prompt_id=prompt.prompt_id,
        stage=context.stage,
        first_response_id=ids[0],
        second_response_id=ids[1],
        probability=found.probability,
        votes=found.votes,
        rationales=found.rationales,
        model_id=call.model_id,
        template_hash=sha256_text(template.text),
        call_id=call.call_id,
    )
    return call, comparison
