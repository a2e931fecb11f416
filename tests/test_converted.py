"""The cache of converted folders: what killed conversions left is removed, and it does not grow with every round."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory.inference import converted
from factory.inference.gguf_header import read_header
from factory.inference.weights import fetch
from schemas.errors import FactoryError


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    return ended.pid


def test_what_was_killed_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    killed, writing = (tmp_path / f".a.Q8_0.gguf.{pid}.part" for pid in (dead_pid(), os.getpid()))
    killed.write_bytes(b"half")
    writing.write_bytes(b"half")
    converted._forget(tmp_path / "a.Q8_0.gguf")
    assert writing.exists() and not killed.exists()


def test_the_files_used_last_are_kept(tmp_path: Path) -> None:
    for age in range(converted.KEPT + 2):
        file = tmp_path / f"{age}.gguf"
        file.write_bytes(b"")
        converted._digest_of(file).write_text("")
        os.utime(file, ns=(0, 10**9 * (100 - age)))
    converted._forget(tmp_path / "new.gguf")
    kept = [str(age) for age in range(converted.KEPT - 1)]  # and the new one
    assert sorted(file.stem for file in tmp_path.glob("*.gguf")) == kept
    assert sorted(file.stem for file in tmp_path.glob("*.sha256")) == kept


def test_a_folder_without_weights_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"holds no model: .*safetensors are needed"):
        fetch(str(tmp_path))
    with pytest.raises(FactoryError, match=r"no embedded model '.*missing'.*or that of a folder of safetensors"):
        fetch(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    "content",
    [
        b"GGUF",
        b"GGUF" + b"\xff" * 100,
        b"GGUF"
        + (3).to_bytes(4, "little")
        + bytes(8)
        + (2).to_bytes(8, "little")
        + b"\x09"
        + bytes(7)
        + b"a" * 9
        + b"\x0c",
        b"not one",
    ],
)
def test_a_damaged_header_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(FactoryError, match=r"is not a GGUF file|is damaged"):
        read_header(tmp_path / "model.gguf")


def test_a_header_gives_texts_numbers_and_the_lengths_of_lists() -> None:
    header = read_header(fetch("smollm2-135m").path)
    assert header["general.architecture"] == "llama" and header["llama.block_count"] == 30
    assert header["tokenizer.ggml.tokens"] == 49152 and header["tokenizer.ggml.add_bos_token"] is False
    assert header["tokenizer.chat_template"].startswith("{% for message in messages %}")
    assert header["llama.rope.freq_base"] == 100000.0
