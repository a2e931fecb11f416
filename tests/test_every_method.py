"""Every method on the embedded model: three prompts, one step of its trainers, and each number worked out by hand.

The embedded model answers and is trained; the judge's answers are scripted, so that every method has pairs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from factory.documents.importing import import_documents
from factory.recipes.reading import load_recipe
from schemas.tables import Judgement, MetaJudgement, Pair, Response, TrainingRun, TrainingSet
from scripts.compare_methods import main, trained_recipes
from stores.lake import Lake
from stores.training_sets import TrainingSetRows, read_training_set
from tests.claims import DOCUMENTS
from tests.exact_judge import (
    AGREEING,
    ITEMS,
    POSITION,
    SHARES,
    SUPPORTED,
    UNKNOWN,
    claims,
    judge,
    passes,
    points,
    preference,
    quality,
)
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint
from tests.training.tiny import needs_torch

pytestmark = [needs_torch, pytest.mark.real_model, pytest.mark.heavy]

ONE_STEP = """
dpo: &shared {batch_size: 64, micro_batch_size: 2, max_tokens: 512, precision: float32, gradient_checkpointing: false}
rft: *shared
sft: *shared
sppo: {<<: *shared, micro_batch_size: 1}  # so that its mean is over rows
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
SCORES = ("judge.scale=ten", "judge.logprobs=required", "judge.n=1")
CHEAPER = {
    "anchored": SCORES,
    "self_rewarding": ("evolve.examples=3", *SCORES),
    "iterative_dpo": SCORES,
    "iterative_ipo": SCORES,
    "meta_rewarding": ("sample.n=4", *SCORES[:2], "judge.n=2", "meta_judge.reasons=false", "meta_judge.max_tokens=1"),
    "facttune_fs": ("sample.n=3",),
    "facttune_mc": ("sample.n=3", "claims.samples=3", "claims.answerer=judge"),
    "checklist": ("judge.scale=word", "judge.logprobs=required", "judge.n=1"),
    "spar": ("sample.n=3", "judge.verdict=word", "judge.votes=1", "search.depth=1", "search.branch=2"),
}  # fmt: skip
"""stages' settings with which a method is not done for minutes"""
ANSWERING = {"actor", "anchor", "stronger", "weaker", "reward"}
"""roles that the embedded model has; it is a judge of nothing, so that the others' answers are scripted"""


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


def texts_of(lake: Lake, run_id: str) -> dict[str, Response]:
    return {one.response_id: one for one in lake.read(Response, "run_id = $run", {"run": run_id})}


def by_hand(name: str, text: str, others: list[str]) -> float:
    """What a method's pair says of an answer, from its text and, where it is compared with them, the other answers' alone."""
    if name == "sppo":
        return fmean([0.5, *(preference(text, other) for other in others)])
    if name in ("rlaif", "rlaif_dpo"):
        return preference(text, *others)
    if name.startswith("facttune"):
        made = [next(what for what in SHARES if what in claim) for claim in claims(text)]
        if name == "facttune_mc":
            return fmean(AGREEING[what] / 3 for what in made)
        known = [what for what in made if what != UNKNOWN]
        return fmean(what == SUPPORTED for what in known) if known else math.nan
    if name == "checklist":
        return sum(weight / 100 * quality(text, item) for item, weight in ITEMS.items())
    drawn = [points(text, draw) for draw in range(2 if name == "meta_rewarding" else 1)]
    return (fmean(drawn) - 1) / 9


JUDGED = {
    "sppo", "rlaif", "rlaif_dpo", "facttune_fs", "facttune_mc", "checklist",
    "anchored", "self_rewarding", "iterative_dpo", "iterative_ipo", "meta_rewarding",
}  # fmt: skip
"""methods whose pairs have values"""


def check_pairs_by_hand(lake: Lake, name: str, run_id: str) -> None:
    """A method's pairs, their values and their order follow from its answers' texts."""
    pairs, answers = lake.read(Pair, "run_id = $run", {"run": run_id}), texts_of(lake, run_id)
    assert (name == "rlaif_direct") != bool(pairs)
    for pair in pairs if name in JUDGED else ():
        sides = [answers[id] for id in (pair.chosen_response_id, pair.rejected_response_id)]
        of_prompt = [one for one in answers.values() if one.prompt_id == pair.prompt_id and one.text]
        values = {
            one.response_id: by_hand(
                name, one.text or "", [o.text or "" for o in of_prompt if o.response_id != one.response_id]
            )
            for one in of_prompt
        }
        expected = [values[side.response_id] for side in sides]
        assert [pair.chosen_value, pair.rejected_value] == pytest.approx(expected) and expected[0] > expected[1]
        if name in ("sppo", "checklist", "self_rewarding", "iterative_dpo", "iterative_ipo"):
            whole = [values[one.response_id] for one in of_prompt if one.flaw is None]
            assert expected == pytest.approx([max(whole), min(values.values())])
        if name == "anchored":
            assert [side.stage for side in sides] == ["sample", "anchor"]
    if name == "spar":
        refined = {id for id, one in answers.items() if (one.text or "").startswith("Refined: ")}
        assert refined and all(
            passes(answers[pair.chosen_response_id].text or "")
            and not passes(answers[pair.rejected_response_id].text or "")
            for pair in pairs
        )


