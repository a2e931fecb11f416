"""Judges as the reward of an online training: `python -m factory.runs.rewarding`, started by `trainers/rewards.py`.

The trainers import nothing of this package, so a judge is a process beside theirs, with all that judges have in a run:
pacing, retries, the journal (an answer that is judged again after a kill is not paid for again), and calls as rows. It
writes no rows into the lake: the trainer does, when it is sure of the step they belong to.

A line of JSON each way: first `Asked`, answered with `Ready`; then `Texts`, answered with `Found`. An error is a line
{"error": sentence}, with the key "limit" if the budget is spent, and the end.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from typing import IO, Annotated, Any

import msgspec

from factory.inference.budget import BudgetReached, BudgetSettings, Spending
from factory.inference.connect import connect
from factory.inference.journal import Journal, journal_file
from factory.inference.settings import ModelSettings
from factory.inference.trust import trust
from factory.recipes.reading import entries_of
from factory.recipes.recipe import Entry, judge_of
from factory.templates.rendering import load_template
from factory.work.asker import Asker
from factory.work.context import Context, Work
from factory.work.judging import Judge, assess_or_none
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.parents import end_with
from schemas.settings import Settings, about, read_settings
from schemas.tables import Call, Judgement, Message, Model, Prompt
from stores.attach import place

STAGE = "reward"
WHERE = "reward.recipe"
_PROBE = Prompt(
    prompt_id=sha256_text("probe")[:32],
    messages=[Message("user", "Hello")],
    language="en",
    subject=None,
    source="probe",
    licence=None,
    constraints=[],
    reference=None,
    evolved_from=None,
)


class Asked(msgspec.Struct, frozen=True):
    """Who judges, and for which training."""

    parent_pid: int
    lake: str
    run_id: str
    seed: int
    recipe: dict[str, Any]
    """what `JudgeRecipe` is"""


class JudgeRecipe(Settings, frozen=True, kw_only=True):
    """What a recipe says of one of its judges."""

    stage: Annotated[dict[str, Any], about("the judge, as in a recipe's stages")]
    models: Annotated[dict[str, ModelSettings], about("the models that it asks, by role, as in a recipe")] = (
        msgspec.field(default_factory=dict)
    )
    template_texts: Annotated[dict[str, str], about("its templates' texts, by name; none: the bundled ones")] = (
        msgspec.field(default_factory=dict)
    )
    budget: Annotated[BudgetSettings, about("where it stops, as in a recipe")] = BudgetSettings()


class Ready(msgspec.Struct, frozen=True):
    """The judge's models and templates, for the run's rows."""

    models: list[Model]
    templates: dict[str, str]


class Text(msgspec.Struct, frozen=True):
    """An answer to judge."""

    prompt: Prompt
    response_id: str
    text: str


class Texts(msgspec.Struct, frozen=True):
    """Answers to judge at once."""

    texts: list[Text]


class Found(msgspec.Struct, frozen=True):
    """The judgements of each answer (none: its judge could not be asked), and the calls behind them."""

    judgements: list[list[Judgement]]
    calls: list[Call]


def main() -> None:
    asked = msgspec.json.decode(sys.stdin.readline(), type=Asked)
    end_with(asked.parent_pid)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; the trainer reads lines of JSON
    try:
        asyncio.run(_judge(asked, report))
    except BudgetReached as reached:
        _say(report, {"error": str(reached), "limit": reached.limit})
    except FactoryError as error:
        _say(report, {"error": str(error)})


async def _judge(asked: Asked, report: IO[str]) -> None:
    recipe = read_settings(JudgeRecipe, asked.recipe, WHERE)
    judge, models = judge_from(recipe), recipe.models
    with suppress(OSError):  # a repetition will want it named again
        trust(models, ())
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(closing(Journal(journal_file(place(asked.lake)))))
        endpoints = {role: await stack.enter_async_context(connect(role, model)) for role, model in models.items()}
        spending = Spending(models, recipe.budget)
        spending.add_earlier(journal.spent(asked.run_id))
        asker = Asker(asked.run_id, asked.seed, endpoints, journal, spending, calls.extend)
        context = Context(STAGE, asker, {}, [judge])
        if models:
            # Asked afresh: an answer in the journal may be another endpoint's.
            await _try(replace(context, asker=replace(asker, fresh=time.time_ns(), _unwritten={})), calls)
        templates = {template.name: template.text for template in judge.templates.values()}
        _say(report, Ready([one.model for one in endpoints.values()], templates))
        while line := await asyncio.to_thread(sys.stdin.readline):
            texts = msgspec.json.decode(line, type=Texts).texts
            calls.clear()
            try:
                found = await asyncio.gather(
                    *(assess_or_none(context, Work(one.prompt, 0), one.response_id, one.text) for one in texts)
                )
            except BudgetReached:
                await asker.settle()
                raise
            asker.emit(call for one in found if one is not None for call in one.calls)
            asker.emit_rest({one.prompt.prompt_id for one in texts})
            _say(report, Found([[] if one is None else one.judgements for one in found], calls))


def judge_from(recipe: JudgeRecipe) -> Judge:
    """The judge with its templates.

    Raises:
        FactoryError: it is no judge, or asks a model that is not given.
    """
    [entry] = entries_of([recipe.stage], WHERE)
    if entry.stage != "judge":
        raise FactoryError(f"{WHERE}: stage is {entry.stage}, and a judge pays: give a stage `judge`")
    for role in entry.settings.roles():
        if role not in recipe.models:
            raise FactoryError(f"{WHERE}: models lacks {role!r}, which its judge asks: add it")
    return judge_of(entry, {**_bundled_templates(entry), **recipe.template_texts})


def _bundled_templates(entry: Entry) -> dict[str, str]:
    return {in_run: load_template(use.default, use.shows) for _, in_run, use in entry.templates()}


async def _try(context: Context, calls: list[Call]) -> None:
    """
    Raises:
        FactoryError: the judge cannot be asked, or its answers lack the log-probabilities that it has to give.
    """
    if await assess_or_none(context, Work(_PROBE, 0), "probe", "Hello! How can I help you?") is None:
        raise FactoryError(f"reward.endpoint: {calls[-1].endpoint} cannot judge ({calls[-1].error}): give another one")


def _say(report: IO[str], said: Ready | Found | Mapping[str, str]) -> None:
    report.write(msgspec.json.encode(said).decode() + "\n")
    report.flush()


if __name__ == "__main__":
    main()
