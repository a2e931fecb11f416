"""Guards on made curves, and on a real training that diverges: recorded, no model, exit code 3."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from schemas.tables import TrainingRun
from stores.lake import Lake
from tests.training.tiny import CONFIG, needs_torch, start
from trainers.guards import Entry, climbing, falling, no_number, sinking
from trainers.settings import DpoSettings
from trainers.sppo import SppoSettings


def losses(*values: float) -> list[Entry]:
    return [{"loss": value} for value in values]


def rewards(chosen: float, rejected: float) -> Entry:
    return {"loss": 0.7, "rewards/chosen": chosen, "rewards/rejected": rejected}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"loss": 0.7, "grad_norm": 900.0}, None),
        ({"loss": math.nan}, "the loss is nan"),
        ({"loss": -math.inf}, "the loss is -inf"),
        # The last step's loss is of the weights before it.
        ({"loss": 0.7, "grad_norm": math.nan}, "the gradient's norm is nan"),
    ],
)
def test_what_is_no_number(entry: Entry, words: str | None) -> None:
    assert no_number(entry) == words


@pytest.mark.parametrize(
    ("curve", "trips"),
    [
        ([2.0] * 3 + [2.4] * 3, False),
        ([2.0] * 3 + [2.6] * 3, True),
        # One wild step among good ones is noise.
        ([2.0] * 5 + [3.4], False),
        # A first step that is too long shows in the first window, too, but less.
        ([2.0] + [60.0] * 5, True),
        # It rose and fell again.
        ([2.0] * 3 + [9.0] * 3 + [1.0] * 3, False),
        # Too few to compare.
        ([2.0] * 2 + [9.0] * 3, False),
        ([0.69, 0.5, 0.3, 0.2, 0.1, 0.05], False),
    ],
)
def test_a_loss_that_climbs(curve: list[float], trips: bool) -> None:
    found = climbing(losses(*curve), 3, 0.5)
    assert (found is not None) == trips
    if found is not None:
        assert found.startswith("the loss climbs: ") and "max_loss_rise 0.5 nats" in found


def test_a_loss_climbs_in_its_own_unit() -> None:
    """IPO's loss begins at 1 / (2 beta)^2 = 25 for beta 0.1, where half a nat is noise."""
    ipo, sigmoid = DpoSettings(loss_type=("ipo",)), DpoSettings()
    curve = losses(*[25.0] * 3, *[27.0] * 3)
    assert sigmoid.loss_unit == (1.0, "nats") and ipo.loss_unit[0] == pytest.approx(25)
    assert climbing(curve, 3, 0.5, sigmoid.loss_unit) is not None
    assert climbing(curve, 3, 0.5, ipo.loss_unit) is None
    found = climbing(losses(*[25.0] * 3, *[40.0] * 3), 3, 0.5, ipo.loss_unit)
    assert found is not None and "max_loss_rise 0.5 times 25, where ipo begins" in found
    # SPPO's loss is of squared win rates, at most 0.5 at the start.
    found = climbing(losses(*[0.2] * 3, *[0.8] * 3), 3, 0.5, SppoSettings().loss_unit)
    assert found is not None and "0.5 squared win rates" in found


def test_both_log_probabilities_falling() -> None:
    """beta 0.1 and answers of 20 tokens: a reward of -2 is a nat a token."""

    def fault(*entries: Entry) -> str | None:
        return falling(entries, 2, 1.0, 0.1, [20, 20])

    begun = rewards(0, 0)
    assert fault(begun, rewards(-1.9, -9), rewards(-1.9, -9)) is None
    assert fault(begun, rewards(-9, -1.9), rewards(-9, -1.9)) is None
    found = fault(begun, rewards(-2.2, -4), rewards(-2.2, -4))
    assert found is not None and "chosen answers has lost 1.10 nats and one of the rejected 2.00" in found
    # One step alone is not enough, and neither is one window that is not full.
    assert fault(begun, rewards(0, 0), rewards(-3, -3)) is None
    assert fault(rewards(-9, -9)) is None
    # Another reference than the start: only what was lost since the start counts.
    apart = rewards(-5, -5)
    assert fault(apart, apart, apart) is None
    assert fault(apart, rewards(-7.2, -9), rewards(-7.2, -9)) is not None


