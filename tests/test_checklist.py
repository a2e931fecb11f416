"""Checklists: how they are read, judged by and trained on; RLCF's recipe end to end, to exact numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.inference.budget import BudgetReached
from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.readable import STOP_AFTER, Readable
from factory.runs.specification import RunSpecification
from factory.stages.checklist import read_checklist
from factory.work.verdicts import verdict_of
from schemas.errors import FactoryError
from schemas.tables import Call, ChecklistItem, Judgement, Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.pairing import load_pairing, unpaired
from stores.training_sets import build_training_set
from tests.completions import Tokens
from tests.judging import asked, part
from tests.rows import asked as turns
from tests.rows import fill, row, rows_of, sampled
from tests.runs import assert_same_tables, assert_sound, tables
from tests.scripted_endpoint import Request, running_endpoint
from tests.test_pending import pending
from tests.view_pages import pages_of

ITEMS = "1. Does it name a bird? (weight 80)\n2. Is it one sentence? (weight 20)"

# Reading


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (ITEMS, [("Does it name a bird?", 80), ("Is it one sentence?", 20)]),
        ("Here is the checklist:\n\n- **Is it red?** [weight: 7/100]\n* Is it round?", [("Is it red?", 7), ("Is it round?", 1)]),
        ("Is it red? (90)\n(40) Is it round?\nThank you.", [("Is it red?", 90), ("Is it round?", 40)]),
        ("- [ ] It is red | 30\n- [x] It is round | 0", [("It is red", 30), ("It is round", 1)]),
        ("1. Is it red?\n   - Weight: 60\n2. Is it round?\n   Weight: 5", [("Is it red?", 60), ("Is it round?", 5)]),
        ("1. Is it red? (weight 5)\n2. is it  RED? (weight 9)", [("Is it red?", 5)]),
        ("1）它是红色的吗？（权重：80）\n2）它是圆的吗？", [("它是红色的吗？", 80), ("它是圆的吗？", 1)]),
        ("<think>1. Is it loud?</think>\n1. Is it red? - weight 2.5", [("Is it red?", 2.5)]),
        ('```json\n[{"question": "Is it red?", "weight": 3}, {"item": "Is it round?"}]\n```', [("Is it red?", 3), ("Is it round?", 1)]),
        ('{"checklist": ["Is it red? (weight 4)", "", 5]}', [("Is it red?", 4)]),
        ('[{"question": "Is it red?", "weight": -1}]', [("Is it red?", 1)]),
        ("Does it name 3 birds (such as 10 doves)?", [("Does it name 3 birds (such as 10 doves)?", 1)]),
        ("I cannot write a checklist.", []),
        ("", []),
        ("1.\n2)\n- \n(80)", []),
        ("[" * 5000, []),
    ],
)  # fmt: skip
def test_a_checklist_is_read_as_a_reader_would(text: str, items: list[tuple[str, float]]) -> None:
    assert read_checklist(text) == items


def test_the_line_at_which_a_reply_was_cut_off_is_no_item() -> None:
    assert read_checklist(ITEMS, "length") == [("Does it name a bird?", 80)]


# Means by weight


def scored(response: str, *given: tuple[str, float, float | None], **more: Any) -> list[Judgement]:
    """Judgements of a response: item, weight and points of each; None: it could not be read."""
    fixed = {"run_id": "run", "prompt_id": "p1", "judge": "checklist", "kind": "checklist", "decides": True, **more}
    return [
        row(Judgement, f"{response}/{vote}", response_id=response, vote=vote, item_id=item, weight=weight, points=points,
            value=None if points is None else points / 100, verdict="unparsed" if points is None else None, **fixed)
        for vote, (item, weight, points) in enumerate(given)
    ]  # fmt: skip


def test_a_verdict_is_the_mean_of_the_items_means_by_weight(lake: Lake) -> None:
    # 0.8 * (90 + 70) / 2 + 0.2 * 10: the unreadable score of the second item takes nothing of its weight.
    rows = scored("a", ("bird", 80, 90), ("bird", 80, 70), ("one", 20, 10), ("one", 20, None))
    fill(lake, *rows)
    [found] = lake.query("SELECT value, points, passed, unparsed_votes FROM verdicts").to_pylist()
    assert found == {
        "value": pytest.approx(0.66),
        "points": pytest.approx(66),
        "passed": None,
        "unparsed_votes": 1,
    }
    verdict = verdict_of(rows)
    assert (verdict.value, verdict.points) == (pytest.approx(found["value"]), pytest.approx(found["points"]))
    assert verdict_of(scored("b", ("bird", 80, None))).value is None


def test_an_answer_of_which_an_item_cannot_be_read_has_no_verdict(lake: Lake) -> None:
    """The mean of its other items would let it win by what nobody could read."""
    rows = [*scored("a", ("bird", 50, 90), ("one", 50, None)), *scored("b", ("bird", 50, 90), ("one", 50, 70))]
    fill(lake, *rows)
    found = lake.query("SELECT value, points, unparsed_votes FROM verdicts ORDER BY response_id").to_pylist()
    assert [tuple(one.values()) for one in found] == [(None, None, 1), (pytest.approx(0.8), pytest.approx(80), 0)]
    assert [verdict_of(rows[:2]).value, verdict_of(rows[2:]).value] == [None, pytest.approx(0.8)]
    weightless = scored("c", ("bird", 0, 90))  # as only a stranger's lake has it
    fill(lake, *weightless)
    assert rows_of(lake, "verdicts WHERE response_id = 'c'", "value") == [(verdict_of(weightless).value,)] == [(None,)]


def item(id: str, prompt: str = "p1", position: int = 0, weight: float = 1.0) -> ChecklistItem:
    return row(
        ChecklistItem,
        id,
        run_id="run",
        prompt_id=prompt,
        stage="checklist",
        position=position,
        text=f"{id}?",
        weight=weight,
    )


def test_items_have_their_scores_apart(lake: Lake) -> None:
    fill(lake, item("bird", weight=80), item("one", position=1, weight=20), sampled("a"),
         *scored("a", ("bird", 80, 90), ("bird", 80, 70), ("one", 20, None)))  # fmt: skip
    found = lake.query("SELECT position, text, weight, value, points FROM item_scores ORDER BY position").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (0, "bird?", 80, pytest.approx(0.8), 80),
        (1, "one?", 20, None, None),
    ]


# The training set


@pytest.fixture
def five_pairs(lake: Lake) -> Lake:
    """Five prompts with two answers each: the widest gap on one item is 0.9, 0.5, 0.5, 0.2 and (p5) 0.05."""
    points = {"p1": ((95, 50), (5, 90)), "p2": ((80, 80), (30, 70)), "p3": ((60, 60), (50, 10)), "p4": ((50, 50), (30, 40)), "p5": ((52, 50), (47, 49))}  # fmt: skip
    fill(lake, row(Run, "run/0", run_id="run", purpose="data", recipe='{"pairs": ["best_over_worst"]}'))
    for prompt, (good, bad) in points.items():
        fill(
            lake,
            row(Prompt, prompt, messages=turns(prompt)),
            item(f"{prompt}/i", prompt, 0, 3.0), item(f"{prompt}/j", prompt, 1, 1.0),
            *(
                one
                for name, (first, second) in (("good", good), ("bad", bad))
                for one in (
                    sampled(f"{prompt}/{name}", prompt_id=prompt, text=f"{prompt} {name}"),
                    *scored(f"{prompt}/{name}", (f"{prompt}/i", 3.0, first), (f"{prompt}/j", 1.0, second), prompt_id=prompt),
                )
            ),
        )  # fmt: skip
    lake.append(unpaired(lake, "run", load_pairing("best_over_worst")), message="pairs")
    return lake


@pytest.mark.parametrize(
    ("keep", "kept"), [(0.4, ["p1"]), (0.2, ["p1"]), (0.6, ["p1", "p2", "p3"]), (1.0, ["p1", "p2", "p3", "p4", "p5"])]
)
def test_the_pairs_that_one_item_tells_most_clearly_apart_are_kept(
    five_pairs: Lake, keep: float, kept: list[str]
) -> None:
    built = build_training_set(five_pairs, "checklist", {"keep": keep, "held_out": 0.0}, ["run"])
    found = dict(
        zip(built.train.column("prompt_id").to_pylist(), built.train.column("item_gap").to_pylist(), strict=True)
    )
    expected = {"p1": 0.9, "p2": 0.5, "p3": 0.5, "p4": 0.2, "p5": 0.05}
    if keep == 0.4:  # the second of five is p2 or p3, whose gaps are equal: the hash of the pair decides
        assert len(found) == 2 and "p1" in found
    else:
        assert sorted(found) == kept
    assert found == {prompt: pytest.approx(expected[prompt]) for prompt in found}


# End to end


def script(request: Request) -> Sequence[str]:
    """Two answers, a checklist (none for the prompt about 2), and scores: by the item's own words, 10 points apart."""
    text = asked(request)
    if text.startswith("Write a checklist"):
        return ["I would rather not." if "2" in part(text, "Request") else ITEMS]
    if "[Requirement]" in text:
        bird = part(text, "Requirement") == "Does it name a bird?"
        good = part(text, "Response") == "A dove sings."
        base = 90 if good and bird else 40
        return [str(base), f"Score: {base - 10}/100", "I cannot say"][: request.n]
    return ["A dove sings.", "Yes. No."][: request.n]


