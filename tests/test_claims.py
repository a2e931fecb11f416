"""Claims end to end: taken out, checked by a corpus or by samples, scored, paired; stopped, resumed and refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import recipe_of
from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.consistency import check_rows
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.claims import ANSWERS, corpus, facts, run, specification
from tests.judging import asked
from tests.runs import assert_ids_unique, assert_same_tables, tables
from tests.scripted_endpoint import Reply, Request, running_endpoint

SCORES = (
    "SELECT text, claims, verifiable, supported, s.support FROM claim_scores AS s JOIN responses USING (response_id)"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lake with the corpus."""
    corpus(tmp_path / "lake")
    return tmp_path / "lake"


def scores(lake: Lake) -> dict[str, tuple[Any, ...]]:
    return {row["text"]: tuple(row.values())[1:] for row in lake.query(SCORES).to_pylist()}


def pairs(lake: Lake) -> list[tuple[Any, ...]]:
    """The first prompt's pairs: chosen and rejected by their numbers in ANSWERS, and their values."""
    rows = lake.query(
        "SELECT c.text AS chosen, r.text AS rejected, chosen_value, rejected_value FROM pairs "
        "JOIN responses AS c ON c.response_id = chosen_response_id JOIN responses AS r ON r.response_id = rejected_response_id "
        "WHERE pairs.prompt_id = (SELECT min(prompt_id) FROM pairs) ORDER BY ALL"
    ).to_pylist()
    return [(ANSWERS.index(r["chosen"]), ANSWERS.index(r["rejected"]), *list(r.values())[2:]) for r in rows]


def check_whole(where: Path) -> None:
    """Ids are unique and derived again, references hold, and every call's messages are rendered from rows."""
    assert_ids_unique(where)
    with Lake.open(where) as lake:
        assert check_rows(lake, lambda *told: None) == []
        wrong = lake.query(
            "SELECT call_id, template, messages FROM call_messages WHERE sha256(to_json(messages)::VARCHAR) IS DISTINCT FROM messages_hash"
        )
        assert wrong.to_pylist() == []


def test_claims_are_checked_against_the_passages_of_a_corpus(place: Path) -> None:
    with running_endpoint(facts) as endpoint:
        run_id = run(place, "facttune_fs", endpoint)
        # Two prompts: an answer's request, four lists of claims, and three different claims each.
        assert endpoint.stats().received == 2 * (1 + 4 + 3)
        run(place, "facttune_fs", endpoint)
        assert endpoint.stats().received == 2 * (1 + 4 + 3)  # nothing was left to do
        assert {r.body.get("top_logprobs") for r in endpoint.requests if "Passages" in str(r.messages)} == {20}
    check_whole(place)
    with Lake.open(place) as lake:
        # 'Unknown' has 0.7 of the first claim; of the others 0.72 of 0.9, and 0.08 of 0.8, are true.
        assert scores(lake) == {
            ANSWERS[0]: (2, 1, 1, 1.0),
            ANSWERS[1]: (2, 2, 1, 0.5),
            ANSWERS[2]: (1, 1, 0, 0.0),
        }
        about = lake.query(
            "SELECT DISTINCT text, support, evidence, method, question FROM claims ORDER BY text"
        ).to_pylist()
        assert [row["support"] for row in about] == [pytest.approx(0.8), pytest.approx(0.1), None]
        assert {(row["method"], row["question"]) for row in about} == {("corpus", None)}
        shown = about[0]["evidence"]  # The Elbe flows through Dresden.
        assert [one["text"].split("\n")[0] for one in shown] == ["Elbe", "Hamburg"]
        assert shown[0]["weight"] > shown[1]["weight"] > 0
        assert lake.query("SELECT count(*) FROM documents").column(0)[0].as_py() == 3
        assert sorted(pairs(lake)) == [(0, 1, 1.0, 0.5), (0, 2, 1.0, 0.0), (1, 2, 0.5, 0.0)]
        built = build_training_set(lake, "facttune", {"held_out": 0}, [run_id])
        assert built.row.train_rows == 6
        assert build_training_set(lake, "facttune", {"held_out": 0, "min_margin": 0.6}, [run_id]).row.train_rows == 2


