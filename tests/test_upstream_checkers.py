"""Our verdicts are the upstream checkers', which `tests/upstream_verdicts.py` recorded with NLTK's own data."""

import json

import pytest

from factory.verifier.checkers import NO_LANGUAGE, detect_language
from factory.verifier.constraints import follows_loosely, loose_variants, verify
from schemas.ids import canonical_json
from schemas.tables import Constraint
from tests.upstream_verdicts import DATA, constraints, texts

RECORDED = json.loads((DATA / "upstream_verdicts.json").read_text("utf-8"))
TEXTS = texts()


def differs_on_purpose(kind: str, text: str) -> bool:
    """What `checkers.py` says that we decide otherwise: texts without a language, and langdetect on capitals."""
    if kind == "language:response_language":
        return any(detect_language(variant) == NO_LANGUAGE for variant in loose_variants(text))
    return kind == "change_case:english_capital" and text.isupper()


def test_what_was_recorded_is_what_is_asked() -> None:
    assert [{"id": one["id"], "kwargs": one["kwargs"]} for one in RECORDED] == constraints()
    assert {len(one["verdicts"]) for one in RECORDED} == {len(TEXTS)}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: one["id"])
def test_verdicts_are_upstreams(recorded: dict[str, str]) -> None:
    constraint = Constraint(recorded["id"], canonical_json(recorded["kwargs"]))
    differing = []
    for text, mark in zip(TEXTS, recorded["verdicts"], strict=True):
        strict = verify([constraint], text).passed
        ours = strict + (strict or follows_loosely(constraint, text))
        upstream = 0 if mark == "!" else int(mark)  # it ended with an error
        if ours != upstream and not differs_on_purpose(constraint.id, text):
            differing.append((text, mark, ours))
    assert differing == []
