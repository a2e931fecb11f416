"""A second machine with nothing but a lock file and the Hub: it makes the set, and the model, again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from factory.reruns.lock import lock_of
from factory.reruns.lock_file import write_lock
from stores.lake import Lake
from stores.training_sets import read_training_set
from tests.training.tiny import ROOT, needs_torch, training_run

servers: Any = pytest.importorskip("tests.hub", reason="the Hub of our own is not here yet")
REPO = "user/pairs"


@pytest.fixture
def hub(place: SimpleNamespace, tmp_path: Path) -> Iterator[Any]:
    """A Hub with the set as it is published: the Hub's names of columns, shards, and a second config beside it."""
    with Lake.open(place.lake) as lake:
        built = read_training_set(lake, "spar_dpo@1")
    files = {"README.md": b"---\nlicense: apache-2.0\n---\n"}
    names = {"chosen_value": "score_chosen", "rejected_value": "score_rejected"}
    half = built.train.num_rows // 2
    shards = {
        "data/0a/default/train-00000-of-00002.parquet": built.train.slice(0, half),
        "data/0a/default/train-00001-of-00002.parquet": built.train.slice(half),
        "data/0a/default/test-00000-of-00001.parquet": built.held_out,
        "data/0a/removed/train-00000-of-00001.parquet": built.train.slice(0, 1),
        "data/0a/prompts/train-00000-of-00001.parquet": built.train.select(["prompt"]),
    }
    for path, rows in shards.items():
        empty = [name for name in rows.column_names if built.train.column(name).null_count == built.train.num_rows]
        shown = rows.drop_columns(empty)
        shown = shown.rename_columns([names.get(name, name) for name in shown.column_names])
        pyarrow.parquet.write_table(shown, tmp_path / "shard.parquet")
        files[path] = (tmp_path / "shard.parquet").read_bytes()
    with servers.running_hub() as running:
        running.add("datasets", REPO, files)
        yield running


def on_a_fresh_machine(folder: Path, hub: Any, *words: str) -> "subprocess.CompletedProcess[str]":
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        **servers.client_environment(hub, str(home), None),
    }
    command = [sys.executable, "-P", "-m", "factory.cli", "rerun", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_lock_file_and_the_hub_give_the_set_again(place: SimpleNamespace, hub: Any, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    with Lake.open(place.lake) as lake:
        write_lock(lock_of(lake, "spar_dpo@1"), machine / "set.lock.yaml")
    done = on_a_fresh_machine(machine, hub, "set.lock.yaml", "--data", REPO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from the published dataset, fingerprint {place.pairs.row.fingerprint[:12]}" in done.stdout
    done = on_a_fresh_machine(machine, hub, "set.lock.yaml", "--data", "user/other")
    assert done.returncode == 1 and "neither a folder nor a dataset that the hub gives" in " ".join(done.stderr.split())


@needs_torch
def test_a_lock_file_and_the_hub_give_the_model_again(
    place: SimpleNamespace, dpo: Path, hub: Any, tmp_path: Path
) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    run = training_run(place, dpo)
    with Lake.open(place.lake) as lake:
        write_lock(lock_of(lake, run.training_run_id), machine / "model.lock.yaml")
    shutil.copytree(place.folder / "tiny", machine / "start")
    done = on_a_fresh_machine(machine, hub, "model.lock.yaml", "--data", REPO, "--model", "start")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"weights: identical, SHA-256 {run.weights_sha256}" in done.stdout
