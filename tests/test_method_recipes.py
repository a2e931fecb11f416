"""The methods made of answers and comparisons, each from its recipe to its training set, with numbers worked by hand."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from factory.monitor.build import build_and_report
from factory.monitor.report import read_summary
from factory.recipes.reading import RECIPES, load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.tables import Review
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, build_training_set
from tests.completions import Request, Tokens, completion_body
from tests.methods import bundled, run, sampled, with_endpoint
from tests.rows import fill, minutes, row
from tests.scripted_endpoint import Reply, running_endpoint
from tests.sets import RUN, answer, build, column, pair, prompts

WORDS = ("one", "two of", "three of it", "four of them all", "five of them in all")
TIED = {"four of them all", "five of them in all"}


def compared_in(request: Request) -> tuple[str, str] | None:
    """The two texts that a comparison shows."""
    asked = str(request.messages[-1]["content"])
    if "[Response 1]" not in asked:
        return None
    first, second = (asked.split(f"[Response {i}]\n")[1].split(f"\n[End of response {i}]")[0] for i in (1, 2))
    return first, second


def label(first: float) -> Tokens:
    """A comparison's answer with these probabilities of the labels."""
    return Tokens([("1" if first >= 0.5 else "2", {"1": first, "2": 1 - first})])


def preferring(request: Request) -> Sequence[Any]:
    """Five answers; the longer one is preferred with 0.9 if it is shown first, with 0.8 if second; of the two longest ones
    the first is, with 0.7, whichever that is."""
    shown = compared_in(request)
    if shown is None:
        return [WORDS[index % 5] for index in range(request.n)]
    if set(shown) == TIED:
        return [label(0.7)] * request.n
    return [label(0.9 if len(shown[0]) > len(shown[1]) else 0.2)] * request.n


def built_of(lake: Lake, run_ids: list[str], name: str, **given: Any) -> TrainingSetRows:
    return build_training_set(lake, name, {"held_out": 0, **given}, run_ids)


def both_texts(built: TrainingSetRows) -> list[tuple[str, str]]:
    both = (column(built, "chosen"), column(built, "rejected"))
    return [(c[0]["content"], r[0]["content"]) for c, r in zip(*both, strict=True)]


def sides(built: TrainingSetRows) -> list[tuple[str, str]]:
    return sorted(both_texts(built))


# SPPO


def test_sppo_trains_the_highest_and_lowest_towards_their_win_rates(tmp_path: Path) -> None:
    lake, run_id = run(tmp_path, bundled("sppo"), preferring)
    with lake:
        rates = lake.query(
            "SELECT DISTINCT text, win_rate, compared FROM win_rates JOIN responses USING (response_id) ORDER BY length(text)"
        ).to_pylist()
        built = built_of(lake, [run_id], "sppo")
        said = dict(read_summary(lake, run_id).lines)
    # The longer of two wins with the mean of both orders, (0.9 + 0.8) / 2; the tied ones with (0.7 + 0.3) / 2; each wins
    # over itself with one half.
    expected = [(4 * 0.15 + 0.5) / 5, (0.85 + 3 * 0.15 + 0.5) / 5, (2 * 0.85 + 2 * 0.15 + 0.5) / 5]
    expected += [(3 * 0.85 + 0.5 + 0.5) / 5] * 2
    assert [one["win_rate"] for one in rates] == pytest.approx(expected)
    assert {one["compared"] for one in rates} == {4}
    assert [rejected for _, rejected in sides(built)] == ["one"] * 3
    assert {chosen for chosen, _ in sides(built)} <= TIED  # of equals, the smaller id
    assert column(built, "chosen_win_rate") == pytest.approx([0.71] * 3)
    assert column(built, "rejected_win_rate") == pytest.approx([0.22] * 3)
    # 10 pairs of answers to each of 3 prompts, of which one contradicts itself.
    assert said["compare"] == (
        "30 times two answers were compared, 30 of them readably in both orders; the orders contradict each other in 3 (10%), "
        "whose mean counts"
    )