def test_claims_are_checked_by_how_far_a_models_own_answers_agree(place: Path) -> None:
    with running_endpoint(facts) as endpoint:
        run(place, "facttune_mc", endpoint)
        assert endpoint.stats().received == 2 * (1 + 4 + 3 + 3)  # a question and its answers for each claim
        short = [r.body for r in endpoint.requests if "Answer in a few words" in str(r.messages)]
        assert {(b["n"], b["temperature"], b["top_p"], b["max_tokens"]) for b in short} == {(20, 1.0, 0.9, 15)}
    check_whole(place)
    with Lake.open(place) as lake:
        assert scores(lake) == {
            ANSWERS[0]: (2, 2, 2, 0.625), ANSWERS[1]: (2, 2, 1, 0.5), ANSWERS[2]: (1, 1, 0, 0.25),
        }  # fmt: skip
        (dresden,) = lake.query(
            "SELECT DISTINCT question, support, evidence FROM claims WHERE contains(text, 'Dresden')"
        ).to_pylist()
        assert dresden["question"] == "Is it so that The Elbe flows through Dresden?" and dresden["support"] == 0.75
        assert dresden["evidence"][0] == {"document_id": None, "text": "Yes", "weight": 0.75}
        assert len(dresden["evidence"]) == 6 and dresden["evidence"][1]["weight"] == 0.05
        assert sorted(pairs(lake)) == [(0, 1, 0.625, 0.5), (0, 2, 0.625, 0.25), (1, 2, 0.5, 0.25)]


def test_a_corpus_without_the_facts_says_nothing_of_a_claim(tmp_path: Path) -> None:
    corpus(tmp_path / "lake", [{"text": "Bread consists of flour"}])
    with running_endpoint(facts) as endpoint:
        run(tmp_path / "lake", "facttune_fs", endpoint, prompts=1)
        assert endpoint.stats().received == 1 + 4  # no passage shares a word, so nobody is asked about one
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.query("SELECT DISTINCT support, evidence, model_id FROM claims").to_pylist() == [
            {"support": None, "evidence": [], "model_id": None}
        ]
        assert {score[1:] for score in scores(lake).values()} == {(0, 0, None)}
        assert lake.counts()["pairs"] == 0


@pytest.mark.parametrize("name", ["facttune_fs", "facttune_mc"])
def test_a_run_killed_in_the_middle_ends_with_the_same_rows(tmp_path: Path, name: str) -> None:
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
        corpus(tmp_path / folder / "lake")
    with running_endpoint(facts) as endpoint:
        run(tmp_path / "whole" / "lake", name, endpoint, prompts=6)
        wanted = endpoint.stats().received
    with running_endpoint(facts, slots=2, latency_ms=20) as endpoint:
        killed = tmp_path / "killed" / "lake"
        spec = specification(name, endpoint, killed.parent, prompts=6)
        (killed.parent / "recipe.yaml").write_text(spec.recipe.as_json())
        words = ["run", killed.parent / "recipe.yaml", "--lake", killed]
        process = subprocess.Popen([sys.executable, "-m", "factory.cli", *map(str, words)], stderr=subprocess.DEVNULL)
        while endpoint.stats().received < wanted // 2 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        run_recipe(spec, str(killed), Progress())
        assert endpoint.stats().repeated_answers <= 8  # those on their way when it was killed: not yet in the journal
    check_whole(killed)
    with Lake.open(killed) as lake:  # also what was paid for just before the kill is this run's
        assert lake.query("FROM calls WHERE from_journal").num_rows == 0
    assert_same_tables(tables(tmp_path / "whole" / "lake"), tables(killed))


def test_claims_of_another_runs_answers(place: Path) -> None:
    with running_endpoint(facts) as endpoint:
        stages = [{"stage": "sample", "n": 4}]
        models = {"actor": {"endpoint": endpoint.url}}
        given = recipe_of({"name": "x", "models": models, "stages": stages, "prompts": {"limit": 1}}, "recipe x")
        answered = run_recipe(RunSpecification(given), str(place), Progress())
        again = {
            "name": "again", "models": models, "answers": {"run": answered}, "pairs": [],
            "stages": [{"stage": "claims", "model": "actor"}],
        }  # fmt: skip
        checked = run_recipe(RunSpecification(recipe_of(again, "recipe x")), str(place), Progress())
    with Lake.open(place) as lake:
        assert sorted(score[3] for score in scores(lake).values()) == pytest.approx([0.0, 0.5, 1.0])
        assert lake.query("SELECT DISTINCT run_id FROM claims").column(0).to_pylist() == [checked] != [answered]
    check_whole(place)


