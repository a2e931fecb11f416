"""Draws constraints that suit a task and can all be followed together.

`constraints.yaml` defines which kinds suit which tasks and how often each is drawn, `conflicts.py` which ones conflict.
No response is read here.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from factory.verifier.conflicts import kinds_conflict, why_impossible
from factory.verifier.constraints import read_constraint_table
from schemas.ids import canonical_json
from schemas.tables import Constraint

TASK_KINDS = ("message", "advice", "steps", "list", "explanation", "story", "verse", "question")
"""A question is answered by yes, no or maybe. A message is a letter, an e-mail, a note or a text."""

_ATTEMPTS = 20  # draws of kwargs before a prompt skips a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task before constraints are added."""

    text: str
    subject: str
    language: str  # en or zh; also the answer's language
    kind: str  # one of TASK_KINDS
    keywords: tuple[str, ...]  # words that a good answer may use and the task does not


def draw(task: Task, rng: random.Random) -> list[Constraint]:
    """One to three constraints that suit the task and each other. All randomness comes from `rng`."""
    shares = read_constraint_table()["constraints_per_prompt"]
    (wanted,) = rng.choices(list(shares), weights=list(shares.values()))
    kinds = suitable_kinds(task)
    if wanted > 1:
        kinds = [a for a in kinds if any(not kinds_conflict(a, b) for b in kinds)]
    weights = {kind: read_constraint_table()["kinds"][kind]["weight"] for kind in kinds}
    drawn: list[Constraint] = []
    while len(drawn) < wanted and weights:
        (kind,) = rng.choices(list(weights), weights=list(weights.values()))
        for _ in range(_ATTEMPTS):
            constraint = Constraint(id=kind, kwargs=canonical_json(_DRAWS[kind](task, rng)))
            if why_impossible([*drawn, constraint]) is None:
                drawn.append(constraint)
                break
        del weights[kind]
        weights = {a: weight for a, weight in weights.items() if not any(kinds_conflict(a, b.id) for b in drawn)}
    return drawn


def suitable_kinds(task: Task) -> list[str]:
    """The kinds of constraint that suit a task, in the table's order."""
    kinds = read_constraint_table()["kinds"].items()
    return [
        kind
        for kind, entry in kinds
        if task.language in entry and (entry["tasks"] == "all" or task.kind in entry["tasks"])
    ]


def _draw_keyword_frequency(task: Task, rng: random.Random) -> dict[str, Any]:
    relation = rng.choice(("at least", "less than"))
    # In Chinese, "less than 1" replaces forbidden words.
    most = 3 if relation == "at least" or task.language == "en" else 1
    return {
        "keyword": rng.choice(task.keywords),
        "relation": relation,
        "frequency": rng.randint(min(2, most), most),
    }


def _draw_forbidden_words(task: Task, rng: random.Random) -> dict[str, Any]:
    keyword = rng.choice(task.keywords)
    spoken = {keyword, *re.findall(r"\w+", task.text.lower())}
    common = [word for word in _pools()["overused_words"] if word not in spoken]
    return {"forbidden_words": sorted([keyword, *rng.sample(common, 2)])}


def _draw_letter(task: Task, rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        letter, times = rng.choice(_pools()["common_letters"]), rng.randrange(10, 31, 5)
        return {"letter": letter, "let_frequency": times, "let_relation": "at least"}
    letter = rng.choice(list(_pools()["scarce_letters"]))
    return {
        "letter": letter,
        "let_frequency": rng.randint(*_pools()["scarce_letters"][letter]),
        "let_relation": "less than",
    }


def _draw_limit(
    rng: random.Random, name: str, relation: str, at_least: Sequence[int], less_than: Sequence[int]
) -> dict[str, Any]:
    drawn = rng.choice(("at least", "less than"))
    return {relation: drawn, name: rng.choice(at_least if drawn == "at least" else less_than)}


def _draw_nth_paragraph(task: Task, rng: random.Random) -> dict[str, Any]:
    paragraphs = rng.randint(2, 3)
    return {
        "num_paragraphs": paragraphs,
        "nth_paragraph": rng.randint(1, paragraphs),
        "first_word": rng.choice(_pools()["first_words"]),
    }


def _draw_end_phrase(task: Task, rng: random.Random) -> dict[str, Any]:
    phrases = _pools()[task.language]["end_phrases"]
    return {"end_phrase": rng.choice(phrases.get(task.kind, phrases["other"]))}


def _pools() -> dict[str, Any]:
    pools: dict[str, Any] = read_constraint_table()["pools"]
    return pools


def _nothing(task: Task, rng: random.Random) -> dict[str, Any]:
    return {}


# Every argument is drawn here: the checkers draw missing ones at random.
_DRAWS: dict[str, Callable[[Task, random.Random], dict[str, Any]]] = {
    "keywords:existence": lambda task, rng: {"keywords": sorted(rng.sample(task.keywords, rng.randint(1, 2)))},
    "keywords:frequency": _draw_keyword_frequency,
    "keywords:forbidden_words": _draw_forbidden_words,
    "keywords:letter_frequency": _draw_letter,
    "language:response_language": lambda task, rng: {"language": rng.choice(_pools()["languages"])},
    "length_constraints:number_sentences": lambda task, rng: _draw_limit(
        rng, "num_sentences", "relation", range(3, 7), range(4, 9)
    ),
    "length_constraints:number_paragraphs": lambda task, rng: {"num_paragraphs": rng.randint(2, 4)},
    "length_constraints:number_words": lambda task, rng: _draw_limit(
        rng, "num_words", "relation", range(30, 101, 10), range(40, 121, 10)
    ),
    "length_constraints:nth_paragraph_first_word": _draw_nth_paragraph,
    "detectable_content:number_placeholders": lambda task, rng: {"num_placeholders": rng.randint(2, 4)},
    "detectable_content:postscript": lambda task, rng: {
        "postscript_marker": rng.choice(_pools()[task.language]["postscript_markers"])
    },
    "detectable_format:number_bullet_lists": lambda task, rng: {"num_bullets": rng.randint(2, 5)},
    "detectable_format:constrained_response": _nothing,
    "detectable_format:number_highlighted_sections": lambda task, rng: {"num_highlights": rng.randint(2, 3)},
    "detectable_format:multiple_sections": lambda task, rng: {
        "section_spliter": rng.choice(_pools()[task.language]["section_marks"]),
        "num_sections": rng.randint(2, 4),
    },
    "detectable_format:json_format": _nothing,
    "detectable_format:title": _nothing,
    "combination:two_responses": _nothing,
    "combination:repeat_prompt": lambda task, rng: {"prompt_to_repeat": task.text},
    "startend:end_checker": _draw_end_phrase,
    "change_case:capital_word_frequency": lambda task, rng: _draw_limit(
        rng, "capital_frequency", "capital_relation", range(2, 6), range(2, 4)
    ),
    "change_case:english_capital": _nothing,
    "change_case:english_lowercase": _nothing,
    "punctuation:no_comma": _nothing,
    "startend:quotation": _nothing,
}
