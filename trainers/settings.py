"""The trainers' settings: frozen dataclasses with defaults for models of about 7B parameters, and YAML overrides.

A file has one section per objective (`dpo:`, `rft:`); a trainer reads its own. Defaults are defined only here:
a preset lists only its changes.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from schemas.errors import FactoryError, nearest
from stores.named_files import read_named

PRESETS = Path(__file__).parent / "presets"
OBJECTIVES = ("dpo", "rft")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (arXiv:2106.09685) on every linear layer except the output. The defaults are our own."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require(self.rank >= 1, "rank must be at least 1")
        _require(0 <= self.dropout < 1, "dropout must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of both objectives. `batch_size` determines the steps of gradient accumulation."""

    learning_rate: float
    epochs: int
    schedule: str  # linear (decays to 0) or constant, after the warm-up
    max_tokens: int  # of a prompt and its answer together
    warmup: float = 0.1  # share of all steps, as in SPaR's code
    batch_size: int = 64  # examples per optimizer step, over all processes, as in DPO (arXiv:2305.18290)
    micro_batch_size: int = 1  # examples at once on one device
    precision: str = "bfloat16"  # bfloat16 (mixed: trained weights stay in float32) or float32
    gradient_checkpointing: bool = True  # saves memory, takes about a fifth longer
    drop_too_long: bool = False  # skip examples longer than max_tokens; otherwise they are an error
    lora: Lora | None = None  # None: train every weight

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "max_tokens", "batch_size", "micro_batch_size"):
            _require(getattr(self, name) > 0, f"{name} must be above 0, got {getattr(self, name)}")
        _require(0 <= self.warmup < 1, f"warmup must be in [0, 1), got {self.warmup}")
        _require(self.schedule in ("linear", "constant"), f"schedule must be linear or constant, got {self.schedule}")
        _require(
            self.precision in ("bfloat16", "float32"), f"precision must be bfloat16 or float32, got {self.precision}"
        )


@dataclass(frozen=True, kw_only=True)
class DpoSettings(Settings):
    """SPaR's actor (arXiv:2412.11605, its public code): -log sigmoid(beta margin) + 0.1 NLL(chosen)."""

    learning_rate: float = 2e-7
    epochs: int = 1
    schedule: str = "linear"
    max_tokens: int = 2048
    beta: float = 0.1
    sigmoid_weight: float = 1.0
    sft_weight: float = 0.1  # for the negative log-likelihood per token of the chosen answers; 0: plain DPO

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.beta > 0, f"beta must be above 0, got {self.beta}")
        _require(self.sigmoid_weight >= 0 and self.sft_weight >= 0, "sigmoid_weight and sft_weight must not be below 0")
        _require(self.sigmoid_weight + self.sft_weight > 0, "sigmoid_weight and sft_weight must not both be 0")


@dataclass(frozen=True, kw_only=True)
class RftSettings(Settings):
    """SPaR's refiner (its public code): rejection-sampling fine-tuning on accepted dialogues."""

    learning_rate: float = 2e-6
    epochs: int = 5
    schedule: str = "constant"
    max_tokens: int = 4096


Kind = TypeVar("Kind", DpoSettings, RftSettings)
Built = TypeVar("Built")


def load_settings(kind: type[Kind], objective: str, config: str | None) -> Kind:
    """The settings of `objective`: the defaults with the changes in the preset or YAML file `config`.

    Raises:
        FactoryError: no such preset or file, an unknown key (the message names the nearest), or a wrong value.
    """
    if config is None:
        return kind()
    path, text = read_named(PRESETS, ".yaml", config, "configuration")
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise FactoryError(f"{path} cannot be read as YAML: {reason}") from error
    sections = _mapping(content, str(path))
    for name in sections:
        if name not in OBJECTIVES:
            raise FactoryError(f"{path}: unknown key {name!r}: {nearest(name, OBJECTIVES)}")
    return _build(kind, sections.get(objective) or {}, f"{path}: {objective}")


def _build(kind: type[Built], content: Any, where: str) -> Built:
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in _mapping(content, where).items():
        if key not in hints:
            raise FactoryError(f"{where}: unknown key {key!r}: {nearest(key, hints)}")
        values[key] = _convert(hints[key], value, f"{where}.{key}")
    try:
        return kind(**values)
    except ValueError as error:
        raise FactoryError(f"{where}: {error}") from error


def _convert(annotation: Any, value: Any, where: str) -> Any:
    if isinstance(annotation, types.UnionType):
        if value is None:
            return None
        (annotation,) = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    if dataclasses.is_dataclass(annotation):
        return _build(annotation, value, where)  # type: ignore[arg-type]
    if annotation is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 2e-7 (no dot) as text
        except (TypeError, ValueError):
            pass
    elif type(value) is annotation:
        return value
    raise FactoryError(f"{where} must be of type {annotation.__name__}, got {value!r}")


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise FactoryError(f"{where} must contain 'key: value' lines, got {content!r}")
    return {str(key): value for key, value in content.items()}


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
