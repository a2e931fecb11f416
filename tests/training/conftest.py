"""Made once for all trainer tests: a lake with two training sets, a tiny model, two trainings of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.training.tiny import (
    COMPLETIONS_SQL,
    CONFIG,
    MISSING,
    build_numbers,
    make_tiny_model,
    one_thread,
    pair_rows,
    start,
)


@pytest.fixture(scope="package", autouse=True)
def with_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder with a lake of two training sets, a configuration, and (where torch is) a tiny model."""
    folder = tmp_path_factory.mktemp("trainers")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "completions.sql").write_text(COMPLETIONS_SQL)
    with Lake.open(folder / "lake", create=True) as lake:
        lake.append([each for number in range(24) for each in pair_rows(number)], message="pairs")
        pairs = build_training_set(lake, "spar_dpo", {"held_out": "0.3"}, ["run"])
        build_training_set(lake, str(folder / "completions.sql"), {}, ["run"])
        rated = "0.6 + number / 100 AS chosen_win_rate, 0.5 - number / 100 AS rejected_win_rate"
        build_numbers(lake, folder, "rated", f"{rated}, 0.5 + number / 50 AS probability")
        build_numbers(lake, folder, "margins", "number / 10 AS margin")
        changed = dataclasses.replace(pairs.row, training_set_id="changed", version=2, fingerprint="0" * 64)
        lake.append([changed], message="a set whose rows are not what they were")
    if not MISSING:
        make_tiny_model(folder / "tiny")
    assert pairs.train.num_rows and pairs.held_out.num_rows
    return SimpleNamespace(folder=folder, lake=folder / "lake", pairs=pairs)


@pytest.fixture(scope="session")
def dpo(place: SimpleNamespace) -> Path:
    """The folder of a model trained by DPO."""
    assert start(place, "dpo", place.folder / "dpo") == 0
    return place.folder / "dpo"


@pytest.fixture(scope="session")
def sppo(place: SimpleNamespace) -> Path:
    """The folder of a model trained by SPPO, at a beta at which ten steps show."""
    (place.folder / "sppo.yaml").write_text(CONFIG.replace("sppo: *shared", "sppo: {<<: *shared, beta: 0.1}"))
    assert start(place, "sppo", place.folder / "sppo", config=place.folder / "sppo.yaml") == 0
    return place.folder / "sppo"


@pytest.fixture(scope="session")
def reward(place: SimpleNamespace) -> Path:
    """The folder of a reward model."""
    assert start(place, "reward", place.folder / "reward") == 0
    return place.folder / "reward"


@pytest.fixture(scope="session")
def rft(place: SimpleNamespace) -> Path:
    """The folder of a model trained by RFT."""
    assert start(place, "rft", place.folder / "rft") == 0
    return place.folder / "rft"
