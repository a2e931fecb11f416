"""What drifts from round to round, and a model's ancestry, on lakes made by hand."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.tables import LoopStep, Model, Pair, Run, RunPrompt, TrainingRun, TrainingSet
from stores.lake import Lake
from tests.rows import compared, fill, row, sampled, votes


@pytest.fixture
def lake(empty_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    shutil.copytree(empty_lake, tmp_path / "lake")
    with Lake.open(tmp_path / "lake", create=True) as opened:
        yield opened


def pair(id: str, source: str, chosen: str, rejected: str, gap: float, similarity: float, prompt: str = "p1") -> Pair:
    return row(
        Pair, id, run_id="run", prompt_id=prompt, source=source, chosen_response_id=chosen, rejected_response_id=rejected,
        chosen_value=gap, rejected_value=0.0, similarity=similarity,
    )  # fmt: skip


def drift(lake: Lake) -> dict[str, Any]:
    [found] = lake.query("FROM drift").to_pylist()
    return dict(found)


def test_a_runs_pairs_texts_and_prompts_are_measured(lake: Lake) -> None:
    recipe = json.dumps({"pairs": ["refined_over_failed", "passing_over_failing"]})
    fill(
        lake,
        row(Run, "run/0", run_id="run", recipe=recipe, purpose="data"),
        row(Run, "eval/0", run_id="eval", purpose="evaluation"),
        *(row(RunPrompt, f"t{n}", run_id="run", prompt_id=f"p{n}") for n in range(1, 5)),
        sampled("a", text="one two three"),
        sampled("b", text="One  two four five"),
        sampled("c", text="one two", prompt_id="p2"),
        sampled("d", text="   ", prompt_id="p2"),
        pair("x", "refined_over_failed", "a", "b", 0.8, 0.5),
        pair("y", "refined_over_failed", "b", "a", 0.4, 0.7, prompt="p2"),
        pair("z", "passing_over_failing", "c", "b", 1.0, 0.1, prompt="p3"),
    )
    found = drift(lake)
    assert (found["run_id"], found["prompts"], found["pairs"], found["share_with_pair"]) == ("run", 4, 2, 0.5)
    assert found["value_gap"] == pytest.approx(0.6) and found["similarity"] == pytest.approx(0.6)
    assert (found["chosen_words"], found["rejected_words"], found["answer_words"]) == (3.5, 3.5, 3.0)
    # p1 has 'one two' twice, 'two three', 'two four' and 'four five'; p2 has one answer only.
    assert found["diversity"] == pytest.approx(4 / 5)


def test_a_recipe_without_named_pairings_is_measured_on_all_pairs(lake: Lake) -> None:
    fill(
        lake,
        row(Run, "run/0", run_id="run"),
        sampled("a", text="x"),
        sampled("b", text="y"),
        pair("z", "imported", "a", "b", 1.0, 0.0),
    )
    assert (drift(lake)["pairs"], drift(lake)["share_with_pair"]) == (1, None)


def test_judges_are_measured_by_verifier_orders_and_votes(lake: Lake) -> None:
    fill(
        lake,
        row(Run, "run/0", run_id="run"),
        *(sampled(id, text="text") for id in "abcd"),
        *votes("a", "yyy", kind="votes"),
        *votes("b", "yyn", kind="votes"),
        *votes("c", "nn", kind="votes"),
        *votes("d", "y", kind="votes"),  # one vote is not unanimous, it is alone
        *(one for id, verdict in zip("abcd", "ynyy", strict=True)
          for one in votes(id, verdict, judge="verifier", kind="verifier", decides=False)),
        compared("a", "b", 0.9),
        compared("b", "a", 0.2),  # the same one wins
        compared("a", "c", 0.9),
        compared("c", "a", 0.8),  # the first shown wins
        compared("b", "c", 0.5),
        compared("c", "b", 0.9),  # a tie is no flip
        compared("a", "d", 0.9),  # one order only
    )  # fmt: skip
    found = drift(lake)
    assert found["judge_agreement"] == pytest.approx(2 / 4)  # a and d; b and c differ
    assert found["judge_flips"] == pytest.approx(1 / 3)
    assert found["unanimous"] == pytest.approx(2 / 3)


def test_what_is_not_there_is_null_and_not_0(lake: Lake) -> None:
    fill(lake, row(Run, "run/0", run_id="run"), row(RunPrompt, "t", run_id="run", prompt_id="p1"))
    found = drift(lake)
    assert (found.pop("run_id"), found.pop("prompts"), found.pop("pairs"), found.pop("share_with_pair")) == (
        "run",
        1,
        0,
        0,
    )
    assert set(found.values()) == {None}


def test_a_models_family_is_its_trainings_back_to_the_first_model(lake: Lake) -> None:
    def trained(id: str, training: str, start: str, reference: str | None) -> list[Any]:
        return [
            row(Model, id, name=f"{id}@hash", training_run_id=training),
            row(TrainingRun, training, start_model_id=start, reference_model_id=reference, training_set_id="set"),
        ]

    fill(
        lake,
        row(Model, "base", name="base"),
        row(TrainingSet, "set", name="spar_dpo", version=3),
        *trained("one", "t1", "base", None),
        *trained("two", "t2", "one", "base"),
        row(LoopStep, "s1", loop_id="loop", round=1, step="train", training_run_id="t1"),
        row(LoopStep, "s2", loop_id="loop", round=2, step="train", training_run_id="t2"),
        row(LoopStep, "s3", loop_id="fork", round=1, step="train", training_run_id="t1", shared_from="loop"),
    )
    columns = "generation, relation, ancestor, training_set, loop_id, round"
    found = lake.query(f"SELECT {columns} FROM family WHERE model_id = 'two' ORDER BY ALL").to_pylist()
    assert [tuple(one.values()) for one in found] == [
        (0, "itself", "two@hash", None, None, None),
        (1, "reference", "base", "spar_dpo@3", "loop", 2),
        (1, "start", "one@hash", "spar_dpo@3", "loop", 2),
        (2, "start", "base", "spar_dpo@3", "loop", 1),
    ]


def test_a_family_that_goes_in_circles_ends(lake: Lake) -> None:
    for one, other in (("one", "two"), ("two", "one")):
        fill(
            lake,
            row(Model, one, name=one, training_run_id=f"t {one}"),
            row(TrainingRun, f"t {one}", start_model_id=other),
        )
    found = lake.query("SELECT model_id, ancestor_id, generation FROM family ORDER BY ALL").to_pylist()
    assert [tuple(one.values()) for one in found] == [
        ("one", "one", 0), ("one", "two", 1), ("two", "one", 1), ("two", "two", 0),
    ]  # fmt: skip


def test_a_family_in_which_each_model_has_two_parents_is_found_once(lake: Lake) -> None:
    """Its ways back double with every generation, and the last of it descends from the newest."""
    for n in range(24):
        made = row(TrainingRun, f"t{n}", start_model_id=f"m{(n - 1) % 24}", reference_model_id=f"m{max(n - 2, 0)}")
        fill(lake, row(Model, f"m{n}", name=f"m{n}", training_run_id=f"t{n}"), made)
    found = lake.query(
        "SELECT ancestor_id, min(generation) AS g, count(*) AS ways FROM family WHERE model_id = 'm23' GROUP BY ALL"
    )
    by_name = {one["ancestor_id"]: one for one in found.to_pylist()}
    assert set(by_name) == {f"m{n}" for n in range(24)}
    assert by_name["m22"]["g"] == by_name["m21"]["g"] == 1 and by_name["m1"]["g"] == 11
    assert max(one["ways"] for one in by_name.values()) <= 4
