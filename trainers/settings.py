"""The trainers' settings, whose defaults are for 7B-class models, and the YAML that changes them.

A file has a section for each objective (`dpo:`, `reward:`, ...); a trainer reads its own, whose class its module names
as `SETTINGS`. Defaults are declared in these classes alone: a preset names only what it changes.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml

from schemas.errors import FactoryError, nearest
from schemas.objectives import OBJECTIVES
from schemas.settings import Settings, about, read_settings
from stores.named_files import read_named

PRESETS = Path(__file__).parent / "presets"
CODE = "SPaR's code"
LOSSES = (
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "apo_zero",
    "apo_down",
    "sft",
)
"""TRL's losses that are of one pair; docs/trainers.md has their formulas"""
SMOOTHED = ("robust", "exo_pair")
"""those that label_smoothing changes in TRL"""
SFT_WEIGHT = 0.1


class Lora(Settings, frozen=True, kw_only=True):
    """Low-rank adapters (arXiv:2106.09685) on every linear layer but the output layer. The defaults are ours."""

    rank: Annotated[int, about("the rank of the adapters", least=1)] = 16
    alpha: Annotated[int, about("their scale: alpha / rank", least=1)] = 32
    dropout: Annotated[float, about("dropout on their input", least=0, below=1)] = 0.0


Schedule = Literal["linear", "cosine", "constant"]
"""of the learning rate, over the steps"""


