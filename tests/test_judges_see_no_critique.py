"""A judge never sees the critique that an answer was refined from, nor what its refiner thought: that would flatter it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.evaluation.again import earlier_judge, judge_again
from factory.evaluation.recipes import refine_recipe
from factory.evaluation.refining import evaluate_refine
from factory.recipes.reading import recipe_of
from factory.runs.specification import RunSpecification
from factory.work.judging import judge_kinds, kind_of
from factory.work.stage import stage_names, stage_of
from stores.lake import Lake
from tests.judging import LABEL, WORD, asked, carrier, model, write_lines
from tests.scripted_endpoint import Request, running_endpoint
from tests.test_judges_measured import NO_COMMA

CRITIQUE, REFLECTION = "the-critique-says-so", "the-reflection-says-so"
KINDS: list[dict[str, Any]] = [
    {"kind": "votes", "votes": 3},
    {"kind": "votes", "votes": 3, "verdict": "json"},
    {"kind": "votes", "votes": 3, "verdict": "word"},
    {"kind": "score", "n": 1, "pass_points": 3},
    {"kind": "score", "n": 1, "scale": "ten", "pass_points": 6},
]
REFINES = ("Now mend the response", "Rewrite the text above.")


def failing(request: Request) -> Sequence[str]:
    """Every judgement is a no whose critique has a mark, every refinement has a reflection with another."""
    text, n = asked(request), request.n
    if any(words in text for words in REFINES):
        return [f"Reflection: {REFLECTION}.\nRefined response:\nanswer {request.seed} {i}" for i in range(n)]
    if request.body.get("response_format"):
        return [f'{{"critique": "{CRITIQUE}", "verdict": "no"}}'] * n
    if WORD in text:
        return [f"No, {CRITIQUE}"] * n
    if LABEL in text:
        return ["1"] * n
    if "Final Judgement" in text or "Score: " in text:
        return [f"{CRITIQUE}. Score: 1\nFinal Judgement: No"] * n
    return [f"{CRITIQUE}. Rating: 1" if "useless" in text else "a first answer, of a kind"] * n


def check(requests: Sequence[Request], refined: Sequence[str]) -> None:
    """Judges were asked about refined answers, in one turn without any mark."""
    of_judges = [r for r in requests if "[Response]" in asked(r) and not any(words in asked(r) for words in REFINES)]
    assert any(f"[Response]\n{text}\n" in asked(request) for text in refined for request in of_judges)
    for request in of_judges:
        assert len(request.messages) == 1
        assert CRITIQUE not in asked(request) and REFLECTION not in asked(request)


def refined_texts(lake: Lake) -> list[str]:
    texts: list[str] = lake.query("SELECT DISTINCT text FROM responses WHERE kind = 'refined'").column(0).to_pylist()
    assert texts
    return texts


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_in_a_search(tmp_path: Path, kind: dict[str, Any]) -> None:
    with running_endpoint(failing) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        document = {
            "name": "mine",
            "models": {role: {"endpoint": endpoint.url} for role in ("actor", "refiner")},
            "prompts": {"source": str(write_lines(tmp_path / "prompts.jsonl", [{"prompt": "Say something."}]))},
            "stages": [
                {"stage": "sample", "n": 1},
                {"stage": "judge", **kind},
                {"stage": "search", "depth": 2, "branch": 2},
            ],
            "budget": {"max_unreadable": 1.0},
        }
        carrier(lake)(RunSpecification(recipe_of(document, "recipe mine")))
        check(endpoint.requests, refined_texts(lake))
        refiners = [r for r in endpoint.requests if any(words in asked(r) for words in REFINES)]
        assert refiners and all(any(CRITIQUE in str(turn) for turn in r.messages) for r in refiners)  # the refiner does


def test_by_a_checklist_beside_the_judge_of_a_search(tmp_path: Path) -> None:
    def listing(request: Request) -> Sequence[str]:
        if asked(request).startswith("Write a checklist"):
            return ["1. Is it short?"]
        return ["7"] * request.n if "[Requirement]" in asked(request) else failing(request)

    with running_endpoint(listing) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        document = {
            "name": "mine",
            "models": {role: {"endpoint": endpoint.url} for role in ("actor", "refiner")},
            "prompts": {"source": str(write_lines(tmp_path / "prompts.jsonl", [{"prompt": "Say something."}]))},
            "stages": [
                {"stage": "checklist"},
                {"stage": "sample", "n": 1},
                {"stage": "judge", "votes": 1, "retries": 0},
                {"stage": "judge", "name": "list", "kind": "checklist", "n": 2},
                {"stage": "search", "depth": 1, "branch": 2},
            ],
            "budget": {"max_unreadable": 1.0},
        }
        carrier(lake)(RunSpecification(recipe_of(document, "recipe mine")))
        refined = refined_texts(lake)
        check(endpoint.requests, refined)
        of_items = [asked(request) for request in endpoint.requests if "[Requirement]" in asked(request)]
        assert any(f"[Response]\n{text}\n" in one for text in refined for one in of_items)
        judged = lake.query("SELECT DISTINCT points, decides FROM verdicts WHERE judge = 'list'").to_pylist()
        wrong = lake.query(
            "SELECT call_id FROM call_messages WHERE sha256(to_json(messages)::VARCHAR) <> messages_hash"
        )
    assert judged == [{"points": 7.0, "decides": False}] and wrong.num_rows == 0


def test_in_evaluations_and_when_judged_again(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "prompts.jsonl", [{"prompt": f"Say something, {i}.", **NO_COMMA} for i in range(2)])
    prompts = {"prompts.source": str(file), "prompts.language": None}
    with (
        running_endpoint(failing, models=("mock", "other")) as endpoint,
        Lake.open(tmp_path / "lake", create=True) as lake,
    ):
        one, other = model(endpoint, "mock"), model(endpoint, "other")
        evaluate_refine(lake, refine_recipe(one, one, False, prompts), other, True, 0, carrier(lake))
        refined = refined_texts(lake)
        critiques = lake.query("SELECT critique FROM judgements WHERE kind = 'verifier'").column(0).to_pylist()
        check(endpoint.requests, refined)
        sent = len(endpoint.requests)
        judge_again(lake, earlier_judge(lake, "evaluate_refine", None), other, False, {}, 0, carrier(lake))
        check(endpoint.requests[sent:], refined)
        judged = [asked(r) for r in endpoint.requests if r.model == "other"]
        assert not [text for text in judged for critique in critiques if critique and critique in text]


def test_no_other_stage_or_kind_of_judge_is_missing_here() -> None:
    """Whoever adds one adds a test above."""
    # The others judge no refined answers themselves; a reward model gets the prompt and the answer alone.
    others = {"checklist", "claims", "evolve", "judge", "meta_judge", "reference", "sample", "search"}
    assert {*stage_names()} == {"compare", *others}
    assert {*judge_kinds()} == {"checklist", "reward_model", "score", "verifier", "votes"}
    asking = [stage_of("compare").Settings(), *(kind_of(kind).Settings() for kind in ("votes", "score", "checklist"))]
    shown = [use.shows for settings in asking for use in settings.templates().values()]
    assert shown and all("critique" not in shows for shows in shown)  # nor can a template of one's own show it
