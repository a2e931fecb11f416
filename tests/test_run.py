"""Whole runs of SPaR against the scripted endpoint: what they write, and that being stopped changes nothing."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import answer, assert_ids_unique, assert_same_tables, run_spar, start_command, tables
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as running:
        yield running


def rows(lake: Path, query: str) -> list[dict[str, Any]]:
    with Lake.open(lake) as opened:
        return opened.query(query).to_pylist()


def test_a_run_goes_through_every_stage(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_id, progress = run_spar(tmp_path / "lake", endpoint.url)
    (state,) = rows(tmp_path / "lake", "FROM run_progress")
    assert state["run_id"] == run_id
    assert (state["status"], state["prompts"], state["answered"], state["judged"]) == ("finished", 6, 6, 6)
    assert state["trees"] == state["failing"] > 0
    assert state["accepted"] == progress.accepted > 0
    assert_ids_unique(tmp_path / "lake")


def test_every_pair_leads_back_to_prompt_calls_and_judgements(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url)
    lineage = rows(
        tmp_path / "lake",
        """
        SELECT p.pair_id, p.source, any_value(q.messages) AS asked,
          any_value(chosen_call.request_hash) AS chosen_call, any_value(rejected_call.request_hash) AS rejected_call,
          count(DISTINCT good.judgement_id) AS good_votes, count(DISTINCT bad.judgement_id) AS bad_votes,
          count(good.judgement_id) FILTER (good_vote.call_id IS NULL) AS votes_without_call
        FROM pairs AS p
        JOIN prompts AS q USING (prompt_id)
        JOIN responses AS chosen ON chosen.response_id = chosen_response_id
        JOIN responses AS rejected ON rejected.response_id = rejected_response_id
        JOIN calls AS chosen_call ON chosen_call.call_id = chosen.call_id
        JOIN calls AS rejected_call ON rejected_call.call_id = rejected.call_id
        LEFT JOIN nodes AS n ON n.node_id = p.node_id
        JOIN judgements AS good ON good.response_id = coalesce(n.judged_response_id, chosen_response_id)
        JOIN judgements AS bad ON bad.response_id = rejected_response_id
        LEFT JOIN calls AS good_vote ON good_vote.call_id = good.call_id
        GROUP BY p.pair_id, p.source
        """,
    )
    assert len(lineage) == rows(tmp_path / "lake", "SELECT count(*) AS n FROM pairs")[0]["n"] > 2
    for pair in lineage:
        assert pair["asked"] and pair["chosen_call"] and pair["rejected_call"]
        assert pair["good_votes"] >= 5 and pair["bad_votes"] >= 5
        assert pair["votes_without_call"] == 0


def test_the_messages_of_every_call_are_rendered_again_from_the_rows(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url)
    (count,) = rows(
        tmp_path / "lake",
        "SELECT count(*) AS calls, count(*) FILTER (sha256(to_json(messages)::VARCHAR) = messages_hash) AS same "
        "FROM call_messages",
    )
    assert count["calls"] == endpoint.stats().received == count["same"]


def test_verdicts_in_sql_are_those_that_the_run_acted_on(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url, prompts=10)
    differing = rows(
        tmp_path / "lake",
        "SELECT n.node_id FROM nodes AS n LEFT JOIN verdicts AS v ON v.response_id = n.judged_response_id "
        "WHERE n.value IS DISTINCT FROM v.value",
    )
    assert differing == []
    assert rows(tmp_path / "lake", "FROM trees WHERE outcome = 'accepted' AND accepted_node_id IS NULL") == []


def test_the_same_order_again_asks_nothing(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url)
    before, asked = tables(tmp_path / "lake"), endpoint.stats().received
    run_spar(tmp_path / "lake", endpoint.url)
    assert endpoint.stats().received == asked
    assert_same_tables(before, tables(tmp_path / "lake"))


def test_another_seed_is_another_run(tmp_path: Path, endpoint: ScriptedEndpoint):
    first, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2)
    second, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=2, seed=1)
    assert first != second
    assert_ids_unique(tmp_path / "lake")


@pytest.mark.parametrize("strategy", ["dfs", "best_of_n"])
def test_other_searches_end_too(tmp_path: Path, endpoint: ScriptedEndpoint, strategy: str):
    run_spar(tmp_path / "lake", endpoint.url, stages__search__strategy=strategy, stages__search__budget=9)
    trees = rows(tmp_path / "lake", f"SELECT outcome, nodes_expanded FROM trees WHERE strategy = '{strategy}'")
    assert trees
    assert all(tree["nodes_expanded"] <= 9 for tree in trees)
    assert_ids_unique(tmp_path / "lake")


def test_every_failed_answer_gets_a_tree_where_asked_for(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url, prompts=3, stages__search__roots="every")
    (count,) = rows(
        tmp_path / "lake",
        "SELECT (SELECT count(*) FROM trees) AS trees, (SELECT count(*) FROM failed_responses) AS failed",
    )
    assert count["trees"] == count["failed"] > 3


def test_both_judges_are_recorded_and_the_verifier_decides(tmp_path: Path, endpoint: ScriptedEndpoint):
    run_spar(tmp_path / "lake", endpoint.url, stages__judge__by="both")
    judges = rows(
        tmp_path / "lake",
        "SELECT judge, bool_and(decides) AS decides, count(*) AS n FROM judgements GROUP BY 1 ORDER BY 1",
    )
    assert [(row["judge"], row["decides"]) for row in judges] == [("verifier", True), ("votes", False)]
    (agreement,) = rows(tmp_path / "lake", "FROM judge_agreement")
    assert agreement["responses"] == judges[0]["n"]


def test_a_verdict_in_json_is_asked_for_by_a_schema_and_its_critique_goes_into_the_dialogue(
    tmp_path: Path, endpoint: ScriptedEndpoint
):
    run_spar(tmp_path / "lake", endpoint.url, stages__judge__verdict="json")
    found = rows(tmp_path / "lake", "SELECT DISTINCT verdict, critique FROM judgements")
    assert {row["verdict"] for row in found} == {"yes", "no"}
    assert all(row["critique"].startswith("It says ") for row in found)
    asked = [(request.body.get("response_format"), request.messages) for request in endpoint.requests]
    assert {format["type"] for format, messages in asked if '"verdict"' in messages[-1]["content"]} == {"json_schema"}
    dialogues = [(format, messages) for format, messages in asked if len(messages) == 3]
    assert dialogues
    for format, (question, critique, _) in dialogues:
        assert format is None and '"verdict"' in question["content"]
        assert critique["content"].startswith("It says ")
    # Every call's messages can be rendered again, and its row says which reply format was required.
    (count,) = rows(
        tmp_path / "lake",
        "SELECT count(*) FILTER (sha256(to_json(messages)::VARCHAR) = messages_hash) AS same, count(*) AS calls "
        "FROM call_messages",
    )
    assert count["same"] == count["calls"] > 0
    (told,) = rows(
        tmp_path / "lake",
        "SELECT count(*) FILTER (parameters ->> '$.response_format.type' IS NOT NULL) AS in_json, "
        "count(*) FILTER (template = 'judge') AS judged FROM calls",
    )
    assert told["in_json"] == told["judged"] > 0


def test_a_reply_that_is_not_the_json_asked_for_is_an_unparsed_vote(tmp_path: Path):
    def script(request: Request) -> Any:
        return ["Final Judgement: Yes"] * request.n if request.body.get("response_format") else answer(request)

    with running_endpoint(script) as running:
        # 1: with nothing to read, the run would not finish (test_readable.py).
        run_spar(tmp_path / "lake", running.url, prompts=1, stages__judge__verdict="json", budget__max_unreadable=1)
    assert rows(tmp_path / "lake", "SELECT DISTINCT verdict, critique FROM judgements") == [
        {"verdict": "unparsed", "critique": "Final Judgement: Yes"}
    ]


def test_an_evolved_prompt_takes_its_parents_place(tmp_path: Path):
    def script(request: Request) -> Any:
        asked = request.messages[-1]["content"]
        if "Make it harder" in asked:
            return ["None"] if "umbrella" in asked else ["A harder instruction: " + request.body_hash]
        return answer(request)

    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "Tell me of rain."}\n{"prompt": "Tell me of an umbrella."}\n')
    recipe = tmp_path / "evolving.yaml"
    recipe.write_text(
        "name: evolving\n"
        f"prompts: {{source: {source}}}\n"
        "models: {actor: {endpoint: http://localhost:1/v1}, refiner: {endpoint: http://localhost:1/v1}}\n"
        "stages: {evolve: {}, sample: {n: 2}, judge: {}, search: {depth: 1}}\n"
    )
    from factory.recipes.reading import load_recipe
    from factory.runs.loop import run_recipe
    from factory.runs.progress import Progress
    from factory.runs.specification import RunSpecification

    with running_endpoint(script) as running:
        spec = RunSpecification(
            load_recipe(str(recipe), {"models.actor.endpoint": running.url, "models.refiner.endpoint": running.url})
        )
        run_recipe(spec, str(tmp_path / "lake"), Progress())
        asked = running.stats().received
        run_recipe(spec, str(tmp_path / "lake"), Progress())
        assert running.stats().received == asked
    (evolved,) = rows(tmp_path / "lake", "FROM prompts WHERE evolved_from IS NOT NULL")
    assert evolved["messages"][0]["content"].startswith("A harder instruction")
    answered = rows(tmp_path / "lake", "SELECT DISTINCT prompt_id FROM responses")
    assert answered == [{"prompt_id": evolved["prompt_id"]}]


def test_a_tree_whose_refinements_cannot_be_read_is_recorded(tmp_path: Path):
    def script(request: Request) -> Any:
        if "Refined response" in request.messages[-1]["content"]:
            return ["I would rather not."] * request.n
        return answer(request)

    with running_endpoint(script) as running:
        run_spar(tmp_path / "lake", running.url, prompts=3, budget__max_unreadable=1)
    trees = rows(tmp_path / "lake", "SELECT outcome, nodes_expanded FROM trees")
    assert trees and all(tree == {"outcome": "failed", "nodes_expanded": 3} for tree in trees)
    unparsed = rows(tmp_path / "lake", "SELECT DISTINCT state, output, response_id FROM nodes WHERE depth = 1")
    assert unparsed == [{"state": "unparsed", "output": "I would rather not.", "response_id": None}]


def test_equal_refinements_are_judged_once_a_tree(tmp_path: Path):
    judged: list[str] = []

    def script(request: Request) -> Any:
        last = request.messages[-1]["content"]
        if "Refined response" in last:
            return ["Reflection: x\nRefined response: always the same"] * request.n
        if "Final Judgement" in last:
            judged.append(last)
            return ["Final Judgement: No"] * request.n
        return answer(request)

    with running_endpoint(script) as running:
        run_spar(tmp_path / "lake", running.url, prompts=2)
    assert sum("always the same" in text for text in judged) == 2
    (nodes,) = rows(
        tmp_path / "lake",
        "SELECT count(*) AS n, count(DISTINCT judged_response_id) AS judged FROM nodes WHERE depth = 1",
    )
    assert (nodes["n"], nodes["judged"]) == (6, 2)


def test_a_prompt_that_is_refused_is_set_aside_and_the_rest_goes_on(tmp_path: Path):
    refused: list[str] = []

    def script(request: Request) -> Any:
        from tests.scripted_endpoint import Reply

        text = request.messages[-1]["content"]
        if "Final Judgement" not in text and (text in refused or not refused):
            refused.append(text)
            return Reply(400, {"error": {"message": "the request exceeds the context size", "type": "invalid"}})
        return answer(request)

    with running_endpoint(script) as running:
        _, progress = run_spar(tmp_path / "lake", running.url, prompts=4)
        asked = running.stats().received
        run_spar(tmp_path / "lake", running.url, prompts=4)
        assert running.stats().received == asked
    assert len(progress.set_aside) == 1 and "exceeds the context size" in progress.set_aside[0]
    assert len(rows(tmp_path / "lake", "FROM failed_prompts")) == 1
    (state,) = rows(tmp_path / "lake", "FROM run_progress")
    assert (state["answered"], state["status"]) == (3, "finished")


def test_killed_at_random_moments_a_run_ends_with_the_same_tables(tmp_path: Path):
    rng = random.Random(20261122)
    with running_endpoint(answer, slots=8, latency_ms=40) as calm:
        run_spar(tmp_path / "undisturbed", calm.url, prompts=8)
        needed = calm.stats().received
    with running_endpoint(answer, slots=8, latency_ms=40) as endpoint:
        kills = 0
        while True:
            process = start_command(
                tmp_path / "lake", endpoint.url, 8, models__actor__concurrency=8, models__refiner__concurrency=8
            )
            until = endpoint.stats().received + rng.randint(needed // 8, needed // 2)
            while process.poll() is None and endpoint.stats().received < until:
                time.sleep(0.005)
            if process.poll() is not None:
                assert process.returncode == 0, process.communicate()[1]
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert kills >= 2
        # What had been answered when the process died may be asked again; nothing else.
        assert endpoint.stats().repeated_answers <= kills * 8
    assert_same_tables(tables(tmp_path / "undisturbed"), tables(tmp_path / "lake"))
    assert_ids_unique(tmp_path / "lake")


def test_a_second_run_on_the_same_lake_is_refused(tmp_path: Path):
    with running_endpoint(answer, slots=2, latency_ms=200) as slow:
        first = start_command(tmp_path / "lake", slow.url, 6)
        while slow.stats().received == 0 and first.poll() is None:
            time.sleep(0.02)
        with pytest.raises(FactoryError, match="another run is using lake"):
            run_spar(tmp_path / "lake", slow.url)
        first.kill()
        first.communicate()
