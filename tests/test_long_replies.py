"""Replies of any length are read in linear time: a pattern that looks at a stretch of spaces from each of its places takes
minutes for what a broken model may write, and so does comparing each of its sentences with each of another text; nothing else of
the run goes on meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from factory.stages.checklist import read_checklist
from factory.stages.evolve import read_new
from factory.work.claim_text import read_claims
from factory.work.flaws import comments_on_rewriting
from factory.work.reworded import rewords

LONG = 1_000_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (read_claims, f"-{' ' * LONG}", []),
        (read_claims, f"1.{' ' * LONG}The Elbe is long.", ["The Elbe is long."]),
        (read_checklist, f"{' ' * LONG}x", []),
        (read_checklist, f"{' ' * LONG}- Is it long? (80)", [("Is it long?", 80.0)]),
        (read_new, f"Write.{chr(10) * LONG}More.", f"Write.{chr(10) * LONG}More."),
        (read_new, f"Write.{chr(10) * LONG}  [End of instruction 3]", "Write."),
        (comments_on_rewriting, f"Yes.{chr(10) * LONG}No.", False),
        (comments_on_rewriting, f"Yes.{chr(10) * LONG} * I have rewritten the text to fit.", True),
    ],
)
def test_a_long_stretch_of_spaces_is_passed_over_once(read: Callable[[str], Any], text: str, found: Any) -> None:
    assert read(text) == found


@pytest.mark.timeout(60)
def test_thousands_of_sentences_are_not_each_compared_with_each() -> None:
    critique = "".join(f"The response lacks item{i} and must have {7 * i} words. " for i in range(20_000))
    answer = "".join(f"The answer must have thing{i} and {3 * i} sentences. " for i in range(20_000))
    assert not rewords(answer, "", "Write.", critique, ())
    assert rewords(f"The response must have 7 words. {answer}", "", "Write.", critique, ())
