"""What tests of publishing share: a small lake made by SPaR on the scripted endpoint, and the command line against a Hub."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.audit.audit import AuditSettings, examination
from factory.publishing.hub import Place
from factory.publishing.publish import Asked
from factory.publishing.publish import publish as publish_set
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.command_line import told
from tests.hub import READER, TOKEN, Hub, Repository, client_environment, running_hub
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

REPO = "user/spar-dpo"
LICENCES = ("--model-licence", "mock=Apache-2.0")
ITEM = "Which of the many lighthouses along that northern coast was the first to be lit by gas?"
NOISE = ("equal_sides", "near_equal_sides", "near_duplicate_answers", "misaligned", "repetitive_chosen")
"""checks that may fail on what the scripted endpoint writes"""


@pytest.fixture(scope="session")
def spar_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with trees and the set spar_dpo@1, from which two prompts were left out for their overlap."""
    folder = tmp_path_factory.mktemp("published") / "lake"
    with running_endpoint(answer) as endpoint:
        run, _ = run_spar(folder, endpoint.url, prompts=10)
    with Lake.open(folder, create=True) as lake:
        texts = lake.query("SELECT DISTINCT q.messages[1].content AS text FROM pairs JOIN prompts AS q USING (prompt_id) "
                           "WHERE pairs.source = 'refined_over_failed' ORDER BY text LIMIT 2")  # fmt: skip
        against = folder.parent / "held_back.jsonl"
        against.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts.column(0).to_pylist()))
        examine = examination(lake, AuditSettings({}, (str(against),)), ())
        build_training_set(lake, "spar_dpo", {"held_out": 0.3}, [run], examine)
        build_training_set(lake, "spar_rft", {"held_out": 0.3}, [run])
    return folder


@pytest.fixture
def own_lake(spar_lake: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(spar_lake, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def against(tmp_path: Path) -> str:
    """An evaluation set that nothing overlaps with."""
    (tmp_path / "unseen.jsonl").write_text(json.dumps({"prompt": ITEM}) + "\n", "utf-8")
    return str(tmp_path / "unseen.jsonl")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="session")
def written(spar_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of spar_dpo@1 with lineage: written once, as that takes longest."""
    out = tmp_path_factory.mktemp("written")
    asked = Asked(
        Place(REPO, "dataset"), lineage=True, allowed=("overlap",), model_licences={"mock": "Apache-2.0"}, against=()
    )
    with Lake.open(spar_lake) as lake:
        publish_set(lake, "spar_dpo@1", asked, lambda words: None, out=out / "set")
    return {f.relative_to(out / "set").as_posix(): f.read_bytes() for f in (out / "set").rglob("*") if f.is_file()}


@pytest.fixture
def published(written: dict[str, bytes], hub: Hub) -> Repository:
    return hub.add("datasets", REPO, written)


def command(*words: str, hub: Hub, home: Path, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """`factory WORDS` in a process of its own, which takes `hub` for the Hub."""
    known = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
    environment = {**known, **client_environment(hub, str(home), token), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        cwd=home,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `factory WORDS` in this process against the Hub: exit code, output, errors on one line."""
    import huggingface_hub.constants as constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    unhurried = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", unhurried)  # the client waits long before it asks again
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        code, said, errors = told(capsys, *words)
        assert not any(token in said + errors for token in (TOKEN, READER))
        return code, said, " ".join(errors.split())

    return call


def out_of(run: Run, *words: object) -> str:
    code, out, err = run(*words)
    assert code == 0, err
    return out


def publish(lake: Path, against: str, run: Run, *more: str, name: str = "spar_dpo@1") -> None:
    code, _, err = run("publish", name, REPO, "--lake", lake, "--against", against, *LICENCES, *more)
    assert code == 0, err
