"""A run on a folder of weights: its rows name the weights, never the place, and it goes on wherever the folder is."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import recipe_of
from factory.runs.loop import run_recipe
from factory.runs.places import remember, with_places, without_places
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification, run_of, specification_of
from schemas.errors import FactoryError
from schemas.tables import TABLES, Call, Model, Run
from stores.lake import Lake
from tests.training.test_conversion import folder_of
from tests.training.tiny import needs_torch
from trainers.models import Base, weights_sha256

pytestmark = needs_torch


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    return folder_of("Llama", tmp_path / "private" / "actor-1")


def specification(model: Path | str, seed: int = 0) -> RunSpecification:
    document: dict[str, Any] = {
        "name": "answers",
        "models": {"actor": {"endpoint": f"embedded:{model}"}},
        "prompts": {"limit": 2},
        "stages": [{"stage": "sample", "n": 1, "max_tokens": 8}, {"stage": "judge", "by": "verifier"}],
    }
    return RunSpecification(recipe_of(document, "recipe"), seed)


def ran(spec: RunSpecification, lake: Path) -> str:
    return run_recipe(spec, str(lake), Progress())


def test_rows_name_the_weights_and_no_place(folder: Path, tmp_path: Path) -> None:
    sha256 = weights_sha256(Base("", folder, None))
    name = f"actor-1@{sha256[:12]}"
    run_id = ran(specification(folder), tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        (model,) = lake.read(Model)
        assert (model.name, model.revision, model.origin) == (name, sha256, f"embedded:{name}")
        assert {call.endpoint for call in lake.read(Call)} == {f"embedded:{name}"}
        for table in TABLES:
            assert str(tmp_path) not in json.dumps(lake.query(f"SELECT * FROM {table}").to_pylist(), default=str)
        (run, *_) = lake.read(Run)
        assert json.loads(run.recipe)["models"]["actor"]["endpoint"] == ["embedded:actor-1"]

        moved = folder.rename(tmp_path / "moved")
        assert specification(moved).recipe.hash() == run.recipe_hash and run_of(specification(moved)).run_id == run_id
        elsewhere = {"models.actor.endpoint": f"embedded:{moved}"}
        assert specification_of(lake, run_id, elsewhere).recipe.models["actor"].embedded == str(moved)

        moved.rename(folder)
        assert specification_of(lake, run_id).recipe.models["actor"].embedded == str(folder)

        other = folder_of("Mistral", tmp_path / "other" / "actor-1")
        with pytest.raises(FactoryError, match=r"its settings .* have changed"):
            specification_of(lake, run_id, {"models.actor.endpoint": f"embedded:{other}"})


def test_the_same_weights_with_another_template_are_refused(folder: Path, tmp_path: Path) -> None:
    ran(specification(folder), tmp_path / "lake")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(FactoryError, match=r"the chat template of actor-1@.* has changed"):
        ran(specification(folder, seed=1), tmp_path / "lake")


def test_a_folder_behind_a_link_is_found_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    recipe = specification(tmp_path / "latest").recipe.as_json()
    public, places = without_places(recipe)
    remember("answers-1", places)
    assert "embedded:actor-1" in public and str(tmp_path) not in public
    assert with_places(public, "answers-1") == json.loads(recipe)
