"""A Hub of our own: the part of the Hugging Face Hub's HTTP API that its clients use to publish and to fetch.

Real sockets on loopback, in a thread of its own, so that tests, their subprocesses and the real `huggingface_hub` and
`datasets` can all reach it (HF_ENDPOINT). Repositories live in memory: commits of files, branches and tags. Faults are
scripted: `hub.fail("/commit/", 409)` answers the next such request with that status, `cut=True` closes its connection.

Left out: Xet (clients need HF_HUB_DISABLE_XET=1), pull requests, users other than the one whose token it knows.
"""

import asyncio
import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

TOKEN = "hf_" + "Secret" * 6
READER = "hf_" + "Reader" * 6
"""a token that may read, and not write"""
_LARGE = (".parquet", ".safetensors", ".bin")
_REPO = r"{owner}/{name}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of a commit."""

    content: bytes
    large: bool
    """whether it is in large file storage"""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """git's SHA-1 of the blob; of a large file, its SHA-256."""
        return self.sha256 if self.large else hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(slots=True)
class Repository:
    """A repository with its whole history."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    """branches and tags: name and commit"""

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return {path: blob.content for path, blob in self.at(revision).items()}

    def at(self, revision: str) -> dict[str, Blob]:
        return self.commits[self.refs.get(revision, revision)]

    def commit(self, branch: str, files: dict[str, Blob], message: str) -> str:
        sha = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits[sha], self.refs[branch] = files, sha
        self.messages.append(message)
        return sha


@dataclass(slots=True)
class Fault:
    """What happens to the next requests whose path is found by `pattern`."""

    pattern: str
    status: int
    times: int
    after: int
    """so many are served first"""
    cut: bool
    headers: dict[str, str]


class Hub:
    """The server; `url` is what HF_ENDPOINT takes."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """method and path, in order"""
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()

    def fail(
        self, pattern: str, status: int = 0, *, times: int = 1, after: int = 0, cut: bool = False, **headers: str
    ) -> None:
        self.faults.append(Fault(pattern, status, times, after, cut, _named(headers)))

    def dataset(self, name: str) -> Repository:
        return self.repositories["datasets", name]

    def model(self, name: str) -> Repository:
        return self.repositories["models", name]

    def add(self, kind: str, name: str, files: dict[str, bytes]) -> Repository:
        """A repository that somebody else made."""
        made = self.repositories[kind, name] = Repository(False)
        made.commit("main", {path: Blob(content, path.endswith(_LARGE)) for path, content in files.items()}, "theirs")
        return made

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._met], client_max_size=1 << 30)
        app.router.add_post("/api/repos/create", self._create)
        app.router.add_post("/api/validate-yaml", self._valid)
        app.router.add_get("/api/whoami-v2", self._who)
        app.router.add_put("/storage/{oid}", self._store)
        app.router.add_post("/stored", self._valid)
        for kind in ("datasets", "models"):
            api = f"/api/{kind}/{_REPO}"
            app.router.add_get(api, self._info)
            app.router.add_get(f"{api}/revision/{{revision}}", self._info)
            app.router.add_get(f"{api}/tree/{{revision}}", self._tree)
            app.router.add_get(f"{api}/tree/{{revision}}/{{path:.*}}", self._tree)
            app.router.add_post(f"{api}/paths-info/{{revision}}", self._paths)
            app.router.add_post(f"{api}/preupload/{{revision}}", self._preupload)
            app.router.add_post(f"{api}/commit/{{revision}}", self._commit)
            app.router.add_post(f"{api}/branch/{{revision}}", self._ref)
            app.router.add_post(f"{api}/tag/{{revision}}", self._ref)
            plain = f"/datasets/{_REPO}" if kind == "datasets" else f"/{_REPO}"
            app.router.add_post(f"{plain}.git/info/lfs/objects/batch", self._batch)
            app.router.add_get(f"{plain}/resolve/{{revision}}/{{path:.*}}", self._resolve)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    # Who asks, and what goes wrong

    @web.middleware
    async def _met(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        fault = self._fault_of(request)
        if fault is not None and fault.cut:
            await request.content.read(1)  # the client has begun to send
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if fault is not None:
            return _refused(fault.status, "scripted", **fault.headers)
        shown = request.headers.get("Authorization")
        if shown not in (None, f"Bearer {TOKEN}", f"Bearer {READER}"):
            return _refused(401, "Invalid credentials in Authorization header")
        writes = (
            request.method in ("POST", "PUT")
            and not request.path.endswith(("validate-yaml",))
            and "paths-info" not in request.path
        )
        if writes and not request.path.startswith(("/storage", "/stored")) and shown != f"Bearer {TOKEN}":
            return _refused(401 if shown is None else 403, "You don't have the rights to write here")
        return await handler(request)  # type: ignore[no-any-return]

    def _fault_of(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, request.path):
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _found(self, request: web.Request) -> Repository:
        """The repository that a request names.

        Raises:
            HTTPNotFound: there is none, or none that whoever asks may see.
        """
        kind = "datasets" if request.path.startswith(("/api/datasets/", "/datasets/")) else "models"
        found = self.repositories.get((kind, f"{request.match_info['owner']}/{request.match_info['name']}"))
        if found is None or (found.private and "Authorization" not in request.headers):
            raise _missing("Repo")
        return found

    def _at(self, request: web.Request) -> tuple[Repository, str]:
        """The repository that a request names, and the commit.

        Raises:
            HTTPNotFound: there is none.
        """
        found = self._found(request)
        sha = _sha(found, unquote(request.match_info.get("revision", "main")))
        if sha is None:
            raise _missing("Revision")
        return found, sha

    async def _who(self, request: web.Request) -> web.Response:
        return web.json_response({"name": "user", "type": "user", "orgs": []})

    async def _valid(self, request: web.Request) -> web.Response:
        return web.json_response({"errors": [], "warnings": []})

    # Repositories and their refs

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"{asked.get('organization') or 'user'}/{asked['name']}"
        kind = f"{asked.get('type') or 'model'}s"
        url = f"{self.url}/datasets/{name}" if kind == "datasets" else f"{self.url}/{name}"
        if (kind, name) in self.repositories:
            return web.json_response({"error": "You already created this repo", "url": url}, status=409)
        made = self.repositories[kind, name] = Repository(
            bool(asked.get("private") or asked.get("visibility") == "private")
        )
        made.commit("main", {".gitattributes": Blob(b"*.parquet filter=lfs\n", False)}, "initial commit")
        return web.json_response({"url": url, "name": name})

    async def _info(self, request: web.Request) -> web.Response:
        found, sha = self._at(request)
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        siblings = [{"rfilename": path} for path in sorted(found.commits[sha])]
        return web.json_response({"id": name, "sha": sha, "private": found.private, "siblings": siblings, "tags": []})

    async def _ref(self, request: web.Request) -> web.Response:
        found, asked = self._found(request), await request.json()
        revision = unquote(request.match_info["revision"])
        is_tag = "/tag/" in request.path
        name = asked["tag"] if is_tag else revision
        if name in found.refs:
            return _refused(409, "Reference already exists")
        found.refs[name] = str(_sha(found, revision if is_tag else asked.get("startingPoint") or "main"))
        return web.json_response({})

    # Uploading

    async def _preupload(self, request: web.Request) -> web.Response:
        there = self._found(request).at(unquote(request.match_info["revision"]))
        files = [
            {"path": path, "uploadMode": "lfs" if path.endswith(_LARGE) else "regular", "shouldIgnore": False,
             "oid": there[path].oid if path in there else None}
            for path in (one["path"] for one in (await request.json())["files"])
        ]  # fmt: skip
        return web.json_response({"files": files})

    async def _batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        objects: list[dict[str, Any]] = []
        for one in asked["objects"]:
            if one["oid"] in self.storage:
                objects.append(one)
                continue
            upload = {"href": f"{self.url}/storage/{one['oid']}"}
            objects.append({**one, "actions": {"upload": upload, "verify": {"href": f"{self.url}/stored"}}})
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _store(self, request: web.Request) -> web.Response:
        content = await request.read()
        if hashlib.sha256(content).hexdigest() != request.match_info["oid"]:
            return _refused(400, "another content")
        self.storage[request.match_info["oid"]] = content
        return web.Response()

    async def _commit(self, request: web.Request) -> web.Response:
        found, branch = self._found(request), unquote(request.match_info["revision"])
        files, message, parent = dict(found.at(branch)), "", None
        for line in (await request.read()).splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message, parent = value["summary"], value.get("parentCommit")
            elif item["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif item["key"] == "lfsFile":
                files[value["path"]] = Blob(self.storage[value["oid"]], True)
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        if parent is not None and parent != found.refs[branch]:
            return _refused(412, "A commit has happened since. Please refresh and try again.")
        sha = found.commit(branch, files, message)
        place = request.path.removeprefix("/api/").removeprefix("models/").partition("/commit/")[0]
        return web.json_response({"commitOid": sha, "commitUrl": f"{self.url}/{place}/commit/{sha}"})

    # Fetching

    async def _tree(self, request: web.Request) -> web.Response:
        found, sha = self._at(request)
        within = unquote(request.match_info.get("path", "")).strip("/")
        inside = {p: b for p, b in found.commits[sha].items() if not within or p.startswith(f"{within}/")}
        if within and not inside:
            raise _missing("Entry")
        deep = request.query.get("recursive", "").lower() in ("true", "1")
        start = len(within) + 1 if within else 0
        folders = {p[: p.index("/", start)] for p in inside if "/" in p[start:]}
        listed = [_entry(p, b) for p, b in sorted(inside.items()) if deep or "/" not in p[start:]]
        return web.json_response(
            [*({"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in sorted(folders)), *listed]
        )

    async def _paths(self, request: web.Request) -> web.Response:
        there = self._found(request).at(unquote(request.match_info["revision"]))
        data = await request.post()
        wanted = data.getall("paths", []) if data else (await request.json())["paths"]
        return web.json_response([_entry(str(p), there[str(p)]) for p in wanted if str(p) in there])

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        found, sha = self._at(request)
        blob = found.commits[sha].get(unquote(request.match_info["path"]))
        if blob is None:
            raise _missing("Entry", X_Repo_Commit=sha)
        headers = {"ETag": f'"{blob.oid}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if blob.large:
            headers |= {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.content))}
        content = blob.content
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")):
            first, last = int(span[1]), int(span[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
            return web.Response(status=206, body=content[first : last + 1], headers=headers)
        return web.Response(body=content, headers=headers)


def _sha(found: Repository, revision: str) -> str | None:
    return found.refs.get(revision) or (revision if revision in found.commits else None)


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": blob.oid, "size": len(blob.content)}
    if blob.large:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 130}
    return entry


def _refused(status: int, said: str, **headers: str) -> web.Response:
    return web.json_response({"error": said}, status=status, headers={"X-Error-Message": said, **_named(headers)})


def _missing(what: str, **headers: str) -> web.HTTPNotFound:
    """
    Args:
        what: Repo, Revision or Entry.
    """
    said = f"{what} not found"
    told = {"X-Error-Code": f"{what}NotFound", "X-Error-Message": said, **_named(headers)}
    return web.HTTPNotFound(text=json.dumps({"error": said}), content_type="application/json", headers=told)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    hub.start()
    try:
        yield hub
    finally:
        hub.close()


def client_environment(hub: Hub, home: str, token: str | None = TOKEN) -> dict[str, str]:
    """What a process needs to take this for the Hub; read when its clients are imported."""
    told = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return told if token is None else {**told, "HF_TOKEN": token}
