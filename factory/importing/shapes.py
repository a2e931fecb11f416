"""What a row of preference or scored data holds: a question, answers with scores, and which is preferred over which.

Shapes: TRL's preferences (`chosen`, `rejected`), UltraFeedback (`completions`, arXiv:2310.01377), HelpSteer (`response`
with a number per aspect, arXiv:2311.09528), HelpSteer3 (`response1`, `response2`, `overall_preference`), KTO
(`completion`, `label`), LLMBar (`output_1`, `output_2`, `label`, arXiv:2310.07641), and dialogues that end with the
assistant.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.prompts.questions import Columns, Question, question_of
from factory.prompts.turns import is_empty, is_hh, read_turns, shown, turns_in_text, whole_text
from schemas.errors import FactoryError
from schemas.tables import Message

DECIDING = ("overall", "score", "rating", "fine-grained", "helpfulness")
"""Of several scores, the first of these says which answer is best."""
_NOT_SCORES = re.compile(
    r"(^|[_-])(ids?|idx|index|num|n|count|length|len|tokens?|words|chars|turns?|round|seed|row|split|year|timestamp|time|latency)([_-]|$)"
)
_SCORES_OF_SIDES = ("score", "rating")
_WITHOUT_NUMBER = ("n/a", "na", "none", "")


@dataclass(frozen=True, slots=True)
class Score:
    """Points of one judge, such as an aspect."""

    judge: str
    points: float | None
    critique: str = ""
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    model: str | None = None
    scores: Sequence[Score] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A row's content."""

    messages: list[Message]
    answers: list[Answer]
    pairs: list[tuple[int, int]] = field(default_factory=list)
    """chosen and rejected: positions in `answers`"""
    compared: bool = False
    """whether the row itself says what is preferred, even if neither is"""


def sample_of(row: Mapping[str, Any], columns: Columns, where: str) -> Sample:
    """The content of a row.

    Raises:
        FactoryError: its shape is none of these, or a part of it cannot be kept.
    """
    question = question_of(row, columns, where)
    chosen, rejected = (columns.value(row, side) for side in ("chosen", "rejected"))
    if chosen is not None or rejected is not None:
        return _preference(row, columns, question, where)
    if isinstance(row.get("completions"), list):
        answers = [_completion(given, f"{where}: completion {n}") for n, given in enumerate(row["completions"], 1)]
        return Sample(question.messages, answers)
    for one, other, preference in (
        ("response1", "response2", "overall_preference"),
        ("response_1", "response_2", "preference_strength"),
    ):
        if one in row and other in row:
            return _compared(row, (one, other, preference), question, where)
    if {"output_1", "output_2", "label"} <= row.keys():
        return _labelled(row, question, where)
    if "response" in row:
        text = _text(row["response"], where, "response")
        return Sample(question.messages, [Answer(text, _model(row, "model", where), _aspects(row, where))])
    if "completion" in row:
        text = _last(row["completion"], question.messages, columns, where, "completion")
        label = row.get("label")
        verdict = None if label is None else [Score("label", None, verdict="yes" if label else "no")]
        return Sample(question.messages, [Answer(text, scores=verdict or ())])
    if question.answer is not None:
        return Sample(question.messages, [Answer(question.answer, _model(row, "model", where))])
    raise FactoryError(
        f"{where}: there is no answer in it: it needs chosen and rejected, completions, response, or a dialogue that ends "
        f"with the assistant, but has only {', '.join(map(str, row))} (-c chosen=better names a column)"
    )


def _preference(row: Mapping[str, Any], columns: Columns, question: Question, where: str) -> Sample:
    answers = []
    for side in ("chosen", "rejected"):
        column = columns.named.get(side, side)
        text = _last(columns.value(row, side), question.messages, columns, where, column)
        names = [n for kind in _SCORES_OF_SIDES for n in _spellings(side, kind) if not is_empty(row.get(n))]
        scores = [Score("score", _number(row[name], where, name)) for name in names[:1]]
        model = next((_model(row, n, where) for n in _spellings(side, "model") if not is_empty(row.get(n))), None)
        answers.append(Answer(text, model, scores))
    return Sample(question.messages, answers, [(0, 1)], compared=True)


def _spellings(side: str, of: str) -> tuple[str, ...]:
    return (f"{of}_{side}", f"{side}_{of}", f"{side}-{of}")


