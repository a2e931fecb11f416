"""Several configurations, the papers' presets, losses that do not fit, and settings as earlier versions recorded them."""

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml

import trainers.dpo
from factory.loops.training import Training, Weights, command_of
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES, TRAINER
from schemas.tables import TrainingRun
from stores.lake import Lake
from stores.training_sets import read_training_set
from tests.rows import row
from tests.training.tiny import CONFIG, build_numbers, captured, needs_torch, start, training_run
from trainers.examples import checked_number
from trainers.record import diverged_before
from trainers.reward import RewardSettings
from trainers.settings import NOT_IN_WEIGHTS, PRESETS, DpoSettings, Schedule, as_now, load_settings, plain
from trainers.sppo import SppoSettings


def read(tmp_path: Path, *texts: str) -> DpoSettings:
    files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return load_settings(DpoSettings, "dpo", [str(file) for file in files])


@needs_torch
def test_every_schedule_is_one_of_transformers() -> None:
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, SchedulerType

    from trainers.training import SCHEDULES

    assert list(SCHEDULES) == list(get_args(Schedule))
    assert all(SchedulerType(name) in TYPE_TO_SCHEDULER_FUNCTION for name in SCHEDULES.values())
    assert load_settings(RewardSettings, "reward", ["rlhf"]).schedule == "cosine"


def test_of_each_key_the_last_configuration_counts(tmp_path: Path) -> None:
    first, second = (
        "dpo: {beta: 0.5, epochs: 3, lora: {rank: 4, alpha: 8}}",
        "dpo: {epochs: 2, lora: {rank: 2}}\nrft: {epochs: 9}",
    )
    found = read(tmp_path, first, second)
    assert (found.beta, found.epochs, found.batch_size) == (0.5, 2, 64)
    assert found.lora is not None and (found.lora.rank, found.lora.alpha) == (2, 32)
    assert read(tmp_path, second, first).epochs == 3
    with pytest.raises(FactoryError, match=r"0\.yaml, .*1\.yaml: dpo: beta must be above 0, got -1"):
        read(tmp_path, first, "dpo: {beta: -1}")
    with pytest.raises(FactoryError, match=r"1\.yaml: dpo must be a mapping"):
        read(tmp_path, first, "dpo: 1")


def test_a_method_s_preset_on_a_small_machine() -> None:
    found = load_settings(SppoSettings, "sppo", ["sppo", "small-cpu"])
    assert (found.beta, found.optimizer, found.learning_rate, found.batch_size) == (1e-3, "rmsprop", 2e-5, 4)


def test_commands_hand_on_every_configuration() -> None:
    asked = Training("sppo", "rated@1", Weights("start"), None, None, 0, ("sppo", "mine.yaml"))
    words = command_of("lake", asked, None)
    assert words[-4:] == ["--config", "sppo", "--config", "mine.yaml"]


PAPERS: dict[str, tuple[str, dict[str, Any]]] = {
    "spin": ("dpo", {"loss_type": ("sigmoid",), "beta": 0.1, "learning_rate": 5e-7, "batch_size": 64, "epochs": 2}),
    "sppo": ("sppo", {"beta": 1e-3, "learning_rate": 5e-7, "batch_size": 64, "optimizer": "rmsprop"}),
    "iterative_dpo": ("dpo", {"loss_type": ("sigmoid",), "beta": 0.1, "learning_rate": 1e-6, "optimizer": "rmsprop"}),
    "iterative_ipo": ("dpo", {"loss_type": ("ipo",), "loss_weights": (1.0,), "beta": 0.1}),
    "self_rewarding": ("dpo", {"loss_type": ("sigmoid",), "learning_rate": 1e-6, "batch_size": 16}),
    "meta_rewarding": ("dpo", {"loss_type": ("sigmoid",), "beta": 0.1}),
    "rlaif": ("reward", {"batch_size": 128}),
    "rlaif_dpo": ("dpo", {"loss_type": ("sigmoid",), "beta": 0.1}),
    "facttune": ("dpo", {"learning_rate": 5e-7, "optimizer": "rmsprop", "max_tokens": 512, "epochs": 1}),
    "delta": ("dpo", {"loss_type": ("sigmoid_norm",), "beta": 5.0, "learning_rate": 5e-8}),
    "checklist": ("dpo", {"beta": 0.1, "learning_rate": 3e-6, "epochs": 2, "batch_size": 1024}),
    "rlhf": ("reward", {"group_by_prompt": True, "epochs": 1}),
}


