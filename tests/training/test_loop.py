"""A loop with real trainings, killed at any moment and resumed: the rows and weights of one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.tables import Evaluation, LoopStep, TrainingRun, TrainingSet
from stores.lake import Lake
from tests.runs import answer
from tests.scripted_endpoint import ScriptedEndpoint, running_endpoint
from tests.training.tiny import CONFIG, needs_torch

KILLS = 6
TIMES = {
    "recorded_at",
    "seconds",
    "started_at",
    "ended_at",
    "created_at",
    "snapshot",
    "training_run_id",
    "package_versions",
}


@contextmanager
def endpoint_that_takes(names: Path, script: Any = answer) -> Iterator[ScriptedEndpoint]:
    """An endpoint that serves, besides `mock`, every model whose name a user's command has written into a file."""
    with running_endpoint(script) as endpoint:
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.05):
                if names.exists():
                    endpoint.models = ("mock", *names.read_text("utf-8").split("\n"))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield endpoint
        finally:
            ended.set()
            watcher.join()


def write_loop(folder: Path, place: SimpleNamespace, url: str, names: Path) -> Path:
    config = folder / "config.yaml"
    # A token is a byte; a checkpoint at every second step, so that kills leave some.
    config.write_text(CONFIG.replace("max_tokens: 128", "max_tokens: 2048\n  save_every: 2"))
    training = {"config": str(config), "weights": str(place.folder / "tiny")}
    file, benchmark = folder / "tiny.loop.yaml", folder / "own.jsonl"
    kind = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    asked = ({"key": number, "prompt": f"Describe item {number} without commas.", **kind} for number in range(8))
    benchmark.write_text("".join(f"{json.dumps(one)}\n" for one in asked), "utf-8")
    loop = {
        "recipe": "spar",
        "rounds": 2,
        "models": {role: {"endpoint": url, "name": "mock"} for role in ("actor", "refiner")},
        "override": {"stages.search.depth": 1},
        "prompts": {"each_round": 6},
        "train": {
            "actor": {"set": "spar_dpo", "parameters": {"held_out": 0.2}, **training},
            "refiner": {"set": "independent_dpo", **training},
        },
        "evaluate": [str(benchmark)],
        "on_new_weights": f"echo {{name}} >> {names}",
    }
    file.write_text(json.dumps(loop), "utf-8")  # JSON is YAML
    return file


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "factory.cli", *words, "--lake", str(folder / "lake")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        start_new_session=True,
    )


def rows(lake: Path, url: str) -> dict[str, list[Any]]:
    """What the loop has made, without times and the endpoint's port."""
    with Lake.open(lake) as opened:
        found = {table.__name__: opened.read(table) for table in (TrainingRun, TrainingSet, Evaluation, LoopStep)}
        calls = opened.query("SELECT call_id, model_id, completion_tokens FROM calls ORDER BY call_id").to_pylist()
    found["TrainingRun"].sort(key=lambda row: str(row.output))
    plain = {
        name: [{key: getattr(row, key) for key in row.__dataclass_fields__ if key not in TIMES} for row in table]
        for name, table in found.items()
    }
    return {**plain, "calls": calls}


@needs_torch
@pytest.mark.heavy
def test_a_loop_killed_at_any_moment_ends_with_the_rows_and_weights_of_one_left_alone(
    place: SimpleNamespace, tmp_path: Path
) -> None:
    names = tmp_path / "names"
    with endpoint_that_takes(names) as endpoint:
        ends: dict[str, Any] = {}
        for way in ("alone", "killed"):
            folder = tmp_path / way
            folder.mkdir()
            file = write_loop(folder, place, endpoint.url, names)
            began = time.monotonic()
            if way == "killed":
                draw = random.Random(7)
                for _ in range(KILLS):
                    process = start(folder, "loop", str(file))
                    try:
                        process.wait(draw.uniform(2.0, ends["seconds"] / 2))
                    except subprocess.TimeoutExpired:
                        os.kill(process.pid, signal.SIGKILL)
                    process.communicate()
            process = start(folder, "loop", str(file))
            said, _ = process.communicate()
            assert process.returncode == 0, said
            ends.setdefault("seconds", time.monotonic() - began)
            ends[way] = rows(folder / "lake", endpoint.url)
    assert len(ends["alone"]["TrainingRun"]) == 4
    for name, of_table in ends["alone"].items():
        assert of_table == ends["killed"][name], name
