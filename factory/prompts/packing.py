"""Which files a source names, their identity by content, and their bytes: plain, or packed with gzip or zstd."""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from schemas.errors import FactoryError

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The names of files that can be read end in these, and then in one of PACKED or nothing."""
PACKED = (".gz", ".zst", ".zstd")
_GZIP, _ZSTD = PACKED_STARTS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_IN_FOLDERS = tuple(kind for kind in KINDS if kind != ".json")  # there, .json files describe the data
MOST_AT_ONCE = 2**30
"""bytes of a line, and of a file that is read as a whole: a packed file of 1 MB may hold a terabyte"""
_LONE_RETURN = re.compile(r"(?<=\r)(?!\n)")


def kind_of(file: Path) -> str:
    """A file's kind (one of KINDS) by its name; '' if it has another."""
    name = file.name.lower()
    for packing in PACKED:
        name = name.removesuffix(packing)
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def files_of(source: str | Path) -> list[Path]:
    """A file, or a folder's files at any depth, by name.

    Raises:
        FactoryError: nothing there, or nothing that can be read.
    """
    found = Path(source)
    if found.is_dir():
        inside = (
            file for file in found.rglob("*") if not any(part[0] == "." for part in file.relative_to(found).parts)
        )
        files = sorted(file for file in inside if file.is_file() and kind_of(file) in _IN_FOLDERS)
        if not files:
            raise FactoryError(f"folder {found} has no file that ends in {', '.join(_IN_FOLDERS)}: give another")
        return files
    if not found.is_file():
        raise FactoryError(
            f"no prompt file {found}: give a .jsonl, .csv or .parquet file, a folder of them, or 'bundled'"
        )
    if not kind_of(found):
        raise FactoryError(
            f"prompt file {found}: give one that ends in {', '.join(KINDS)}, or in one of these and {' or '.join(PACKED)}"
        )
    return [found]


def content_of(source: str | Path) -> str | None:
    """SHA-256 of a file's bytes, or over a folder's files in order; None: `source` is neither."""
    found = Path(source)
    if found.is_dir():
        digests = [f"{content_of(file)} {file.relative_to(found)}\n" for file in files_of(found)]
        return hashlib.sha256("".join(digests).encode("utf-8", "surrogateescape")).hexdigest()
    if not found.is_file():
        return None
    with found.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def text_lines(file: Path) -> Iterator[tuple[int, str]]:
    """A file's lines with their numbers, from 1; decoded one by one, so that a fault has its line.

    Raises:
        FactoryError: a line is not UTF-8 or longer than can be read, or the packing is damaged.
    """
    number = 0
    with unpacked(file) as opened:
        while True:
            try:
                line = opened.readline(MOST_AT_ONCE + 1)
            except OSError as error:
                if error.errno is not None:  # the system's own, such as a disk's
                    raise
                raise _damaged(file, number) from error
            except (EOFError, zlib.error) as error:
                raise _damaged(file, number) from error
            if not line:
                return
            if len(line) > MOST_AT_ONCE:
                raise FactoryError(
                    f"{file}, line {number + 1} has more than {MOST_AT_ONCE:,} bytes: write it as several"
                )
            text = _decoded(line, f"{file}, line {number + 1}", first=number == 0)
            for part in _LONE_RETURN.split(text) if "\r" in text[:-2] else (text,):
                number += 1
                yield number, part


def text_of(file: Path) -> str:
    """All lines of a file as one text.

    Raises:
        FactoryError: as `text_lines`, or it is too long to be read as a whole.
    """
    lines, size = [], 0
    for _, line in text_lines(file):
        lines.append(line)
        size += len(line)
        if size > MOST_AT_ONCE:
            raise FactoryError(f"{file} has more than {MOST_AT_ONCE:,} characters: split it, or write it as .jsonl")
    return "".join(lines)


def unpacked(file: Path) -> BinaryIO:
    """The file's bytes; how it is packed is read from its first bytes, not its name."""
    with file.open("rb") as opened:
        start = opened.read(4)
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.open(file, "rb"))
    if start == _ZSTD:
        return cast(BinaryIO, io.BufferedReader(pa.input_stream(str(file), compression="zstd"), 1 << 16))
    return file.open("rb")


def _damaged(file: Path, number: int) -> FactoryError:
    return FactoryError(f"{file} is damaged or cut off after line {number}: fetch it again")


def _decoded(line: bytes, where: str, *, first: bool) -> str:
    if first and (line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line[:4]):
        raise FactoryError(f"{where}: this is UTF-16 or UTF-32, not UTF-8: save it as UTF-8")
    try:
        return line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise FactoryError(
            f"{where}: this is not UTF-8 (byte 0x{line[error.start]:02x} at byte {error.start + 1}): save it as UTF-8"
        ) from error
