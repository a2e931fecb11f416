"""Writes a folder of safetensors as one GGUF file, a tensor at a time: the same folder gives the same bytes."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf.quants import quant_shape_to_byte_shape, quantize

from factory.inference.conversion.architecture import Architecture, add_settings, architecture_of, rope_factors
from factory.inference.conversion.safetensors_file import Tensor, tensors_in
from factory.inference.conversion.tokenizer import add_tokenizer
from schemas.errors import FactoryError

FILE_TYPES = {Kind.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0, Kind.F16: gguf.LlamaFileType.MOSTLY_F16}
VERSION = 1
"""Raise it when the same folder gives other bytes: files of before are then written again."""


def convert(folder: Path, target: Path, kind: Kind = Kind.Q8_0) -> None:
    """
    Args:
        folder: config.json, tokenizer.json, a chat template, *.safetensors.
        kind: of the matrices, Q8_0 or F16; vectors stay in F32.
    Raises:
        FactoryError: the model is of another architecture, has no chat template, its weights do not fit its settings, or a
            file is damaged.
        OSError: the file cannot be written.
    """
    model, stored = architecture_of(folder), tensors_in(folder)
    names = gguf_names(model, stored, folder)
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[model.arch])
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_settings(writer, model)
        add_tokenizer(writer, folder, model.vocabulary)
        _check_fit(model, stored, folder)
        factors = rope_factors(model)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes, Kind.F32)
        kinds = {name: _kind_of(stored[name].shape, kind) for name in names}
        for name, called in names.items():
            shape = quant_shape_to_byte_shape(stored[name].shape, kinds[name])
            writer.add_tensor_info(called, shape, np.dtype(np.uint8), int(np.prod(shape)), kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors)
        for name, called in names.items():
            writer.write_tensor_data(quantize(model.rows(called, stored[name].read()), kinds[name]))
    except ValueError as error:
        raise FactoryError(_UNFIT.format(folder=folder, fault=error)) from error
    finally:
        writer.close()


_UNFIT = "{folder}: its weights do not fit its config.json ({fault}): copy the folder again"


def _check_fit(model: Architecture, stored: dict[str, Tensor], folder: Path) -> None:
    """llama.cpp would tell much later that a tensor is missing or has another shape, and not which setting is wrong."""
    embedding, wanted = stored.get("model.embed_tokens.weight"), (model.vocabulary, model.hidden)
    if embedding is not None and embedding.shape != wanted:
        fault = f"its embeddings are {_times(embedding.shape)}, not vocab_size × hidden_size, {_times(wanted)}"
        raise FactoryError(_UNFIT.format(folder=folder, fault=fault))
    layers = {name.split(".")[2] for name in stored if name.startswith("model.layers.")}
    if layers and len(layers) != model.layers:
        fault = f"they are of {len(layers)} layers, not num_hidden_layers, {model.layers}"
        raise FactoryError(_UNFIT.format(folder=folder, fault=fault))


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)


def gguf_names(model: Architecture, stored: dict[str, Tensor], folder: Path) -> dict[str, str]:
    """What llama.cpp calls each tensor.

    Raises:
        FactoryError: it knows one of them by no name.
    """
    known = gguf.get_tensor_name_map(model.arch, model.layers)
    names = {}
    for name in stored:
        if name.endswith("rotary_emb.inv_freq"):
            continue  # older folders hold it, and it follows from the settings
        called = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if called is None:
            raise FactoryError(
                f"{folder}: llama.cpp knows no tensor {name!r} of this architecture: serve it by vllm:{folder}"
            )
        names[name] = called
    return names


def _kind_of(shape: tuple[int, ...], kind: Kind) -> Kind:
    if len(shape) < 2:
        return Kind.F32
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    return kind if shape[-1] % block == 0 else Kind.F16
