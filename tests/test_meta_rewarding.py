"""Judgements of judgements: their Elo, tiers of answers by length, and Meta-Rewarding's recipe end to end."""

import json
import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from factory.inference.budget import BudgetReached
from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.readable import STOP_AFTER, Readable
from factory.runs.specification import RunSpecification
from factory.stages.meta_judge import Settings, to_compare
from factory.work.context import Work
from factory.work.judging import Judge
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from schemas.tables import Judgement, MetaJudgement, Prompt, Run, RunPrompt
from stores.lake import Lake
from stores.pairing import load_pairing, unpaired
from stores.training_sets import build_training_set
from tests.judging import asked, part
from tests.rows import asked as turns
from tests.rows import fill, row, sampled, scores
from tests.runs import assert_same_tables, assert_sound, tables
from tests.scripted_endpoint import Request, running_endpoint
from tests.test_pending import pending

# Elo


def met(first: str, second: str, probability: float | None, **given: Any) -> MetaJudgement:
    fixed = {"run_id": "run", "prompt_id": "p1", "response_id": "a", "stage": "meta_judge", **given}
    return row(MetaJudgement, f"{first}>{second}", first_judgement_id=first, second_judgement_id=second,
               probability=probability, **fixed)  # fmt: skip


def elo(lake: Lake) -> dict[str, float]:
    return {r["judgement_id"]: r["elo"] for r in lake.query("FROM judgement_elo ORDER BY judgement_id").to_pylist()}


def test_of_two_judgements_the_one_that_wins_in_both_orders_is_stronger(lake: Lake) -> None:
    """By hand: positions win equally often, so each win weighs 1/2 and x has won 1 of 1 against y.

    Strengths s and 1/s: what x has won, with half of the added draw, is what it is expected to win: s^2/(s^2 + 1) + s/(s + 1) = 3/2.
    """
    fill(lake, met("x", "y", 1.0), met("y", "x", 0.0))
    found = elo(lake)
    s = 10 ** (found["x"] / 400)
    assert s**2 / (s**2 + 1) + s / (s + 1) == pytest.approx(1.5, abs=1e-6)
    assert found["y"] == pytest.approx(-found["x"], abs=1e-3) and found["x"] == pytest.approx(131, abs=2)


def test_a_win_counts_less_in_the_position_that_usually_wins(lake: Lake) -> None:
    """The first position wins 3 of 4: a win there weighs 1/4, a win in the second position 3/4."""
    fill(lake, met("x", "y", 1.0), met("y", "x", 1.0), met("x", "z", 1.0), met("z", "x", 0.0), met("y", "z", None))
    found = {r["judgement_id"]: (r["won"], r["compared"]) for r in lake.query("FROM judgement_elo").to_pylist()}
    assert found == {"x": (1 / 4 + 1 / 4 + 3 / 4, 1.5), "y": (1 / 4, 1 / 2), "z": (0.0, 1.0)}


def fitted(rows: Sequence[MetaJudgement]) -> dict[str, float]:
    """Elo by plain gradient ascent on the log-likelihood with the added draw, to convergence."""
    known = [r for r in rows if r.probability is not None]
    first = sum(1 - r.probability for r in known) / len(known)  # type: ignore[operator]
    wins: dict[tuple[str, str], float] = {}
    for r in known:
        a, b, p = r.first_judgement_id, r.second_judgement_id, float(r.probability or 0)
        wins[a, b] = wins.get((a, b), 0) + p * first
        wins[b, a] = wins.get((b, a), 0) + (1 - p) * (1 - first)
    theta = {id: 0.0 for pair in wins for id in pair}
    for _ in range(5000):
        slope = {id: 0.5 - 1 / (1 + math.exp(-t)) for id, t in theta.items()}
        for (a, b), won in wins.items():
            lost_share = 1 / (1 + math.exp(theta[a] - theta[b]))
            slope[a] += won * lost_share
            slope[b] -= won * lost_share
        theta = {id: t + 0.3 * slope[id] for id, t in theta.items()}
    return {id: 400 * t / math.log(10) for id, t in theta.items()}