@pytest.mark.parametrize("name", PAPERS)
def test_presets_have_their_papers_values(name: str) -> None:
    objective, values = PAPERS[name]
    kind: Any = {"dpo": DpoSettings, "sppo": SppoSettings, "reward": RewardSettings}[objective]
    found = load_settings(kind, objective, [name])
    assert {key: getattr(found, key) for key in values} == values
    assert (PRESETS / f"{name}.yaml").read_text("utf-8").startswith("#")


def test_every_preset_can_be_read() -> None:
    for file in PRESETS.glob("*.yaml"):
        sections = yaml.safe_load(file.read_text("utf-8"))
        assert sections.keys() <= OBJECTIVES.keys(), file


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("loss_type: sppo_hard", "'sppo_hard' is not here: it takes any win as certain: the objective sppo learns"),
        ("loss_type: aot", "it sorts the pairs of a micro-batch"),
        ("loss_type: sigmoids", "unknown loss_type 'sigmoids': did you mean 'sigmoid'?"),
        ("loss_type: []", "give one for each"),
        ("loss_weights: [1]", "1 loss_weights for 2 losses of loss_type: give one for each"),
        ("loss_weights: [0, 0]", "must not be below 0 nor all 0"),
        ("loss_weights: [1, -1]", "must not be below 0 nor all 0"),
        ("label_smoothing: 0.1", "label_smoothing is for robust and exo_pair: TRL leaves it out of sigmoid, sft"),
        ("loss_type: robust, label_smoothing: 0.5", "must be below 0.5 for robust"),
        ("loss_type: exo_pair", "exo_pair needs a label_smoothing above 0"),
        ("ld_alpha: 1.5", "ld_alpha must be in [0, 1], got 1.5"),
        ("sft_weight: many", "loss_weights"),
    ],
)
def test_losses_that_cannot_be_are_refused(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(FactoryError) as error:
        read(tmp_path, f"dpo: {{{given}}}")
    assert words in str(error.value) and "0.yaml: dpo" in str(error.value)


def test_weights_of_before_are_understood(tmp_path: Path) -> None:
    assert read(tmp_path, "dpo: {sft_weight: 0}").loss_weights == (1.0, 0.0)
    assert read(tmp_path, "dpo: {sigmoid_weight: 2.0, sft_weight: 0.5}").loss_weights == (2.0, 0.5)
    assert read(tmp_path, "dpo: {sft_weight: 0.5}", "dpo: {loss_type: hinge, loss_weights: [1]}").loss_type == (
        "hinge",
    )
    assert read(tmp_path, "dpo: {loss_type: hinge}").loss_weights == (1.0,)
    assert read(tmp_path, "dpo: {loss_type: [hinge, sft]}").loss_weights == (1.0, 0.1)


def of_before(settings: DpoSettings) -> dict[str, Any]:
    """As the version before loss_type recorded it."""
    newer = ("loss_type", "loss_weights", "label_smoothing", "ld_alpha", "optimizer")
    left = {name: value for name, value in plain(settings).items() if name not in newer}
    weights = dict(zip(settings.loss_type, settings.loss_weights or (), strict=True))
    return left | {"sigmoid_weight": weights["sigmoid"], "sft_weight": weights["sft"]}


def test_a_configuration_of_before_is_that_of_now(tmp_path: Path) -> None:
    for settings in (DpoSettings(), DpoSettings(beta=0.3, loss_weights=(1.0, 0.0))):
        assert read(tmp_path, yaml.safe_dump({"dpo": of_before(settings)})) == settings
        assert as_now("dpo", of_before(settings)) == plain(settings)
        assert as_now("dpo", of_before(settings) | {"seed": 3}) == plain(settings) | {"seed": 3}
    assert as_now("dpo", of_before(DpoSettings(beta=0.3))) != plain(DpoSettings())
    # What cannot be read is left as it is, and no module of that name is looked for.
    assert as_now("dpo", {"beta": "x"}) == {"beta": "x"}
    assert as_now("os", {"beta": 1}) == {"beta": 1}


@needs_torch
def test_what_diverged_before_under_other_names_is_known(tmp_path: Path) -> None:
    known = {"training_set_id": "s", "objective": "dpo", "seed": 1, "configuration": json.dumps(plain(DpoSettings()))}
    old = json.dumps(of_before(DpoSettings()))
    with Lake.open(tmp_path / "lake", create=True) as lake:
        then = known | {"configuration": old}
        odd = row(TrainingRun, "odd", status="diverged", reason="odd", **(known | {"configuration": "[]"}))
        lake.append([odd, row(TrainingRun, "r", status="diverged", reason="why", **then)], message="diverged")
    assert diverged_before(str(tmp_path / "lake"), known) == "why"
    other = json.dumps(plain(DpoSettings(beta=0.2)))
    assert diverged_before(str(tmp_path / "lake"), known | {"configuration": other}) is None


@needs_torch
def test_a_model_of_before_is_not_trained_again(
    place: SimpleNamespace, dpo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((dpo / "training.json").read_text("utf-8"))
    now = record["wanted"]
    beside = {name: value for name, value in now.items() if name not in DpoSettings.__struct_fields__}
    settings = load_settings(DpoSettings, "dpo", [str(place.folder / "config.yaml")])
    old = {name: value for name, value in of_before(settings).items() if name not in NOT_IN_WEIGHTS}
    (dpo / "training.json").write_text(json.dumps(record | {"wanted": beside | old}), "utf-8")
    assert start(place, "dpo", dpo) == 0
    assert f"trained before: {dpo}" in capsys.readouterr().out
    (dpo / "training.json").write_text(json.dumps(record), "utf-8")


@needs_torch
def test_settings_reach_trl(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, tmp_path: Path) -> None:
    losses = "dpo: {loss_type: [robust, sft], loss_weights: [2, 0.5], label_smoothing: 0.2, ld_alpha: 0.4, optimizer: rmsprop}"
    (tmp_path / "mine.yaml").write_text(losses)
    words = ["--config", str(place.folder / "config.yaml")]
    taken: list[Any] = []
    monkeypatch.setattr("trainers.training.train_and_record", lambda *given: taken.extend(given))
    words += ["--config", str(tmp_path / "mine.yaml"), "--lake", str(place.lake), "--output", str(tmp_path / "out")]
    assert trainers.dpo.main([*words, "--set", "spar_dpo@1", "--model", str(place.folder / "tiny")]) == 0
    job, trainer, _ = taken
    job.part.remove()
    assert (trainer.loss_types, trainer.loss_weights) == (["robust", "sft"], [2, 0.5])
    assert (trainer.label_smoothing, trainer.ld_alpha, trainer.args.learning_rate) == (0.2, 0.4, 1e-3)
    trainer.create_optimizer()
    assert type(trainer.optimizer).__name__ == "RMSprop"
    recorded = json.loads(job.known["configuration"])
    assert (recorded["loss_weights"], recorded["batch_size"], recorded["label_smoothing"]) == ([2.0, 0.5], 4, 0.2)


@needs_torch
def test_soft_labels_reach_the_loss(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    import torch

    job, trainer = captured(monkeypatch, place, "dpo", set="rated@1")
    wanted = [each["probability"] for each in job.examples.rows]
    seen: list[float] = []
    monkeypatch.setattr(type(trainer), "pair_loss", lambda _, loss, *given: seen.extend(given[-1].tolist()) or loss)
    trainer.args.max_steps = 5
    trainer.train()
    assert sorted(seen) == pytest.approx(sorted(wanted)) and len(set(wanted)) == len(wanted)
    assert torch.isfinite(torch.tensor(trainer.state.log_history[0]["loss"]))


@needs_torch
def test_sppo_s_first_loss_is_of_the_shrunk_targets_alone(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, tmp_path: Path
) -> None:
    """At the start each log-ratio is 0, so what is left is the mean of the targets' squares."""
    (tmp_path / "mine.yaml").write_text(CONFIG.replace("sppo: *shared", "sppo: {<<: *shared, shrink: 0.5}"))
    job, trainer = captured(monkeypatch, place, "sppo", set="rated@1", config=tmp_path / "mine.yaml")
    with Lake.open(place.lake) as lake:
        rows = read_training_set(lake, "rated@1").train.to_pylist()
    targets = [((row["chosen_win_rate"] - 0.5) / 2, (row["rejected_win_rate"] - 0.5) / 2) for row in rows]
    trainer.args.gradient_accumulation_steps = len(rows)
    trainer.args.max_steps = 1
    trainer.train()
    expected = sum(chosen**2 + rejected**2 for chosen, rejected in targets) / len(rows)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-6)
    assert job.warnings == []


@needs_torch
def test_sppo_trains_on_win_rates_and_records_its_reference(place: SimpleNamespace, sppo: Path) -> None:
    run = training_run(place, sppo)
    assert run.reference_model_id == run.start_model_id is not None
    metrics = json.loads(run.metrics)
    assert metrics["after"]["reward_accuracy"] > 0.5 and "warnings" not in metrics
    assert "self-play preference optimization" in (sppo / "README.md").read_text("utf-8")
    assert json.loads(run.configuration)["shrink"] == 0


@pytest.mark.parametrize(
    ("objective", "name", "columns", "config", "words"),
    [
        ("sppo", "spar_dpo@1", None, "", "has no column chosen_win_rate and no column rejected_win_rate: sppo learns"),
        ("dpo", "rated@1", None, "loss_type: hinge", "has a column probability, and loss_type hinge has no soft form"),
        ("dpo", "rated@1", None, "ld_alpha: 0.5", "ld_alpha does not go with soft labels"),
        ("reward", "both", "0.5 AS probability, 1 AS margin", "", "has both columns probability and margin"),
        ("reward", "completions@1", None, "", "use `factory train rft`"),
    ],
)
def test_sets_that_do_not_fit_are_refused(
    place: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    objective: str,
    name: str,
    columns: str | None,
    config: str,
    words: str,
) -> None:
    if columns is not None:
        with Lake.open(place.lake) as lake:
            build_numbers(lake, tmp_path, name, columns)
    (tmp_path / "mine.yaml").write_text(f"{objective}: {{{config}}}")
    assert start(place, objective, tmp_path / "out", set=name, config=tmp_path / "mine.yaml") == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("probability", None, "column probability must be a number in [0, 1] in every row, got NULL"),
        ("probability", 1.5, "in every row, got 1.5"),
        ("chosen_win_rate", "x", "in every row, got 'x'"),
        ("rejected_win_rate", float("nan"), "in every row, got nan"),
        ("margin", -0.1, "column margin must be a number of at least 0 in every row, got -0.1"),
        ("margin", float("inf"), "got inf"),
    ],
)
def test_a_column_s_numbers_are_checked(name: str, value: Any, words: str) -> None:
    with pytest.raises(FactoryError) as error:
        checked_number(value, name, "a@1")
    assert words in str(error.value)
    assert [checked_number(good, name, "a@1") for good in (0, Decimal("0.5"), 1.0)] == [0.0, 0.5, 1.0]


def test_a_format_s_own_trainer_is_the_first_that_takes_it() -> None:
    assert (TRAINER["preference"], TRAINER["prompt_completion"]) == ("dpo", "rft")
