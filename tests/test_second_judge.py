"""Another judge about a sample of a training set's pairs: exact shares, repeatable, and in a run of its own."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.cli.main import main
from factory.evaluation.second_judge import ask_second_judge, sample
from schemas.errors import FactoryError
from schemas.tables import Pair, Prompt, Response, Run
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, build_training_set, read_training_set
from tests.judging import carrier, model, outputs
from tests.rows import asked, row
from tests.scripted_endpoint import Request, running_endpoint
from tests.sets import TEMPLATES

PAIRS = 12


def agrees_but_with_three(request: Request) -> Sequence[Any]:
    """Prefers what the set chose, except in pairs 0 to 2; of pair 3 it always takes the first."""
    first, _ = outputs(request)
    number = int(first.split()[1])
    if number == 3:
        return ["1"]
    better = "bad" if number < 3 else "good"
    return ["1" if better in first else "2"]


def built(lake: Lake) -> TrainingSetRows:
    rows: list[Any] = [row(Run, "event", run_id="run", templates=TEMPLATES, recipe="{}", purpose="data")]
    for n in range(PAIRS):
        rows.append(row(Prompt, f"p{n}", messages=asked(f"question {n}")))
        rows += [row(Response, f"{side}{n}", run_id="run", prompt_id=f"p{n}", kind="sampled", text=f"answer {n} {side}")
                 for side in ("good", "bad")]  # fmt: skip
        rows.append(row(Pair, f"x{n:02}", run_id="run", prompt_id=f"p{n}", chosen_response_id=f"good{n}",
                        rejected_response_id=f"bad{n}", source="imported", similarity=0.5))  # fmt: skip
    lake.append(rows, message="by hand")
    build_training_set(lake, "imported_dpo", {}, ["run"])
    return read_training_set(lake, "imported_dpo")


def test_the_share_that_another_judge_thinks_worse(lake: Lake) -> None:
    pairs = built(lake)
    with running_endpoint(agrees_but_with_three) as endpoint:
        found = ask_second_judge(lake, pairs, model(endpoint), 100, False, carrier(lake))
        sent = len(endpoint.requests)
        again = ask_second_judge(lake, pairs, model(endpoint), 100, False, carrier(lake))
        assert sent == len(endpoint.requests) == 2 * PAIRS and again == found
    measured = found.measured
    assert (measured.figure, measured.rows, found.status) == (pytest.approx(3 / 11), 11, "warn")
    assert measured.low == pytest.approx(0.0975, abs=1e-3) and measured.high == pytest.approx(0.5656, abs=1e-3)
    assert (
        measured.detail["undecided"]
        == measured.detail["same position wins in both orders"]
        == pytest.approx(1 / 12, abs=1e-3)
    )
    purposes = lake.query(
        "SELECT purpose, count(*) AS runs FROM current_runs GROUP BY purpose ORDER BY purpose"
    ).to_pylist()
    assert purposes == [
        {"purpose": "data", "runs": 1},
        {"purpose": "evaluation", "runs": 2},
    ]  # the sample, and the judging of it
    assert read_training_set(lake, "imported_dpo").row == pairs.row


def test_a_sample_is_the_same_each_time_and_part_of_a_larger_one(lake: Lake) -> None:
    pairs = built(lake)
    few, more = sample(pairs, 4), sample(pairs, 8)
    assert sample(pairs, 4) == few and set(few) < set(more) and len(more) == 8
    labels = [json.loads(line)["label"] for line in sample(pairs, 100)]
    assert len(labels) == PAIRS and set(labels) == {1, 2}


def test_a_set_without_pairs_has_nothing_to_ask_about(lake: Lake) -> None:
    pairs = built(lake)
    with pytest.raises(FactoryError, match="has no pairs to ask another judge about"):
        sample(replace(pairs, row=replace(pairs.row, format="prompt_completion")), 4)


def test_the_command_asks_and_shows_it(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(lake)
    where = str(lake.place.where)
    with running_endpoint(agrees_but_with_three) as endpoint, pytest.raises(SystemExit):
        main(["audit", "imported_dpo", "--lake", where, "--second-judge", "12", "--judge", endpoint.url, "-f", "json",
              "--against", str(_item(tmp_path))])  # fmt: skip
    (last,) = (c for c in json.loads(capsys.readouterr().out)["checks"] if c["check"] == "second_judge")
    assert last["figure"] == pytest.approx(3 / 11) and last["status"] == "warn"
    with pytest.raises(SystemExit):
        main(["audit", "imported_dpo", "--lake", where, "--second-judge", "12"])
    assert "--second-judge N and --judge MODEL go together" in capsys.readouterr().err


def _item(folder: Path) -> Path:
    (folder / "held back.jsonl").write_text(
        '{"prompt": "Which of the three bridges over the canal was built last of all?"}\n'
    )
    return folder / "held back.jsonl"
