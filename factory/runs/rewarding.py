"""Judges as the reward of an online training: `python -m factory.runs.rewarding`, started by `trainers/rewards.py`.

The trainers import nothing of this package, so a judge is a process beside theirs, with all that judges have in a run:
pacing, retries, the journal (an answer that is judged again after a kill is not paid for again), and calls as rows. It
writes no rows into the lake: the trainer does, when it is sure of the step they belong to.

A line of JSON each way: first `Asked`, answered with `Ready`; then `Texts`, answered with `Found`. An error is a line
{"error": sentence}, and the end.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from typing import IO, Any

import msgspec

from factory.inference.budget import BudgetSettings, Spending
from factory.inference.connect import connect
from factory.inference.journal import Journal, journal_file
from factory.inference.settings import ModelSettings
from factory.inference.trust import trust
from factory.templates.rendering import load_template
from factory.work.asker import Asker
from factory.work.context import Context, Template, Work
from factory.work.judging import Judge, JudgeSettings, assess_or_none, kind_of
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.parents import end_with
from schemas.settings import read_settings
from schemas.tables import Call, Judgement, Message, Model, Prompt
from stores.attach import place

STAGE = "reward"
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
    judge: dict[str, Any]
    """settings of a kind of judge"""
    models: dict[str, dict[str, Any]]
    """by role"""


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
    """The judgement of each answer (None: its judge could not be asked), and the calls behind them."""

    judgements: list[Judgement | None]
    calls: list[Call]


def main() -> None:
    asked = msgspec.json.decode(sys.stdin.readline(), type=Asked)
    end_with(asked.parent_pid)
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; the trainer reads lines of JSON
    try:
        asyncio.run(_judge(asked, report))
    except FactoryError as error:
        _say(report, {"error": str(error)})


async def _judge(asked: Asked, report: IO[str]) -> None:
    settings: JudgeSettings = read_settings(kind_of(asked.judge["kind"], STAGE).Settings, asked.judge, STAGE)
    models = {role: read_settings(ModelSettings, given, f"models.{role}") for role, given in asked.models.items()}
    uses = settings.templates().items()
    judge = Judge(
        settings.kind, settings, {name: Template(name, load_template(u.default, u.shows)) for name, u in uses}
    )
    with suppress(OSError):  # a repetition will want it named again
        trust(models, ())
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(closing(Journal(journal_file(place(asked.lake)))))
        endpoints = {role: await stack.enter_async_context(connect(role, model)) for role, model in models.items()}
        asker = Asker(asked.run_id, asked.seed, endpoints, journal, Spending(models, BudgetSettings()), calls.extend)
        context = Context(STAGE, asker, {}, [judge])
        if models:
            # Asked afresh: an answer in the journal may be another endpoint's.
            await _try(replace(context, asker=replace(asker, fresh=time.time_ns())), calls)
        ready = Ready([one.model for one in endpoints.values()], {n: t.text for n, t in judge.templates.items()})
        _say(report, ready)
        while line := await asyncio.to_thread(sys.stdin.readline):
            texts = msgspec.json.decode(line, type=Texts).texts
            calls.clear()
            found = await asyncio.gather(
                *(assess_or_none(context, Work(one.prompt, 0), one.response_id, one.text) for one in texts)
            )
            judgements = [None if one is None else one.judgements[0] for one in found]
            known = {call.call_id: call for one in found if one is not None for call in one.calls}
            _say(report, Found(judgements, [*calls, *known.values()]))


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
