"""How a verifiable constraint is worded in a prompt, and whether a response follows it.

IFEval's checkers give the verdict (`checkers.py`), `critiques.py` explains failures, and `drawing.py` draws a task's
constraints. `constraints.yaml` has the wording of each kind, by language.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from factory.verifier.checkers import follows, kwargs_of, language_name
from factory.verifier.critiques import explain_failure
from factory.verifier.never import why_never
from schemas.errors import FactoryError
from schemas.tables import Constraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verifier's assessment of one response."""

    passed: bool  # every constraint is followed
    score: float  # 0..1, share of the constraints that are followed
    critique: str  # which constraints failed, and how
    followed: tuple[bool, ...]  # each constraint, in their order


def verify(constraints: Sequence[Constraint], text: str) -> Verification:
    """Checks a response. An empty response follows no constraint.

    Raises FactoryError if there are no constraints, a kind is unknown, or arguments are missing or out of range.
    """
    if not constraints:
        raise FactoryError("a prompt without constraints cannot be verified: use a model as its judge")
    verdicts = [follows(constraint, text) for constraint in constraints]
    if not text.strip():
        return Verification(
            passed=False,
            score=0.0,
            critique="The response is empty, so it follows nothing: write an answer.",
            followed=(False,) * len(constraints),
        )
    failed = [c for c, followed in zip(constraints, verdicts, strict=True) if not followed]
    followed_count = len(constraints) - len(failed)
    sentences = [_explain(constraint, text) for constraint in failed]
    if not failed:
        sentences.append(
            "The response follows the constraint."
            if followed_count == 1
            else f"The response follows all {followed_count} constraints."
        )
    elif followed_count:
        sentences.append(
            "The other constraint is followed: keep it so."
            if followed_count == 1
            else f"The other {followed_count} constraints are followed: keep them so."
        )
    return Verification(
        passed=not failed,
        score=followed_count / len(constraints),
        critique=" ".join(sentences),
        followed=tuple(verdicts),
    )


def follows_loosely(constraint: Constraint, text: str) -> bool:
    """Whether the text, or what is left of it without first line, last line or asterisks, follows the constraint.

    IFEval's loose verdict (arXiv:2311.07911, 3): eight variants forgive an introduction, an ending and Markdown.
    """
    return any(follows(constraint, variant) for variant in loose_variants(text))


def loose_variants(text: str) -> list[str]:
    """IFEval's eight variants of a response, each once, without those that are blank."""
    lines = text.split("\n")
    shortened = ("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))
    found = [variant for one in (text, *shortened) for variant in (one, one.replace("*", ""))]
    return [variant for variant in dict.fromkeys(found) if variant.strip()]


def _explain(constraint: Constraint, text: str) -> str:
    never = why_never(constraint)
    if never is not None:  # what is missing would be false advice
        return f"No answer can meet {constraint.id}, because {never}: leave it as it is."
    return explain_failure(constraint.id, kwargs_of(constraint), text)


def describe(constraint: Constraint, language: str) -> str:
    """The sentence that asks for a constraint, in "en" or "zh".

    Raises FactoryError with the reason if the kind has no wording in the language.
    """
    kind = read_constraint_table()["kinds"].get(constraint.id)
    if kind is None:
        raise FactoryError(f"unknown constraint {constraint.id}; factory/verifier/constraints.yaml lists the kinds")
    wording = kind.get(language)
    if wording is None:
        reason = kind["not_in_chinese"] if language == "zh" else "use en or zh"
        raise FactoryError(f"constraint {constraint.id} has no wording in language {language}: {reason}")
    kwargs = kwargs_of(constraint)
    if isinstance(wording, dict):
        wording = wording[_relation(kwargs)]
    return str(wording.format(**_shown(kwargs, language)))


def join_prompt(task: str, constraints: Sequence[Constraint], language: str) -> str:
    """The user's message: the task, a blank line, and one sentence per constraint."""
    space = "" if language == "zh" else " "
    return f"{task}\n\n{space.join(describe(constraint, language) for constraint in constraints)}"


@cache
def read_constraint_table() -> dict[str, Any]:
    """`constraints.yaml`, which documents its fields. Cached: do not modify."""
    table: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "constraints.yaml").read_text(encoding="utf-8"))
    return table


def _relation(kwargs: dict[str, Any]) -> str:
    relation = next(value for name, value in kwargs.items() if name.endswith("relation"))
    return "never" if relation == "less than" and kwargs.get("frequency") == 1 else str(relation)


def _shown(kwargs: dict[str, Any], language: str) -> dict[str, Any]:
    """The arguments for a sentence: words quoted, languages by name."""
    writing = read_constraint_table()["writing"][language]

    def quote(value: Any) -> Any:
        if isinstance(value, list):
            return writing["separator"].join(quote(item) for item in value)
        return writing["quoted"].format(word=value) if isinstance(value, str) else value

    shown = {name: quote(value) for name, value in kwargs.items()}
    if "section_spliter" in kwargs:
        for number, name in enumerate(("first_section", "second_section"), start=1):
            shown[name] = quote(f"{kwargs['section_spliter']} {number}")
    if "language" in kwargs:
        shown["language"] = language_name(kwargs["language"])
    return shown
