"""Models as files: found (folder, .gguf, hub), loaded, saved as safetensors, and hashed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from schemas import ids
from schemas.errors import FactoryError

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True, slots=True)
class Base:
    """The location of the model to train."""

    name: str  # as given on the command line
    folder: Path
    gguf: str | None  # name of the file in `folder`; None: safetensors


def find_model(name: str) -> Base:
    """Finds a model: a folder of safetensors, a .gguf file, or a hub id (`owner/name`, `owner/name@revision`).

    Raises:
        FactoryError: it is none of the three, or the folder has no weights.
    """
    path = Path(name)
    if path.suffix == ".gguf" and path.is_file():
        return Base(name, path.parent, path.name)
    if not path.is_dir():
        return Base(name, _download(name), None)
    if not list(path.glob("*.safetensors")) or not (path / "config.json").is_file():
        raise FactoryError(f"--model {name}: the folder holds no model: it needs config.json and *.safetensors")
    return Base(name, path, None)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FactoryError(
            f"--model {name}: neither a folder nor a .gguf file, and not available from the hub: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


def load_model(base: Base, dtype: torch.dtype) -> Any:
    """The causal language model with weights in `dtype`; a quantized GGUF is dequantized."""
    source = {"gguf_file": base.gguf} if base.gguf else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype, **source)
    except (OSError, ValueError) as error:
        raise FactoryError(f"--model {base.name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if base.gguf:
        # The weights are dequantized, but transformers refuses to train or save a model that is marked as quantized.
        model.is_quantized = False
        model.hf_quantizer = model.quantization_method = None
        del model.config.quantization_config
    return model


def load_tokenizer(base: Base) -> Any:
    source = {"gguf_file": base.gguf} if base.gguf else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.folder, **source)
    except (OSError, ValueError) as error:
        raise FactoryError(
            f"--model {base.name}: its tokenizer cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    if not tokenizer.chat_template:
        raise FactoryError(
            f"--model {base.name}: its tokenizer has no chat template: "
            "use an instruction-tuned model, or add chat_template.jinja to its folder"
        )
    return tokenizer


def save_model(trainer: Any, output: Path) -> None:
    """Writes a complete model into `output`: safetensors, tokenizer, chat template. Called by every process.

    After LoRA, the adapters are kept in `output/adapter` and also merged into the model, so that it can be served like
    any other.
    """
    from peft import PeftModel

    adapted = isinstance(trainer.model, PeftModel)
    trainer.model.config.use_cache = True  # off during training, needed for generation
    folder = output / "adapter" if adapted else output
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    if adapted:
        trainer.model.merge_and_unload().save_pretrained(output)
        trainer.processing_class.save_pretrained(output)
    # A pickle and peft's empty card do not belong in a folder that is shared.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)


def weights_sha256(base: Base) -> str:
    """Of the .gguf file, or of the folder's safetensors ordered by name."""
    return ids.weights_sha256([base.folder / base.gguf] if base.gguf else sorted(base.folder.glob("*.safetensors")))
