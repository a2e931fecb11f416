"""Ids are hashes of everything that was asked, so repeating work cannot make a second row."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ID_RECIPE = 1
"""Part of every id; raise it when what is hashed changes, so that old and new ids cannot collide."""


# Shared: `json.dumps` with options makes an encoder per call, and ids are made by the thousand.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_as_duckdb = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return _canonical.encode(value)


def sha256_text(text: str) -> str:
    # Some models emit a lone surrogate (half an emoji), which UTF-8 cannot encode; it must not stop a run.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def weights_sha256(files: Sequence[Path]) -> str:
    """SHA-256 of a single weights file; for several, of their 'SHA-256 name' lines in the order given."""
    hashes = []
    for file in files:
        with file.open("rb") as opened:
            hashes.append(hashlib.file_digest(opened, "sha256").hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    return sha256_text("".join(f"{value} {file.name}\n" for value, file in zip(hashes, files, strict=True)))


def content_id(kind: str, *asked: Any) -> str:
    """The id of a row of `kind`: 32 hexadecimal digits (128 bits) over all that was asked, in order."""
    return sha256_text(canonical_json([kind, ID_RECIPE, *asked]))[:32]


def model_id(name: str, revision: str | None) -> str:
    """A model's id: the same whether it is trained or asked."""
    return content_id("model", name, revision)


def folder_model_name(folder: Path, weights_sha256: str | None) -> str:
    """The name of a model in a folder: the folder's last name and the weights, never where the folder is."""
    name = folder.resolve().name
    return name if weights_sha256 is None else f"{name}@{weights_sha256[:12]}"


def online_run_id(training_run_id: str) -> str:
    """The run with the answers and rewards of an online training."""
    return f"online-{training_run_id[:10]}"


def seed_of(*asked: Any) -> int:
    """A sampling seed in [0, 2^31) that depends only on what is asked, never on when."""
    return int(content_id("seed", *asked)[:8], 16) & 0x7FFFFFFF


# DuckDB writes the hex digits of an escaped control character in upper case, Python in lower case. The pattern also
# matches an escaped backslash, so that the text `\\u001f` is not mistaken for one.
_ESCAPED_CONTROL = re.compile(r"\\(?:\\|u[0-9a-f]{4})")


def messages_hash(messages: Sequence[Any]) -> str:
    """SHA-256 of the messages as DuckDB's `to_json` writes them, so SQL can compute it too."""
    plain = [{"role": m.role, "content": m.content} for m in messages]
    text = _as_duckdb.encode(plain)
    return sha256_text(_ESCAPED_CONTROL.sub(lambda found: found[0][:2] + found[0][2:].upper(), text))


def prompt_id(
    messages: Sequence[Any], constraints: Sequence[Any], reference: str | None, evolved_from: str | None
) -> str:
    """A prompt's id: what is asked and how it is checked, not where it was found."""
    return content_id(
        "prompt", [asdict(m) for m in messages], [asdict(c) for c in constraints], reference, evolved_from
    )