class TrainerSettings(Settings, frozen=True, kw_only=True):
    """What all objectives share. `batch_size` is the dial; the steps of accumulation follow from it."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", above=0)]
    epochs: Annotated[int, about("how often each example is trained on", above=0)]
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up")]
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", above=0)]
    optimizer: Annotated[Literal["adamw", "rmsprop"], about("torch's, with its defaults and no weight decay")] = "adamw"
    warmup: Annotated[float, about("the share of all steps in which the rate rises", CODE, least=0, below=1)] = 0.1
    batch_size: Annotated[
        int, about("examples in one optimizer step, over all processes", "DPO, arXiv:2305.18290", above=0)
    ] = 64
    micro_batch_size: Annotated[int, about("examples at once on one device", above=0)] = 1
    precision: Annotated[
        Literal["bfloat16", "float32"], about("bfloat16 is mixed: the weights trained stay in float32")
    ] = "bfloat16"
    gradient_checkpointing: Annotated[bool, about("less memory for about a fifth more time")] = True
    drop_too_long: Annotated[
        bool, about("leave out examples longer than max_tokens; otherwise they stop the training")
    ] = False
    lora: Annotated[Lora | None, about("adapters; none: every weight is trained")] = None
    save_every: (
        Annotated[
            int,
            about(
                "steps from one checkpoint to the next; 0: none; unset: ten minutes, and a fiftieth of the time at most",
                least=0,
            ),
        ]
        | None
    ) = None
    keep_checkpoints: Annotated[int, about("how many checkpoints are kept; all are removed at the end", above=0)] = 1
    guard_steps: Annotated[int, about("steps that a guard takes the mean of", above=0)] = 10
    max_loss_rise: (
        Annotated[
            float, about("nats that the loss may rise above that of the first steps, or the training ends", above=0)
        ]
        | None
    ) = 0.5

    @property
    def loss_unit(self) -> tuple[float, str]:
        """What `max_loss_rise` counts, and its name."""
        return 1.0, "nats"

    @property
    def generated_tokens(self) -> int:
        """Tokens that the trained model may write after a prompt; 0: its answers are in the set."""
        return 0


class RewardedSettings(TrainerSettings, frozen=True, kw_only=True):
    """What objectives share whose answers are paid for."""

    max_reward_fall: (
        Annotated[
            float,
            about(
                "how far the mean reward may fall below that of the first steps, in its standard deviations there, or the "
                "training ends",
                above=0,
            ),
        ]
        | None
    ) = 3.0


class PairSettings(TrainerSettings, frozen=True, kw_only=True):
    """What objectives share that compare with a reference model."""

    beta: Annotated[float, about("the strength of the pull to the reference model", above=0)]
    max_fall: (
        Annotated[
            float, about("nats that a token of chosen and rejected answers may lose, or the training ends", above=0)
        ]
        | None
    ) = 1.0


class DpoSettings(PairSettings, frozen=True, kw_only=True):
    """SPaR's actor (arXiv:2412.11605, its public code): -log sigmoid(beta margin) + 0.1 NLL(chosen)."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", CODE, above=0)] = 2e-7
    epochs: Annotated[int, about("how often each example is trained on", CODE, above=0)] = 1
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up", CODE)] = "linear"
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", CODE, above=0)] = 2048
    beta: Annotated[float, about("the strength of the pull to the reference model", CODE, above=0)] = 0.1
    loss_type: Annotated[tuple[str, ...], about("TRL's losses, added up by loss_weights", CODE)] = ("sigmoid", "sft")
    loss_weights: Annotated[tuple[float, ...], about("the weight of each; unset: 1, and 0.1 for sft", CODE)] | None = (
        None
    )
    label_smoothing: Annotated[
        float, about("the share of labels that are wrong, for robust and exo_pair", least=0, below=1)
    ] = 0.0
    ld_alpha: (
        Annotated[
            float,
            about("the weight of an answer's tokens beyond the length of the other one (LD-DPO)", least=0, most=1),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.loss_weights is None:  # in the record it stands as a number: this default may change
            weights = tuple(SFT_WEIGHT if loss == "sft" else 1.0 for loss in self.loss_type)
            msgspec.structs.force_setattr(self, "loss_weights", weights)
        assert self.loss_weights is not None
        _check_losses(self.loss_type, self.loss_weights)
        if self.label_smoothing and not set(SMOOTHED) & set(self.loss_type):
            raise ValueError(
                f"label_smoothing is for {' and '.join(SMOOTHED)}: TRL leaves it out of {', '.join(self.loss_type)}; for soft "
                "labels with sigmoid, give the set a column probability"
            )
        if "robust" in self.loss_type and self.label_smoothing >= 0.5:
            raise ValueError(f"label_smoothing must be below 0.5 for robust, got {self.label_smoothing}")
        if "exo_pair" in self.loss_type and self.label_smoothing == 0:
            raise ValueError("exo_pair needs a label_smoothing above 0: its paper has 0.001")

    @property
    def loss_unit(self) -> tuple[float, str]:
        """For ipo, whose loss begins at 1 / (2 beta)^2, that is the unit."""
        start = 1 / (2 * self.beta) ** 2
        return (start, f"times {start:g}, where ipo begins") if "ipo" in self.loss_type else (1.0, "nats")


def _check_losses(losses: Sequence[str], weights: Sequence[float]) -> None:
    """
    Raises:
        ValueError: a loss that is not known or cannot be had here, or weights that do not fit.
    """
    elsewhere = {
        "sppo_hard": "it takes any win as certain: the objective sppo learns the win rates themselves",
        "aot": "it sorts the pairs of a micro-batch, which holds one by default",
        "aot_unpaired": "it sorts the answers of a micro-batch, which holds one pair by default",
    }
    for loss in losses:
        if loss in elsewhere:
            raise ValueError(f"loss_type {loss!r} is not here: {elsewhere[loss]}")
        if loss not in LOSSES:
            raise ValueError(f"unknown loss_type {loss!r}: {nearest(loss, LOSSES, 'it is one of')}")
    if not losses or len(weights) != len(losses):
        raise ValueError(f"{len(weights)} loss_weights for {len(losses)} losses of loss_type: give one for each")
    if min(weights) < 0 or sum(weights) == 0:
        raise ValueError(f"loss_weights must not be below 0 nor all 0, got {list(weights)}")


class RftSettings(TrainerSettings, frozen=True, kw_only=True):
    """SPaR's refiner (its public code): rejection-sampling fine-tuning on accepted dialogues."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", CODE, above=0)] = 2e-6
    epochs: Annotated[int, about("how often each example is trained on", CODE, above=0)] = 5
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up", CODE)] = "constant"
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", CODE, above=0)] = 4096


class SftSettings(RftSettings, frozen=True, kw_only=True):
    """Supervised fine-tuning on given answers: as the refiner's, for SPaR's own start is not published."""


NOT_IN_WEIGHTS = frozenset(
    {"save_every", "keep_checkpoints", "guard_steps", "max_loss_rise", "max_fall", "max_reward_fall"}
)
"""Settings that leave a training's weights as they are: with others, it is still the same training."""

Kind = TypeVar("Kind", bound=TrainerSettings)


def load_settings(kind: type[Kind], objective: str, configs: Sequence[str]) -> Kind:
    """The settings of `objective`: the defaults, changed by the presets and YAML files that `configs` names in turn.

    Of each key of a section the last file's value counts.

    Raises:
        FactoryError: no such preset or file, an unknown key (with the nearest right one), or a value that cannot be.
    """
    merged: dict[str, Any] = {}
    paths = []
    for config in configs:
        path, section = _section(objective, config)
        paths.append(str(path))
        if not isinstance(section, dict):
            raise FactoryError(f"{path}: {objective} must be a mapping, got {section!r}")
        merged |= _todays_names(objective, section)
    return read_settings(kind, merged, f"{', '.join(paths)}: {objective}")


def check_batches(settings: TrainerSettings, processes: int) -> None:
    """
    Raises:
        FactoryError: a batch cannot be shared out among the processes.
    """
    if settings.batch_size % (settings.micro_batch_size * processes):
        times = f" times {processes} processes" if processes > 1 else ""
        raise FactoryError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size {settings.micro_batch_size}{times}: "
            "change one of them"
        )


def _section(objective: str, config: str) -> tuple[Path, Any]:
    path, text = read_named(PRESETS, ".yaml", config, "configuration")
    try:
        content = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, thousands of digits
        raise FactoryError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise FactoryError(f"{path} must have a section for each objective ({', '.join(OBJECTIVES)}), got {content!r}")
    for name in content:
        if name not in OBJECTIVES:
            raise FactoryError(f"{path}: unknown key {name!r}: {nearest(str(name), OBJECTIVES)}")
    return path, content.get(objective) or {}


def _todays_names(objective: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """Before loss_type and loss_weights there were sigmoid_weight and sft_weight: in users' files and in lakes."""
    old = {"sigmoid_weight": 1.0, "sft_weight": SFT_WEIGHT}
    if objective != "dpo" or not old.keys() & section.keys():
        return dict(section)
    weights = [section.get(name, default) for name, default in old.items()]
    left = {name: value for name, value in section.items() if name not in old}
    return {"loss_type": ["sigmoid", "sft"], "loss_weights": weights} | left


def as_now(objective: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as an earlier version has recorded them, with today's names and the defaults of those that are newer.

    So a training of then is known again. What is recorded beside settings is left as it is, and so is everything where
    it cannot be read.
    """
    if objective not in OBJECTIVES:
        return dict(recorded)
    kind = import_module(f"trainers.{objective}").SETTINGS
    named = _todays_names(objective, recorded)
    given = {name: named[name] for name in kind.__struct_fields__ if name in named}
    try:
        settings = read_settings(kind, given, objective)
    except FactoryError:
        return dict(recorded)
    return named | plain(settings)


def plain(settings: TrainerSettings) -> dict[str, Any]:
    """Settings as JSON has them: lists, not tuples."""
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return decoded
