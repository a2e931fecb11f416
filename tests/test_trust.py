"""A lake cannot have an address asked, a key sent, a program started or a file read that nobody on this machine has named."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory.batch.submitting import Services
from factory.inference.settings import ModelSettings
from factory.inference.trust import check_trusted, trust
from factory.loops.reading import load_loop
from factory.recipes.reading import load_recipe
from factory.reruns.lock_file import LockedTraining
from factory.reruns.payers import reward_named_here
from factory.reruns.training import Choices, repeat_training
from factory.runs.specification import RunSpecification, run_of, sources_of, specification_of
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
    with pytest.raises(FactoryError, match=r"OPENAI_API_KEY to https://models\.example, which only its lake names"):
        begun(tmp_path / "lake")
    with pytest.raises(FactoryError, match=r"-o models\.refiner\.endpoint="):  # the refiner's is still the lake's
        begun(tmp_path / "lake", models__actor__endpoint="https://models.example/v2")


def test_whoever_names_the_address_trusts_it(tmp_path: Path) -> None:
    spec = lake_with_a_run(tmp_path / "lake", ELSEWHERE)
    mine = "https://mine.example/v1"
    assert begun(tmp_path / "lake", models__actor__endpoint=mine, models__refiner__endpoint=mine).begun is not None
    trust(spec.recipe.models, [])
    assert begun(tmp_path / "lake").begun is not None


def test_whoever_repeats_the_lakes_address_names_it(tmp_path: Path) -> None:
    lake_with_a_run(tmp_path / "lake", ELSEWHERE)
    with pytest.raises(FactoryError, match="which only its lake names"):
        begun(tmp_path / "lake", models__actor__concurrency=1, models__refiner__concurrency=1)
    same = {f"models__{role}__endpoint": ELSEWHERE for role in ("actor", "refiner")}
    assert begun(tmp_path / "lake", **same).begun is not None


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", "http://169.254.169.254/v1", ELSEWHERE])
def test_without_a_key_no_address_is_asked_that_only_the_lake_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    spec = lake_with_a_run(tmp_path / "lake", address)
    with pytest.raises(FactoryError, match=r"run spar-\w+ wants to ask http.*, which only its lake names"):
        begun(tmp_path / "lake")
    with Lake.open(tmp_path / "lake") as lake:
        assert specification_of(lake, "spar", asks=False).begun is not None  # nobody is asked
    trust(spec.recipe.models, [])
    assert begun(tmp_path / "lake").begun is not None


def test_a_batch_is_not_sent_where_only_the_lake_says_so(tmp_path: Path) -> None:
    run = run_of(lake_with_a_run(tmp_path / "lake", ELSEWHERE))
    with Services(str(tmp_path / "lake")) as services, pytest.raises(FactoryError, match="which only its lake names"):
        services.of(run.run_id, "actor", ELSEWHERE)


def test_a_model_or_prompts_on_this_machine_are_opened_if_they_were_named(tmp_path: Path) -> None:
    weights, prompts = tmp_path / "mine.gguf", tmp_path / "mine.jsonl"
    weights.write_bytes(b"GGUF")
    prompts.write_text('{"prompt": "tea"}\n')
    embedded = {f"models__{role}__endpoint": f"embedded:{weights}" for role in ("actor", "refiner")}
    lake_with_a_run(tmp_path / "weights", ELSEWHERE, **embedded)
    with Lake.open(tmp_path / "weights") as lake:
        lake.connection.execute("UPDATE lake.runs SET recipe = replace(recipe, 'mine.gguf', ?)", [str(weights)])
    with pytest.raises(FactoryError, match=r"wants to load .*mine\.gguf, which only its lake names"):
        begun(tmp_path / "weights")
    assert begun(tmp_path / "weights", **embedded).begun is not None
    bundled = {f"models__{role}__endpoint": "embedded:smollm2-135m" for role in ("actor", "refiner")}
    spec = lake_with_a_run(tmp_path / "prompts", ELSEWHERE, **bundled, prompts__source=str(prompts))
    with Lake.open(tmp_path / "prompts") as lake:
        lake.connection.execute("UPDATE lake.runs SET recipe = replace(recipe, 'mine.jsonl', ?)", [str(prompts)])
    with pytest.raises(
        FactoryError, match=r"wants to read .*mine\.jsonl, which only its lake names.*-o prompts\.source="
    ):
        begun(tmp_path / "prompts")
    assert begun(tmp_path / "prompts", prompts__source=str(prompts)).begun is not None
    trust({}, sources_of(spec.recipe))
    assert begun(tmp_path / "prompts").begun is not None


def test_a_dataset_is_fetched_if_it_was_named_and_what_is_bundled_needs_nobody(tmp_path: Path) -> None:
    bundled = {f"models__{role}__endpoint": "embedded:smollm2-135m" for role in ("actor", "refiner")}
    lake_with_a_run(tmp_path / "bundled", ELSEWHERE, **bundled)
    assert begun(tmp_path / "bundled").begun is not None
    lake_with_a_run(tmp_path / "dataset", ELSEWHERE, **bundled, prompts__source="datasets:owner/name")
    with pytest.raises(FactoryError, match=r"wants to fetch the dataset owner/name, which only its lake names"):
        begun(tmp_path / "dataset")
    assert begun(tmp_path / "dataset", prompts__source="datasets:owner/name").begun is not None


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


def of_online(reward: Any) -> LockedTraining:
    """An online training of somebody else's lake, whose start is not here."""
    return LockedTraining(
        training_run_id="a" * 32,
        objective="online",
        status="finished",
        base_model="start",
        base_weights_sha256="0" * 64,
        start=None,
        reference=None,
        chat_template_hash=None,
        configuration={"reward": reward},
        seed=0,
        hardware="",
        package_versions={},
        output=None,
        weights_sha256=None,
        loss_curve=[],
    )


