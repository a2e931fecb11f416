"""An answer without a text is recorded with its reason, and is judged, compared, refined, paired and trained on nowhere."""

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.cli.main import main
from factory.monitor.report import print_summary
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.pending import pending_prompts
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.completions import completion_body
from tests.runs import answer, run_spar, spar_overrides
from tests.scripted_endpoint import Reply, Request, running_endpoint

Choice = dict[str, Any]


def is_first_answer(request: Request) -> bool:
    asked = str(request.messages[-1]["content"])
    return not any(word in asked for word in ("Final Judgement", "Refined response", "Preferred", "Score"))


def changed(change: Callable[[Request, int, Choice], None]) -> Callable[[Request], Reply]:
    """The default script, with each choice of a reply changed."""

    def script(request: Request) -> Reply:
        body = completion_body(request, answer(request))
        for index, choice in enumerate(body["choices"]):
            change(request, index, choice)
        return Reply(200, body)

    return script


def cut_thinking(choice: Choice) -> None:
    choice["message"] |= {"content": None, "reasoning_content": "Let me see"}
    choice["finish_reason"] = "length"


def only_thinking(choice: Choice) -> None:
    choice["message"] |= {"reasoning_content": choice["message"]["content"], "content": None}


def refused(choice: Choice) -> None:
    choice["message"] |= {"content": None, "refusal": "I can't help with that."}


def blank(choice: Choice) -> None:
    choice["message"]["content"] = " \n\u200b"


@pytest.fixture(params=[cut_thinking, only_thinking, refused, blank], ids=lambda how: how.__name__)
def how(request: pytest.FixtureRequest) -> Callable[[Choice], None]:
    found: Callable[[Choice], None] = request.param
    return found


def test_a_run_in_which_some_answers_have_no_text(how: Callable[[Choice], None], tmp_path: Path) -> None:
    def every_other(request: Request, index: int, choice: Choice) -> None:
        if is_first_answer(request) and index % 2:
            how(choice)

    with running_endpoint(changed(every_other)) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=4)
        assert run_spar(tmp_path / "lake", endpoint.url, prompts=4)[0] == run_id
    with Lake.open(tmp_path / "lake") as lake:
        empty = lake.query(
            "SELECT response_id, text, flaw FROM responses WHERE choice_index % 2 = 1 AND kind = 'sampled'"
        )
        assert [(row["text"], row["flaw"]) for row in empty.to_pylist()] == [("", "empty")] * 8
        ids = {"ids": empty.column("response_id").to_pylist()}
        for used in (
            "judgements WHERE list_contains($ids, response_id)",
            "trees WHERE list_contains($ids, root_response_id)",
            "nodes WHERE list_contains($ids, response_id)",
            "pairs WHERE list_contains($ids, chosen_response_id) OR list_contains($ids, rejected_response_id)",
            "failed_responses WHERE list_contains($ids, response_id)",
        ):
            assert lake.query(f"FROM {used}", ids).num_rows == 0
        assert lake.query("FROM pairs").num_rows
        assert lake.query("FROM calls WHERE stage = 'sample' AND note IS NULL").num_rows == 0
        for name in ("spar_dpo", "spar_rft"):
            built = build_training_set(lake, name, {}, [run_id])
            assert built.train.num_rows + built.held_out.num_rows
            turns = [
                row[side]
                for row in built.train.to_pylist()
                for side in ("chosen", "rejected", "completion")
                if side in row
            ]
            assert all(turn["content"].strip() for side in turns for turn in side)
        shown = StringIO()
        print_summary(lake, run_id, Console(file=shown, width=300))
    (line,) = [line for line in shown.getvalue().splitlines() if line.startswith("no text")]
    assert "8 of 20 answers of stage sample, which are neither judged nor paired: 8 " in line


@pytest.mark.parametrize("prompts", [1, 6])
def test_a_run_in_which_no_answer_has_a_text_fails_and_says_why(
    how: Callable[[Choice], None], prompts: int, tmp_path: Path
) -> None:
    def all_of_them(request: Request, index: int, choice: Choice) -> None:
        if is_first_answer(request):
            how(choice)

    why = {
        cut_thinking: r"spent max_tokens on thinking: raise it \(-o stages\.sample\.max_tokens=…\), or switch thinking off",
        only_thinking: r"hold only thinking \(reasoning_content\), no content: switch thinking off",
        refused: r"came without any \(no text, but a refusal",
        blank: r"came without any \(no text \(finish_reason stop\)\)",
    }[how]
    with running_endpoint(changed(all_of_them)) as endpoint:
        with pytest.raises(FactoryError, match=rf"none of the .*answers of stage sample has a text: \d+ {why}"):
            run_spar(tmp_path / "lake", endpoint.url, prompts=prompts)
        assert endpoint.stats().received <= prompts
    with Lake.open(tmp_path / "lake") as lake:
        ends = lake.query("SELECT status, reason FROM current_runs").to_pylist()
        assert ends[0]["status"] == "failed" and "has a text" in ends[0]["reason"]
        assert lake.query("FROM responses WHERE flaw IS DISTINCT FROM 'empty'").num_rows == 0


