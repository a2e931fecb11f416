"""Models as files: found (folder, .gguf, hub), loaded, saved as safetensors, and hashed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from schemas import ids
from schemas.errors import FactoryError
from trainers.folders import NO_CODE, NO_PICKLES, check_index, loading

CLASSIFIER = "ForSequenceClassification"
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True, slots=True)
class Base:
    """Where the model to train is."""

    name: str  # as it was asked for
    folder: Path
    gguf: str | None  # name of the file in `folder`; None: safetensors
    option: str = "--model"  # that asked for it, for errors


def find_model(name: str, option: str = "--model") -> Base:
    """The model at a folder of safetensors, a .gguf file, or under a hub id (`owner/name`, `owner/name@revision`).

    Raises:
        FactoryError: none of the three, or a folder without weights.
    """
    path = Path(name)
    if path.suffix == ".gguf" and path.is_file():
        return Base(name, path.parent, path.name, option)
    if not path.is_dir():
        return Base(name, _download(name, option), None, option)
    if not list(path.glob("*.safetensors")) or not (path / "config.json").is_file():
        raise FactoryError(f"{option} {name}: the folder holds no model: config.json and *.safetensors are needed")
    return Base(name, path, None, option)


def _download(name: str, option: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FactoryError(
            f"{option} {name}: neither a folder nor a .gguf file, and the hub does not give it: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error


def load_model(base: Base, dtype: torch.dtype, kind: Any = AutoModelForCausalLM, **given: Any) -> Any:
    """The model, weights in `dtype`; a quantized GGUF is dequantized.

    Args:
        kind: a language model, or another of transformers' classes, which takes `given`.
    Raises:
        FactoryError: it cannot be loaded, or a reward model was given for a language model.
    """
    if kind is AutoModelForCausalLM and architecture_of(base).endswith(CLASSIFIER):
        # Loaded all the same, it would get an output layer of random numbers.
        raise FactoryError(f"{base.option} {base.name} is a classifier, such as a reward model: give a language model")
    source = given | NO_CODE | ({"gguf_file": base.gguf} if base.gguf else NO_PICKLES)
    with loading(f"{base.option} {base.name}"):
        if not base.gguf:
            check_index(base.folder)
        model = kind.from_pretrained(base.folder, dtype=dtype, **source)
    if base.gguf:
        # The weights are plain now, but transformers would refuse to train and to save what it thinks quantized.
        model.is_quantized = False
        model.hf_quantizer = model.quantization_method = None
        del model.config.quantization_config
    return model


def architecture_of(base: Base) -> str:
    """The name of the class that its configuration gives; empty: it gives none."""
    if base.gguf:
        return ""
    try:
        named = json.loads((base.folder / "config.json").read_text("utf-8")).get("architectures") or [""]
    except (ValueError, AttributeError, OSError):
        return ""  # what the model needs of it, loading the model will say
    return str(named[0])


def load_tokenizer(base: Base) -> Any:
    source = NO_CODE | ({"gguf_file": base.gguf} if base.gguf else {})
    with loading(f"{base.option} {base.name}: its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(base.folder, **source)
    if base.gguf:
        _split_as_the_file_says(tokenizer, base.folder / base.gguf)
    if not tokenizer.chat_template:
        raise FactoryError(
            f"{base.option} {base.name}: its tokenizer has no chat template, and conversations need one: "
            "take an instruction-tuned model, or add chat_template.jinja to its folder"
        )
    return tokenizer


def _split_as_the_file_says(tokenizer: Any, file: Path) -> None:
    """Splits digits from what is before them where the GGUF says so, which transformers 5.23 does not read.

    Otherwise a blank line before a number would be other tokens in training than it was before and is when served.
    """
    import gguf
    from tokenizers import pre_tokenizers

    field = gguf.GGUFReader(file).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def end_tokens(base: Base, tokenizer: Any) -> set[int]:
    """The ids that end a turn: the tokenizer's EOS, and those at which the model's own configuration stops (Gemma's
    turns end with one that is not the tokenizer's). Empty: none is known."""
    found = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        file = base.folder / name
        if base.gguf or not file.is_file():
            continue
        try:
            given = json.loads(file.read_text("utf-8")).get("eos_token_id")
        except (ValueError, AttributeError, OSError):
            continue  # what the model needs of it, loading the model will say
        found.update(given if isinstance(given, list) else [given])
    return {end for end in found if isinstance(end, int)}


def save_model(trainer: Any, output: Path) -> None:
    """Writes a complete model into `output`: safetensors, tokenizer, chat template. Called by every process.

    After LoRA the adapters are kept in `output/adapter`, and the model is the base with them merged in, so that
    whoever serves it need not know how it was trained.
    """
    from peft import PeftModel

    adapted = isinstance(trainer.model, PeftModel)
    trainer.model.config.use_cache = True  # off while it trained; who generates with it wants it on
    folder = output / "adapter" if adapted else output
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    if adapted:
        trainer.model.merge_and_unload().save_pretrained(output)
        trainer.processing_class.save_pretrained(output)
    # A pickle, and peft's empty form of a card: a folder that is shared should hold neither.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)


def weights_sha256(base: Base) -> str:
    """Of the .gguf file, or of the folder's safetensors ordered by name."""
    return ids.weights_sha256([base.folder / base.gguf] if base.gguf else sorted(base.folder.glob("*.safetensors")))
