"""Request files in the format of OpenAI's Batch API: JSON lines, split at the service's limits.

Limits: 50,000 requests and 200 MB per file, one model per file (OpenAI's API reference, "Create batch", and its guide).
"""

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from schemas.errors import FactoryError

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
URL = "/v1/chat/completions"


@dataclass(slots=True)
class RequestFile:
    """One file of requests to one model."""

    path: Path
    """a temporary name until all files are complete"""
    model: str
    opened: TextIO
    requests: int = 0
    bytes: int = 0


class RequestFiles:
    """`requests.jsonl`, or `requests-0001.jsonl` and so on; they appear only if the block ends without an error."""

    def __init__(self, out: Path, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        """
        Raises:
            FactoryError: files with these names already exist.
        """
        self.out = out
        self.most_requests = most_requests
        self.most_bytes = most_bytes
        self.files: list[RequestFile] = []
        self._filling: dict[tuple[str, str], RequestFile] = {}  # by model and address
        numbered = f"{glob.escape(out.stem)}-[0-9][0-9][0-9][0-9]{glob.escape(out.suffix)}"
        for there in ([out] if out.exists() else []) + sorted(out.parent.glob(numbered)):
            raise FactoryError(
                f"{there} already exists, and its requests may be in progress: give another --out, or remove it"
            )

    def __enter__(self) -> Self:
        return self

    def write(self, custom_id: str, body: dict[str, Any], address: str = "") -> None:
        """Adds a request to the file of its model at an address."""
        request = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}
        line = json.dumps(request) + "\n"  # ASCII, so its length in characters is its length in bytes
        to = (body["model"], address)
        file = self._filling.get(to)
        if file is None or file.requests == self.most_requests or file.bytes + len(line) > self.most_bytes:
            file = self._next(to)
        file.opened.write(line)
        file.requests += 1
        file.bytes += len(line)

    def _next(self, to: tuple[str, str]) -> RequestFile:
        if to in self._filling:
            self._filling[to].opened.close()
        name = f"{self.out.stem}-{len(self.files) + 1:04}{self.out.suffix}.part"
        path = self.out.with_name(name)
        file = RequestFile(path, to[0], path.open("w", encoding="ascii"))
        self.files.append(file)
        self._filling[to] = file
        return file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._filling.values():
            file.opened.close()
        for file in self.files:
            if kind is not None:
                file.path.unlink(missing_ok=True)
            else:
                file.path = file.path.rename(self.out if len(self.files) == 1 else file.path.with_suffix(""))
