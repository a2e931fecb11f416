"""Evolve: a language model makes a prompt of another one, and later stages see only that.

`harder`: it adds constraints from SPaR's taxonomy (arXiv:2412.11605, 3.1). `new`: it writes a prompt of the same kind as
some of the run's own, shown as examples; near duplicates of earlier prompts are left out (Self-Instruct, arXiv:2212.10560;
Self-Rewarding, arXiv:2401.10020, 2.2).
"""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.near_duplicates import Texts
from factory.work.stage import MaxTokens, StageSettings, TopP, sampling_of
from factory.work.verdict_text import without_thinking
from schemas.errors import FactoryError
from schemas.ids import content_id, prompt_id
from schemas.settings import about
from schemas.tables import Call, Message, Prompt, RunPrompt
from stores.lake import Lake
from stores.sql import sql

MOST_EXAMPLES = 64
"""as in `stores/sql/views/few_shot.sql`"""
_DECLINED = re.compile(r"\W*none\W*", re.IGNORECASE)


class Settings(StageSettings, frozen=True, kw_only=True):
    """Prompts made of others."""

    model: Annotated[str, about("the role of the model that writes")] = "actor"
    how: Annotated[
        Literal["harder", "new"], about("harder: with more constraints; new: another prompt, after examples")
    ] = "harder"
    examples: Annotated[
        int,
        about("new: how many of the run's prompts are shown", "arXiv:2401.10020", least=1, most=MOST_EXAMPLES),
    ] = 8
    most_alike: Annotated[
        float,
        about("new: the ROUGE-L to an earlier prompt at which one is left out", "arXiv:2212.10560", above=0, most=1),
    ] = 0.7
    temperature: Annotated[float, about("sampling temperature", "SPaR's code", least=0, most=2)] = 0.7
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, MaxTokens] = 1024

    def templates(self) -> dict[str, TemplateUse]:
        if self.how == "new":
            return {"evolve": TemplateUse("evolve_new", ("examples",))}
        return {"evolve": TemplateUse("evolve", ("prompt",))}


@dataclass(frozen=True, slots=True)
class Pool:
    """The prompts from which new ones are made, and those that they may not resemble."""

    texts: tuple[str, ...]
    """of the prompts that the run was given, in an order by hash"""
    places: dict[str, int]
    """in that order, by prompt_id"""
    earlier: Texts
    """of the same prompts, and of all runs that began before"""

    def examples(self, prompt_id: str, count: int) -> str:
        """A prompt and those that follow it in the order by hash; view `few_shot` writes the same."""
        at = self.places[prompt_id]
        shown = (self.texts[(at + place) % len(self.texts)] for place in range(count))
        return "\n\n".join(
            f"[Instruction {number}]\n{text}\n[End of instruction {number}]" for number, text in enumerate(shown, 1)
        )


def prepare(lake: Lake, run_id: str, settings: Settings) -> Pool | None:
    """What new prompts are made from; None: prompts are made harder.

    Raises:
        FactoryError: the run has fewer prompts than examples.
    """
    if settings.how != "new":
        return None
    given = lake.query(sql("examples"), {"run_id": run_id}).to_pylist()
    if len(given) < settings.examples:
        raise FactoryError(
            f"run {run_id} has {len(given)} prompts, and stage evolve shows {settings.examples} as examples: take more "
            "prompts, or lower its setting `examples`"
        )
    rows = lake.query(sql("earlier_prompts"), {"run_id": run_id}).to_pylist()
    return Pool(
        tuple(row["text"] for row in given),
        {row["prompt_id"]: place for place, row in enumerate(given)},
        Texts.of((row["prompt_id"], row["text"]) for row in rows),
    )


async def run(context: Context, work: Work, settings: Settings) -> Work | None:
    """Returns the prompt that was made, or None if the model declines or writes none that is new."""
    if work.evolved:
        return work
    prompt, template, pool = work.prompt, context.templates["evolve"], context.prepared
    shown = (
        {"prompt": conversation(prompt.messages)}
        if pool is None
        else {"examples": pool.examples(prompt.prompt_id, settings.examples)}
    )
    messages = [Message("user", render(template.text, **shown))]
    answered = await context.ask(prompt, settings.model, messages, sampling_of(settings, 1), template=template.name)
    call, [choice] = answered.call, answered.reply.choices
    if pool is None:
        text = read_evolved(choice.text)
        turns = [*prompt.messages[:-1], Message(prompt.messages[-1].role, text or "")]
    else:
        text = read_new(choice.text, choice.finish_reason)
        turns = [Message("user", text or "")]
        near = None if text is None else pool.earlier.nearest(text, settings.most_alike)
        if text is None:
            call = _noted(call, "it holds no whole prompt")
        if near is not None:
            call = _noted(call, f"its prompt is left out: ROUGE-L {near[1]:.2f} to prompt {near[0]}")
            text = None
    if text is None:
        context.emit([call])
        return None
    evolved = Prompt(
        prompt_id=prompt_id(turns, [], None, prompt.prompt_id),
        messages=turns,
        language=prompt.language,
        subject=prompt.subject if pool is None else None,
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
    context.emit([call, evolved, taken])
    return Work(evolved, work.position, evolved=True)


def _noted(call: Call, note: str) -> Call:
    return replace(call, note="; ".join(filter(None, [call.note, note])))


def read_evolved(output: str) -> str | None:
    """The harder instruction, or None if the model declined or wrote nothing."""
    text = output.strip()
    return None if not text or _DECLINED.fullmatch(text) else text


_LABEL = re.compile(
    r"\A\s*(?:[*_#]{0,3}\[?(?:new )?(?:instruction|prompt|task)(?: \d{1,3})?\]?[*_]{0,3}\s*[:\n][*_]{0,3}|\d{1,2}[.)]\s)",
    re.IGNORECASE,
)
_END = re.compile(r"\n[^\S\n]*\[(?:end of )?instruction(?: \d{1,3})?\]", re.IGNORECASE)


def read_new(output: str, finish_reason: str | None = None) -> str | None:
    """The first new instruction, without its label; None: there is none, or it was cut off."""
    text = _LABEL.sub("", without_thinking(output), count=1)
    end = _END.search(text)
    if end is None and finish_reason == "length":
        return None
    return read_evolved(text[: end.start()] if end else text)
