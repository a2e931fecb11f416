"""The trainers' settings, whose defaults are for 7B-class models, and the YAML that changes them.

A file has a section for each objective (`dpo:`, `rft:`, `sft:`); a trainer reads its own. The defaults are declared here alone:
a preset names only what it changes.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml

from schemas.errors import FactoryError, nearest
from schemas.settings import Settings, about, read_settings
from stores.named_files import read_named

PRESETS = Path(__file__).parent / "presets"
OBJECTIVES = ("dpo", "rft", "sft")
CODE = "SPaR's code"


class Lora(Settings, frozen=True, kw_only=True):
    """Low-rank adapters (arXiv:2106.09685) on every linear layer but the output layer. The defaults are ours."""

    rank: Annotated[int, about("the rank of the adapters", least=1)] = 16
    alpha: Annotated[int, about("their scale: alpha / rank", least=1)] = 32
    dropout: Annotated[float, about("dropout on their input", least=0, below=1)] = 0.0


class TrainerSettings(Settings, frozen=True, kw_only=True):
    """What both objectives share. `batch_size` is the dial; the steps of accumulation follow from it."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", above=0)]
    epochs: Annotated[int, about("how often each example is trained on", above=0)]
    schedule: Annotated[Literal["linear", "constant"], about("linear falls to 0; both follow the warm-up")]
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", above=0)]
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


class DpoSettings(TrainerSettings, frozen=True, kw_only=True):
    """SPaR's actor (arXiv:2412.11605, its public code): -log sigmoid(beta margin) + 0.1 NLL(chosen)."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", CODE, above=0)] = 2e-7
    epochs: Annotated[int, about("how often each example is trained on", CODE, above=0)] = 1
    schedule: Annotated[Literal["linear", "constant"], about("linear falls to 0; both follow the warm-up", CODE)] = (
        "linear"
    )
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", CODE, above=0)] = 2048
    beta: Annotated[float, about("the strength of the pull to the reference model", CODE, above=0)] = 0.1
    sigmoid_weight: Annotated[float, about("the weight of DPO's own loss", CODE, least=0)] = 1.0
    sft_weight: Annotated[
        float, about("the weight of the chosen answers' negative log-likelihood per token; 0: plain DPO", CODE, least=0)
    ] = 0.1
    max_fall: (
        Annotated[
            float, about("nats that a token of chosen and rejected answers may lose, or the training ends", above=0)
        ]
        | None
    ) = 1.0

    def __post_init__(self) -> None:
        if self.sigmoid_weight + self.sft_weight == 0:
            raise ValueError("sigmoid_weight and sft_weight are both 0: nothing would be trained")


class RftSettings(TrainerSettings, frozen=True, kw_only=True):
    """SPaR's refiner (its public code): rejection-sampling fine-tuning on accepted dialogues."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", CODE, above=0)] = 2e-6
    epochs: Annotated[int, about("how often each example is trained on", CODE, above=0)] = 5
    schedule: Annotated[Literal["linear", "constant"], about("linear falls to 0; both follow the warm-up", CODE)] = (
        "constant"
    )
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", CODE, above=0)] = 4096


class SftSettings(RftSettings, frozen=True, kw_only=True):
    """Supervised fine-tuning on given answers: as the refiner's, for SPaR's own start is not published."""


NOT_IN_WEIGHTS = frozenset({"save_every", "keep_checkpoints", "guard_steps", "max_loss_rise", "max_fall"})
"""Settings that leave a training's weights as they are: with others, it is still the same training."""

Kind = TypeVar("Kind", DpoSettings, RftSettings, SftSettings)


def load_settings(kind: type[Kind], objective: str, config: str | None) -> Kind:
    """The settings of `objective`: the defaults, changed by the preset or YAML file that `config` names.

    Raises:
        FactoryError: no such preset or file, an unknown key (with the nearest right one), or a value that cannot be.
    """
    if config is None:
        return kind()
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
    return read_settings(kind, content.get(objective) or {}, f"{path}: {objective}")
