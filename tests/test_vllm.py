"""The real vLLM, its CPU build: SPaR on it, what it returns, and that it is gone afterwards.

`make .venv-vllm/installed` makes its environment; VLLM_COMMAND names another `vllm` to try. The model is the embedded
one, whose weights are written once as safetensors into the user's cache. A start takes half a minute, so there are only
two: one by a run, which pauses while other tests use its server and ends when the server is killed, and one by its resume.
"""

import asyncio
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from factory.inference.connect import connect
from factory.inference.settings import ModelSettings
from factory.inference.weights import cache_dir, fetch
from schemas.ids import weights_sha256
from stores.lake import Lake
from tests.servers import all_end, group_members, missing

pytestmark = pytest.mark.real_model

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(os.environ.get("VLLM_COMMAND", ROOT / ".venv-vllm" / "bin" / "vllm"))
CONTEXT_TOKENS = 1024
ARGS = {"dtype": "bfloat16", "enforce_eager": True, "max_model_len": CONTEXT_TOKENS, "max_num_seqs": 32}
# The verifier decides, since this model judges at chance level; its votes are recorded beside it.
SPAR = {
    "name": "small",
    "prompts": {"limit": 3},
    "stages": {
        "sample": {"n": 2, "max_tokens": 48},
        "judge": {"by": "both", "votes": 2, "retries": 0, "max_tokens": 48},
        "search": {"branch": 2, "keep": 1, "depth": 1, "max_tokens": 48},
    },
    "templates": {"refine": "refine_brief"},
}


@pytest.fixture(scope="module")
def model() -> Path:
    """The folder of SmolLM2-135M-Instruct's safetensors."""
    if not COMMAND.exists():
        missing("vLLM's build for processors: make .venv-vllm/installed")
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "gguf")):
        missing("the training packages, which write safetensors: pip install 'preference-factory[train]'")
    weights = fetch("smollm2-135m")
    folder = cache_dir() / f"{weights.name}-{weights.sha256[:12]}-safetensors"
    if not folder.exists():
        import torch

        from trainers.models import find_model, load_model, load_tokenizer

        base = find_model(str(weights.path))
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as half:
            load_model(base, torch.bfloat16).save_pretrained(half)
            load_tokenizer(base).save_pretrained(half)
            Path(half).rename(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; else half of the machine's
        patch.setenv("TORCHDYNAMO_DISABLE", "1")  # else the first token waits for a C++ compiler
        yield


@dataclass(frozen=True)
class Halted:
    """A run with a vLLM it started, and a pause in the middle of it."""

    run: subprocess.Popen[str]
    lake: Path
    processes: list[int]
    """vLLM's"""
    base_url: str
    api_key: str


@pytest.fixture(scope="module")
def halted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halted]:
    folder = tmp_path_factory.mktemp("vllm")
    vllm = {"model": str(model), "command": str(COMMAND), "args": ARGS}
    recipe = {**SPAR, "models": {role: {"vllm": vllm, "name": "smollm2"} for role in ("actor", "refiner")}}
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe))
    run = factory("run", folder / "small.yaml", "--lake", folder / "lake")
    try:
        while answers_in(folder / "lake" / "journal.sqlite") < 3:
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.01)
        run.send_signal(signal.SIGSTOP)
        yield Halted(run, folder / "lake", group_members(leader_of_vllm(run.pid)), *address_of_vllm(run.pid))
    finally:
        run.kill()
        run.communicate()


def factory(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "factory.cli.main", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(lake: Path, query: str) -> list[dict[str, Any]]:
    with Lake.open(lake) as opened:
        return opened.query(query).to_pylist()


# What it gives


def test_it_gives_n_answers_with_the_log_probabilities_of_their_tokens(halted: Halted) -> None:
    with openai.OpenAI(base_url=halted.base_url, api_key=halted.api_key) as client:
        reply = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Name three animals."}],
            n=3,
            seed=7,
            max_tokens=12,
            logprobs=True,
            top_logprobs=2,
        )
    assert len({choice.message.content for choice in reply.choices}) == 3
    tokens = 0
    for choice in reply.choices:
        assert choice.logprobs is not None and choice.logprobs.content
        tokens += len(choice.logprobs.content)
        assert all(token.logprob <= 0 and len(token.top_logprobs) >= 2 for token in choice.logprobs.content)
    # Of all choices: what a run's figures of tokens and cost are made of.
    assert reply.usage is not None and reply.usage.completion_tokens == tokens