def test_a_training_done_again_asks_no_judge_that_only_the_lake_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "not for you")
    locked = of_online({"kind": "judge", "endpoint": ELSEWHERE, "api_key_env": "SECRET"})
    asks = r"training a+ wants to send the key in the environment variable SECRET to https.*, which only its lake names"
    no_set: Any = None
    with pytest.raises(FactoryError, match=rf"{asks}.*--reward ENDPOINT"):
        repeat_training(locked, no_set, pa.table({}), Choices(), lambda words: None)
    settings, _ = reward_named_here(locked, "https://mine.example/v1", ())
    assert settings["reward"] == {
        "kind": "judge",
        "endpoint": "https://mine.example/v1",
    }  # and no key of the lake's choice
    recipe = {
        "stage": {"stage": "judge"},
        "models": {"judge": {"endpoint": [ELSEWHERE], "api_key_env": "SECRET", "name": "m"}},
    }
    named = of_online({"kind": "judge", "recipe": recipe})
    with pytest.raises(FactoryError, match=asks):
        reward_named_here(named, None, ())
    settings, _ = reward_named_here(named, "vllm:mine", ())
    assert settings["reward"]["recipe"]["models"]["judge"] == {"name": "m", "revision": None, "endpoint": ["vllm:mine"]}
    trust({"reward": ModelSettings(endpoint=(ELSEWHERE,), api_key_env="SECRET")}, ())
    reward_named_here(locked, None, ())
    reward_named_here(of_online({"kind": "verifier"}), None, ())


def test_a_training_done_again_starts_no_server_and_opens_no_model_that_only_the_lake_names(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"wants to start the program .*owner/model"):
        reward_named_here(of_online({"kind": "judge", "endpoint": "vllm:owner/model"}), None, ())
    with pytest.raises(FactoryError, match="wants to load"):
        reward_named_here(of_online({"kind": "judge", "endpoint": f"embedded:{tmp_path}"}), None, ())
    with pytest.raises(FactoryError, match=r"paid for by the reward model .*where it lies is not known here"):
        reward_named_here(of_online({"kind": "reward_model", "model": "/home/me/model"}), None, ())


def test_a_loop_reads_no_trainer_s_settings_that_only_the_lake_names(tmp_path: Path) -> None:
    """They can name a judge, and so an address, a key or a program."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("online: {batch_size: 16}\n")
    bundled = {f"models.{role}.endpoint": "embedded:smollm2-135m" for role in ("actor", "judge")}
    loop = load_loop("rlaif_direct", {**bundled, "train.actor.config": str(mine)})
    assert ("train.actor.config", str(mine)) in loop.sources and "rlaif_direct" not in dict(loop.sources).values()
    asks = r"wants to read .*mine\.yaml, which only its lake names.*-o train\.actor\.config="
    with pytest.raises(FactoryError, match=asks):
        check_trusted(loop.recipe.models, loop.sources, "loop x")
    trust(loop.recipe.models, loop.sources)
    check_trusted(loop.recipe.models, loop.sources, "loop x")