def test_elo_is_the_most_likely_strength(lake: Lake) -> None:
    rows = [met(x, y, (i * 7 % 11) / 10) for i, (x, y) in enumerate(permutations("vwxyz", 2))]
    rows += [met("l", "m", 1.0, response_id="b"), met("m", "l", 0.7, response_id="b")]
    fill(lake, *rows)
    expected = fitted(rows)
    assert elo(lake) == {id: pytest.approx(expected[id], abs=0.05) for id in expected}


def test_the_best_judgement_is_preferred_over_the_worst(lake: Lake) -> None:
    template = "Score: {response} for {prompt}"
    fill(
        lake,
        row(Run, "run/0", run_id="run", purpose="data", templates={"score": template}),
        row(Prompt, "p1", messages=turns("Why?")),
        sampled("a", text="So."), sampled("even", text="So."), sampled("long", text="So."),
    )  # fmt: skip
    for response in ("a", "even", "long"):
        for name in "xyz":
            fill(lake, row(Judgement, f"{response}/{name}", run_id="run", prompt_id="p1", response_id=response, judge="score",
                           kind="score", critique=f"{response} {name}" * (50 if (response, name) == ("long", "x") else 1),
                           template_hash=sha256_text(template)))  # fmt: skip
        for first, second in permutations("xyz", 2):
            better = 0.5 if response == "even" else float(first < second)
            fill(lake, met(f"{response}/{first}", f"{response}/{second}", better, response_id=response))
    built = build_training_set(lake, "meta_judge", {"held_out": 0.0, "most_characters": 100}, ["run"])
    [found] = built.train.to_pylist()
    assert (found["prompt"], found["chosen"], found["rejected"]) == (
        [{"role": "user", "content": "Score: So. for Why?"}],
        [{"role": "assistant", "content": "a x"}],
        [{"role": "assistant", "content": "a z"}],
    )
    assert found["chosen_elo"] == pytest.approx(-found["rejected_elo"], abs=1e-3)
    assert build_training_set(lake, "meta_judge", {"held_out": 0.0}, ["run"]).train.num_rows == 2


# Tiers


def paired(lake: Lake, **given: Any) -> list[tuple[str, str]]:
    found = unpaired(lake, "run", load_pairing("shortest_over_longest", given))
    return [(pair.chosen_response_id, pair.rejected_response_id) for pair in found]


def test_the_shortest_of_the_best_is_over_the_longest_of_the_worst(lake: Lake) -> None:
    """Means of 10, 9, 8, 3, 2 and 0 points: tiers of a quarter hold what has 7.5 or more, and 2.5 or less."""
    lengths = {"ten": 50, "nine": 20, "eight": 30, "three": 90, "two": 60, "none": 40}
    points = {"ten": 10, "nine": 9, "eight": 8, "three": 3, "two": 2, "none": 0}
    for id, length in lengths.items():
        fill(lake, sampled(id, text=id[0] * length), *scores(id, points[id]))
    assert paired(lake, width=0) == [("ten", "none")]
    assert paired(lake, width=0.1) == [("nine", "none")]
    assert paired(lake, width=0.25) == [("nine", "two")]
    assert paired(lake, width=0.3) == [("nine", "three")]


def test_a_flawed_answer_is_not_chosen_and_equal_ones_are_no_pair(lake: Lake) -> None:
    fill(lake, sampled("flawed", text="a", flaw="unended"), *scores("flawed", 10), sampled("good", text="good"), *scores("good", 9),
         sampled("bad", text="bad one"), *scores("bad", 0),
         *(one for id in ("e", "f") for one in (sampled(id, prompt_id="p2", text=id), *scores(id, 5, prompt_id="p2"))))  # fmt: skip
    assert paired(lake) == [("good", "bad")]