def document(url: str, prompts: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(load_recipe("checklist").as_json())
    made["stages"][2]["n"] = 3
    return {**made, "models": {role: {"endpoint": url} for role in made["models"]}, "prompts": {"source": prompts}}


def three_prompts(folder: Path) -> str:
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Say something, {i}."}) + "\n" for i in range(3))
    )
    return str(folder / "prompts.jsonl")


def test_checklists_end_to_end_and_gone_on_with(tmp_path: Path) -> None:
    with running_endpoint(script) as endpoint:
        recipe = recipe_of(document(endpoint.url, three_prompts(tmp_path)), "recipe x")
        run_id = run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert (
            endpoint.stats().received == 3 + 3 + 2 * 2 * 2
        )  # checklists, samples, items of two answers to two prompts
        whole = tables(tmp_path / "lake")
        with Lake.open(tmp_path / "lake") as lake:  # as a kill leaves it: one answer is judged, nothing is paired
            lake.remove(
                "DELETE FROM judgements WHERE response_id <> (SELECT min(response_id) FROM judgements); DELETE FROM pairs",
                {}, message="killed", details={},
            )  # fmt: skip
            assert (lake.counts()["judgements"], lake.counts()["pairs"]) == (6, 0)
        run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert endpoint.stats().received == 14  # nothing is paid for again
    assert_same_tables(whole, tables(tmp_path / "lake"))
    assert_sound(tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        items = lake.query(
            "SELECT position, text, weight FROM checklist_items ORDER BY prompt_id, position"
        ).to_pylist()
        values = lake.query(
            "SELECT r.text, value, points, decides FROM verdicts JOIN responses AS r USING (response_id)"
        ).to_pylist()
        sides = lake.query(
            "SELECT c.text AS chosen, chosen_value FROM pairs JOIN responses AS c ON c.response_id = chosen_response_id"
        ).to_pylist()
        notes = lake.query("SELECT note FROM calls WHERE note IS NOT NULL").column(0).to_pylist()
        counted = lake.query("SELECT kind, name, total, unreadable FROM readings ORDER BY kind").to_pylist()
        built = build_training_set(lake, "checklist", {"held_out": 0.0}, [run_id])
    assert [tuple(one.values()) for one in items] == [
        (0, "Does it name a bird?", 80),
        (1, "Is it one sentence?", 20),
    ] * 2
    # 0.8 * 85 + 0.2 * 35, and 35 on both items; a third score of each item cannot be read.
    assert {(v["text"], round(v["value"], 9), round(v["points"], 9), v["decides"]) for v in values} == {
        ("A dove sings.", 0.75, 75.0, True),
        ("Yes. No.", 0.35, 35.0, True),
    }
    assert sides == [{"chosen": "A dove sings.", "chosen_value": pytest.approx(0.75)}] * 2
    assert notes == ["no checklist item can be read: it ends 'I would rather not.'"]
    assert [tuple(one.values()) for one in counted] == [
        ("checklists", "checklist", 3, 1),
        ("item scores", "checklist", 24, 8),
    ]
    assert built.train.num_rows == 1 and built.train.column("item_gap").to_pylist() == [pytest.approx(0.5)]
    with pages_of(tmp_path / "lake") as pages:
        [pair_id] = built.train.column("pair_id").to_pylist()
        [prompt_id] = built.train.column("prompt_id").to_pylist()
        shown = pages.get(f"/prompt/{prompt_id}").text
        scores = pages.get(f"/pair/{pair_id}.json?table=checklist").json()
        with Lake.open(tmp_path / "lake") as lake:
            calls = lake.query(
                "SELECT call_id FROM checklist_items WHERE position = 0 AND prompt_id = $id", {"id": prompt_id}
            )
        reply = pages.get(f"/call/{calls.column(0)[0].as_py()}").text
    assert (
        shown.count("Does it name a bird?") == 3
        and "weight 80" in shown
        and "6 scores of its items, 2 not readable" in shown
    )
    assert "85 <span" in shown and "35 <span" in shown
    assert [(one["item"], one["weight"], round(one["chosen"], 9), round(one["rejected"], 9)) for one in scores] == [
        ("Does it name a bird?", 80, 0.85, 0.35),
        ("Is it one sentence?", 20, 0.35, 0.35),
    ]
    assert "2. Is it one sentence? (weight 20" in reply


def test_a_word_scores_an_item_by_the_probability_of_yes(tmp_path: Path) -> None:
    def in_a_word(request: Request) -> Sequence[Any]:
        text = asked(request)
        if "[Requirement]" not in text:
            return script(request)
        yes = 0.6 if part(text, "Response") == "A dove sings." else 0.1
        return [Tokens([("Yes" if yes > 0.5 else "No", {"Yes": yes, "No": 0.8 - yes, "The": 0.2})])]

    with running_endpoint(in_a_word) as endpoint:
        given = document(endpoint.url, three_prompts(tmp_path))
        given["stages"][2] = {**given["stages"][2], "scale": "word", "n": 1, "logprobs": "required"}
        run_recipe(RunSpecification(recipe_of(given, "recipe x")), str(tmp_path / "lake"), Progress())
        [item] = {r.body["messages"][0]["content"][-40:] for r in endpoint.requests if "[Requirement]" in asked(r)}
    assert item.strip().endswith("Answer with one word: Yes or No.")
    with Lake.open(tmp_path / "lake") as lake:
        found = lake.query("SELECT DISTINCT chosen_value, rejected_value FROM pairs").to_pylist()
        assert lake.query("SELECT DISTINCT points FROM judgements ORDER BY 1").column(0).to_pylist() == pytest.approx(
            [100 * 0.1 / 0.8, 100 * 0.6 / 0.8]
        )
    assert found == [{"chosen_value": pytest.approx(0.75), "rejected_value": pytest.approx(0.125)}]


def test_a_run_whose_checklists_and_scores_cannot_be_read_stops() -> None:
    counted = Readable(load_recipe("checklist"), [])
    call = row(Call, "c", stage="checklist", template="checklist", note="no checklist item can be read: it ends 'No.'")
    for _ in range(STOP_AFTER - 1):
        counted.add([call])
        counted.add([row(Call, "c", template="checklist", error="refused: no")])  # gives nothing to read
    with pytest.raises(
        BudgetReached, match=rf"{STOP_AFTER} of {STOP_AFTER} checklists of checklist cannot be read .*one item per line"
    ):
        counted.add([call])
    counted = Readable(load_recipe("checklist"), [])
    counted.add([call, row(ChecklistItem, "i", call_id="c")] * (STOP_AFTER + 1))
    assert not counted.unreadable
    with pytest.raises(
        BudgetReached,
        match=r"item scores of checklist cannot be read .*a number from 0 to 100, or change templates\.item",
    ):
        counted.add(scored("a", *[("bird", 1.0, None)] * STOP_AFTER))


def test_prompts_without_a_checklist_are_pending_until_it_was_asked_for(lake: Lake) -> None:
    fill(
        lake,
        *(row(RunPrompt, f"rp{i}", run_id="run", prompt_id=f"p{i}", position=i) for i in (1, 2, 3)),
        row(Call, "c", run_id="run", prompt_id="p2", stage="checklist"),
        item("i", "p1"), sampled("a1"), sampled("a2", prompt_id="p2"),
    )  # fmt: skip
    fill(lake, row(Call, "c1", run_id="run", prompt_id="p1", stage="checklist"))
    assert pending(lake, "checklist") == [("p3", 3)]
    assert pending(lake, "judge", judges=["checklist"], kind="checklist") == [("p1", 1)]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"stage": "sample"}, {"stage": "judge", "kind": "checklist"}], "no checklist before it to write the items it judges by: add it"),
        (
            [{"stage": "checklist"}, {"stage": "sample"}, {"stage": "judge", "kind": "checklist"}, {"stage": "search"}],
            "stages.search starts from answers that fail, but judge 'judge' never fails one: let a judge of another kind come first",
        ),
    ],
)  # fmt: skip
def test_a_checklist_is_used_where_it_can_be(stages: list[Any], message: str) -> None:
    models = {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}
    with pytest.raises(FactoryError, match=message):
        recipe_of({"name": "x", "models": models, "stages": stages}, "recipe x")
