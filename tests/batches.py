"""Batches in tests: a run to write them for, their files, and a batch service's answers to them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory.batch.batches import Written, write_batch
from factory.recipes.reading import load_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from tests.completions import Request, completion_body
from tests.runs import answer, spar_overrides

NOBODY = "http://127.0.0.1:9/v1"
PROMPTS = 6


def specification(url: str = NOBODY, prompts: int = PROMPTS, **changes: Any) -> RunSpecification:
    names = {"models__actor__name": "mock", "models__refiner__name": "mock"}
    return RunSpecification(load_recipe("spar", spar_overrides(url, prompts, **(names | changes))))


def write(lake: Path, out: Path, asked: RunSpecification | None = None) -> Written:
    return write_batch(asked or specification(), str(lake), out, Progress())


def requests_in(written: Written) -> list[dict[str, Any]]:
    return [json.loads(line) for file in written.files for line in file.path.read_text("utf-8").splitlines()]


def reply_to(request: dict[str, Any], script: Callable[[Request], Any] = answer) -> dict[str, Any]:
    """A line of a batch service's output: the scripted endpoint's answer to the same body."""
    body = request["body"]
    body_hash = hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()
    asked = Request(body, body_hash, 1, body["model"], body["messages"], body["n"], body["seed"])
    response = {"status_code": 200, "request_id": "r", "body": completion_body(asked, script(asked))}
    return {"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}


def lines(file: Path, *documents: Any) -> Path:
    texts = (document if isinstance(document, str) else json.dumps(document) for document in documents)
    file.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return file