# Which judgements are compared


def test_the_answer_whose_scores_vary_most_is_the_one(lake: Lake) -> None:
    def judged(id: str, *points: float | None, texts: Sequence[str] | None = None) -> list[Judgement]:
        rows = scores(id, *points)
        for place, one in enumerate(rows):
            object.__setattr__(one, "critique", f"{id} {place}" if texts is None else texts[place])
        return rows

    answers = [sampled(id) for id in ("even", "wide", "alike", "also")]
    work = Work(row(Prompt, "p1", messages=turns("?")), 0, responses=answers)
    work.judgements = {
        "even": judged("even", 5, 5, 5),
        "wide": judged("wide", 1, 9, None, 9),
        "alike": judged("alike", 0, 10, texts=["same", "same"]),
        "also": judged("also", 1, 9, 9),
    }
    judges = [Judge("score", None, {})]  # type: ignore[arg-type]
    [(response, found)] = to_compare(work, judges, Settings())
    # also and wide vary equally: by id
    assert response.response_id == "also" and [j.vote for j in found] == [0, 1, 2]
    every = to_compare(work, judges, Settings(which="every", most=2))
    assert [(r.response_id, [j.vote for j in rows]) for r, rows in every] == [
        ("also", [0, 1]),
        ("even", [0, 1]),
        ("wide", [0, 1]),
    ]


def test_prompts_whose_judgements_were_not_compared_are_pending(lake: Lake) -> None:
    fill(lake, *(row(RunPrompt, f"rp{i}", run_id="run", prompt_id=f"p{i}", position=i) for i in (1, 2, 3)))
    for prompt in ("p1", "p2", "p3"):
        for id in ("a", "b"):
            fill(lake, sampled(f"{prompt}/{id}", prompt_id=prompt), *(
                row(Judgement, f"{prompt}/{id}/{vote}", run_id="run", prompt_id=prompt, response_id=f"{prompt}/{id}", judge="score",
                    vote=vote, value=0.5, critique="same" if prompt == "p3" else str(vote)) for vote in (0, 1)
            ))  # fmt: skip
    fill(lake, met("p1/a/0", "p1/a/1", 1.0, response_id="p1/a"))
    given = {"judges": ["score"]}
    assert pending(lake, "meta_judge", which="most_varied", **given) == [("p2", 2)]
    assert pending(lake, "meta_judge", which="every", **given) == [("p1", 1), ("p2", 2)]
    assert pending(lake, "meta_judge", which="every", judges=["other"]) == []


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"kind": "score", "n": 1}, "compares judgements of one answer, and judge 'judge' gives only one: raise stages.judge.n$"),
        ({"kind": "votes", "votes": 1}, "gives only one: raise stages.judge.votes"),
        ({"kind": "verifier"}, "judge 'judge' is of kind verifier: give it one of kind score or votes"),
    ],
)  # fmt: skip
def test_a_judge_must_give_judgements_that_can_be_compared(judge: dict[str, Any], message: str) -> None:
    models = {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}
    stages = [{"stage": "sample"}, {"stage": "judge", **judge}, {"stage": "meta_judge"}]
    with pytest.raises(FactoryError, match=message):
        recipe_of({"name": "x", "models": models, "stages": stages}, "recipe x")


def test_a_run_whose_comparisons_of_judgements_cannot_be_read_stops() -> None:
    lost = row(MetaJudgement, "m", stage="meta_judge", votes=["unparsed"], rationales=["Both."])
    with pytest.raises(BudgetReached, match=r"meta-judgements of meta_judge cannot be read .*Preferred judgement: 1"):
        Readable(load_recipe("meta_rewarding"), []).add([lost] * STOP_AFTER)


# End to end


