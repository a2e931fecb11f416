"""Runs on a Ray cluster of two workers on this machine, with PostgreSQL and an object store: the rows of a local run."""

import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from schemas.errors import FactoryError
from tests.runs import answer, assert_ids_unique, assert_same_tables, run_spar, spar_specification, tables
from tests.scripted_endpoint import Reply, Request, running_endpoint

PROMPTS = 8
CONCURRENCY = 8
SLOW = {"models__actor__concurrency": CONCURRENCY, "models__refiner__concurrency": CONCURRENCY}
_schemas = itertools.count()

if importlib.util.find_spec("ray") is None and os.environ.get("CI") != "true":
    pytest.skip("these need Ray: pip install 'preference-factory[ray]'", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster whose workers know the object store, and keep their journals in a folder of the tests."""
    from factory.runs.ray_executor import Cluster, execute_on

    import ray  # isort: skip  # after the factory has told it to send no statistics

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("journals")))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield Execution(execute_on(Cluster(workers=2)))
        ray.shutdown()


@pytest.fixture(scope="module")
def one_worker(cluster: Any) -> Any:
    """The same cluster where a second worker, whose start takes seconds, would show nothing."""
    from factory.runs.ray_executor import Cluster, execute_on

    return Execution(execute_on(Cluster(workers=1)))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same on one machine, without a cluster and undisturbed."""
    lake = tmp_path_factory.mktemp("local") / "lake"
    with running_endpoint(answer) as endpoint:
        run_id, progress = run_spar(lake, endpoint.url, PROMPTS)
        return SimpleNamespace(run_id=run_id, progress=progress, tables=tables(lake), asked=endpoint.stats().received)


@pytest.fixture
def shared_lake(postgres: str, bucket: str) -> str:
    schema = f"ray_{next(_schemas)}"
    return f"postgresql://{postgres}?data_path={bucket}/{schema}&metadata_schema={schema}"


def worker_processes() -> list[int]:
    """The processes of this machine that Ray calls workers of a map, and that descend from this one."""
    parents, named = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (entry / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                named.append(int(entry.name))
        except OSError:  # it has just ended
            continue

    def descends(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and descends(parents[pid]))

    return sorted(pid for pid in named if descends(pid))


def test_two_workers_make_the_rows_of_a_local_run(cluster: Any, shared_lake: str, local: SimpleNamespace) -> None:
    with running_endpoint(answer) as endpoint:
        progress = Progress()
        assert run_recipe(spar_specification(endpoint.url, PROMPTS), shared_lake, progress, cluster) == local.run_id
        assert endpoint.stats().received == local.asked
    assert_same_tables(local.tables, tables(shared_lake))
    assert_ids_unique(shared_lake)
    counted = ("done", "trees", "accepted", "requests", "tokens")
    assert [getattr(progress, name) for name in counted] == [getattr(local.progress, name) for name in counted]


def test_a_worker_killed_half_way_changes_no_row(cluster: Any, shared_lake: str, local: SimpleNamespace) -> None:
    with running_endpoint(answer, slots=2 * CONCURRENCY, latency_ms=100) as endpoint:
        spec = spar_specification(endpoint.url, PROMPTS, **SLOW)
        run = threading.Thread(target=run_recipe, args=(spec, shared_lake, Progress(), cluster))
        run.start()
        while run.is_alive() and (endpoint.stats().received < local.asked // 2 or len(worker_processes()) < 2):
            time.sleep(0.01)
        pids = worker_processes()
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGKILL)
        run.join()
        # What was in flight at the worker that died; the two models have their requests apart.
        assert endpoint.stats().repeated_answers <= 2 * CONCURRENCY
    assert_same_tables(local.tables, tables(shared_lake))
    assert_ids_unique(shared_lake)


@pytest.mark.heavy
def test_a_budget_is_that_of_all_workers(cluster: Any, one_worker: Any, shared_lake: str) -> None:
    with running_endpoint(answer, slots=CONCURRENCY, latency_ms=100) as endpoint:
        spec = spar_specification(endpoint.url, PROMPTS, budget__max_requests=60, **SLOW)
        with pytest.raises(FactoryError, match=r"max_requests of 60 is reached .*-o budget.max_requests="):
            run_recipe(spec, shared_lake, Progress(), cluster)
        first = endpoint.stats().received
        with pytest.raises(FactoryError, match="max_requests of 60 is reached"):
            run_recipe(spec, shared_lake, Progress(), one_worker)
        assert endpoint.stats().received == first
    # Each worker hears of the other's spending within a second.
    assert 60 <= first < 120


def test_what_ends_a_worker_ends_the_run_with_the_same_sentence(one_worker: Any, shared_lake: str) -> None:
    def refuse(request: Request) -> Any:
        return Reply(401, {"error": {"message": "no", "type": "invalid"}})

    with (
        running_endpoint(refuse) as endpoint,
        pytest.raises(FactoryError, match=rf"^{endpoint.url} refuses the key \(HTTP 401\): put the right one where"),
    ):
        run_recipe(spar_specification(endpoint.url, 4), shared_lake, Progress(), one_worker)


def test_a_lake_in_a_folder_is_refused(tmp_path: Path, cluster: Any) -> None:
    with running_endpoint(answer) as endpoint, pytest.raises(FactoryError, match="a lake that all workers can reach"):
        run_recipe(spar_specification(endpoint.url, 2), str(tmp_path / "lake"), Progress(), cluster)


def test_the_command_starts_a_cluster_of_its_own(cluster: Any, shared_lake: str) -> None:
    with running_endpoint(answer) as endpoint:
        command = [sys.executable, "-m", "factory.cli.main", "run", "spar", "--lake", shared_lake, "--limit", "2"]
        command += ["--model", endpoint.url, "--executor", "ray", "--workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "INFO" not in done.stderr
    assert len(tables(shared_lake)["run_prompts"]) == 2


def test_an_address_without_a_cluster_is_one_sentence(shared_lake: str) -> None:
    with running_endpoint(answer) as endpoint:
        command = [sys.executable, "-m", "factory.cli.main", "run", "spar", "--lake", shared_lake, "--limit", "2"]
        command += ["--model", endpoint.url, "--executor", "ray", "--ray-address", "127.0.0.1:1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: no Ray cluster answers at 127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr


def test_without_ray_it_is_said_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['ray'] = None; from factory.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", hidden, "run", "demo", "--executor", "ray", "--lake", str(tmp_path / "lake")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: --executor ray needs Ray: pip install 'preference-factory[ray]'\n"