def of_win_rates(*rates: tuple[float, float]) -> list[Any]:
    numbers = range(1, len(rates) + 1)
    answers = [answer(f"{n}{side}", f"p{n}") for n in numbers for side in ("good", "bad")]
    values = [
        pair(f"pair{n}", f"p{n}", f"{n}good", f"{n}bad", source="best_over_worst", chosen_value=c, rejected_value=r)
        for n, (c, r) in zip(numbers, rates, strict=True)
    ]
    return [*prompts(*numbers), *answers, *values]


@pytest.mark.parametrize(("rates", "warned"), [(((0.9, 0.1), (0.7, 0.4)), False), (((0.52, 0.5), (0.51, 0.49)), True)])
def test_the_spread_of_win_rates_is_said_when_a_set_is_built(
    lake: Lake, rates: tuple[tuple[float, float], ...], warned: bool, tmp_path: Path
) -> None:
    fill(lake, replace(RUN, purpose="data", status="finished"), *of_win_rates(*rates))
    console = Console(file=StringIO(), width=250)
    build_and_report(lake, "sppo", {"held_out": 0}, None, tmp_path / "out", console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"win rates: {min(min(r) for r in rates):.3f} to {max(max(r) for r in rates):.3f}" in said
    assert ("the judge prefers hardly any answer" in said) == warned


# RLAIF


def test_soft_labels_stay_soft_and_contradictions_are_kept_as_one_half(tmp_path: Path) -> None:
    document = bundled("rlaif_dpo")
    document["stages"][0]["n"] = 5
    lake, run_id = run(tmp_path, document, preferring, prompts=1)
    with lake:
        built = built_of(lake, [run_id], "rlaif")
    labels = dict(zip(map(frozenset, both_texts(built)), column(built, "probability"), strict=True))
    assert labels.pop(frozenset(TIED)) == pytest.approx(0.5)
    assert list(labels.values()) == pytest.approx([0.85] * 9)  # (0.9 + 1 - 0.2) / 2
    assert all(len(c) > len(r) for c, r in both_texts(built) if {c, r} != TIED)


def test_a_least_probability_leaves_undecided_pairs_out(tmp_path: Path) -> None:
    document = bundled("rlaif_dpo") | {"pairs": [{"pairing": "preferred", "min_probability": 0.6}]}
    document["stages"][0]["n"] = 5
    lake, run_id = run(tmp_path, document, preferring, prompts=1)
    with lake:
        assert len(sides(built_of(lake, [run_id], "rlaif"))) == 9


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (
            [{"stage": "sample", "n": 2}, {"stage": "compare", "logprobs": "required", "reasons": False}],
            "stage compare: logprobs is 'required', but its endpoint returns no log-probabilities: use one that does",
        ),
        (
            [{"stage": "sample", "n": 2}, {"stage": "judge", "kind": "score", "scale": "ten", "logprobs": "required"}],
            "judge score: logprobs is 'required', but its endpoint returns no log-probabilities",
        ),
    ],
)  # fmt: skip
def test_an_endpoint_without_log_probabilities_ends_a_run_that_insists_on_them(
    stages: list[dict[str, Any]], sentence: str, tmp_path: Path
) -> None:
    def words_alone(request: Request) -> Sequence[Any]:
        asked = str(request.messages[-1]["content"])
        return ["1"] * request.n if "Answer with the number alone" in asked else sampled(request)

    with running_endpoint(words_alone, gives_logprobs=False) as endpoint:
        document = with_endpoint({"stages": stages, "pairs": []}, endpoint, "bundled")
        document["prompts"]["limit"] = 24
        for model in document["models"].values():
            model["concurrency"] = 1
        with pytest.raises(FactoryError) as told:
            run_recipe(RunSpecification(recipe_of(document, "recipe x")), str(tmp_path / "lake"), Progress())
        assert sentence in str(told.value)
        asked = [one for one in endpoint.requests if "Answer with the number alone" in str(one.messages)]
        assert not asked and endpoint.stats().received == 1  # one token, and no answer was paid for


