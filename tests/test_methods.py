"""Methods as recipes: existing stages, two judges, two models, comparisons; checked against exact results."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.methods import TEXTS, bundled, by_length, run, sampled, with_endpoint
from tests.scripted_endpoint import Request, Tokens, running_endpoint


def test_best_over_worst_prefers_the_highest_mean_of_points_over_the_lowest(tmp_path: Path) -> None:
    lake, run_id = run(tmp_path, bundled("best_over_worst"))
    with lake:
        scored = lake.query("SELECT DISTINCT points, value FROM verdicts ORDER BY points").to_pylist()
        assert [row["points"] for row in scored] == [pytest.approx(words - 1 / 3) for words in (1, 2, 3, 4)]
        assert [row["value"] for row in scored] == [pytest.approx(row["points"] / 5) for row in scored]
        pairs = lake.query(
            "SELECT source, c.text AS chosen, r.text AS rejected, chosen_value FROM pairs "
            "JOIN responses AS c ON c.response_id = chosen_response_id "
            "JOIN responses AS r ON r.response_id = rejected_response_id"
        ).to_pylist()
        assert {(p["source"], p["chosen"], p["rejected"]) for p in pairs} == {("best_over_worst", TEXTS[3], TEXTS[0])}
        built = build_training_set(lake, "best_over_worst", {"held_out": 0.0}, [run_id])
    assert built.row.format == "preference" and built.row.train_rows == 3
    assert built.train.column("chosen").to_pylist() == [[{"role": "assistant", "content": TEXTS[3]}]] * 3


def test_equal_points_are_no_pair(tmp_path: Path) -> None:
    def undecided(request: Request) -> Sequence[Any]:
        return ["Score: 3"] * request.n if "Score: " in str(request.messages[-1]["content"]) else sampled(request)

    lake, run_id = run(tmp_path, bundled("best_over_worst"), undecided)
    with lake:
        assert lake.counts()["pairs"] == 0
        with pytest.raises(FactoryError, match="best_over_worst has no rows"):
            build_training_set(lake, "best_over_worst", {}, [run_id])


def test_best_of_n_learns_the_best_answer_of_each_prompt(tmp_path: Path) -> None:
    document = bundled("best_of_n_sft")
    document["stages"][1] = {"stage": "judge", "kind": "score", "model": "actor", "n": 2}
    lake, run_id = run(tmp_path, document)
    with lake:
        built = build_training_set(lake, "best_of_n_sft", {"held_out": 0.0}, [run_id])
    assert built.row.format == "prompt_completion"
    assert built.train.column("completion").to_pylist() == [[{"role": "assistant", "content": TEXTS[3]}]] * 3


def test_ten_is_the_expectation_over_the_digits_where_the_endpoint_gives_them(tmp_path: Path) -> None:
    stages = [{"stage": "sample", "n": 2}, {"stage": "judge", "kind": "score", "scale": "ten", "n": 1}]
    lake, _ = run(tmp_path, {"stages": stages})
    with lake:
        found = lake.query("SELECT DISTINCT points, value, probabilities FROM judgements ORDER BY points").to_pylist()
        sent = lake.query("SELECT DISTINCT parameters FROM calls WHERE template = 'score'").column(0).to_pylist()
    assert [row["points"] for row in found] == [pytest.approx(1.25), pytest.approx(2.25)]
    assert [row["value"] for row in found] == [pytest.approx(0.25 / 9), pytest.approx(1.25 / 9)]
    assert dict(found[0]["probabilities"]) == {"1": pytest.approx(0.75), "2": pytest.approx(0.25)}
    assert json.loads(sent[0])["top_logprobs"] == 20


def test_two_judges_of_one_kind_stay_apart_and_the_first_decides(tmp_path: Path) -> None:
    def two_minds(request: Request) -> Sequence[Any]:
        asked = str(request.messages[-1]["content"])
        return ["Final Judgement: No"] * request.n if "strictly" in asked else by_length(request)

    (tmp_path / "strict.txt").write_text("Judge strictly: {prompt}\n[Response]\n{response}\n[End of response]")
    stages = [
        {"stage": "sample", "n": 4},
        {"stage": "judge", "votes": 3},
        {"stage": "judge", "name": "strict", "model": "judge", "votes": 3},
    ]
    templates = {"strict.judge": str(tmp_path / "strict.txt")}
    lake, _ = run(tmp_path, {"stages": stages, "templates": templates}, two_minds)
    with lake:
        found = lake.query(
            "SELECT judge, kind, decides, count(*) AS answers, count(*) FILTER (passed) AS passed FROM verdicts "
            "GROUP BY ALL ORDER BY judge"
        ).to_pylist()
        agreement = lake.query("SELECT judge, other_judge, responses, agreement FROM judge_agreement").to_pylist()
        rendered = (
            lake.query(
                "SELECT count(*) = count(*) FILTER (sha256(to_json(messages)::VARCHAR) = messages_hash) AS same "
                "FROM call_messages"
            )
            .column(0)[0]
            .as_py()
        )
        templates_used = lake.query("SELECT DISTINCT template FROM calls ORDER BY template").column(0).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("strict", "votes", False, 12, 0),
        ("votes", "votes", True, 12, 6),
    ]
    assert [(row["responses"], row["agreement"]) for row in agreement] == [(12, 0.5)]
    assert templates_used == ["judge", "strict.judge", None] and rendered


def test_a_search_is_decided_by_the_judge_that_it_names(tmp_path: Path) -> None:
    stages = [
        {"stage": "sample", "n": 2},
        {"stage": "judge", "votes": 3},
        {"stage": "judge", "name": "rubric", "kind": "score", "n": 3, "pass_points": 1.5},
        {"stage": "search", "judge": "rubric", "budget": 3, "roots": "every"},
    ]
    # 1: the script refines nothing, which would end the run (test_readable.py).
    lake, _ = run(tmp_path, {"stages": stages, "budget": {"max_unreadable": 1}})
    with lake:
        judged = (
            lake.query(
                "SELECT DISTINCT judge FROM judgements JOIN responses USING (response_id) WHERE responses.kind = 'refined'"
            )
            .column(0)
            .to_pylist()
        )
        roots = lake.query("SELECT text FROM trees JOIN responses ON response_id = root_response_id").column(0)
    assert judged in ([], ["rubric"])
    assert set(roots.to_pylist()) == {"one"}  # 2 words have a mean of 1.67 points


def test_two_models_answer_the_same_prompts(tmp_path: Path) -> None:
    stages = [
        {"stage": "sample", "n": 2},
        {"stage": "sample", "name": "other", "model": "refiner", "n": 1, "temperature": 0.1},
        {"stage": "judge", "votes": 1},
    ]
    lake, _ = run(tmp_path, {"stages": stages})
    with lake:
        found = lake.query("SELECT stage, count(*) AS n FROM responses GROUP BY stage ORDER BY stage").to_pylist()
        judged = lake.query("SELECT count(DISTINCT response_id) AS n FROM judgements").column(0)[0].as_py()
    assert found == [{"stage": "other", "n": 3}, {"stage": "sample", "n": 6}] and judged == 9


def test_answers_are_compared_in_both_orders_by_the_labels_probabilities(tmp_path: Path) -> None:
    stages = [{"stage": "sample", "n": 3}, {"stage": "compare"}]
    lake, _ = run(tmp_path, {"stages": stages, "pairs": ["best_over_worst", "all_ordered"]})
    with lake:
        found = lake.query(
            "SELECT a.text AS first, b.text AS second, probability, votes FROM comparisons "
            "JOIN responses AS a ON a.response_id = first_response_id "
            "JOIN responses AS b ON b.response_id = second_response_id ORDER BY comparisons.prompt_id, first, second LIMIT 6"
        ).to_pylist()
        about = lake.query("SELECT DISTINCT len(response_ids) AS n FROM calls WHERE template = 'compare'").column(0)
        rates = lake.query(
            "SELECT DISTINCT text, win_rate FROM win_rates JOIN responses USING (response_id)"
        ).to_pylist()
        pairs = lake.query("SELECT source, count(*) AS n FROM pairs GROUP BY source ORDER BY source").to_pylist()
        rendered = (
            lake.query(
                "SELECT count(*) FILTER (sha256(to_json(messages)::VARCHAR) <> messages_hash) AS n FROM call_messages"
            )
            .column(0)[0]
            .as_py()
        )
    assert len(found) == 6 and about.to_pylist() == [2] and rendered == 0
    for row in found:
        longer_first = len(row["first"]) > len(row["second"])
        assert row["probability"] == pytest.approx(0.9 if longer_first else 0.2)
        assert row["votes"] == ["first" if longer_first else "second"]
    # Both orders averaged: the longer one wins with (0.9 + 1 - 0.2) / 2 = 0.85; against itself one half.
    expected = {"one": (0.5 + 0.15 + 0.15) / 3, "two words": 0.5, "now three words": (0.5 + 0.85 + 0.85) / 3}
    assert {row["text"]: row["win_rate"] for row in rates} == {k: pytest.approx(v) for k, v in expected.items()}
    assert pairs == [{"source": "all_ordered", "n": 9}, {"source": "best_over_worst", "n": 3}]


def test_a_reference_answer_is_preferred_over_each_sampled_one(tmp_path: Path) -> None:
    stages = [{"stage": "reference"}, {"stage": "sample", "n": 2}]
    lake, _ = run(tmp_path, {"stages": stages, "pairs": ["reference_over_sampled"]})
    with lake:
        (count,) = lake.query(
            "SELECT count(*) AS pairs, count(*) FILTER (c.kind = 'reference' AND r.kind = 'sampled') AS right_way FROM pairs "
            "JOIN responses AS c ON c.response_id = chosen_response_id "
            "JOIN responses AS r ON r.response_id = rejected_response_id"
        ).to_pylist()
    assert count == {"pairs": 6, "right_way": 6}


def test_sampled_log_probabilities_are_kept_with_the_response(tmp_path: Path) -> None:
    def spelled(request: Request) -> Sequence[Any]:
        return [Tokens([("Good", {"Good": 0.5, "Bad": 0.25}), (" day", {" day": 1.0})])] * request.n

    stages = [{"stage": "sample", "n": 1, "logprobs": True, "top_logprobs": 2}]
    lake, _ = run(tmp_path, {"stages": stages, "pairs": []}, spelled, prompts=1)
    with lake:
        (row,) = lake.query("SELECT text, logprobs FROM responses").to_pylist()
    assert row["text"] == "Good day"
    assert [token["token"] for token in json.loads(row["logprobs"])] == ["Good", " day"]


def test_a_pairing_and_a_training_set_of_the_users_own_are_files_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "longest.sql").write_text(
        "-- longest.sql: the longest answer over the shortest.\n-- In: $run_id VARCHAR, $prompt_ids VARCHAR[].\n"
        "SELECT prompt_id, arg_max(response_id, tokens) AS chosen_response_id, "
        "arg_min(response_id, tokens) AS rejected_response_id, NULL::DOUBLE AS chosen_value, "
        "NULL::DOUBLE AS rejected_value FROM (SELECT prompt_id, response_id, length(text) AS tokens FROM responses "
        "WHERE run_id = $run_id AND ($prompt_ids IS NULL OR list_contains($prompt_ids, prompt_id))) GROUP BY prompt_id;"
    )
    stages = [{"stage": "sample", "n": 4}]
    lake, _ = run(tmp_path, {"stages": stages, "pairs": [str(tmp_path / "longest.sql")]})
    with lake:
        assert lake.query("SELECT DISTINCT source FROM pairs").column(0).to_pylist() == ["longest"]
        assert lake.counts()["pairs"] == 3


def test_a_pairing_that_fails_is_reported_before_anything_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "half.sql").write_text("-- In: $run_id VARCHAR.\nSELECT 'p' AS prompt_id WHERE $run_id = ''")
    with running_endpoint(by_length) as endpoint:
        document = {"stages": [{"stage": "sample"}], "pairs": [str(tmp_path / "half.sql")]}
        recipe = recipe_of(with_endpoint(document, endpoint, "bundled"), "recipe x")
        with pytest.raises(FactoryError, match="pairing half: its rows lack chosen_response_id"):
            run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert endpoint.stats().received == 0


def test_a_pairing_is_ranked_by_a_judge_that_the_recipe_has(tmp_path: Path) -> None:
    pairs = [{"pairing": "best_over_worst", "judge": "rubrc"}]
    stages = [{"stage": "sample"}, {"stage": "judge", "name": "rubric", "kind": "score"}]
    document = {"name": "x", "models": load_models(), "stages": stages, "pairs": pairs}
    with pytest.raises(FactoryError, match="is named 'rubrc': did you mean 'rubric'"):
        recipe_of(document, "recipe x")


def load_models() -> dict[str, Any]:
    return {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}


def test_the_page_on_methods_works_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "method.md").read_text("utf-8")
    recipe, *_ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(recipe)
    (tmp_path / "mine.sql").write_text(query)
    monkeypatch.chdir(tmp_path)

    def one_good(request: Request) -> Sequence[str]:
        return ["the sea is wide.", *[f'"{text}, {text}"' for text in TEXTS]][: request.n]

    with running_endpoint(one_good) as endpoint:
        changed = {"models.actor.endpoint": endpoint.url, "prompts.limit": 16}
        run_id = run_recipe(RunSpecification(load_recipe("mine.yaml", changed)), "mine", Progress())
    with Lake.open("mine") as lake:
        built = build_training_set(lake, "./mine.sql", {"min_similarity": 0, "held_out": 0}, [run_id])
    assert built.row.train_rows > 0 and set(built.train.column("class").to_pylist()) == {"best over worst"}
