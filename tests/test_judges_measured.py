"""Judges and refiners measured on fresh prompts, answers judged again, and what a judge is shown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.cli.main import main
from factory.evaluation.again import earlier_judge, judge_again
from factory.evaluation.agreement import agreement_figures
from factory.evaluation.judging import evaluate_judge
from factory.evaluation.recipes import judge_recipe, refine_recipe
from factory.evaluation.refining import Refinement, evaluate_refine, refine_figures
from factory.inference.budget import BudgetReached
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.judging import WORD, asked, carrier, model, part, values, write_lines
from tests.runs import assert_ids_unique
from tests.scripted_endpoint import Reply, Request, Tokens, running_endpoint

NO_COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
PROMPTS = 8
FIX = "Rewrite the text above."


def number_in(text: str) -> int:
    return int(text.split("prompt ")[1].split()[0])


def answered(request: Request) -> Sequence[Any]:
    """An actor that fails on every even prompt, a judge that passes what has a number below 4, and a refiner that removes
    the comma below 4, and else writes another with one."""
    text = asked(request)
    if WORD in text:
        yes = 0.8 if number_in(part(text, "Response")) < 4 else 0.3
        return [Tokens([("Maybe", {"Yes": 0.2 * yes, "yes": 0.1 * yes, " No": 0.3 * (1 - yes), "Maybe": 0.7})])]
    number = number_in(text)
    if FIX in text:
        return [f"prompt {number} of this kind has an answer" + (", still" if number >= 4 else "")]
    return [f"prompt {number} has an answer" + (", too" if number % 2 == 0 else "")]


def prompts_file(tmp_path: Path) -> dict[str, Any]:
    rows = [{"prompt": f"Say something on prompt {i} without commas.", **NO_COMMA} for i in range(PROMPTS)]
    file = write_lines(tmp_path / "prompts.jsonl", rows)
    return {"prompts.source": str(file), "prompts.language": None}


def test_a_judge_against_the_verifier_on_fresh_prompts(tmp_path: Path) -> None:
    with running_endpoint(answered) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        recipe = judge_recipe(model(endpoint), model(endpoint), False, prompts_file(tmp_path))
        rows = evaluate_judge(lake, recipe, 0, carrier(lake))
        sent = len(endpoint.requests)
        assert values(evaluate_judge(lake, recipe, 0, carrier(lake))) == values(rows)
        assert len(endpoint.requests) == sent == 2 * PROMPTS
        probabilities = lake.query("SELECT DISTINCT value FROM judgements WHERE judge = 'model' ORDER BY 1").column(0)
    # Odd prompts pass; the judge passes 0 to 3: right on 1, 3, 4 and 6. Of what passes it finds 1, 3 of 1, 3, 5, 7.
    assert values(rows) == {
        "agreement": 0.5, "f1": 0.5, "f1_failing": 0.5, "kappa": 0.0, "pass_rate": 0.5, "true_pass_rate": 0.5, "undecided": 0.0,
    }  # fmt: skip
    assert probabilities.to_pylist() == [pytest.approx(0.3), pytest.approx(0.8)]
    first = rows[0]
    assert (first.role, first.benchmark, first.examples, first.judge_model_id) == ("judge", "judge", PROMPTS, None)
    assert first.checkers_hash and first.low == pytest.approx(0.215216, abs=1e-6)
    assert_ids_unique(tmp_path / "lake")


def test_what_one_recipe_overrides_stays_out_of_the_next() -> None:
    one = ModelSettings(endpoint=("http://127.0.0.1:1/v1",))
    assert judge_recipe(one, one, False, {"prompts.limit": 4}).prompts.limit == 4
    assert judge_recipe(one, one, False, {}).prompts.limit == refine_recipe(one, one, True, {}).prompts.limit == 128


def test_agreement_leaves_out_what_the_judge_does_not_decide() -> None:
    verdicts = [(True, True), (True, True), (False, True), (False, False), (True, None), (None, True)]
    found = {metric: (figure.value, figure.examples) for metric, figure in agreement_figures(verdicts).items()}
    assert found["agreement"] == (0.75, 4) and found["undecided"] == (0.2, 5)
    assert found["f1"] == (pytest.approx(0.8), 4) and found["f1_failing"] == (pytest.approx(2 / 3), 4)
    assert found["kappa"] == (pytest.approx(0.5), 4)
    assert found["true_pass_rate"] == (0.6, 5)


def test_no_verdicts_give_no_figures() -> None:
    assert {figure.value for figure in agreement_figures([]).values()} == {None}


def refined(tmp_path: Path, judge: bool, names: Sequence[str] = ("mock",)) -> tuple[dict[str, float | None], list[Any]]:
    """Figures of the refiner, and the requests; the judge is the second model, or the refiner if there is one only."""
    with running_endpoint(answered, models=names) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        actor, other = model(endpoint, names[0]), model(endpoint, names[-1])
        recipe = refine_recipe(actor, actor, True, prompts_file(tmp_path))
        rows = evaluate_refine(lake, recipe, other if judge else None, False, 0, carrier(lake))
        sent = list(endpoint.requests)
        again = evaluate_refine(lake, recipe, other if judge else None, False, 0, carrier(lake))
        assert len(endpoint.requests) == len(sent) and values(again) == values(rows)
    assert_ids_unique(tmp_path / "lake")
    assert (rows[0].judge_model_id == rows[0].model_id) == (judge and len(names) == 1)
    assert json.loads(rows[0].settings)["self_judge"] == (judge and len(names) == 1)
    return values(rows), sent


def test_a_refiner_by_the_verifier(tmp_path: Path) -> None:
    found, _ = refined(tmp_path, judge=False)
    # Prompts 0, 2, 4 and 6 fail; 0 and 2 are fixed. 'prompt 0 has an answer, too' and 'prompt 0 of this kind has an
    # answer': 3 words more, one less, 'answer,' another: 5 of 8 words.
    assert found["failing"] == 0.5 and found["fixed"] == 0.5
    assert found["undecided"] == found["unreadable"] == found["flawed"] == 0.0
    assert found["changed_where_fixed"] == pytest.approx(5 / 8)
    assert "fixed_by_verifier" not in found


def test_a_refiner_by_an_independent_judge(tmp_path: Path) -> None:
    found, sent = refined(tmp_path, judge=True, names=("mock", "other"))
    assert (found["fixed"], found["fixed_by_verifier"]) == (0.5, 0.5)
    judged = [request for request in sent if request.model == "other"]
    assert len(judged) == 4 and all(WORD in asked(request) for request in judged)  # only refinements are judged


def test_a_refiner_that_judges_itself_is_recorded_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refined(tmp_path, judge=True)
    source = prompts_file(tmp_path)["prompts.source"]
    words = ["--prompts", source, "--no-reasons", "--lake", str(tmp_path / "command"), "-n", "4"]
    with running_endpoint(answered) as endpoint, pytest.raises(SystemExit):
        main(["evaluate", "refine", "--model", endpoint.url, "--judge", endpoint.url, *words])
    told = capsys.readouterr()
    assert "a self-judge flatters" in told.err and "a self-judge: the refiner judged its own" in told.out


def test_a_refinement_with_a_flaw_or_without_a_verdict_is_not_fixed() -> None:
    found = refine_figures(
        [
            Refinement("a b", "a c", None, True, True),
            Refinement("a b", "a c", "preamble", True, True),
            Refinement("a b", "a c", None, False, None),
            Refinement("a b", None, None, None, None),
        ],
        answers=10,
        of_model=True,
    )
    shares = {metric: figure.value for metric, figure in found.items()}
    assert shares == {
        "fixed": 0.25, "fixed_by_verifier": 0.25, "undecided": 0.25, "unreadable": 0.25, "flawed": 0.25,
        "changed": 0.5, "changed_where_fixed": 0.5, "failing": 0.4,
    }  # fmt: skip


def test_a_refiner_without_anything_to_refine_says_so(tmp_path: Path) -> None:
    with running_endpoint(lambda request: ["no"]) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        recipe = refine_recipe(model(endpoint), model(endpoint), True, prompts_file(tmp_path))
        with pytest.raises(FactoryError, match=r"no answer of run .* failed, so there is nothing to refine"):
            evaluate_refine(lake, recipe, None, False, 0, carrier(lake))


def test_there_are_no_figures_of_a_part_of_the_prompts(tmp_path: Path) -> None:
    def refusing(request: Request) -> Any:
        if WORD in asked(request) and number_in(part(asked(request), "Response")) == 3:
            return Reply(400, {"error": {"message": "This request is flagged."}})
        return answered(request)

    with running_endpoint(refusing) as endpoint, Lake.open(tmp_path / "lake", create=True) as lake:
        recipe = judge_recipe(model(endpoint), model(endpoint), False, prompts_file(tmp_path))
        with pytest.raises(FactoryError, match=r"1 prompts of run .* have no answer, so there are no figures"):
            evaluate_judge(lake, recipe, 0, carrier(lake))
        assert lake.counts()["evaluations"] == 0


def test_answers_are_judged_again_by_another_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "lake"
    with running_endpoint(answered, models=("mock", "other")) as endpoint:
        with Lake.open(where, create=True) as lake:
            one = model(endpoint, "mock")
            evaluate_refine(lake, refine_recipe(one, one, True, prompts_file(tmp_path)), None, False, 0, carrier(lake))
            earlier = earlier_judge(lake, "evaluate_refine", None)
            before = lake.query("FROM judgements ORDER BY judgement_id")
            counts = lake.counts()
            with pytest.raises(BudgetReached):  # it was stopped, and goes on below
                judge_again(
                    lake, earlier, model(endpoint, "other"), False, {"budget.max_requests": 5}, 0, carrier(lake)
                )
            found = judge_again(lake, earlier, model(endpoint, "other"), False, {}, 0, carrier(lake))
            kept = lake.query("FROM judgements WHERE run_id = $id ORDER BY judgement_id", {"id": earlier.run_id})
            assert kept == before  # no earlier row has changed
            assert lake.counts()["responses"] == counts["responses"]  # they are referred to, not copied
            rendered = lake.query(
                "SELECT count(*) FROM call_messages WHERE run_id = $id AND sha256(to_json(messages)::VARCHAR) = messages_hash",
                {"id": found.run_id},
            )
            assert rendered.column(0)[0].as_py() == PROMPTS + 4
            sent = len(endpoint.requests)
            assert sent == PROMPTS + 4 + PROMPTS + 4
            verified = judge_again(lake, earlier_judge(lake, found.run_id, None), None, False, {}, 0, carrier(lake))
            assert len(endpoint.requests) == sent
        # By the verifier 1, 3, 5, 7 pass, and the refined 0 and 2; by the other judge the sampled 0 to 3 and refined 0 and 2.
        assert dict(found.table) == {(True, True): 4, (True, False): 2, (False, True): 2, (False, False): 4}
        assert {m: figure.value for m, figure in found.figures.items()} == {
            "agreement": pytest.approx(2 / 3), "kappa": pytest.approx(1 / 3), "pass_rate": 0.5, "pass_rate_before": 0.5,
            "undecided": 0.0,
        }  # fmt: skip
        assert dict(verified.table) == {(b, a): n for (a, b), n in found.table.items()}  # the same the other way round
        words = ["--model-name", "other", "--no-reasons", "--lake", str(where), "--rows", "3"]
        with pytest.raises(SystemExit) as ended:
            main(["judge", "--again", earlier.run_id, "--model", endpoint.url, *words])
        assert not ended.value.code and len(endpoint.requests) == sent
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["passes", "4", "2", "0"] in lines and ["fails", "2", "4", "0"] in lines
    assert "4 answers of 12 changed:" in out and "the first 3 shown" in out
    assert_ids_unique(where)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--again", "x"], "give one judge: --model for a model, or --by verifier"),
        (["--again", "x", "--by", "verifier", "--model", "embedded:smollm2-135m"], "give one judge"),
        (["--again", "x", "--by", "verifier"], "no run matches 'x'"),
    ],
)
def test_a_wrong_command_is_told_in_a_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["judge", *words, "--lake", str(tmp_path / "lake")])
    assert ended.value.code == 1 and said in " ".join(capsys.readouterr().err.split())
