"""Replies of any length are read in linear time: a pattern that looks at a stretch of spaces from each of its places takes
minutes for what a broken model may write, and nothing else of the run goes on meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from factory.stages.checklist import read_checklist
from factory.stages.evolve import read_new
from factory.work.claim_text import read_claims
from factory.work.flaws import comments_on_rewriting

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
