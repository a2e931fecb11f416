"""A model as a judge of labelled pairs: exact figures of judges that are perfect, biased or random."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.cli.main import main
from factory.evaluation.judging import evaluate_labelled
from factory.evaluation.labelled import imported, read_labelled
from factory.evaluation.preferring import Asked, preference_figures
from factory.evaluation.recipes import labelled_recipe
from factory.inference.budget import BudgetReached
from schemas.errors import FactoryError
from schemas.tables import Evaluation
from stores.lake import Lake
from tests.judging import LABEL, asked, carrier, labelled, model, outputs, values, write_lines
from tests.runs import assert_ids_unique
from tests.scripted_endpoint import Request, Tokens, draw_fraction, running_endpoint

Script = Callable[[Request], Sequence[Any]]
# Eight pairs; the better output says so, and is the longer one in two of them.
PAIRS = [
    labelled(i, 1 + i % 2, f"good {i}" + " and long enough to win" * (i < 2), f"bad answer {i} of some length")
    for i in range(8)
]


def perfect(request: Request) -> Sequence[Any]:
    return ["1" if "good" in outputs(request)[0] else "2"]


def by_position(request: Request) -> Sequence[Any]:
    return ["1"]


def leaning_to_the_first(request: Request) -> Sequence[Any]:
    """Prefers the first whichever it is, but more surely if it is the better one; writes neither label."""
    first = 0.9 if "good" in outputs(request)[0] else 0.6
    return [Tokens([("The", {"1": 0.1 * first, " 2": 0.1 * (1 - first), "The": 0.9})])]


def by_length(request: Request) -> Sequence[Any]:
    first, second = outputs(request)
    return ["1" if len(first.split()) > len(second.split()) else "2"]


def by_chance(request: Request) -> Sequence[Any]:
    return ["1" if draw_fraction(asked(request)) < 0.5 else "2"]


def measure(tmp_path: Path, script: Script, reasons: bool = False, rows: Sequence[Any] = PAIRS) -> list[Evaluation]:
    file = read_labelled(write_lines(tmp_path / "pairs.jsonl", rows))
    where = tmp_path / "lake"
    file = imported(file, str(where), lambda what, rows: None)
    with running_endpoint(script) as endpoint, Lake.open(where, create=True) as lake:
        recipe = labelled_recipe(model(endpoint), file.run_id, reasons, {})
        found = evaluate_labelled(lake, file, recipe, 0, carrier(lake))
        sent = [asked(request) for request in endpoint.requests]
        again = evaluate_labelled(lake, file, recipe, 0, carrier(lake))
        assert len(endpoint.requests) == len(sent)  # repeated, it asks nothing
        assert values(again) == values(found)
        assert lake.counts()["evaluations"] == len(found)
        assert lake.query("SELECT DISTINCT purpose FROM current_runs").column(0).to_pylist() == ["evaluation"]
    assert len(sent) == 2 * len(file.pairs) and all((LABEL in text) != reasons for text in sent)
    assert_ids_unique(where)
    return found


def test_a_perfect_judge(tmp_path: Path) -> None:
    rows = measure(tmp_path, perfect)
    assert values(rows) == {
        "accuracy": 1.0, "f1": 1.0, "single_order_accuracy": 1.0, "position_bias": 0.0, "first_position_wins": 0.5,
        "length_bias": 0.25, "longer_is_better": 0.25, "undecided": 0.0,
    }  # fmt: skip
    assert {row.benchmark for row in rows} == {"pairs.jsonl"} and {row.examples for row in rows} == {8}
    accuracy = rows[0]
    assert accuracy.low == pytest.approx(0.675592, abs=1e-6) and accuracy.high == pytest.approx(1)  # Wilson, 8 of 8
    assert json.loads(accuracy.settings)["intervals"]["shares"] == "Wilson"


def test_a_judge_that_always_takes_the_first_says_nothing(tmp_path: Path) -> None:
    rows = measure(tmp_path, by_position)
    found = values(rows)
    assert (found["accuracy"], found["f1"], found["length_bias"]) == (None, None, None)
    assert found["undecided"] == found["position_bias"] == found["first_position_wins"] == 1.0
    assert found["single_order_accuracy"] == 0.5


def test_probabilities_of_both_orders_are_averaged_before_a_side_is_chosen(tmp_path: Path) -> None:
    found = values(measure(tmp_path, leaning_to_the_first))
    # P(better) is (0.9 + 1 - 0.6) / 2 = 0.65, though the first wins in every order.
    assert (found["accuracy"], found["position_bias"], found["single_order_accuracy"]) == (1.0, 1.0, 0.5)


def test_a_judge_that_takes_the_longer_output(tmp_path: Path) -> None:
    found = values(measure(tmp_path, by_length))
    assert (found["accuracy"], found["length_bias"], found["longer_is_better"]) == (0.25, 1.0, 0.25)
    assert (found["position_bias"], found["first_position_wins"]) == (0.0, 0.5)


def test_the_interval_of_a_random_judge_holds_one_half(tmp_path: Path) -> None:
    rows = measure(tmp_path, by_chance, rows=[labelled(i, 1 + i % 2, f"good {i}", f"bad {i}") for i in range(60)])
    by_metric = {row.metric: row for row in rows}
    for metric in ("accuracy", "f1", "single_order_accuracy", "position_bias", "first_position_wins"):
        row = by_metric[metric]
        assert row.low is not None and row.high is not None and row.low < 0.5 < row.high, metric
    # A vote without log-probabilities is 0 or 1, so the orders contradict each other as often as the position wins.
    assert by_metric["undecided"].value == by_metric["position_bias"].value


def test_reasons_come_first_where_they_are_wanted(tmp_path: Path) -> None:
    found = values(measure(tmp_path, lambda r: [f"I compared. Preferred response: {perfect(r)[0]}"], reasons=True))
    assert found["accuracy"] == 1.0


def test_an_unreadable_order_leaves_a_pair_undecided() -> None:
    asked = [Asked(1, 0.9, None, 3, 2), Asked(1, 0.9, 0.2, 3, 2), Asked(2, 0.7, 0.4, 2, 2)]
    found = {metric: (figure.value, figure.examples) for metric, figure in preference_figures(asked).items()}
    assert found["accuracy"] == (0.5, 2) and found["undecided"] == (pytest.approx(1 / 3), 3)
    assert found["single_order_accuracy"] == (pytest.approx(3 / 5), 3)  # of five votes, in three pairs
    assert found["position_bias"] == (0.0, 2)
    assert found["length_bias"] == (1.0, 1)


def test_one_prompt_with_several_pairs_has_only_those_compared(tmp_path: Path) -> None:
    rows = [{**labelled(0, 1, f"good {i}", f"bad {i}")} for i in range(3)]
    assert values(measure(tmp_path, perfect, rows=rows))["accuracy"] == 1.0


def test_an_evaluation_that_was_stopped_goes_on_and_ends_alike(tmp_path: Path) -> None:
    whole = values(measure(tmp_path, by_length))
    file = imported(read_labelled(tmp_path / "pairs.jsonl"), str(tmp_path / "again"), lambda what, rows: None)
    with running_endpoint(by_length) as endpoint, Lake.open(tmp_path / "again", create=True) as lake:
        stopped = labelled_recipe(model(endpoint), file.run_id, False, {"budget.max_requests": 5})
        with pytest.raises(BudgetReached):
            evaluate_labelled(lake, file, stopped, 0, carrier(lake))
        assert lake.counts()["evaluations"] == 0 and len(endpoint.requests) == 5
        recipe = labelled_recipe(model(endpoint), file.run_id, False, {})
        assert values(evaluate_labelled(lake, file, recipe, 0, carrier(lake))) == whole
        assert len(endpoint.requests) == 2 * len(PAIRS)  # nothing was asked twice
    assert_ids_unique(tmp_path / "again")


GOOD = labelled(0, 1, "good", "bad")
SWAPPED = {**GOOD, "output_1": "bad", "output_2": "good", "label": 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [GOOD, {**GOOD, "label": 0}],
            r"line 2: label must be 1 or 2, the better output, got 0: a tie measures no judge",
        ),
        ([GOOD, {**GOOD, "label": "tie"}], r"line 2: label must be 1 or 2, .* got 'tie'"),
        ([{**GOOD, "label": True}], r"line 1: label must be 1 or 2"),
        ([{k: v for k, v in GOOD.items() if k != "label"}], r"line 1: label must be 1 or 2"),
        ([GOOD, {k: v for k, v in GOOD.items() if k != "output_2"}], r"line 2: output_2 is missing"),
        ([{**GOOD, "output_1": "  "}], r"line 1: output_1 is missing"),
        ([{**GOOD, "input": None}], r"line 1: input is missing"),
        ([{**GOOD, "output_1": 7}], r"line 1: output_1 must be text, got 7"),
        ([{**GOOD, "output_2": "good"}], r"line 1: both outputs are the same"),
        ([GOOD, GOOD, SWAPPED], r"line 3: this prefers the other output than line 1 does"),
        ([], r"has no rows"),
    ],
)
def test_a_faulty_labelled_file_is_refused_with_its_line(tmp_path: Path, rows: Sequence[Any], said: str) -> None:
    with pytest.raises(FactoryError, match=said) as refused:
        read_labelled(write_lines(tmp_path / "pairs.jsonl", rows))
    assert "\n" not in str(refused.value)


def test_llmbars_own_file_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps([GOOD, GOOD, {**GOOD, "label": 2, **_sides("bad", "good")}]))
    file = read_labelled(tmp_path / "dataset.json")
    assert [(pair.texts, pair.label) for pair in file.pairs] == [(("good", "bad"), 1)]  # equal ones once


def _sides(one: str, other: str) -> dict[str, str]:
    return {"output_1": one, "output_2": other}


def test_nothing_is_asked_or_written_for_a_faulty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "pairs.jsonl", [GOOD, {**GOOD, "label": 3}])
    with running_endpoint(perfect) as endpoint, pytest.raises(SystemExit) as ended:
        words = ["--labelled", str(file), "--model", endpoint.url, "--lake", str(tmp_path / "lake")]
        main(["evaluate", "judge", *words])
    assert ended.value.code == 1 and "line 2: label must be 1 or 2" in " ".join(capsys.readouterr().err.split())
    assert endpoint.stats().received == 0 and not (tmp_path / "lake").exists()


def test_the_command_prints_figures_with_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    words = ["--labelled", str(file), "--no-reasons", "--lake", str(tmp_path / "lake")]
    with running_endpoint(by_length) as endpoint:
        for form in ("table", "json"):
            with pytest.raises(SystemExit) as ended:
                main(["evaluate", "judge", "--model", endpoint.url, "-f", form, *words])
            assert not ended.value.code
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("accuracy"))
    assert line.split()[:6] == ["accuracy", "25.0%", "7.1%", "to", "59.1%", "8"]
    assert '"metric": "length_bias"' in out
