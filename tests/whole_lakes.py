"""A small lake in which every row is as the factory writes it: what `factory verify` calls whole."""

import shutil
from pathlib import Path

import pytest

from schemas.ids import content_id, model_id
from schemas.tables import Model, TrainingRun
from stores.checksums import keep_checksums
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import NOON, row
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint


def make_whole_lake(where: Path | str) -> None:
    """A lake with a run, two pinned sets, and a model trained on one of them."""
    with running_endpoint(answer) as endpoint:
        run_id, _ = run_spar(where, endpoint.url)  # type: ignore[arg-type]
    with Lake.open(where) as lake:
        sets = [build_training_set(lake, name, {}, [run_id]).row for name in ("spar_dpo", "spar_rft")]
        settled = {"training_set_id": sets[0].training_set_id, "base_weights_sha256": "0" * 64, "configuration": "{}"}
        training = row(
            TrainingRun,
            content_id("training run", *settled.values(), 0, NOON.isoformat()),
            **settled,
            metrics="{}",
            output="trained",
        )
        name = "trained@111"
        model = row(Model, model_id(name, "111"), name=name, revision="111", training_run_id=training.training_run_id)
        lake.append([training, model], message="by hand")
        keep_checksums(lake)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: see `copied`."""
    folder = tmp_path_factory.mktemp("whole") / "lake"
    make_whole_lake(folder)
    return folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "lake"))
