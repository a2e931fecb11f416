"""Answers without a text: how many there are, why, and what to change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from factory.inference.journal import Choice
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.sql import sql

FIRST_ANSWERS = 10
"""If as many arrive and none has a text, the run ends: the next ones would be paid for in vain."""


@dataclass(slots=True)
class Textless:
    """Counts of one sampling stage's answers."""

    stage: str
    answers: int = 0
    cut_thinking: int = 0
    """without a text: cut off while the model was thinking"""
    only_thinking: int = 0
    """without a text: ended, with nothing but thinking"""
    other: int = 0
    """without a text for another reason"""
    example: str | None = None
    """the note on one of those"""

    @property
    def without(self) -> int:
        return self.cut_thinking + self.only_thinking + self.other

    def add(self, choices: Iterable[Choice]) -> None:
        """Counts a request's answers."""
        for choice in choices:
            self.answers += 1
            if choice.text:
                continue
            if not choice.reasoning:
                self.other, self.example = self.other + 1, self.example or choice.note
            elif choice.finish_reason == "length":
                self.cut_thinking += 1
            else:
                self.only_thinking += 1

    def why(self) -> str:
        """The reasons, each with what to change."""
        reasons = []
        if self.cut_thinking:
            reasons.append(
                f"{self.cut_thinking:,} spent max_tokens on thinking: raise it "
                f"(-o stages.{self.stage}.max_tokens=…), or switch thinking off at the server"
            )
        if self.only_thinking:
            reasons.append(
                f"{self.only_thinking:,} hold only thinking (reasoning_content), no content: switch thinking off at the "
                "server, or start it with another parser for reasoning"
            )
        if self.other:
            said = f" ({self.example})" if self.example else ""
            reasons.append(f"{self.other:,} came without any{said}")
        return "; ".join(reasons)

    def check_first(self) -> None:
        """Ends a run whose first answers all lack a text.

        Raises:
            FactoryError: why, and what to change.
        """
        if self.answers >= FIRST_ANSWERS and self.without == self.answers:
            raise FactoryError(
                f"none of the first {self.answers:,} answers of stage {self.stage} has a text: {self.why()}; "
                "then run it again (--fresh asks for these anew, too)"
            )


def textless_stages(lake: Lake, run_id: str) -> list[Textless]:
    """The sampling stages of a run that have answers without a text."""
    rows: list[dict[str, Any]] = lake.query(sql("report/textless"), {"run_id": run_id}).to_pylist()
    return [Textless(**row) for row in rows]


def check_all(lake: Lake, run_id: str) -> None:
    """Ends a run in which no answer has a text as failed.

    Raises:
        FactoryError: why, and what to change.
    """
    for stage in textless_stages(lake, run_id):
        if stage.without == stage.answers:
            raise FactoryError(
                f"none of the {stage.answers:,} answers of stage {stage.stage} has a text: {stage.why()}; then run it "
                "again with --fresh, which asks anew"
            )
