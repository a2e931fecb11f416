"""The README's commands, word for word, with the real model: run, look, build, train."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from stores.attach import load_extensions
from stores.lake import Lake

pytestmark = pytest.mark.real_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no {language} block"
    return found[1]


def shell(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        preexec_fn=keep_half_of_the_cores,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def keep_half_of_the_cores() -> None:
    """Leaves the other cores to other tests: a model's threads wait for each other, and long for one without a core."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[len(cores) // 2 :])


def needs_training() -> None:
    """Skips where the training packages are not installed; in CI the test goes on, and fails."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("trl", reason="training is not installed: pip install torch==2.13.0 and -e '.[train]'")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in which all commands of the README's example have been typed; its models take gigabytes of disk."""
    with tempfile.TemporaryDirectory(prefix="newcomer-", ignore_cleanup_errors=True) as name:
        for line in block("bash").splitlines():
            if "factory train" not in line:
                shell(line, Path(name))
        yield Path(name)


def test_the_example_makes_answers_trees_and_pairs(folder: Path):
    with Lake.open(folder / "lake") as lake:
        counts = lake.counts()
        (state,) = lake.query("FROM run_progress").to_pylist()
    assert state["status"] == "finished"
    assert state["prompts"] == state["answered"] == state["judged"] == 16
    assert counts["responses"] > 48 and counts["trees"] == state["failing"] and counts["training_sets"] == 1


def test_tokens_are_counted_for_every_choice(folder: Path):
    with Lake.open(folder / "lake") as lake:
        (sums,) = lake.query(
            "SELECT (SELECT sum(completion_tokens) FROM calls)::BIGINT AS by_call, "
            "(SELECT sum(tokens) FROM responses)::BIGINT AS by_response, "
            "(SELECT count(*) FROM responses WHERE tokens IS NULL) AS unknown"
        ).to_pylist()
    assert sums["unknown"] == 0
    assert sums["by_call"] == sums["by_response"]


def test_the_training_set_is_read_by_datasets(folder: Path):
    import datasets

    files = {
        split: str(file)
        for file in (folder / "lake/training_sets/spar_dpo@1").glob("*.parquet")
        for split in [file.stem]
    }
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"))
    assert set(loaded["train"][0]) >= {"prompt", "chosen", "rejected"}


def test_the_example_trains(folder: Path):
    needs_training()
    for line in block("bash").splitlines():
        if "factory train" in line:
            shell(line, folder)
    with Lake.open(folder / "lake") as lake:
        (trained,) = lake.query("SELECT objective, loss_curve FROM training_runs").to_pylist()
    assert trained["objective"] == "dpo" and trained["loss_curve"]


@pytest.mark.heavy
@pytest.mark.parametrize("times", [2])
def test_the_example_s_training_gives_the_same_weights_again(folder: Path, times: int):
    needs_training()
    if not (folder / "models").is_dir():
        test_the_example_trains(folder)
    [model] = [path.name for path in (folder / "models").iterdir() if "-dpo-" in path.name]
    for _ in range(times):
        assert shell(f"factory rerun {model}", folder).rstrip().endswith("identical")
    with Lake.open(folder / "lake") as lake:
        found = lake.query("SELECT DISTINCT outcome, weights_sha256 FROM reruns").to_pylist()
        [trained] = lake.query("SELECT weights_sha256 FROM training_runs WHERE objective = 'dpo'").column(0).to_pylist()
    assert found == [{"outcome": "identical", "weights_sha256": trained}]


def test_the_refiner_trains_on_the_same_lake(folder: Path):
    needs_training()
    shell("factory build spar_rft", folder)
    settings = yaml.safe_load((ROOT / "trainers" / "presets" / "small-cpu.yaml").read_text("utf-8"))
    (folder / "once.yaml").write_text(yaml.safe_dump({"rft": settings["rft"] | {"epochs": 1}}), "utf-8")
    shell("factory train rft --set spar_rft@1 --model embedded:smollm2-135m --config once.yaml", folder)
    with Lake.open(folder / "lake") as lake:
        (trained,) = lake.query("SELECT loss_curve FROM training_runs WHERE objective = 'rft'").to_pylist()
    assert trained["loss_curve"]


def test_a_plain_duckdb_shell_attaches_the_same_lake(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    connection = duckdb.connect()
    load_extensions(connection, ("sqlite_scanner",))  # what INSTALL and LOAD do where there is a network
    connection.execute("\n".join(line for line in block("sql").splitlines() if not line.startswith("INSTALL")))
    assert connection.execute("SELECT count(*) FROM prompts").fetchall() == [(16,)]
    connection.execute(shell("factory views", folder))
    assert connection.execute("SELECT count(*) FROM verdicts").fetchall()[0][0] > 0