def diverged(place: SimpleNamespace, objective: str, rate: str) -> list[TrainingRun]:
    with Lake.open(place.lake) as lake:
        runs = lake.read(TrainingRun, "status = 'diverged' AND objective = $objective", {"objective": objective})
    return [run for run in runs if json.loads(run.configuration)["learning_rate"] == float(rate)]


@needs_torch
@pytest.mark.parametrize(
    ("objective", "rate", "more", "words"),
    [
        ("rft", "3.0", "guard_steps: 3", "the loss climbs"),
        ("dpo", "0.5", "guard_steps: 2\n  max_loss_rise: null", "both log-probabilities fall"),
        ("rft", "1e30", "", "is nan"),
        pytest.param(
            "sppo",
            "0.5",
            "guard_steps: 2\n  max_loss_rise: null",
            "both log-probabilities fall",
            marks=pytest.mark.heavy,
        ),
        pytest.param("reward", "3.0", "guard_steps: 3", "the loss climbs", marks=pytest.mark.heavy),
    ],
)
def test_a_rate_far_too_high_ends_the_training_with_a_row_and_no_model(
    place: SimpleNamespace,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    objective: str,
    rate: str,
    more: str,
    words: str,
) -> None:
    text = CONFIG.replace("1e-3", rate).replace("  epochs: 2", f"  epochs: 6\n  save_every: 1\n  {more}")
    (tmp_path / "wild.yaml").write_text(text)
    assert start(place, objective, tmp_path / "out", config=tmp_path / "wild.yaml") == 3
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("error: the training has diverged (step ") and words in said
    (run,) = diverged(place, objective, rate)
    assert (run.weights_sha256, run.output, run.objective) == (None, None, objective)
    assert run.reason is not None and run.reason in said
    assert f"step {len(run.loss_curve)} of 30" in run.reason
    assert "after" not in json.loads(run.metrics)
    assert list(tmp_path.iterdir()) == [tmp_path / "wild.yaml"]

    # Again with the same arguments: said, and no second row.
    assert start(place, objective, tmp_path / "out", config=tmp_path / "wild.yaml") == 3
    assert "has diverged before (step " in capfd.readouterr().err
    assert [each.training_run_id for each in diverged(place, objective, rate)] == [run.training_run_id]


@needs_torch
def test_weights_that_the_last_step_ruined_are_no_model(
    place: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.replace("1e-3", "2e38").replace("epochs: 2", "epochs: 1").replace("batch_size: 4", "batch_size: 64")
    (tmp_path / "wild.yaml").write_text(text)
    assert start(place, "rft", tmp_path / "out", config=tmp_path / "wild.yaml") == 3
    assert "no numbers" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_falling_rewards_end_a_training() -> None:
    steady = [{"reward": 1.0, "reward_std": 0.5}, {"reward": 1.2, "reward_std": 0.5}]
    assert sinking([*steady, {"reward": 0.2, "reward_std": 0.1}, {"reward": 0.0, "reward_std": 0.1}], 2, 3.0) is None
    worse = [{"reward": -0.5, "reward_std": 0.1}, {"reward": -0.5, "reward_std": 0.1}]
    said = sinking([*steady, *worse], 2, 3.0)  # 1.1 + 0.5 > 3 * 0.5
    assert said is not None and "max_reward_fall 3 deviations" in said
    assert sinking(worse, 2, 3.0) is None
    nobody_paid = {"reward": None, "reward_std": None}
    assert sinking([nobody_paid, *steady, nobody_paid, *worse, nobody_paid], 2, 3.0) == said
