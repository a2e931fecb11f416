"""Folders of safetensors that the embedded server can serve: converted to GGUF once, and kept in the user's cache.

A converted file is named by the SHA-256 of the weights and of what else it is made from, so that neither other weights
nor another chat template are ever served under its name. The last KEPT that were used are kept.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from factory.inference.folders import chat_template, folder_sha256, template_hash
from factory.inference.weights import Weights, cache_dir, file_sha256, no_room, status_if_slow
from schemas.errors import FactoryError
from schemas.ids import canonical_json, folder_model_name, sha256_text
from stores.whole import whole_file

KEPT = 6
PARTS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""what a converted file depends on beside the weights"""


def converted(folder: Path) -> Weights:
    """The weights of a folder as the embedded server can load them.

    Raises:
        FactoryError: it holds no weights, its model cannot be converted, or there is no room for the file.
    """
    from factory.inference.conversion.architecture import architecture_of  # here: only folders need numpy and gguf

    with status_if_slow(f"reading {folder.name}"):
        sha256 = folder_sha256(folder)
    if sha256 is None:
        raise FactoryError(
            f"{folder} holds no model: config.json, tokenizer.json and *.safetensors are needed, as `factory train` "
            "writes them"
        )
    context_tokens = architecture_of(folder).context_tokens
    file = cache_dir() / "converted" / f"{sha256[:16]}-{_made_from(folder)[:8]}.Q8_0.gguf"
    if not _is_whole(file):
        try:
            _convert(folder, file)
        except OSError as error:
            raise FactoryError(no_room(folder.name, file, error)) from error
    with suppress(OSError):  # a cache that can only be read
        file.touch()
    name = folder_model_name(folder, sha256)
    hashed = template_hash(chat_template(folder))
    return Weights(name, file, sha256, file.stat().st_size, None, context_tokens, hashed)


def adapted(folder: Path, base: Weights) -> Weights:
    """A base model's weights with the peft adapter of a folder beside them.

    Raises:
        FactoryError: the adapter does not belong to the base, is not plain LoRA, or there is no room for the file.
    """
    own = folder_sha256(folder)
    if own is None:
        raise FactoryError(f"{folder} holds no adapter: adapter_model.safetensors is missing")
    sha256 = sha256_text(f"{own} on {base.sha256}")
    file = cache_dir() / "converted" / f"{sha256[:16]}.adapter.gguf"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            from factory.inference.conversion.adapter import convert_adapter

            convert_adapter(folder, base.path, part)  # each time: it takes as long as to check the file
    except OSError as error:
        raise FactoryError(no_room(folder.name, file, error)) from error
    return replace(base, name=folder_model_name(folder, sha256), sha256=sha256, adapter=file, base=base)


def _made_from(folder: Path) -> str:
    from factory.inference.conversion.convert import VERSION

    parts = {name: file_sha256(folder / name) for name in PARTS if (folder / name).is_file()}
    return sha256_text(canonical_json([VERSION, parts]))


def _convert(folder: Path, file: Path) -> None:
    from factory.inference.conversion.convert import convert

    file.parent.mkdir(parents=True, exist_ok=True)
    _forget(file)
    with status_if_slow(f"converting {folder.name} to Q8_0"):
        with whole_file(file) as part:
            convert(folder, part)
            digest = file_sha256(part)
        with whole_file(_digest_of(file)) as part:
            part.write_text(digest, "utf-8")


def _is_whole(file: Path) -> bool:
    """Whether the file is there as it was written; a damaged one is written again."""
    try:
        return _digest_of(file).read_text("utf-8") == file_sha256(file)
    except (OSError, UnicodeDecodeError):
        return False


def _digest_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _forget(file: Path) -> None:
    """Removes what killed conversions have left, and the files that were not used for longest."""
    for part in file.parent.glob(".*.part"):
        pid = part.name.split(".")[-2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)
    used = sorted(file.parent.glob("*.gguf"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
    for old in used[KEPT - 1 :]:
        _digest_of(old).unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
