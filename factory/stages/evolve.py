"""Evolve: a language model makes the prompt harder with constraints from SPaR's taxonomy (arXiv:2412.11605, 3.1)."""

import re
from typing import Annotated

from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.stage import MaxTokens, StageSettings, TopP, sampling_of
from schemas.ids import content_id, prompt_id
from schemas.settings import about
from schemas.tables import Message, Prompt, RunPrompt

_DECLINED = re.compile(r"\W*none\W*", re.IGNORECASE)


class Settings(StageSettings, frozen=True, kw_only=True):
    """Harder prompts."""

    model: Annotated[str, about("the role of the model that rewrites")] = "actor"
    temperature: Annotated[float, about("sampling temperature", "SPaR's code", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, MaxTokens] = 1024

    def templates(self) -> dict[str, TemplateUse]:
        return {"evolve": TemplateUse("evolve", ("prompt",))}


async def run(context: Context, work: Work, settings: Settings) -> Work | None:
    """Returns the harder prompt, or None if the model declines."""
    if work.evolved:
        return work
    prompt, template = work.prompt, context.templates["evolve"]
    messages = [Message("user", render(template.text, prompt=conversation(prompt.messages)))]
    answered = await context.ask(prompt, settings.model, messages, sampling_of(settings, 1), template=template.name)
    harder = read_evolved(answered.reply.choices[0].text)
    if harder is None:
        context.emit([answered.call])
        return None
    turns = [*prompt.messages[:-1], Message(prompt.messages[-1].role, harder)]
    evolved = Prompt(
        prompt_id=prompt_id(turns, [], None, prompt.prompt_id),
        messages=turns,
        language=prompt.language,
        subject=prompt.subject,
        source=prompt.source,
        licence=prompt.licence,
        # The model may have changed the task: the easier prompt's constraints and reference may no longer hold.
        constraints=[],
        reference=None,
        evolved_from=prompt.prompt_id,
    )
    taken = RunPrompt(
        run_prompt_id=content_id("run_prompt", context.run_id, evolved.prompt_id),
        run_id=context.run_id,
        prompt_id=evolved.prompt_id,
        position=work.position,
        evolved=True,
    )
    context.emit([answered.call, evolved, taken])
    return Work(evolved, work.position, evolved=True)


def read_evolved(output: str) -> str | None:
    """The harder instruction, or None if the model declined or wrote nothing."""
    text = output.strip()
    return None if not text or _DECLINED.fullmatch(text) else text
