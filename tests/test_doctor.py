"""`factory doctor` says what is there and what is missing, one line each, and changes nothing."""

import importlib.metadata
import importlib.util
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from factory.inference.weights import MODELS
from factory.monitor.doctor import examine
from schemas.tables import SCHEMA_VERSION, Run
from stores.lake import Lake
from tests.rows import row
from tests.runs import answer
from tests.scripted_endpoint import Faults, Reply, running_endpoint


def lines_of(lake: Path, model: str | None = None) -> tuple[bool, dict[str, tuple[str, str]]]:
    """Whether all is well, and for each thing its state and words."""
    out = io.StringIO()
    healthy = examine(str(lake), model, Console(file=out, width=60))
    lines = [line.split(maxsplit=2) for line in out.getvalue().splitlines()]
    return healthy, {what: (state, words) for what, state, words in lines}


@pytest.fixture(autouse=True)
def no_weights_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_machine_with_all_that_is_needed_is_healthy_before_its_first_run(tmp_path: Path) -> None:
    healthy, found = lines_of(tmp_path / "lake")
    assert healthy, found
    needed = ("python", "packages", "DuckDB", "llama.cpp", "checkers", "machine", "disk")
    assert {what: found[what][0] for what in needed} == dict.fromkeys(needed, "ok")
    assert found["lake"] == ("missing", f"none in {tmp_path / 'lake'} yet: `factory run` creates one")
    assert found["weights"][0] == "missing" and "fetched by the first run" in found["weights"][1]
    assert list(tmp_path.iterdir()) == []


def test_the_training_extra_is_looked_for_without_importing_torch(tmp_path: Path) -> None:
    healthy, found = lines_of(tmp_path)
    if importlib.util.find_spec("trl") is None:
        assert found["training"][0] == "missing" and "pip install 'preference-factory[train]'" in found["training"][1]
    assert healthy
    assert "torch" not in sys.modules or "torch" in found["training"][1]


def test_a_package_of_another_version_is_named_with_the_one_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0" if name == "rapidfuzz" else version(name))
    healthy, found = lines_of(tmp_path)
    state, words = found["packages"]
    assert not healthy and state == "broken"
    assert words == f"rapidfuzz is 0.0: pip install rapidfuzz=={version('rapidfuzz')}"


def test_a_package_that_cannot_be_imported_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "factory.verifier.constraints", None)
    healthy, found = lines_of(tmp_path)
    assert not healthy and found["checkers"][0] == "broken" and "pip install" in found["checkers"][1]
    assert found["DuckDB"][0] == "ok"


def test_a_wrong_weight_file_is_broken(no_weights_yet: Path, tmp_path: Path) -> None:
    no_weights_yet.mkdir()
    file = no_weights_yet / MODELS["smollm2-135m"].file_name
    file.write_bytes(b"GGUF, but another one")
    healthy, found = lines_of(tmp_path)
    assert not healthy and found["weights"][0] == "broken"
    assert str(file) in found["weights"][1] and "move it away or delete it" in found["weights"][1]


def test_a_lake_is_counted_and_its_unfinished_runs_can_be_resumed(lake: Lake) -> None:
    lake.append(
        [row(Run, "1", run_id="spar-1", status="finished"), row(Run, "2", run_id="spar-2", status="stopped")],
        message="two runs",
    )
    healthy, found = lines_of(lake.place.folder or Path())
    assert healthy and found["lake"][0] == "ok"
    assert f"schema version {SCHEMA_VERSION}, 2 runs, 2 rows; not finished: `factory resume spar-2" in found["lake"][1]
    assert "spar-1" not in found["lake"][1]


def test_a_lake_of_another_version_is_broken(lake: Lake) -> None:
    lake.connection.execute("UPDATE schema_version SET version = 99")
    healthy, found = lines_of(lake.place.folder or Path())
    assert not healthy and found["lake"][0] == "broken" and "has schema version 99" in found["lake"][1]


def test_an_endpoint_is_asked_for_its_models_and_a_word_and_no_key_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with running_endpoint(answer, models=["small", "large"], api_key="sk-secret") as endpoint:
        healthy, found = lines_of(tmp_path, endpoint.url)
        assert endpoint.stats().received == 1
    assert healthy and found["endpoint"] == (
        "ok",
        f"{endpoint.url}, key from $OPENAI_API_KEY, serves small, large; small answers",
    )
    assert "secret" not in str(found)


def test_an_endpoint_that_is_not_there_or_refuses_the_key_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with running_endpoint(answer, api_key="sk-secret") as endpoint:
        healthy, found = lines_of(tmp_path, endpoint.url)
        assert not healthy and "refuses the key (HTTP 401)" in found["endpoint"][1]
        url = endpoint.url
    healthy, found = lines_of(tmp_path, url)
    assert not healthy and found["endpoint"][0] == "broken"
    assert f"{url} does not answer (Connection refused): start it" in found["endpoint"][1]


def test_an_endpoint_that_lists_models_but_answers_nothing_is_broken(tmp_path: Path) -> None:
    with running_endpoint(lambda request: Reply(500, "<html>"), faults=Faults()) as endpoint:
        healthy, found = lines_of(tmp_path, endpoint.url)
    assert not healthy and "mock does not answer: see the endpoint's own log" in found["endpoint"][1]


def test_what_is_no_endpoint_is_said(tmp_path: Path) -> None:
    healthy, found = lines_of(tmp_path, "localhost:8000")
    assert not healthy and "is neither embedded:NAME nor a base URL" in found["endpoint"][1]
