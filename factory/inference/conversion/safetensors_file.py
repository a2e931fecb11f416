"""Reads safetensors into numpy, bfloat16 too, without torch: https://github.com/huggingface/safetensors (its README)."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from schemas.errors import FactoryError

_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LONGEST_HEADER = 100_000_000
"""bytes; the format's own limit"""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file, not yet read."""

    file: Path
    kind: str  # F64, F32, F16 or BF16
    shape: tuple[int, ...]
    offset: int  # in bytes from the file's start

    def read(self) -> np.ndarray:
        """Its values in float32, in its shape."""
        stored = np.fromfile(self.file, _KINDS[self.kind], count=prod(self.shape), offset=self.offset)
        if self.kind == "BF16":
            return (stored.astype("<u4") << 16).view("<f4").reshape(self.shape)
        return stored.astype("<f4", copy=False).reshape(self.shape)


def tensors_in(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder's *.safetensors, by name, ordered by name.

    Raises:
        FactoryError: there are none, a file is damaged, or a tensor is not floating point.
    """
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            found |= _header(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FactoryError(f"{file} is damaged or no safetensors file ({error}): copy the folder again") from error
    if not found:
        raise FactoryError(f"{folder} holds no weights: *.safetensors are needed")
    return dict(sorted(found.items()))


def parameters_in(folder: Path) -> int:
    """How many weights a folder's safetensors hold; reads only their headers."""
    return sum(prod(tensor.shape) for tensor in tensors_in(folder).values())


def _header(file: Path) -> dict[str, Tensor]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > min(size - 8, _LONGEST_HEADER):
            raise ValueError("its header is longer than the file")
        header = json.loads(opened.read(length))
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, shape, (begin, end) = entry["dtype"], tuple(map(int, entry["shape"])), entry["data_offsets"]
        if kind not in _KINDS:
            raise ValueError(f"{name} is of type {kind}, not one of {', '.join(_KINDS)}")
        if end - begin != prod(shape) * np.dtype(_KINDS[kind]).itemsize or 8 + length + end > size or begin < 0:
            raise ValueError(f"{name} is cut off")
        tensors[name] = Tensor(file, kind, shape, 8 + length + begin)
    return tensors
