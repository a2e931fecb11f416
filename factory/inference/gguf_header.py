"""What a GGUF file says of itself, read without its weights and lists: in less than a tenth of a second, whatever its size.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from schemas.errors import FactoryError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_LONGEST_TEXT = 10_000_000
_MOST_FIELDS = 10_000


def read_header(file: Path) -> dict[str, Any]:
    """Its fields that are texts or numbers, by name, as in `tokenizer.chat_template`; of a list, its length.

    Raises:
        FactoryError: it is no GGUF file, or cut off.
    """
    try:
        with file.open("rb") as opened:
            if opened.read(4) != b"GGUF":
                raise FactoryError(f"{file} is not a GGUF file: name one that llama.cpp can load")
            _, _, count = _numbers(opened, "IQQ")
            if count > _MOST_FIELDS:
                raise ValueError(f"{count} fields")
            return {_text(opened): _value(opened, _number(opened, "I")) for _ in range(count)}
    except (OSError, struct.error, ValueError, KeyError) as error:
        raise FactoryError(f"{file} is damaged ({error}): copy or convert it again") from error


def _value(opened: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(opened)
    if kind != _LIST:
        return _number(opened, _NUMBERS[kind])
    inner, length = _numbers(opened, "IQ")
    if inner in _NUMBERS:
        opened.seek(length * struct.calcsize(_NUMBERS[inner]), 1)
        return length
    if inner != _TEXT:
        raise ValueError("a list of lists")
    for _ in range(length):
        opened.seek(_number(opened, "Q"), 1)
    return length


def _text(opened: BinaryIO) -> str:
    length = _number(opened, "Q")
    if length > _LONGEST_TEXT:
        raise ValueError(f"a text of {length} bytes")
    return opened.read(length).decode("utf-8")


def _number(opened: BinaryIO, kind: str) -> Any:
    return _numbers(opened, kind)[0]


def _numbers(opened: BinaryIO, kinds: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{kinds}", opened.read(struct.calcsize(f"<{kinds}")))
