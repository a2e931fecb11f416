"""The architectures that are converted, their settings as GGUF fields, and what llama.cpp calls their tensors."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from factory.inference.folders import read_json
from schemas.errors import FactoryError


@dataclass(frozen=True, slots=True)
class Architecture:
    """What conversion has to know of a model."""

    arch: Any  # gguf.MODEL_ARCH
    layers: int
    hidden: int
    inner: int  # of the feed-forward layers
    heads: int
    kv_heads: int
    head: int  # width of one
    context_tokens: int
    vocabulary: int
    rms_epsilon: float
    rope_theta: float
    rope_scaling: dict[str, Any]  # empty: none
    permuted: bool  # llama.cpp turns this family's q and k pairwise, transformers by halves

    def rows(self, name: str, values: np.ndarray) -> np.ndarray:
        """Values whose first axis is an output of tensor `name` (in GGUF), in llama.cpp's order of those outputs."""
        part = name.split(".")[2] if name.startswith("blk.") and self.permuted else ""
        heads = {"attn_q": self.heads, "attn_k": self.kv_heads}.get(part)
        if heads is None:
            return values
        return permuted(values, heads)


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """The rows of a query or key matrix in llama.cpp's order: of each head, its halves' rows in turn.

    Raises:
        ValueError: it is no matrix of so many heads.
    """
    if len(values) % (2 * heads):
        raise ValueError(f"{len(values)} rows of queries or keys are not those of {heads} heads")
    return values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


FAMILIES = {
    "LlamaForCausalLM": (gguf.MODEL_ARCH.LLAMA, True),
    "MistralForCausalLM": (gguf.MODEL_ARCH.LLAMA, True),
    "Qwen2ForCausalLM": (gguf.MODEL_ARCH.QWEN2, False),
    "Qwen3ForCausalLM": (gguf.MODEL_ARCH.QWEN3, False),
}


_MOST, _MOST_LAYERS, _MOST_WIDE = 2**31 - 1, 10_000, 65_536
"""what GGUF's fields hold, and more layers and wider heads than any model has: work is done for each of them"""
_MOST_THETA = 1e12


def architecture_of(folder: Path) -> Architecture:
    """
    Raises:
        FactoryError: config.json describes a model that is not converted.
    """
    config = read_json(folder, "config.json")
    if not config:
        raise FactoryError(f"{folder} holds no model: config.json and *.safetensors are needed")
    try:
        read = _read(config)
        rope_factors(read)  # what is missing of a scaling is told here
        return read
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FactoryError(
            f"{folder}: this model cannot be converted for the embedded server ({said}): serve it by vllm:{folder}, "
            "or convert it with llama.cpp's convert_hf_to_gguf.py and give the .gguf file"
        ) from error


def _read(config: dict[str, Any]) -> Architecture:
    (name,) = config["architectures"]
    if name not in FAMILIES:
        raise ValueError(f"its architecture is {name}, not one of {', '.join(FAMILIES)}")
    arch, permuted = FAMILIES[name]
    if config.get("hidden_act") != "silu" or config.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("its activation is not silu, or its rotary embedding is partial")
    if config.get("use_sliding_window"):
        raise ValueError("it uses a sliding window")
    # transformers 5 keeps in rope_parameters what 4 kept in rope_theta and rope_scaling.
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"its rotary embedding is scaled by {kind}")
    heads = _count(config, "num_attention_heads", _MOST_WIDE)
    kv_heads = _count(config, "num_key_value_heads", heads, heads)
    hidden = _count(config, "hidden_size", _MOST)
    context = _count(config, "max_position_embeddings", _MOST)
    window = _count(config, "sliding_window", _MOST, context) if name.startswith("Mistral") else context
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    return Architecture(
        arch=arch,
        layers=_count(config, "num_hidden_layers", _MOST_LAYERS),
        hidden=hidden,
        inner=_count(config, "intermediate_size", _MOST),
        heads=heads,
        kv_heads=kv_heads,
        head=_count(config, "head_dim", _MOST_WIDE, hidden // heads),
        context_tokens=min(context, window),  # within its window, attention is whole
        vocabulary=_count(config, "vocab_size", _MOST),
        rms_epsilon=_between(config["rms_norm_eps"], "rms_norm_eps", 1.0),
        rope_theta=_between(theta, "rope_theta", _MOST_THETA),
        rope_scaling=rope if kind == "llama3" else {},
        permuted=permuted,
    )


def _count(config: dict[str, Any], name: str, most: int, otherwise: int | None = None) -> int:
    """A number of things, from 1 to `most`.

    Args:
        otherwise: what stands for one that is missing, NULL or 0.
    """
    given = config[name] if otherwise is None else config.get(name) or otherwise
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        raise ValueError(f"its {name} is {_shown(given)}, and not a whole number from 1 to {most:,}")
    return given


def _between(given: Any, name: str, most: float) -> float:
    """A number above 0 and at most `most`."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= most:
        raise ValueError(f"its {name} is {_shown(given)}, and not a number from 0 to {most:g}")
    return float(given)


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 30 else f"{text[:30]}…"


def add_settings(writer: gguf.GGUFWriter, model: Architecture) -> None:
    writer.add_block_count(model.layers)
    writer.add_context_length(model.context_tokens)
    writer.add_embedding_length(model.hidden)
    writer.add_feed_forward_length(model.inner)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head)
    writer.add_value_length(model.head)
    writer.add_rope_dimension_count(model.head)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_layer_norm_rms_eps(model.rms_epsilon)
    writer.add_vocab_size(model.vocabulary)


def rope_factors(model: Architecture) -> np.ndarray | None:
    """What llama.cpp divides each rotary frequency by, float32 of head / 2; None: by nothing.

    Source: Llama 3.1's scaling, as in transformers' `modeling_rope_utils._compute_llama3_parameters`.
    """
    if not model.rope_scaling:
        return None
    given = model.rope_scaling
    factor, low, high, old = (
        _between(given[name], name, _MOST)
        for name in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    )
    factors = []
    for at in range(0, model.head, 2):
        wavelength = 2 * math.pi * model.rope_theta ** (at / model.head)
        smooth = (old / wavelength - low) / (high - low)
        if wavelength < old / high:
            factors.append(1.0)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)
