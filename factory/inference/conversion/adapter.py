"""Writes a peft adapter (LoRA) as the GGUF file that llama.cpp loads beside its base model."""

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from factory.inference.conversion.architecture import permuted
from factory.inference.conversion.safetensors_file import tensors_in
from factory.inference.conversion.tokenizer import tokens_of
from factory.inference.folders import ADAPTER, chat_template, read_json
from schemas.errors import FactoryError

_FAMILIES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}
_UNLIKE_LORA = {"use_dora": False, "bias": "none", "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {}}
"""settings of peft that change more than two matrices beside each weight, and what they are without"""


def convert_adapter(folder: Path, base: Path, target: Path) -> None:
    """
    Args:
        folder: adapter_config.json, adapter_model.safetensors; a tokenizer and a chat template if they were saved.
        base: the GGUF file that it is loaded beside.
    Raises:
        FactoryError: the adapter is not plain LoRA, or the base has another architecture, tokenizer or chat template.
        OSError: the file cannot be written.
    """
    config = read_json(folder, ADAPTER)
    if config.get("peft_type") != "LORA" or any((config.get(name) or no) != no for name, no in _UNLIKE_LORA.items()):
        raise FactoryError(
            f"{folder} is not plain LoRA, which llama.cpp can load beside its base: merge it into the base with peft, and "
            "serve the merged folder"
        )
    reader = gguf.GGUFReader(base)
    architecture = reader.fields["general.architecture"].contents()
    _check_tokenizer(folder, base, reader)
    heads = {part: _number(reader, f"{architecture}.attention.{key}") for part, key in _HEADS.items()}
    writer = gguf.GGUFWriter(target, architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha(config))
        for name, values in _named(folder, base, architecture, reader).items():
            part = name.split(".")[2]
            turned = architecture == "llama" and name.endswith("lora_b") and part in heads
            writer.add_tensor(name, permuted(values, heads[part]) if turned else values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


_HEADS = {"attn_q": "head_count", "attn_k": "head_count_kv"}


def _alpha(config: dict[str, Any]) -> float:
    """llama.cpp divides it by the rank; rank-stabilized LoRA divides by the rank's root."""
    alpha, rank = float(config["lora_alpha"]), int(config["r"])
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def _number(reader: gguf.GGUFReader, key: str) -> int:
    return int(reader.fields[key].contents())


def _named(folder: Path, base: Path, architecture: str, reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    """The adapter's matrices by llama.cpp's names, checked against the base's shapes."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in reader.tensors}  # (inputs, outputs)
    family = _FAMILIES.get(architecture)
    known = gguf.get_tensor_name_map(family, _number(reader, f"{architecture}.block_count")) if family else None
    named = {}
    for name, tensor in tensors_in(folder).items():
        module, _, part = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        called = known.get_name(f"{module}.weight", try_suffixes=(".weight",)) if known else None
        side = {"lora_A": 0, "lora_B": 1}.get(part)
        width = tensor.shape[1 - side] if side is not None and len(tensor.shape) == 2 else None
        if called not in shapes or side is None or width != shapes[called][side]:
            raise FactoryError(
                f"{folder} was not trained on {base.name}: that model's architecture ({architecture}) has nothing of the "
                f"shape of {name}; name the base that it was trained on (base: in the model's settings)"
            )
        named[f"{called}.{part.lower()}"] = tensor.read()
    return named


def _check_tokenizer(folder: Path, base: Path, reader: gguf.GGUFReader) -> None:
    own = tokens_of(folder)
    if own is not None and own != reader.fields["tokenizer.ggml.tokens"].contents()[: len(own)]:
        raise FactoryError(
            f"{folder} was trained with another tokenizer than that of {base.name}: name the base that it was trained on "
            "(base: in the model's settings)"
        )
    template, served = chat_template(folder), reader.fields.get("tokenizer.chat_template")
    if template is not None and (served is None or template != served.contents()):
        raise FactoryError(
            f"{folder} was trained with another chat template than that of {base.name}: merge it into its base with peft, "
            "and serve the merged folder"
        )