def test_log_probabilities_that_cannot_be_read_are_no_vote_where_they_are_required(tmp_path: Path) -> None:
    def odd(request: Request) -> Any:
        if not compared_in(request):
            return sampled(request)
        body = completion_body(request, [label(0.9)] * request.n)
        body["choices"][0]["logprobs"]["content"][0]["logprob"] = "unknown"
        return Reply(200, body)

    stages = [{"stage": "sample", "n": 2}, {"stage": "compare", "logprobs": "required", "reasons": False}]
    lake, _ = run(tmp_path, {"stages": stages, "pairs": ["preferred"]}, odd, prompts=1)
    with lake:
        found = lake.query("SELECT probability, votes FROM comparisons").to_pylist()
        assert found == [{"probability": None, "votes": ["unparsed"]}] * 2
        assert lake.counts()["pairs"] == 0


# SPIN


def test_spin_prefers_the_reference_and_a_later_round_adds_the_rows_of_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"Say something, {i}.", "reference": f"Reference {i}."} for i in range(4)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def own(request: Request) -> Sequence[str]:
        asked = str(request.messages[-1]["content"])
        return ["Reference 3." if asked.endswith("3.") else f"Own: {asked}"] * request.n

    runs = []
    with running_endpoint(own) as endpoint:
        for number in (0, 1):
            document = with_endpoint(bundled("spin"), endpoint, str(file))
            document["prompts"] |= {"skip": 2 * number, "limit": 2}
            specification = RunSpecification(recipe_of(document, "recipe x"), seed=number, iteration=number)
            runs.append(run_recipe(specification, str(tmp_path / "lake"), Progress()))
        assert endpoint.stats().received == 4 and {r.n for r in endpoint.requests} == {1}
    expected = [
        (f"Reference {i}.", f"Own: Say something, {i}.") for i in range(3)
    ]  # the last one said what the reference says
    with Lake.open(tmp_path / "lake") as lake:
        assert sides(built_of(lake, runs[1:], "spin")) == expected[2:]
        assert sides(built_of(lake, runs, "spin")) == expected
    assert load_recipe("spin").data == "last_two"


def test_prompts_without_a_reference_are_counted_before_anything_is_paid_for(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"Say {i}.", **({"reference": "It."} if i % 2 else {})} for i in range(5)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with running_endpoint(sampled) as endpoint:
        recipe = recipe_of(with_endpoint(bundled("spin"), endpoint, str(file)), "recipe x")
        with pytest.raises(
            FactoryError, match=r"prompt 1 of .* has no reference answer.*; 3 of 5 prompts cannot be used$"
        ):
            run_recipe(RunSpecification(recipe), str(tmp_path / "lake"), Progress())
        assert endpoint.stats().received == 0


# Best over worst, anchored, delta


def scoring(request: Request) -> Sequence[Any]:
    """The current model answers in 2 to 5 words, the first one in 1 to 4; a judge gives a point a word."""
    asked = str(request.messages[-1]["content"])
    if "[Response]" in asked:
        count = len(asked.split("[Response]\n")[1].split("\n[End of response]")[0].split())
        if "from 1 (useless) to 10" in asked:
            return [Tokens([(str(count), {str(count): 0.5, str(count + 1): 0.5})])] * request.n
        return [f"Score: {count}"] * request.n
    who, extra = ("old", 0) if request.model == "old" else ("new", 1)
    return [" ".join([who] * (index + 1 + extra)) for index in range(request.n)]


@pytest.mark.parametrize("name", ["iterative_dpo", "iterative_ipo"])
def test_the_best_of_five_is_over_the_worst_by_the_expected_score(name: str, tmp_path: Path) -> None:
    lake, run_id = run(tmp_path, bundled(name), scoring, prompts=2)
    with lake:
        built = built_of(lake, [run_id], "best_over_worst")
    assert sides(built) == [("new new new new new new", "new new")] * 2
    # Points of 6 and 7 words, half each, on a scale from 1 to 10.
    assert column(built, "chosen_value") == pytest.approx([5.5 / 9] * 2)
    assert column(built, "rejected_value") == pytest.approx([1.5 / 9] * 2)


