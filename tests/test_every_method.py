"""Every method on the embedded model: three prompts, one step of its trainers, and the numbers that can be worked out by hand."""

import json
import math
from pathlib import Path
from statistics import fmean

import pytest

from factory.documents.importing import import_documents
from factory.recipes.reading import load_recipe
from schemas.tables import Claim, Comparison, Judgement, Pair, Response, TrainingRun, TrainingSet
from scripts.compare_methods import main, trained_recipes
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, read_training_set
from tests.claims import DOCUMENTS
from tests.training.tiny import needs_torch

pytestmark = [needs_torch, pytest.mark.real_model, pytest.mark.heavy]

ONE_STEP = """
dpo: &shared {batch_size: 64, micro_batch_size: 2, max_tokens: 512, precision: float32, gradient_checkpointing: false}
rft: *shared
sft: *shared
sppo: *shared
reward: *shared
online:
  batch_size: 12
  micro_batch_size: 4
  num_generations: 4
  max_completion_length: 16
  max_tokens: 512
  precision: float32
  gradient_checkpointing: false
"""
PROMPTS = 3
READABLE = ("judge.scale=ten", "judge.logprobs=required", "judge.max_tokens=4", "judge.n=1", "judge.temperature=0")
"""what a model this small can say of an answer: a number"""
CHEAPER = {
    "anchored": READABLE,
    "self_rewarding": ("evolve.examples=3", *READABLE),
    "iterative_dpo": READABLE,
    "iterative_ipo": READABLE,
    "meta_rewarding": (
        "sample.n=4", *READABLE[:3], "judge.n=2", "meta_judge.reasons=false"),
    "facttune_fs": ("sample.n=3", "claims.most=2"),
    "facttune_mc": ("sample.n=3", "claims.most=2", "claims.samples=3"),
    "checklist": ("checklist.most=2", "judge.n=2"),
    "spar": ("sample.n=3", "judge.verdict=word", "judge.votes=1", "judge.max_tokens=4", "search.depth=1", "search.branch=2"),
}  # fmt: skip
"""stages' settings with which a method is not done for minutes"""
FEW = (
    "self_rewarding",
    "meta_rewarding",
    "anchored",
    "iterative_dpo",
    "iterative_ipo",
    "checklist",
    "facttune_fs",
    "facttune_mc",
    "spar",
)
"""methods whose judge may tell no two answers of three prompts apart"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose lake and journal all methods share, with a corpus."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "one_step.yaml").write_text(ONE_STEP)
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in DOCUMENTS))
    with Lake.open(folder / "lake", create=True):
        pass
    import_documents(
        str(folder / "lake"), [str(folder / "documents.jsonl")], None, "CC0-1.0", {}, lambda what, rows: None
    )
    return folder


def win_rates(lake: Lake) -> dict[str, float]:
    """By answer, from the comparisons one by one: the mean over the others of both orders' mean, and itself as one half."""
    seen: dict[tuple[str, str], list[float]] = {}
    for one in lake.read(Comparison):
        first, second = one.first_response_id, one.second_response_id
        if one.probability is not None:
            seen.setdefault((first, second), []).append(one.probability)
            seen.setdefault((second, first), []).append(1 - one.probability)
    of_each: dict[str, list[float]] = {}
    for (answer, _), probabilities in seen.items():
        of_each.setdefault(answer, [0.5]).append(fmean(probabilities))
    return {answer: fmean(rates) for answer, rates in of_each.items()}


def check_pairs_by_hand(lake: Lake, name: str, run_id: str) -> None:
    """A method's pairs have the values that its rows of one answer give."""
    pairs = lake.read(Pair, "run_id = $run", {"run": run_id})
    if name == "sppo":
        rates = win_rates(lake)
        for pair in pairs:
            of_prompt = lake.read(
                Response, "run_id = $run AND prompt_id = $prompt", {"run": run_id, "prompt": pair.prompt_id}
            )
            whole = [rates[answer.response_id] for answer in of_prompt if answer.flaw is None]
            least = min(rates[answer.response_id] for answer in of_prompt if answer.flaw != "empty")
            assert (pair.chosen_value, pair.rejected_value) == pytest.approx((max(whole), least))
    elif name in ("rlaif", "rlaif_dpo"):
        for pair in pairs:
            [soft] = [2 * rate - 0.5 for answer, rate in win_rates(lake).items() if answer == pair.chosen_response_id]
            assert (pair.chosen_value, pair.rejected_value) == pytest.approx((soft, 1 - soft)) and soft >= 0.5
    elif name.startswith("facttune"):
        support: dict[str, list[float]] = {}
        for claim in lake.read(Claim, "run_id = $run", {"run": run_id}):
            support.setdefault(claim.response_id, []).extend([] if claim.support is None else [claim.support])
        for pair in pairs:
            means = [fmean(support[answer]) for answer in (pair.chosen_response_id, pair.rejected_response_id)]
            assert [pair.chosen_value, pair.rejected_value] == pytest.approx(means) and means[0] > means[1]
    for score in lake.read(Judgement, "run_id = $run AND kind = 'score'", {"run": run_id}):
        if score.probabilities is not None:
            expected = sum(int(label) * share for label, share in score.probabilities.items())
            assert score.points == pytest.approx(expected)


def check_first_loss(training: TrainingRun, rows: TrainingSetRows) -> None:
    """Before its first step a model is its own reference: every difference of log-ratios is 0."""
    said = json.loads(training.configuration)
    expected = {
        ("sigmoid",): math.log(2),
        ("sigmoid_norm",): math.log(2),
        ("ipo",): (1 / (2 * said.get("beta", 1))) ** 2,
    }
    known = expected.get(tuple(said.get("loss_type", ())))
    if training.objective == "sppo":
        known = fmean(
            (chosen - 0.5) ** 2 + (rejected - 0.5) ** 2
            for chosen, rejected in zip(
                *(rows.train.column(f"{side}_win_rate").to_pylist() for side in ("chosen", "rejected")), strict=True
            )
        )
    [loss] = training.loss_curve
    assert math.isfinite(loss) and (known is None or loss == pytest.approx(known, abs=1e-4))


@pytest.mark.parametrize("name", trained_recipes())
def test_a_method_on_the_embedded_model(name: str, out: Path) -> None:
    given = ["--out", str(out), "--prompts", str(PROMPTS), "--max-tokens", "48", "--config", str(out / "one_step.yaml")]
    for recipe, settings in CHEAPER.items():
        given += [word for setting in settings for word in ("-o", f"{recipe}.stages.{setting}")]
    main([*given, "--recipes", name])
    found = json.loads((out / f"figures/{name}.json").read_text())
    with Lake.open(out / "lake") as lake:
        check_pairs_by_hand(lake, name, found["data"]["run"])
        trained = {run.output: run for run in lake.read(TrainingRun)}
        for role in found["trainings"]:
            training = trained[f"{found['data']['run']}-{role}"]
            [of] = lake.read(TrainingSet, "training_set_id = $id", {"id": training.training_set_id})
            check_first_loss(training, read_training_set(lake, f"{of.name}@{of.version}"))
    # What so small a model makes of three prompts may be no pair.
    assert "no rows" in found.get("reason", "no rows"), found["reason"]
    assert name in FEW or set(found["trainings"]) == set(load_recipe(name).trainings())