def test_its_model_and_context_are_asked_for(halted: Halted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", halted.api_key)

    async def look() -> tuple[str, int | None]:
        async with connect("actor", ModelSettings(endpoint=(halted.base_url,))) as endpoint:
            return endpoint.model.name, endpoint.context_tokens

    assert asyncio.run(look()) == ("smollm2", CONTEXT_TOKENS)


def test_it_holds_to_the_schema_of_a_verdict(halted: Halted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", halted.api_key)
    recipe = {
        "name": "json",
        "models": {role: {"endpoint": halted.base_url} for role in ("actor", "refiner")},
        "prompts": {"limit": 1},
        "stages": {
            "sample": {"n": 2, "max_tokens": 48},
            "judge": {"verdict": "json", "votes": 4, "retries": 0, "max_tokens": 256},
        },
    }
    (tmp_path / "json.yaml").write_text(yaml.safe_dump(recipe))
    run = factory("run", tmp_path / "json.yaml", "--lake", tmp_path / "lake")
    errors = run.communicate()[1]
    assert run.returncode == 0, errors
    votes = rows(
        tmp_path / "lake",
        "SELECT verdict, critique, list_extract(finish_reasons, vote + 1) AS ended FROM judgements JOIN calls USING (call_id)",
    )
    assert len(votes) == 8
    whole = [vote for vote in votes if vote["ended"] == "stop"]
    assert whole and {vote["verdict"] for vote in whole} <= {"yes", "no"}
    assert not any(vote["critique"].startswith('{"') for vote in whole)


# Started by a run


def test_a_run_starts_it_survives_its_death_by_resuming_and_leaves_nothing(model: Path, halted: Halted) -> None:
    lake = halted.lake
    (engine,) = [pid for pid in halted.processes if any("EngineCore" in word for word in arguments_of(pid))]
    os.kill(engine, signal.SIGKILL)  # as the kernel does when memory is short
    halted.run.send_signal(signal.SIGCONT)
    errors = halted.run.communicate()[1]
    assert halted.run.returncode == 1
    assert "vLLM exited with status" in errors and "during the run" in errors and "`factory resume small-" in errors
    assert all_end(halted.processes)

    answered = answers_in(lake / "journal.sqlite")
    resumed = factory("resume", "small", "--lake", lake)
    errors = resumed.communicate()[1]
    assert resumed.returncode == 0, errors
    (state,) = rows(lake, "SELECT status, prompts, answered, judged, failing, trees FROM run_progress")
    assert (state["status"], state["prompts"], state["answered"], state["judged"]) == ("finished", 3, 3, 3)
    assert state["failing"] == state["trees"] > 0
    (calls,) = rows(
        lake,
        "SELECT count(*) AS calls, min(len(finish_reasons)) AS choices, "
        "min(prompt_tokens) AS prompt_tokens, min(completion_tokens) AS tokens FROM calls WHERE error IS NULL",
    )
    assert 3 <= answered < calls["calls"]
    assert calls["choices"] == 2 and calls["prompt_tokens"] > 0 and calls["tokens"] > 0
    assert rows(lake, "SELECT name, origin, revision FROM models") == [
        {"name": "smollm2", "origin": "vllm:smollm2", "revision": weights_sha256(sorted(model.glob("*.safetensors")))}
    ]


def answers_in(journal: Path) -> int:
    if not journal.exists():
        return 0
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as opened:
        try:
            return int(opened.execute("SELECT count(*) FROM replies").fetchone()[0])
        except sqlite3.OperationalError:  # its table is not made yet
            return 0


def leader_of_vllm(pid: int) -> int:
    """The process, of those that a run started, whose group is vLLM's."""
    everyone = (int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit())
    (leader,) = [each for each in everyone if parent_of(each) == pid and "serve" in arguments_of(each)]
    return leader


def address_of_vllm(pid: int) -> tuple[str, str]:
    """Where the vLLM that a run started is asked, and the key."""
    leader = leader_of_vllm(pid)
    words = arguments_of(leader)
    environment = Path(f"/proc/{leader}/environ").read_bytes().decode().split("\0")
    (key,) = [given.partition("=")[2] for given in environment if given.startswith("VLLM_API_KEY=")]
    return f"http://127.0.0.1:{words[words.index('--port') + 1]}/v1", key


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def arguments_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