def test_anchored_takes_chosen_from_this_model_and_rejected_from_the_first(tmp_path: Path) -> None:
    with running_endpoint(scoring, models=("mock", "old")) as endpoint:
        document = with_endpoint(bundled("anchored"), endpoint, "bundled")
        document["prompts"] = {"source": "bundled", "limit": 2}
        for role, model in document["models"].items():
            model["name"] = "old" if role == "anchor" else "mock"
        run_id = run_recipe(RunSpecification(recipe_of(document, "recipe x")), str(tmp_path / "lake"), Progress())
    with Lake.open(tmp_path / "lake") as lake:
        built = built_of(lake, [run_id], "anchored")
    # All eight are judged; the best of one side's four over the worst of the other's.
    assert sides(built) == [("new new new new new", "old")] * 2
    assert column(built, "chosen_value") == pytest.approx([1.0] * 2)
    assert column(built, "rejected_value") == pytest.approx([0.2] * 2)


def test_delta_prefers_the_stronger_models_answer_whatever_it_is(tmp_path: Path) -> None:
    def two_models(request: Request) -> Sequence[str]:
        return [f"by {request.model}"] * request.n

    with running_endpoint(two_models, models=("mock", "big", "small")) as endpoint:
        document = with_endpoint(bundled("delta"), endpoint, "bundled")
        document["prompts"] = {"source": "bundled", "limit": 2}
        for role, name in (("actor", "mock"), ("stronger", "big"), ("weaker", "small")):
            document["models"][role]["name"] = name
        run_id = run_recipe(RunSpecification(recipe_of(document, "recipe x")), str(tmp_path / "lake"), Progress())
        assert {request.model for request in endpoint.requests} == {"big", "small"}  # the model to train is not asked
    with Lake.open(tmp_path / "lake") as lake:
        assert sides(built_of(lake, [run_id], "delta")) == [("by big", "by small")] * 2


# RLHF


def review(pair_id: str, verdict: str, preferred: str | None = None, reviewer: str = "ann") -> Any:
    return row(Review, f"{pair_id}/{reviewer}", pair_id=pair_id, run_id="run", reviewer=reviewer, verdict=verdict,
               preferred=preferred, reviewed_at=minutes(0))  # fmt: skip


def test_rlhf_takes_what_people_prefer_and_turns_a_pair_whose_other_side_is_better(lake: Lake) -> None:
    names = ("accepted", "turned", "neither", "disputed", "rejected", "unseen", "both turned")
    rows: list[Any] = [*prompts(*names, "imported")]
    for name in (*names, "imported"):
        rows += [answer(f"{name} a", f"p{name}", f"{name} a"), answer(f"{name} b", f"p{name}", f"{name} b")]
        source = "imported" if name == "imported" else "two_answers"
        rows.append(
            pair(name, f"p{name}", f"{name} a", f"{name} b", source=source, chosen_value=None, length_ratio=2.0)
        )
    # The same preference, from another file.
    rows += [answer("again a", "pimported", "imported a"), answer("again b", "pimported", "imported b")]
    rows.append(
        pair(
            "imported again", "pimported", "again a", "again b", source="imported", chosen_value=None, length_ratio=2.0
        )
    )
    rows += [
        review("accepted", "accept", "chosen"),
        review("turned", "reject", "rejected"),
        review("neither", "reject", "neither"),
        review("disputed", "accept", "chosen"), review("disputed", "reject", "rejected", "ben"),
        review("rejected", "reject"),
        review("both turned", "reject", "rejected"), review("both turned", "reject", "rejected", "ben"),
    ]  # fmt: skip
    built = build(lake, "rlhf", rows)
    assert sides(built) == [
        ("accepted a", "accepted b"),
        ("both turned b", "both turned a"),
        ("imported a", "imported b"),
        ("turned b", "turned a"),
    ]
    ratios = dict(zip(column(built, "pair_id"), column(built, "length_ratio"), strict=True))
    assert ratios == {"accepted": 2.0, "imported": 2.0, "turned": 0.5, "both turned": 0.5}
    assert set(column(built, "class")) == {"human"}


