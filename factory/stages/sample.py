"""Sample: n answers a prompt, in one request."""

from factory.inference.endpoints import Sampling
from factory.recipes.recipe import SampleSettings
from factory.work.context import Context, Work
from schemas.ids import content_id
from schemas.tables import Response


async def sample(context: Context, work: Work, settings: SampleSettings) -> Work:
    if work.responses:
        return work
    prompt = work.prompt
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, settings.n)
    asked = await context.ask("sample", prompt, settings.model, prompt.messages, sampling)
    work.responses = [
        Response(
            response_id=content_id("response", context.run_id, "sampled", asked.call.call_id, index),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            kind="sampled",
            text=choice.text,
            model_id=asked.call.model_id,
            choice_index=index,
            finish_reason=choice.finish_reason,
            tokens=choice.tokens,
            call_id=asked.call.call_id,
        )
        for index, choice in enumerate(asked.reply.choices)
    ]
    context.emit([asked.call, *work.responses])
    return work