def test_a_run_whose_server_is_mended_goes_on_where_it_stopped(tmp_path: Path) -> None:
    mended = False

    def until_mended(request: Request, index: int, choice: Choice) -> None:
        if not mended and is_first_answer(request):
            only_thinking(choice)

    with running_endpoint(changed(until_mended)) as endpoint:
        one_by_one = {"models__actor__concurrency": 1, "models__refiner__concurrency": 1}
        with pytest.raises(FactoryError, match="none of the first 10 answers"):
            run_spar(tmp_path / "lake", endpoint.url, prompts=6, **one_by_one)
        mended = True
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=6, **one_by_one)
    with Lake.open(tmp_path / "lake") as lake:
        recipe = load_recipe("spar", spar_overrides(endpoint.url, 6))
        assert pending_prompts(lake, run_id, recipe).num_rows == 0  # those without an answer are done, too
        counts = lake.query("SELECT count(*) FILTER (flaw = 'empty'), count(*) FROM responses WHERE kind = 'sampled'")
        assert [column[0].as_py() for column in counts.columns][1] == 30
        assert lake.query("FROM pairs").num_rows


def test_thinking_is_neither_judged_nor_refined_nor_trained_on(tmp_path: Path) -> None:
    """It drafts the very markers that are looked for in the answer."""

    def thinks(request: Request, index: int, choice: Choice) -> None:
        draft = "DRAFT. Final Judgement: Yes\nRefined response: a draft, Score: 9, Preferred response: 2"
        shape = request.n + index
        message = choice["message"]
        if shape % 3 == 0:
            message["content"] = f"<think>\n{draft}\n</think>\n\n{message['content']}"
        elif shape % 3 == 1:
            message["content"] = f"{draft}\n</think>\n\n{message['content']}"
        else:
            message["reasoning_content"] = draft

    with running_endpoint(changed(thinks)) as endpoint:
        run_spar(tmp_path / "thinking", endpoint.url, prompts=4)
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "plain", endpoint.url, prompts=4)
    texts = {}
    for name in ("thinking", "plain"):
        with Lake.open(tmp_path / name) as lake:
            texts[name] = [
                lake.query(f"SELECT {column} FROM {table} ORDER BY ALL").column(0).to_pylist()
                for table, column in (
                    ("responses", "text"),
                    ("judgements", "critique"),
                    ("judgements", "verdict"),
                    ("nodes", "output"),
                    ("nodes", "reflection"),
                    ("accepted_pairs", "chosen"),
                    ("calls", "completion_tokens"),
                )
            ]
            with_thinking = lake.query("FROM calls WHERE reasonings IS NOT NULL").num_rows
            calls = lake.query("FROM calls").num_rows
        assert with_thinking == (calls if name == "thinking" else 0)
    assert texts["thinking"] == texts["plain"]
    assert not any(re.search("DRAFT|think", str(text)) for column in texts["thinking"] for text in column)


def test_comparing_and_scoring_leave_it_out_as_well(tmp_path: Path) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text(
        "name: both\nmodels: {actor: &m {endpoint: URL}, refiner: *m}\nprompts: {source: bundled, limit: 3}\n"
        "stages:\n- {stage: sample, n: 3}\n- {stage: judge, kind: score, n: 2}\n- {stage: compare, logprobs: false}\n"
        "pairs: [all_ordered, best_over_worst]\ntraining_sets: [best_over_worst]\n",
        "utf-8",
    )

    def last_one_is_empty(request: Request, index: int, choice: Choice) -> None:
        text = (
            "Preferred: 1" if "Preferred" in str(request.messages) else f"Score: {len(request.body_hash) % 4 + index}"
        )
        if not is_first_answer(request):
            choice["message"]["content"] = text
        elif index == 2:
            cut_thinking(choice)

    with running_endpoint(changed(last_one_is_empty)) as endpoint:
        recipe.write_text(recipe.read_text("utf-8").replace("URL", endpoint.url), "utf-8")
        spec = RunSpecification(load_recipe(str(recipe), {}), 0)
        run_id = run_recipe(spec, str(tmp_path / "lake"), Progress())
    with Lake.open(tmp_path / "lake") as lake:
        assert pending_prompts(lake, run_id, spec.recipe).num_rows == 0
        assert lake.query("FROM comparisons").num_rows == 3 * 2
        assert lake.query("FROM judgements").num_rows == 3 * 2 * 2


def test_pairs_and_answers_of_an_older_lake_that_took_no_text_for_an_answer_are_left_out(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        run_id, _ = run_spar(tmp_path / "lake", endpoint.url, prompts=4)
    with Lake.open(tmp_path / "lake") as lake:
        rejected = lake.query(
            "SELECT rejected_response_id AS id FROM accepted_pairs JOIN pairs USING (pair_id) LIMIT 1"
        )
        given = {"id": rejected.column(0)[0].as_py()}
        before = build_training_set(lake, "spar_dpo", {}, [run_id])
        lake.connection.execute("UPDATE lake.responses SET text = ' ' WHERE response_id = $id", given)
        after = build_training_set(lake, "spar_dpo", {}, [run_id])
    rows = [built.train.num_rows + built.held_out.num_rows for built in (before, after)]
    assert rows[1] == rows[0] - 1


def test_build_reports_a_length_ratio_that_no_pair_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, prompts=4)
    with Lake.open(tmp_path / "lake") as lake:
        lake.connection.execute("UPDATE lake.pairs SET length_ratio = NULL")
    with pytest.raises(SystemExit) as ended:
        main(["build", "spar_dpo", "--lake", str(tmp_path / "lake"), "--out", str(tmp_path / "set")])
    assert ended.value.code == 0
    assert "likeness, means" in capsys.readouterr().out
