"""Sample: n answers per prompt, in one request."""

from typing import Annotated

from factory.inference.logprobs import TokenLogprob
from factory.work.context import Context, Work
from factory.work.flaws import flaw_of
from factory.work.stage import StageSettings, sampling_of
from factory.work.textless import Textless
from schemas.ids import canonical_json, content_id
from schemas.settings import about
from schemas.tables import Response

SPAR = "SPaR, arXiv:2412.11605, and its code"


class Settings(StageSettings, frozen=True, kw_only=True):
    """The actor's answers."""

    model: Annotated[str, about("the role of the model that answers")] = "actor"
    n: Annotated[int, about("the number of answers per prompt", SPAR, least=1)] = 5
    temperature: Annotated[float, about("sampling temperature", SPAR, least=0, most=2)] = 0.9
    top_p: Annotated[float, about("nucleus sampling: the probability mass kept", SPAR, above=0, most=1)] = 0.9
    max_tokens: Annotated[int, about("the maximum number of tokens per answer", SPAR, least=1)] = 2048
    logprobs: Annotated[bool, about("whether to keep each token's log-probability")] = False
    top_logprobs: Annotated[int, about("alternatives kept for each token", least=0, most=20)] | None = None


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Answers the prompt, unless this stage already has.

    Raises:
        FactoryError: none of the run's first answers has a text.
    """
    if any(response.stage == context.stage for response in work.responses):
        return work
    prompt = work.prompt
    sampling = sampling_of(settings, settings.n, logprobs=settings.logprobs, top_logprobs=settings.top_logprobs)
    answered = await context.ask(prompt, settings.model, prompt.messages, sampling)
    call = answered.call
    responses = [
        Response(
            response_id=content_id("response", context.run_id, "sampled", call.call_id, index),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            kind="sampled",
            text=choice.text,
            stage=context.stage,
            model_id=call.model_id,
            choice_index=index,
            finish_reason=choice.finish_reason,
            tokens=choice.tokens,
            logprobs=_as_json(choice.logprobs),
            flaw=flaw_of(choice.text, choice.finish_reason),
            call_id=call.call_id,
        )
        for index, choice in enumerate(answered.reply.choices)
    ]
    work.responses += responses
    context.emit([call, *responses])
    if not call.from_journal:  # those were paid for before, perhaps at a server that was set up otherwise
        textless = context.asker.textless.setdefault(context.stage, Textless(context.stage))
        textless.add(answered.reply.choices)
        textless.check_first()
    return work


def _as_json(logprobs: list[TokenLogprob] | None) -> str | None:
    return None if logprobs is None else canonical_json([token.as_plain() for token in logprobs])