def script(request: Request) -> Sequence[str]:
    """Answers 'word …' of 1 to 3 words; scores that differ most for 'word word'; a meta-judge for which a higher score is
    the better judgement, who prefers the first of equals."""
    text = asked(request)
    if "[Judgement 1]" in text:
        first, second = (int(part(text, f"Judgement {i}")[-1]) for i in (1, 2))
        return [f"I compared.\nPreferred judgement: {1 if first >= second else 2}"] * request.n
    if "Score: " in text:
        words = len(part(text, "Response").split())
        return [f"Vote {i}.\nScore: {[1, [0, 2, 4][i], 5][words - 1]}" for i in range(request.n)]
    return ["word", "word word", "word word word"][: request.n]


def test_meta_rewarding_end_to_end_and_gone_on_with(tmp_path: Path) -> None:
    where = str(tmp_path / "lake")
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Say something, {i}."}) + "\n" for i in range(2))
    )
    with running_endpoint(script) as endpoint:
        document = json.loads(load_recipe("meta_rewarding").as_json())
        document["stages"][0]["n"] = document["stages"][1]["n"] = 3
        models = {role: {"endpoint": endpoint.url} for role in document["models"]}
        recipe = recipe_of(
            {**document, "models": models, "prompts": {"source": str(tmp_path / "prompts.jsonl")}}, "recipe x"
        )
        run_id = run_recipe(RunSpecification(recipe), where, Progress())
        assert endpoint.stats().received == 2 * (1 + 3 + 3 * 2)
        whole = tables(where)
        with Lake.open(where) as lake:
            lake.remove("DELETE FROM meta_judgements; DELETE FROM pairs", {}, message="killed", details={})
        run_recipe(RunSpecification(recipe), where, Progress())
        assert endpoint.stats().received == 20
    assert_same_tables(whole, tables(where))
    assert_sound(where)
    with Lake.open(where) as lake:
        sides = lake.query(
            "SELECT c.text AS chosen, r.text AS rejected, chosen_value, rejected_value FROM pairs "
            "JOIN responses AS c ON c.response_id = chosen_response_id JOIN responses AS r ON r.response_id = rejected_response_id"
        ).to_pylist()
        rated = lake.query(
            "SELECT critique, won, compared, elo FROM judgement_elo JOIN judgements USING (run_id, response_id, judgement_id) "
            "ORDER BY judgement_elo.prompt_id, vote"
        ).to_pylist()
        counted = lake.query("SELECT kind, name, total, unreadable FROM readings ORDER BY kind").to_pylist()
        sets = {
            name: build_training_set(lake, name, {"held_out": 0.0}, [run_id]).train
            for name in ("shortest_over_longest", "meta_judge", "meta_rewarding")
        }
    assert (
        sides
        == [{"chosen": "word word word", "rejected": "word", "chosen_value": 1.0, "rejected_value": pytest.approx(0.2)}]
        * 2
    )
    # The highest score wins all, in both positions equally often: every win weighs one half.
    assert [(r["critique"], r["won"], r["compared"]) for r in rated] == [
        ("Vote 0.\nScore: 0", 0.0, 2.0), ("Vote 1.\nScore: 2", 1.0, 2.0), ("Vote 2.\nScore: 4", 2.0, 2.0)
    ] * 2  # fmt: skip
    assert [round(r["elo"], 3) for r in rated[:3]] == [-round(rated[2]["elo"], 3), 0.0, round(rated[2]["elo"], 3)]
    assert [tuple(one.values()) for one in counted] == [
        ("meta-judgements", "meta_judge", 12, 0),
        ("scores", "score", 18, 0),
    ]
    assert {name: table.num_rows for name, table in sets.items()} == {
        "shortest_over_longest": 2,
        "meta_judge": 2,
        "meta_rewarding": 4,
    }
    assert {row[0]["content"] for row in sets["meta_judge"].column("chosen").to_pylist()} == {"Vote 2.\nScore: 4"}
    assert sorted(sets["meta_rewarding"].column("class").to_pylist()) == [
        "judgement",
        "judgement",
        "sampled",
        "sampled",
    ]
