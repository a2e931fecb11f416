"""Starting and ending `vllm serve` from a run, with a stand-in for vLLM; test_vllm.py has the real one."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from factory.inference.connect import connect
from factory.inference.settings import ModelSettings, VllmSettings
from factory.inference.vllm_server import LOGS_KEPT, VllmServer, serve
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from stores.lake import Lake
from tests.fake_vllm import ROOT, program
from tests.runs import assert_same_tables, tables
from tests.servers import all_end, has_ended

RECIPE = """
name: mine
models:
  actor: &model {{vllm: {{model: hub/model, command: {command}, args: {{max_model_len: 512}}}}}}
  refiner: *model
prompts: {{limit: {prompts}}}
stages: {{sample: {{n: 3}}, judge: {{}}, search: {{depth: 2}}}}
"""
PARENT = """
import asyncio, sys
from factory.inference.settings import VllmSettings
from factory.inference.vllm_server import serve

async def main():
    async with serve(VllmSettings(model="hub/model", command=sys.argv[1]), "model", None) as server:
        print(server.log_path, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def settings(command: Path, /, **changes: Any) -> VllmSettings:
    return VllmSettings(**{"model": "hub/model", "command": str(command), **changes})


def told(log: Path) -> dict[str, Any]:
    """What the stand-in says of itself in its first line."""
    found: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
    return found


def only_log(cache: Path) -> Path:
    (log,) = (cache / "logs").iterdir()
    return log


def pids_of(server: VllmServer) -> list[int]:
    said = told(server.log_path)
    return [server.process.pid, said["pid"], said["child"]]


def write_recipe(folder: Path, command: Path, prompts: int = 3) -> str:
    (folder / "mine.yaml").write_text(RECIPE.format(command=command, prompts=prompts))
    return str(folder / "mine.yaml")


def run_file(file: str, lake: Path) -> Progress:
    progress = Progress()
    run_recipe(RunSpecification(load_recipe(file)), str(lake), progress)
    return progress


# Started, used and stopped


def test_a_run_starts_the_server_asks_it_and_stops_all_its_processes(tmp_path: Path, cache: Path) -> None:
    progress = run_file(write_recipe(tmp_path, program(tmp_path)), tmp_path / "lake")
    assert progress.done == progress.prompts == 3 and not progress.set_aside
    assert len(progress.endpoints) == 1  # one server for both roles, which ask for the same
    said = told(only_log(cache))
    assert has_ended(said["pid"]) and has_ended(said["child"])
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.query("SELECT DISTINCT name, origin, revision FROM models").to_pylist() == [
            {"name": "hub/model", "origin": "vllm:hub/model", "revision": None}
        ]
        assert lake.query("SELECT DISTINCT endpoint FROM calls").column(0).to_pylist() == ["vllm:hub/model"]


def test_the_server_is_apart_from_the_terminal_and_its_key_is_seen_nowhere(tmp_path: Path) -> None:
    async def look() -> None:
        async with serve(settings(program(tmp_path)), "model", None) as server:
            guardian, main, child = pids_of(server)
            assert [os.getpgid(pid) for pid in (main, child)] == [guardian, guardian] != [os.getpgid(0)] * 2
            assert os.getsid(main) == guardian
            assert server.api_key not in repr(server)
            for pid in (guardian, main):
                assert server.api_key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{server.base_url}/models")
        assert server.api_key not in server.log_path.read_text()
        assert told(server.log_path)["usage"]

    asyncio.run(look())


def test_arguments_become_flags(tmp_path: Path) -> None:
    args = {
        "tensor_parallel_size": 2,
        "dtype": "bfloat16",
        "enforce_eager": True,
        "enable-prefix-caching": False,
        "override_generation_config": {"top_k": 5},
        "allowed_origins": ["a", "b"],
    }

    async def start() -> VllmServer:
        async with serve(settings(program(tmp_path), args=args), "model", "main") as server:
            return server

    said = told(asyncio.run(start()).log_path)
    assert said["model"] == "hub/model"
    words = said["words"]
    assert words[:5] == ["--served-model-name", "model", "--host", "127.0.0.1", "--port"]
    assert " ".join(words[6:]) == (
        "--revision main --tensor-parallel-size 2 --dtype bfloat16 --enforce-eager --no-enable-prefix-caching "
        '--override-generation-config {"top_k": 5} --allowed-origins a b'
    )


def test_only_the_newest_logs_are_kept(tmp_path: Path, cache: Path) -> None:
    (cache / "logs").mkdir(parents=True)
    for number in range(LOGS_KEPT + 3):
        (cache / "logs" / f"vllm-{number:02}.log").touch()

    async def start() -> None:
        async with serve(settings(program(tmp_path)), "model", None):
            pass

    asyncio.run(start())
    kept = sorted(file.name for file in (cache / "logs").iterdir())
    assert len(kept) == LOGS_KEPT and kept[0] == "vllm-04.log"


# Troubles


def start_and_fail(chosen: VllmSettings) -> str:
    async def start() -> None:
        async with serve(chosen, "model", None):
            pass

    with pytest.raises(FactoryError) as caught:
        asyncio.run(start())
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "end"),
    [
        (["line 1", "line 2", "line 3", "line 4"], "(end of log: line 2 | line 3 | line 4 | no such model)"),
        (["ValueError: too long", "cleaning up", "vllm serve: error: a flag"], "(end of log: ValueError: too long | vllm serve: error: a flag)"),
        (["RuntimeError: the key is {key}"], "(end of log: RuntimeError: the key is ***)"),
    ],
    ids=["lines", "errors", "key"],
)  # fmt: skip
def test_a_server_that_ends_while_it_starts_gives_the_end_of_its_log(
    tmp_path: Path, cache: Path, written: list[str], end: str
) -> None:
    before = f"print('\\n'.join({written}).replace('{{key}}', os.environ['VLLM_API_KEY']))\nsys.exit('no such model')"
    said = start_and_fail(settings(program(tmp_path, before)))
    assert "vLLM exited with status 1 during startup" in said and str(only_log(cache)) in said
    assert said.endswith(end)


