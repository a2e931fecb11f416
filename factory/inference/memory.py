"""What a model takes of the memory, reckoned before it is loaded, and what there is.

The sums are lower bounds from sizes alone. Serving was measured to take them and a little more; what training takes for
activations depends on the lengths of the examples and is not in them.
"""

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path

from factory.inference.gguf_header import read_header
from schemas.errors import FactoryError

Parts = dict[str, int]
"""bytes by what they are for, in words"""
PHYSICAL_BATCH = 512
"""tokens that llama.cpp computes at once (its n_ubatch), with a float32 for each of the vocabulary"""
_MEMORY_INFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def serving_parts(model: Path, slots: int, context_tokens: int) -> Parts:
    """What the embedded server takes for a folder of safetensors, served in Q8_0, or a GGUF file.

    Raises:
        FactoryError: the folder cannot be converted, or a file is damaged.
    """
    if model.is_dir():
        from factory.inference.conversion.architecture import architecture_of
        from factory.inference.conversion.safetensors_file import tensors_in

        read = architecture_of(model)
        weights = sum(
            prod(one.shape) * 34 // 32 if len(one.shape) > 1 else 4 * prod(one.shape)
            for one in tensors_in(model).values()
        )
        a_token, vocabulary = 2 * read.layers * read.kv_heads * read.head, read.vocabulary
        context_tokens = min(context_tokens, read.context_tokens)
    else:
        weights, header = model.stat().st_size, read_header(model)
        a_token, vocabulary = _values_of_a_token(header), int(header.get("tokenizer.ggml.tokens", 0))
    return {
        "weights": weights,
        f"KV cache of {slots} × {context_tokens:,} tokens": slots * context_tokens * a_token * 2,  # in float16
        "computing": PHYSICAL_BATCH * vocabulary * 4,
    }


def _values_of_a_token(header: Mapping[str, object]) -> int:
    """Keys and values that are kept of a token; 0: the file does not tell."""
    name = header.get("general.architecture")

    def number(key: str) -> int:
        found = header.get(f"{name}.{key}", 0)
        return found if isinstance(found, int) else 0

    heads = number("attention.head_count")
    head = number("attention.key_length") or (number("embedding_length") // heads if heads else 0)
    return 2 * number("block_count") * (number("attention.head_count_kv") or heads) * head


def training_parts(parameters: int, *, reference: bool, lora: bool) -> Parts:
    """What training a model takes at least, whatever the lengths of its examples.

    Args:
        parameters: the number of its weights.
        reference: whether a second copy of the model is kept, as DPO does without LoRA.
        lora: only adapters are trained, which take little beside the frozen weights (in bfloat16); else all of it, in float32.
    """
    if lora:
        return {"weights": 2 * parameters}
    each = 4 * parameters
    return {"weights": each, "gradients": each, "Adam's averages": 2 * each} | (
        {"reference": each} if reference else {}
    )


_BITS = {0: 32.0, 1: 16.0, 2: 4.5, 3: 5.0, 7: 8.5, 8: 5.5, 9: 6.0, 32: 16.0}
"""of a weight, by the kind of most tensors in a GGUF file (llama.cpp's `llama_ftype`)"""


def parameters_of(model: Path) -> int:
    """The number of weights of a folder of safetensors, or about that of a GGUF file, by its size.

    Raises:
        FactoryError: a file is damaged.
    """
    if model.is_dir():
        from factory.inference.conversion.safetensors_file import parameters_in

        return parameters_in(model)
    bits = _BITS.get(int(read_header(model).get("general.file_type", 0)), 4.5)
    return int(model.stat().st_size * 8 / bits)


def check_memory(what: str, parts: Parts, remedy: str, available: int | None = None) -> None:
    """
    Args:
        what: as in 'models.actor: serving actor-1'.
        available: bytes; by default what this process can still have.
    Raises:
        FactoryError: the parts do not fit; the sentence shows the sum.
    """
    free = available_bytes() if available is None else available
    if free is not None and sum(parts.values()) > free:
        terms = " + ".join(f"{_gb(number)} {name}" for name, number in parts.items() if number)
        raise FactoryError(
            f"{what} takes at least {_gb(sum(parts.values()))} of memory ({terms}), and {_gb(free)} are free: {remedy}"
        )


def available_bytes() -> int | None:
    """Memory that this process can still have: the machine's, or its control group's if that is less; None: unknown."""
    found = [
        number for number in (_of_machine(), *map(_of_group, _groups())) if number is not None
    ]  # a group within another may have less or more than it
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in _MEMORY_INFO.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _groups() -> list[Path]:
    """The control groups of version 2 that this process is in, and version 1's for memory."""
    try:
        own = [line.split(":", 2) for line in _OWN_CGROUP.read_text().splitlines()]
    except OSError:
        return []
    found = []
    for _, controllers, path in (one for one in own if len(one) == 3):
        if controllers in ("", "memory"):
            root = _CGROUPS / controllers
            inner = root / path.lstrip("/")
            found += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return found


def _of_group(folder: Path) -> int | None:
    """Its limit less what it uses, not counting files that can be dropped; None: no limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # "max", or no such file
        return max(0, most - taken + int(stat.get("total_inactive_file", stat.get("inactive_file", 0))))
    return None


def _gb(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