def check_elo_by_hand(lake: Lake, run_id: str) -> None:
    """Of two judgements that were compared in both orders, by bisection of the likelihood's slope."""
    compared = lake.read(MetaJudgement, "run_id = $run", {"run": run_id})
    critiques = {one.judgement_id: one.critique for one in lake.read(Judgement, "run_id = $run", {"run": run_id})}
    elo = dict(zip(*lake.query("SELECT judgement_id, elo FROM judgement_elo").columns, strict=True))
    elo = {id.as_py(): value.as_py() for id, value in elo.items()}
    assert compared and len(compared) == len(elo)
    first_weight = fmean(1 - one.probability for one in compared if one.probability is not None)
    for one in compared:
        better, worse = (critiques[id] for id in (one.first_judgement_id, one.second_judgement_id))
        shown_first = 0.5 + 0.5 * (quality(better) - quality(worse)) + POSITION
        assert one.probability == pytest.approx(shown_first)
        shown_second = 1 - (0.5 + 0.5 * (quality(worse) - quality(better)) + POSITION)
        won = shown_first * first_weight + shown_second * (1 - first_weight)
        lost = (1 - shown_first) * (1 - first_weight) + (1 - shown_second) * first_weight
        low, high = -20.0, 20.0  # the logarithm of its strength; the other's is its negative
        for _ in range(200):
            middle = (low + high) / 2
            slope = won + 0.5 - (won + lost) / (1 + math.exp(-2 * middle)) - 1 / (1 + math.exp(-middle))
            low, high = (middle, high) if slope > 0 else (low, middle)
        assert elo[one.first_judgement_id] == pytest.approx(400 * low / math.log(10), abs=1e-4)


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


def check_rows_by_hand(name: str, rows: list[dict[str, Any]], texts: dict[str, Response]) -> None:
    """What a training set adds to its pairs."""
    for row in rows:
        chosen, rejected = (texts[row[f"{side}_response_id"]].text or "" for side in ("chosen", "rejected"))
        if name == "checklist":
            assert row["item_gap"] == pytest.approx(
                max(quality(chosen, item) - quality(rejected, item) for item in ITEMS)
            )
        if name in ("rlaif", "rlaif_dpo"):
            assert row["probability"] == pytest.approx(preference(chosen, rejected))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(judge) as started:
        yield started


@pytest.mark.parametrize("name", trained_recipes())
def test_a_method_on_the_embedded_model(name: str, out: Path, endpoint: ScriptedEndpoint) -> None:
    given = [
        "--out",
        str(out),
        "--prompts",
        str(PROMPTS),
        "--max-tokens",
        "128",
        "--config",
        str(out / "one_step.yaml"),
    ]
    given += [word for setting in CHEAPER.get(name, ()) for word in ("-o", f"{name}.stages.{setting}")]
    for role in sorted(set(load_recipe(name).models) - ANSWERING):
        given += ["-o", f"{name}.models.{role}.endpoint={endpoint.url}"]
    if name == "spar":
        given += ["-o", "spar.templates.refine=refine_brief"]
    main([*given, "--recipes", name])
    found = json.loads((out / f"figures/{name}.json").read_text())
    assert "reason" not in found, found["reason"]
    assert set(found["trainings"]) == set(load_recipe(name).trainings())
    run_id = found["data"]["run"]
    with Lake.open(out / "lake") as lake:
        check_pairs_by_hand(lake, name, run_id)
        if name == "meta_rewarding":
            check_elo_by_hand(lake, run_id)
        trained = {run.output: run for run in lake.read(TrainingRun)}
        for role in found["trainings"]:
            training = trained[f"{run_id}-{role}"]
            [of] = lake.read(TrainingSet, "training_set_id = $id", {"id": training.training_set_id})
            rows = read_training_set(lake, f"{of.name}@{of.version}")
            assert rows.train.num_rows
            check_first_loss(training, rows)
            if "chosen_response_id" in rows.train.column_names:
                check_rows_by_hand(name, rows.train.to_pylist(), texts_of(lake, run_id))
        if name == "rlaif_direct":
            [online] = lake.query(
                "SELECT run_id FROM current_runs WHERE purpose = 'training' ORDER BY started_at"
            ).column(0)[-1:]
            paid = lake.read(Judgement, "run_id = $run", {"run": online.as_py()})
            said = texts_of(lake, online.as_py())
            assert len(paid) >= 12 and [one.points for one in paid] == pytest.approx(
                [points(said[one.response_id].text or "") for one in paid]
            )
