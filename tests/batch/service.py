"""A hosted Batch API with scripted answers: OpenAI's `/files`, `/batches` and `/files/ID/content` over real HTTP.

A batch goes one step of its `plan` further each time it is looked at, and answers when it gets to the last one. What it
answers to each request is what the scripted endpoint would.
"""

import email
import email.policy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.batches import reply_to

Lines = list[dict[str, Any]]
KEY = "sk-batch-0123456789"


def answer_all(requests: Lines) -> tuple[Lines, Lines]:
    return [reply_to(request) for request in requests], []


def unanswered(request: dict[str, Any], code: str) -> dict[str, Any]:
    """A line of an error file."""
    return {"id": "r", "custom_id": request["custom_id"], "response": None, "error": {"code": code, "message": code}}


@dataclass
class BatchService:
    """The service's state; a test changes it between two commands, or reads what has come in."""

    url: str = ""
    plan: tuple[str, ...] = ("validating", "in_progress", "completed")
    fulfil: Callable[[Lines], tuple[Lines, Lines]] = answer_all
    """requests -> lines of the output file, and of the error file"""
    errors: Any = None
    """a failed batch's"""
    faults: dict[str, list[Any]] = field(default_factory=dict)
    """by method and path (`POST /v1/batches`): each next reply, (status, body, headers), "drop", or "do and drop\""""
    uploaded: list[bytes] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """method and path of all that came in"""
    contents: dict[str, bytes] = field(default_factory=dict)

    def upload(self, content: bytes) -> dict[str, Any]:
        self.uploaded.append(content)
        return {"id": f"file-{len(self.uploaded)}", "object": "file", "purpose": "batch", "bytes": len(content)}

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = {name: asked.get(name) for name in ("input_file_id", "endpoint", "completion_window", "metadata")}
        made |= {"id": f"batch-{len(self.batches) + 1}", "object": "batch", "status": "validating", "created_at": 1}
        self.batches.append(made | {"step": -1, "plan": self.plan})
        return made

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["step"] = min(batch["step"] + 1, len(batch["plan"]) - 1)
        batch["status"] = batch["plan"][batch["step"]]
        requests = [json.loads(line) for line in self.uploaded[int(batch["input_file_id"][5:]) - 1].splitlines()]
        batch["request_counts"] = {"total": len(requests), "completed": 0, "failed": 0}
        if batch["status"] == "failed":
            batch["errors"] = self.errors
        elif batch["step"] == len(batch["plan"]) - 1 and batch["status"] in ("completed", "expired", "cancelled"):
            found = dict(zip(("output", "error"), self.fulfil(requests), strict=True))
            batch["request_counts"] |= {"completed": len(found["output"]), "failed": len(found["error"])}
            for what, lines in found.items():
                if lines:
                    file_id = batch[f"{what}_file_id"] = f"file-{batch['id']}-{what}"
                    self.contents[file_id] = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return {name: value for name, value in batch.items() if name not in ("step", "plan")}

    def page(self, limit: int, after: str | None) -> dict[str, Any]:
        newest = [self._shown(batch) for batch in reversed(self.batches)]
        start = next((i + 1 for i, batch in enumerate(newest) if batch["id"] == after), 0)
        data = newest[start : start + min(limit, 2)]  # pages of two, so that tests see several
        return {"object": "list", "data": data, "has_more": start + len(data) < len(newest)}

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in batch.items() if name not in ("step", "plan")}

    def route(self, method: str, path: str, query: dict[str, list[str]], content: bytes, kind: str) -> tuple[int, Any]:
        """The reply to a request: a status, and bytes or a document."""
        parts = path.removeprefix("/v1/").split("/")
        known = {batch["id"]: batch for batch in self.batches}
        match method, parts:
            case "POST", ["files"]:
                form = email.message_from_bytes(
                    b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content, policy=email.policy.HTTP
                )
                fields = {part.get_param("name", header="content-disposition"): part for part in form.walk()}
                return 200, self.upload(fields["file"].get_payload(decode=True))
            case "POST", ["batches"]:
                return 200, self.create(json.loads(content))
            case "GET", ["batches"]:
                return 200, self.page(int(query.get("limit", ["20"])[0]), query.get("after", [None])[0])  # type: ignore[list-item]
            case "GET", ["batches", batch_id] if batch_id in known:
                return 200, self.look(known[batch_id])
            case "GET", ["files", file_id, "content"] if file_id in self.contents:
                return 200, self.contents[file_id]
        return 404, {"error": {"message": f"No such thing: {path}", "code": "not_found"}}


@contextmanager
def running_service() -> Iterator[BatchService]:
    """A service on a free port, until the end of the block."""
    service = BatchService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.handle_any()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = f"{self.command} {url.path}"
            service.asked.append(name)
            headers: dict[str, str] = {}
            fault = service.faults[name].pop(0) if service.faults.get(name) else None
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                said = f"Incorrect API key: {self.headers.get('Authorization')}"
                status, body = 401, {"error": {"message": said, "code": "invalid_api_key"}}
            elif fault is None or fault == "do and drop":
                kind = self.headers.get("Content-Type", "")
                status, body = service.route(self.command, url.path, parse_qs(url.query), content, kind)
            elif fault != "drop":
                status, body, headers = fault
            if fault in ("drop", "do and drop"):
                self.close_connection = True
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            for header, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | headers).items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(data)
            self.close_connection |= "Content-Length" in headers  # more was promised than comes

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
