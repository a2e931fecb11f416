"""Checklist: a model writes the requirements of a prompt, by which a judge of kind `checklist` judges answers.

RLCF (arXiv:2507.18624) and Rubrics as Rewards (arXiv:2507.17746). The items are rows of `checklist_items`. A prompt for
which no item can be read keeps its answers, which that judge leaves unjudged.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from factory.templates.rendering import TemplateUse, conversation, render
from factory.work.context import Context, Work
from factory.work.stage import StageSettings, TopP, sampling_of
from factory.work.verdict_text import without_thinking
from schemas.ids import content_id
from schemas.settings import about
from schemas.tables import ChecklistItem, Message

ROWS = (ChecklistItem,)
USUAL_WEIGHT = 1.0
"""of an item for which the model gave no weight above 0"""
QUOTED_CHARACTERS = 160


class Settings(StageSettings, frozen=True, kw_only=True):
    """A model that writes checklists."""

    on_answers: ClassVar[bool] = True

    model: Annotated[str, about("the role of the model that writes")] = "refiner"
    most: Annotated[int, about("items kept of a checklist: the first ones", least=1)] = 10
    temperature: Annotated[float, about("sampling temperature", least=0, most=2)] = 0.0
    top_p: Annotated[float, TopP] = 1.0
    max_tokens: Annotated[int, about("the maximum number of tokens per checklist", least=1)] = 1024

    def templates(self) -> dict[str, TemplateUse]:
        return {"checklist": TemplateUse("checklist", ("prompt", "reference"))}


async def run(context: Context, work: Work, settings: Settings) -> Work:
    """Writes the prompt's items, unless this stage already has."""
    made = work.made.setdefault(ChecklistItem, [])
    if any(item.stage == context.stage for item in made):
        return work
    prompt, template = work.prompt, context.templates["checklist"]
    question = render(template.text, prompt=conversation(prompt.messages), reference=prompt.reference or "")
    answered = await context.ask(
        prompt, settings.model, [Message("user", question)], sampling_of(settings, 1), template=template.name
    )
    call, [choice] = answered.call, answered.reply.choices
    items = [
        ChecklistItem(
            item_id=content_id("checklist_item", context.run_id, context.stage, prompt.prompt_id, position),
            run_id=context.run_id,
            prompt_id=prompt.prompt_id,
            stage=context.stage,
            position=position,
            text=text,
            weight=weight,
            call_id=call.call_id,
        )
        for position, (text, weight) in enumerate(read_checklist(choice.text, choice.finish_reason)[: settings.most])
    ]
    if not items:
        end = " ".join(choice.text.split())[-QUOTED_CHARACTERS:]
        call = replace(
            call, note="; ".join(filter(None, [call.note, f"no checklist item can be read: it ends '{end}'"]))
        )
    made += items
    context.emit([call, *items])
    return work


def read_checklist(text: str, finish_reason: str | None = None) -> list[tuple[str, float]]:
    """The items of a reply, each with its weight: its list's lines or questions, or the members of a JSON list.

    An item that is there twice counts once; the last line of a reply that was cut off is left out.
    """
    text = without_thinking(text)
    found: dict[str, tuple[str, float]] = {}
    for item, weight in _of_json(text) or _of_lines(text, cut=finish_reason == "length"):
        found.setdefault(" ".join(item.casefold().split()), (item, weight))
    return list(found.values())


_MARKER = re.compile(r"\s*+(?:[-*•·–—]\s++|(?:\(\d\)|\d{1,2}\s?[.):、．）])\s*+|[-*•]?\s*+(?:\[[ xX]?\]|[☐□✓✔])\s*+)+")
_NUMBER = r"(\d{1,4}(?:\.\d{1,4})?)\s*(?:/\s*100|%|points?|分)?"
_NAMED = r"(?:weight|importance|priority|权重|重要性|重み|gewicht|poids|peso)"
_WEIGHTS = (
    # … (weight 80), [weight: 80/100], | weight = 80
    re.compile(rf"[\s(\[（{{|,;–—-]*{_NAMED}[\s:：=*_]*(?:of\s+)?{_NUMBER}[\s)\]）}}|.*_]*$", re.IGNORECASE),
    re.compile(rf"[\s*_]*[(\[（{{]\s*{_NUMBER}\s*[)\]）}}][\s.*_]*$", re.IGNORECASE),  # … (80)
    re.compile(rf"[\s|–—-]*\|\s*{_NUMBER}[\s|]*$", re.IGNORECASE),  # … | 80
)
_BEFORE = re.compile(
    rf"[\s*_]*[(\[（]\s*(?:{_NAMED}[\s:：=]*)?{_NUMBER}\s*[)\]）][\s:：–—*_-]*", re.IGNORECASE
)  # [80] …
_LONGEST = 1_000
"""characters of a line in which a weight is looked for, as the patterns take quadratic time"""
_AROUND = ' \t*_`"“”|#'


def _of_lines(text: str, *, cut: bool) -> Iterator[tuple[str, float]]:
    lines = text.splitlines()
    last: tuple[str, float] | None = None
    for line in lines[:-1] if cut else lines:
        marked = _MARKER.match(line)
        item, weight = _without_weight(line[marked.end() :] if marked else line)
        if last is not None and not item and weight is not None:
            last = last[0], weight  # a line of its own below the item
            continue
        if last is not None:
            yield last
        asks = item.endswith(("?", "？"))
        is_item = bool(re.search(r"[^\W\d_]", item)) and not item.endswith((":", "："))
        last = (item, weight or USUAL_WEIGHT) if is_item and (marked or asks or weight is not None) else None
    if last is not None:
        yield last


def _without_weight(line: str) -> tuple[str, float | None]:
    """A line's text and the weight beside it; None: it has none."""
    if len(line) > _LONGEST:
        return line.strip(_AROUND), None
    for place in _WEIGHTS:
        if found := place.search(line):
            return line[: found.start()].strip(_AROUND), float(found[1])
    if found := _BEFORE.match(line):
        return line[found.end() :].strip(_AROUND), float(found[1])
    return line.strip(_AROUND), None


_TEXT_KEYS = ("question", "item", "text", "requirement", "criterion", "description")
_WEIGHT_KEYS = ("weight", "importance", "priority")


def _of_json(text: str) -> list[tuple[str, float]]:
    """The members of the first JSON list that holds any items: texts, or objects with a text and perhaps a weight."""
    decoder, at = json.JSONDecoder(strict=False), text.find("[")
    for _ in range(20):
        if at < 0:
            break
        try:
            found, _ = decoder.raw_decode(text, at)
        except ValueError:
            found = []
        except RecursionError:  # thousands of open brackets
            break
        items = [read for one in found if (read := _of_member(one)) is not None]
        if items:
            return items
        at = text.find("[", at + 1)
    return []


def _of_member(member: Any) -> tuple[str, float] | None:
    if isinstance(member, str):
        text, weight = _without_weight(member)
        return (text, weight or USUAL_WEIGHT) if text else None
    if not isinstance(member, dict):
        return None
    given = {str(key).lower(): value for key, value in member.items()}
    texts = (given[key] for key in _TEXT_KEYS if isinstance(given.get(key), str))
    found = next((text.strip() for text in texts if text.strip()), None)
    weight = next((given[key] for key in _WEIGHT_KEYS if isinstance(given.get(key), int | float)), 0)
    # JSON can spell half an emoji, which has no UTF-8 encoding.
    kept = None if found is None else found.encode("utf-8", "replace").decode()
    return None if kept is None else (kept, float(weight) if 0 < weight < 1e9 else USUAL_WEIGHT)
