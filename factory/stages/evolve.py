"""Evolve: a language model makes the prompt harder by constraints of SPaR's taxonomy (arXiv:2412.11605, 3.1)."""

import re

from factory.inference.endpoints import Sampling
from factory.recipes.recipe import EvolveSettings
from factory.templates.rendering import conversation, render
from factory.work.context import Context, Work
from schemas.ids import content_id, prompt_id
from schemas.tables import Message, Prompt, RunPrompt

_DECLINED = re.compile(r"\W*none\W*", re.IGNORECASE)


async def evolve(context: Context, work: Work, settings: EvolveSettings) -> Work | None:
    """The harder prompt, or None when the model declines."""
    if work.evolved:
        return work
    prompt = work.prompt
    messages = [Message("user", render(context.templates["evolve"], conversation(prompt.messages)))]
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, 1)
    asked = await context.ask("evolve", prompt, settings.model, messages, sampling, template="evolve")
    harder = read_evolved(asked.reply.choices[0].text)
    if harder is None:
        context.emit([asked.call])
        return None
    turns = [*prompt.messages[:-1], Message(prompt.messages[-1].role, harder)]
    evolved = Prompt(
        prompt_id=prompt_id(turns, [], None, prompt.prompt_id),
        messages=turns,
        language=prompt.language,
        subject=prompt.subject,
        source=prompt.source,
        licence=prompt.licence,
        # The model may have changed what is asked: the easier prompt's constraints and reference need not hold.
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
    context.emit([asked.call, evolved, taken])
    return Work(evolved, work.position, evolved=True)


def read_evolved(output: str) -> str | None:
    """The harder instruction, or None where the model declined or wrote nothing."""
    text = output.strip()
    return None if not text or _DECLINED.fullmatch(text) else text