def test_a_server_that_is_never_up_is_stopped(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_once_it_runs(url: str) -> bool:
        while not only_log(cache).read_text().endswith("\n"):
            time.sleep(0.01)
        return False

    monkeypatch.setattr("factory.inference.vllm_server._is_healthy", look_once_it_runs)
    before = "print(os.getpid(), flush=True); time.sleep(600)"
    said = start_and_fail(settings(program(tmp_path, before), start_timeout_s=0.6))
    assert "did not start within 1 s (vllm.start_timeout_s)" in said
    assert has_ended(int(only_log(cache).read_text()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"command": "vllm-that-is-not-there"}, "no program 'vllm-that-is-not-there'"),
        ({"command": str(ROOT / "README.md")}, "no program"),
        ({"model": "./not-there"}, "no folder './not-there'"),
    ],
    ids=str,
)
def test_what_is_not_there_is_said_before_anything_starts(
    tmp_path: Path, cache: Path, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in start_and_fail(settings(program(tmp_path), **changes))
    assert not list(cache.glob("logs/*"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_all_its_processes_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(program(tmp_path))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = told(Path(parent.stdout.readline().strip()))
        assert not has_ended(said["pid"]) and not has_ended(said["child"])
        parent.kill()
    assert all_end([said["pid"], said["child"]])


@pytest.mark.parametrize("victim", ["guardian", "server"])
def test_a_killed_server_ends_the_block_at_once_and_leaves_nothing(tmp_path: Path, victim: str) -> None:
    pids: list[int] = []

    async def ask() -> None:
        async with serve(settings(program(tmp_path)), "model", None) as server:
            pids.extend(pids_of(server))
            os.kill(pids[0 if victim == "guardian" else 1], signal.SIGKILL)
            await asyncio.sleep(600)

    with pytest.raises(FactoryError, match=r"vLLM exited with status (-9|137) during the run"):
        asyncio.run(ask())
    assert all_end(pids)


def test_an_error_inside_the_block_stays_what_it_is(tmp_path: Path) -> None:
    async def fail() -> None:
        async with serve(settings(program(tmp_path)), "model", None) as server:
            started.append(server)
            raise KeyError("a bug of the caller's")

    started: list[VllmServer] = []
    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert has_ended(told(started[0].log_path)["pid"])


def test_a_run_whose_server_was_killed_is_resumed_as_if_nothing_had_been(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, program(tmp_path))
    run_file(recipe, tmp_path / "calm")
    program(tmp_path, "import tests.fake_vllm as fake\nfake.answers_left = 5")
    with pytest.raises(FactoryError, match=r"vLLM exited with status 137 during the run.*`factory resume`"):
        run_file(recipe, tmp_path / "lake")
    program(tmp_path)
    run_file(recipe, tmp_path / "lake")
    assert_same_tables(tables(tmp_path / "calm"), tables(tmp_path / "lake"))


def test_a_trained_folder_is_served_under_the_hash_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "actor-1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of round 1")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    sha256 = hashlib.sha256(b"weights of round 1").hexdigest()
    program(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    async def look() -> None:
        async with connect("actor", ModelSettings(endpoint=(f"vllm:{folder}",))) as endpoint:
            assert endpoint.model.name == f"actor-1@{sha256[:12]}" and endpoint.model.revision == sha256
            assert endpoint.model.chat_template_hash == sha256_text("{{ messages }}")
            assert await endpoint.answers()

    asyncio.run(look())
