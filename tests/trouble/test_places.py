"""No row holds a path of the machine, and a run still finds its files: here by memory, elsewhere when they are given."""

import json
from pathlib import Path

import pytest

from factory.recipes.reading import load_recipe
from factory.runs.places import remember, with_places, without_paths, without_places
from factory.runs.specification import RunSpecification, run_of
from schemas.tables import TABLES
from stores.lake import Lake
from tests.runs import answer, spar_overrides
from tests.scripted_endpoint import running_endpoint
from tests.trouble.commands import Command, sentence, write_prompts


def everything(place: Path) -> str:
    with Lake.open(place) as lake:
        return "".join(str(lake.query(f"FROM {name}").to_pylist()) for name in TABLES)


def test_a_recipe_keeps_the_last_names_of_what_is_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.jsonl", "model.gguf", "near.jsonl"):
        (tmp_path / name).write_text("")
    given = {
        "prompts": {"source": f"{tmp_path}/mine.jsonl"},
        "models": {"actor": {"endpoint": [f"embedded:{tmp_path}/model.gguf", "http://host/v1"]}},
        "more": ["near.jsonl", "/not/there", "~nobody-of-that-name/x", "../" + tmp_path.name, 7, None],
    }
    public, places = without_places(json.dumps(given))
    assert json.loads(public) == {
        "prompts": {"source": "mine.jsonl"},
        "models": {"actor": {"endpoint": ["embedded:model.gguf", "http://host/v1"]}},
        "more": ["near.jsonl", "/not/there", "~nobody-of-that-name/x", tmp_path.name, 7, None],
    }
    assert with_places(public, "unknown-run") == json.loads(public)
    remember("a-run", places)
    assert with_places(public, "a-run") == given
    assert with_places(json.dumps({"prompts": {"source": "other.jsonl"}}), "a-run") == {
        "prompts": {"source": "other.jsonl"}
    }


def test_a_sentence_for_a_row_names_a_file_and_not_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("")
    said = (
        f"the journal {tmp_path}/journal.sqlite cannot be written: no space; /chat/completions of http://a/v1 is there"
    )
    assert (
        without_paths(said)
        == "the journal journal.sqlite cannot be written: no space; /chat/completions of http://a/v1 is there"
    )


def test_a_run_leaves_no_path_in_its_lake_and_is_resumed_by_memory_or_by_what_is_given(
    factory: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = write_prompts(tmp_path / "mine.jsonl", "tea", "rain", "snow")
    place = tmp_path / "lake"
    with running_endpoint(answer) as endpoint:
        words = ["run", "spar", "--lake", place, "--model", endpoint.url, "--prompts", prompts]
        assert "budget" in sentence(factory(*words, "-o", "budget.max_requests=4"))
        assert str(tmp_path) not in everything(place)
        resume = ["resume", "spar", "--lake", place, "-o", "budget.max_requests=1000"]
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
        said = sentence(factory(*resume))
        assert f"wants to ask {endpoint.url.removesuffix('/v1')}, which only its lake names" in said
        for role in ("actor", "refiner"):
            resume += ["-o", f"models.{role}.endpoint={endpoint.url}"]
        said = sentence(factory(*resume))
        assert "mine.jsonl" in said and "-o prompts.source=" in said
        moved = prompts.rename(tmp_path / "moved.jsonl")
        assert factory(*resume, "-o", f"prompts.source={moved}")[0] == 0
        assert factory("resume", "spar", "--lake", place)[0] == 0  # it is known by now
    assert str(tmp_path) not in everything(place)


def test_ids_do_not_depend_on_where_files_are(tmp_path: Path) -> None:
    runs = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        prompts = write_prompts(tmp_path / name / "mine.jsonl", "tea")
        overrides = {**spar_overrides("http://127.0.0.1:9/v1", 1), "prompts.source": str(prompts)}
        runs.append(run_of(RunSpecification(load_recipe("spar", overrides))))
    assert runs[0].run_id == runs[1].run_id and runs[0].recipe == runs[1].recipe
    assert str(tmp_path) not in f"{runs[0]}"