def test_an_answer_of_which_a_claim_cannot_be_checked_is_asked_about_again(place: Path) -> None:
    def refusing(request: Request) -> Any:
        if "Claim: The Elbe flows through Paris" in asked(request):
            return Reply(
                400, {"error": {"message": "maximum context length is 10 tokens", "type": "invalid_request_error"}}
            )
        return facts(request)

    with running_endpoint(refusing) as endpoint:
        run(place, "facttune_fs", endpoint, prompts=1)
        paid = endpoint.stats().outcomes["ok"]
    with Lake.open(place) as lake:
        assert list(scores(lake)) == [ANSWERS[0]]
        # Also the calls of the two answers whose claims no row holds.
        assert lake.query("SELECT sum(calls - from_journal - errors) FROM run_cost").column(0).to_pylist() == [paid]
    with running_endpoint(facts) as endpoint:
        spec = specification("facttune_fs", endpoint, place.parent, prompts=1)
        run_recipe(spec, str(place), Progress(), Execution(retry_set_aside=True))
        assert endpoint.stats().received == 1  # the claim that was refused: two answers make it
    with Lake.open(place) as lake:
        assert len(scores(lake)) == 3 and lake.counts()["pairs"] == 3
    check_whole(place)


def refusal(place: Path, script: Any = facts, **changes: Any) -> tuple[str, int]:
    """What ends a run of facttune_fs, and how many requests it had sent."""
    gives_logprobs = script is facts
    with (
        running_endpoint(script, slots=1, gives_logprobs=gives_logprobs) as endpoint,
        pytest.raises(FactoryError) as ended,
    ):
        try:
            run(place, "facttune_fs", endpoint, **changes)
        finally:
            sent = endpoint.stats().received
    assert "\n" not in str(ended.value)
    return str(ended.value), sent


def test_a_lake_without_documents_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    Lake.open(tmp_path / "lake", create=True).close()
    said, sent = refusal(tmp_path / "lake")
    assert "no documents to check claims against: import some with `factory documents FILE...`" in said and sent == 0


def test_an_unknown_source_is_refused_with_the_nearest(place: Path) -> None:
    said, sent = refusal(place, stages__claims__source="river")
    assert said == "the lake has no documents of source 'river': did you mean 'rivers'?" and sent == 0


def test_an_endpoint_without_log_probabilities_ends_a_run_that_insists_on_them(place: Path) -> None:
    def written(request: Request) -> Any:
        found = facts(request)
        return [one if isinstance(one, str) else one.text for one in found]

    said, sent = refusal(place, written, stages__claims__logprobs="required", prompts=1)
    assert said.startswith("stage claims: logprobs is 'required', but its endpoint returns no")
    assert sent == 1  # the probe
    with running_endpoint(written) as endpoint:
        run(place, "facttune_fs", endpoint, prompts=1)  # else the written word counts
    with Lake.open(place) as lake:
        assert {support for *_, support in scores(lake).values()} == {1.0, 0.5, 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages__claims__method": "corpse"}, "unknown value 'corpse': did you mean 'corpus'?"),
        ({"stages__claims__logprobs": "needed"}, "logprobs must be true or false or 'required', got 'needed'"),
        ({"stages__claims__passages": 0}, "passages must be in [1, 50], got 0"),
    ],
)
def test_settings_that_are_refused(place: Path, changes: dict[str, Any], said: str) -> None:
    with running_endpoint(facts) as endpoint, pytest.raises(FactoryError) as refused:
        specification("facttune_fs", endpoint, place.parent, **changes)
    assert said in str(refused.value)


def test_pairs_are_ranked_by_a_stage_that_checks_claims_only_if_the_recipe_has_it() -> None:
    document = {
        "name": "x", "models": {"actor": {"endpoint": "embedded:smollm2-135m"}},
        "stages": [{"stage": "sample"}, {"stage": "claims", "model": "actor"}],
        "pairs": [{"pairing": "all_ordered", "judge": "claim"}],
    }  # fmt: skip
    with pytest.raises(FactoryError, match="no judge of the recipe is named 'claim': did you mean 'claims'"):
        recipe_of(document, "recipe x")
