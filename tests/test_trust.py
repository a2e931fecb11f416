"""A lake cannot have keys sent, or programs started, that nobody on this machine has named."""

from pathlib import Path
from typing import Any

import pytest

from factory.inference.trust import trust
from factory.recipes.reading import load_recipe
from factory.runs.specification import RunSpecification, run_of, specification_of
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import spar_overrides

ELSEWHERE = "https://models.example/v1"


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")


def lake_with_a_run(folder: Path, url: str, **changes: Any) -> RunSpecification:
    """A lake made elsewhere: only the row of a run that was begun there."""
    spec = RunSpecification(load_recipe("spar", spar_overrides(url, 2, **changes)))
    with Lake.open(folder, create=True) as lake:
        lake.append([run_of(spec)], message="begun elsewhere")
    return spec


def begun(folder: Path, **overrides: Any) -> RunSpecification:
    with Lake.open(folder) as lake:
        return specification_of(lake, "spar", {key.replace("__", "."): value for key, value in overrides.items()})


def test_a_key_is_not_sent_where_only_the_lake_says_so(tmp_path: Path) -> None:
    lake_with_a_run(tmp_path / "lake", ELSEWHERE)
    with pytest.raises(FactoryError, match=r"OPENAI_API_KEY to https://models\.example: if you trust that"):
        begun(tmp_path / "lake")
    with pytest.raises(FactoryError, match="started on another machine"):  # the refiner's is still the lake's
        begun(tmp_path / "lake", models__actor__endpoint="https://models.example/v2")


def test_whoever_names_the_address_trusts_it(tmp_path: Path) -> None:
    spec = lake_with_a_run(tmp_path / "lake", ELSEWHERE)
    mine = "https://mine.example/v1"
    assert begun(tmp_path / "lake", models__actor__endpoint=mine, models__refiner__endpoint=mine).begun is not None
    trust(spec.recipe.models.values())
    assert begun(tmp_path / "lake").begun is not None


def test_without_a_key_and_on_this_machine_nothing_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_with_a_run(tmp_path / "here", "http://localhost:8000/v1")
    assert begun(tmp_path / "here").begun is not None
    lake_with_a_run(tmp_path / "lake", ELSEWHERE)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert begun(tmp_path / "lake").begun is not None


def test_a_lake_cannot_name_the_file_of_a_key_or_a_program(tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("not-for-you\n")
    files = {f"models__{role}__api_key_file": str(secret) for role in ("actor", "refiner")}
    lake_with_a_run(tmp_path / "file", ELSEWHERE, **files)
    with pytest.raises(FactoryError, match=r"the first line of the file .*id_rsa to https"):
        begun(tmp_path / "file")
    program: dict[str, Any] = {"vllm": {"model": "owner/model", "command": "/bin/true"}, "endpoint": []}
    lake_with_a_run(tmp_path / "vllm", ELSEWHERE, models__actor=program)
    with pytest.raises(FactoryError, match=r"to start the program .*/?true"):
        begun(tmp_path / "vllm", models__refiner__endpoint="http://localhost:1/v1")