# What is refused when a recipe is read


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"stages": [{"stage": "sample", "n": 1}, {"stage": "compare"}]},
         "stages.compare needs two answers to a prompt, but one is sampled: set stages.sample.n to 2 or more"),
        ({"stages": [{"stage": "sample", "n": 1}, {"stage": "judge", "kind": "score"}], "pairs": ["best_over_worst"]},
         "pairs: best_over_worst needs two answers to a prompt, but one is sampled"),
        ({"stages": [{"stage": "sample", "n": 1}], "pairs": ["two_answers"]}, "pairs: two_answers needs two answers"),
        ({"stages": [{"stage": "sample", "name": "strong"}], "pairs": ["stronger_over_weaker"]},
         "pairs: stronger_over_weaker.stronger: no sampling stage is named 'stronger': did you mean 'strong'"),
        ({"stages": [{"stage": "sample"}], "pairs": [{"pairing": "best_over_worst", "rejected_from": "anchor"}]},
         "pairs: best_over_worst.rejected_from: no sampling stage is named 'anchor': it takes sample"),
        ({"stages": [{"stage": "sample", "n": 1}, {"stage": "sample", "name": "anchor"}, {"stage": "judge", "kind": "score"}],
          "pairs": [{"pairing": "best_over_worst", "name": "mine", "chosen_from": "sample", "rejected_from": "sample"}]},
         "pairs: mine needs two answers to a prompt, but one is sampled by sample: set stages.sample.n to 2 or more"),
        ({"stages": [{"stage": "sample"}, {"stage": "judge", "kind": "score", "logprobs": "required"}]},
         "logprobs is read on the scale ten alone"),
        ({"stages": [{"stage": "sample"}, {"stage": "compare", "logprobs": "requird"}]},
         "logprobs must be true or false or 'required', got 'requird'"),
        ({"stages": [{"stage": "sample"}, {"stage": "compare", "max_tokens": 15}]},
         "stages.compare: max_tokens is 15, which ends the answer before the label that follows the reasons: set max_tokens to 512"),
        ({"stages": [{"stage": "sample"}, {"stage": "judge", "kind": "score"}, {"stage": "meta_judge", "max_tokens": 1}]},
         "stages.meta_judge: max_tokens is 1, which ends the answer before the label"),
    ],
)  # fmt: skip
def test_what_could_give_no_pair_is_refused_when_the_recipe_is_read(document: dict[str, Any], sentence: str) -> None:
    models = {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}
    with pytest.raises(FactoryError) as told:
        recipe_of({"name": "x", "models": models, **document}, "recipe x")
    assert sentence in str(told.value)


@pytest.mark.parametrize(("n", "stages"), [(1, 2), (2, 1)])
def test_two_stages_of_one_answer_are_two_answers(n: int, stages: int) -> None:
    sampling = [{"stage": "sample", "name": f"sample{number}", "n": n} for number in range(stages)]
    models = {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}
    recipe_of({"name": "x", "models": models, "stages": [*sampling, {"stage": "compare"}]}, "recipe x")


def test_rlaif_reasons_as_its_comment_says() -> None:
    [said] = [line for line in (RECIPES / "rlaif.yaml").read_text("utf-8").splitlines() if "# Set reasons" in line]
    settings = dict(re.findall(r"(\w+): (\w+)", said))
    assert settings.keys() == {"reasons", "max_tokens"}
    changes = {f"stages.compare.{key}": yaml.safe_load(value) for key, value in settings.items()}
    [compare] = load_recipe("rlaif", changes).entries("compare")
    assert compare.settings.reasons and "Give your reasons" in load_recipe("rlaif", changes).template_texts["compare"]
    with pytest.raises(FactoryError, match=r"stages.compare: max_tokens is 1, .* set max_tokens to 512"):
        load_recipe("rlaif", {"stages.compare.reasons": True})


def test_a_pairing_that_names_one_side_takes_the_other_from_any_stage() -> None:
    sampling = [{"stage": "sample", "n": 1}, {"stage": "sample", "name": "anchor", "n": 1}]
    models = {role: {"endpoint": "embedded:smollm2-135m"} for role in ("actor", "refiner")}
    stages = [*sampling, {"stage": "judge", "kind": "score"}]
    for named in ({"chosen_from": "sample"}, {"chosen_from": "sample", "rejected_from": "anchor"}):
        pairs = [{"pairing": "best_over_worst", **named}]
        recipe_of({"name": "x", "models": models, "stages": stages, "pairs": pairs}, "recipe x")
