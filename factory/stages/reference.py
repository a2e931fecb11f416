"""Reference: the prompt's reference answer becomes a response, so that pairs can use it (SPIN, arXiv:2401.01335)."""

from factory.work.context import Context, Work
from factory.work.stage import StageSettings
from schemas.ids import content_id
from schemas.tables import Prompt, Response


class Settings(StageSettings, frozen=True, kw_only=True):
    """Takes no settings: no model is asked."""

    def check_prompt(self, prompt: Prompt) -> None:
        if not prompt.reference:
            raise ValueError(
                "has no reference answer, which stage `reference` needs: give it in column 'reference' "
                "(prompts.columns.reference names another)"
            )


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Writes the reference as a response, unless it is already written or an evolved prompt has none."""
    prompt = work.prompt
    if work.reference is None and prompt.reference:
        work.reference = Response(
            response_id=content_id("response", context.run_id, "reference", prompt.prompt_id),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            kind="reference",
            text=prompt.reference,
            stage=context.stage,
            model_id=None,
            choice_index=None,
            finish_reason=None,
            tokens=None,
            logprobs=None,
            flaw=None,
            call_id=None,
        )
        context.emit([work.reference])
    return work