def _last(given: Any, asked: list[Message], columns: Columns, where: str, name: str) -> str:
    """The answer that a side gives: a text, or the last turn of a dialogue that otherwise repeats the question."""
    if given is None:
        raise FactoryError(f"{where}: {name} is missing: a preference has both chosen and rejected")
    if isinstance(given, str) and not turns_in_text(given):
        return whole_text(given, where, name)
    if not isinstance(given, str | list):
        raise FactoryError(f"{where}: {name} must be text or a list of turns, got {shown(given)}")
    turns = read_turns(given, where, name, columns.reading)
    if not turns or turns[-1].role != "assistant":
        if isinstance(given, str) and is_hh(given):  # the assistant's last turn is empty
            return ""
        raise FactoryError(f"{where}: {name} must end with a turn of the assistant")
    before = [turn for turn in turns[:-1] if turn.role != "system"]
    if before and before != [turn for turn in asked if turn.role != "system"]:
        raise FactoryError(
            f"{where}: {name} is not one answer to the prompt: before its last turn it has {len(before)} turns that are not "
            f"the prompt's {len(asked)}"
        )
    return turns[-1].content


def _completion(given: Any, where: str) -> Answer:
    """One of UltraFeedback's completions. Its own system prompt is not kept: the prompt is one for all of them."""
    if not isinstance(given, dict) or "response" not in given:
        raise FactoryError(f"{where}: this must be an object with a 'response', got {shown(given)}")
    scores = []
    for name, judge in (("overall_score", "overall"), ("fine-grained_score", "fine-grained")):
        if not is_empty(given.get(name)):
            critique = given.get("critique") if judge == "overall" else None
            scores.append(Score(judge, _number(given[name], where, name), _text(critique or "", where, "critique")))
    annotations = given.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise FactoryError(f"{where}: annotations must be an object of aspects, got {shown(annotations)}")
    for aspect, said in sorted(annotations.items()):
        if is_empty(said):
            continue
        rating = said.get("Rating") if isinstance(said, dict) else said
        why = said.get("Rationale") if isinstance(said, dict) else None
        points = _number(rating, where, f"annotations.{aspect}")
        unread = "unparsed" if points is None else None
        scores.append(Score(str(aspect), points, _text(why or "", where, "Rationale"), unread))
    return Answer(_text(given["response"], where, "response"), _model(given, "model", where), scores)


def _compared(row: Mapping[str, Any], names: tuple[str, str, str], question: Question, where: str) -> Sample:
    """Two answers and a preference: below 0 for the first, above 0 for the second, 0 for neither."""
    *sides, preference = names
    if preference not in row:
        raise FactoryError(f"{where}: there is no {preference}, which says which of {' and '.join(sides)} is better")
    strength = _number(row[preference], where, preference)
    answers = [Answer(_text(row[name], where, name)) for name in sides]
    pairs = [] if not strength else [(0, 1) if strength < 0 else (1, 0)]
    return Sample(question.messages, answers, pairs, compared=True)


def _labelled(row: Mapping[str, Any], question: Question, where: str) -> Sample:
    """LLMBar's two outputs: the label is the better one's number, anything but 1 and 2 a tie."""
    answers = [Answer(_text(row[name], where, name)) for name in ("output_1", "output_2")]
    label = row["label"] if isinstance(row["label"], int | float | str) else None
    pairs = (
        [] if isinstance(label, bool) or label not in (1, 2, "1", "2") else [(0, 1) if label in (1, "1") else (1, 0)]
    )
    return Sample(question.messages, answers, pairs, compared=True)


def _aspects(row: Mapping[str, Any], where: str) -> list[Score]:
    """Every number of a row is an aspect's, as in HelpSteer, unless its name is that of an id, a length or a time."""
    return [
        Score(str(name), _number(value, where, name))
        for name, value in row.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and not is_empty(value)
        and not _NOT_SCORES.search(str(name).lower())
    ]


def _model(row: Mapping[str, Any], name: str, where: str) -> str | None:
    given = row.get(name)
    return None if is_empty(given) else _text(given, where, name)


def _text(given: Any, where: str, name: str) -> str:
    if not isinstance(given, str | None):
        raise FactoryError(f"{where}: {name} must be text, got {shown(given)}")
    return whole_text(given or "", where, name)


def _number(given: Any, where: str, name: str) -> float | None:
    """Points, as a number or as its text; None: the data say that there are none."""
    if given is None or (isinstance(given, str) and given.strip().lower() in _WITHOUT_NUMBER):
        return None
    try:
        number = float(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise FactoryError(f"{where}: {name} must be a number, got {shown(given)}") from error
    return number if math.isfinite(number) else None
