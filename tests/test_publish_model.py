"""Publishing a trained model: the real client, the card's metadata, and what never leaves the folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from factory.inference.folders import folder_sha256
from factory.publishing.licences import hub_id_of
from factory.publishing.manifest import MANIFEST
from schemas.tables import Evaluation, Model, Prompt, RunPrompt, TrainingRun
from stores.lake import Lake
from stores.training_sets import find_training_set
from tests.hub import Hub
from tests.publications import LICENCES, Run
from tests.publications import against as against
from tests.publications import hub as hub
from tests.publications import own_lake as own_lake
from tests.publications import run as run
from tests.publications import spar_lake as spar_lake
from tests.rows import NOON, asked, minutes, row

REPO = "user/actor"
RUN_ID = "abcdef0123456789abcdef0123456789"
FIGURES = {"margin": (1.25, 3.5), "accuracy": (0.4, 0.6)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as `factory train` writes it, with what must stay in it."""
    folder = tmp_path / "models" / "actor-1"
    folder.mkdir(parents=True)
    save_file({"weight": np.arange(12, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "_name_or_path": "/home/ada/base"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    for name in ("training_args.bin", "optimizer.pt", "modeling_mine.py", "scheduler.pkl", "training.json"):
        (folder / name).write_bytes(b"\x80\x04")
    (folder / "adapter").mkdir()
    save_file({"lora": np.ones(3, dtype=np.float32)}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "/home/ada/base", "r": 8})
    )
    return folder


@pytest.fixture
def trained(own_lake: Path, model: Path) -> Iterator[Path]:
    """A lake with the training's rows."""
    with Lake.open(own_lake, create=True) as lake:
        start = row(Model, "start", name="smollm2-135m", origin="embedded:smollm2-135m", revision="b" * 64)
        made = row(Model, "made", name="actor-1@abc", origin="vllm:actor-1@abc", training_run_id=RUN_ID)
        metrics = {
            "examples": 6, "dropped": 0, "held_out": 2, "warnings": ["the chat template ends no turn with EOS"],
            "before": {name: ends[0] for name, ends in FIGURES.items()}, "after": {n: ends[1] for n, ends in FIGURES.items()},
        }  # fmt: skip
        training = row(
            TrainingRun, RUN_ID, training_set_id=find_training_set(lake, "spar_dpo@1").training_set_id, objective="dpo",
            base_model="HuggingFaceTB/SmolLM2-135M-Instruct@main", base_weights_sha256="b" * 64, start_model_id="start",
            reference_model_id="start", status="finished", configuration='{"epochs": 2, "lora": null, "packed": false, "note": "", "beta": 0.1, "seed_of_data": 0}', seed=3,
            package_versions={"torch": "2.13.0"}, hardware="1 x CPU", loss_curve=[0.6931, 0.5, 0.25], metrics=json.dumps(metrics),
            weights_sha256=folder_sha256(model), output="actor-1", started_at=NOON, ended_at=minutes(2),
        )  # fmt: skip
        measured = [
            row(Evaluation, metric, model_id="made", role="actor", benchmark="ifeval", metric=metric, value=value, low=value - 0.1,
                high=value + 0.1, examples=541, prompts_hash="h", recorded_at=NOON)
            for metric, value in (("prompt_strict", 0.3125), ("prompt_loose", 0.375))
        ]  # fmt: skip
        lake.append([start, made, training, *measured], message="trained")
    yield own_lake


def test_a_model_goes_to_the_hub_with_its_card_and_without_a_pickle(
    trained: Path, model: Path, against: str, hub: Hub, run: Run
) -> None:
    assert run("publish", "spar_dpo@1", "user/data", "--lake", trained, "--against", against, *LICENCES)[0] == 0
    code, out, err = run("publish-model", RUN_ID[:8], REPO, "--lake", trained, "--dataset", "user/data", "--private")
    assert code == 0, err
    made = hub.model(REPO)
    assert made.private
    files = made.files()
    assert set(files) == {
        ".gitattributes", "README.md", "config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors",
        "training_run.json", "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
    }  # fmt: skip
    assert files["model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert "not published: modeling_mine.py, optimizer.pt, scheduler.pkl, training.json, training_args.bin" in out
    assert not [name for name, content in files.items() if b"/home/ada" in content]
    card = files["README.md"].decode()
    head = yaml.safe_load(card.partition("---\n")[2].partition("---\n")[0])
    assert (
        head["license"] == "apache-2.0" and head["datasets"] == ["user/data"] and head["library_name"] == "transformers"
    )
    assert head["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and "dpo" in head["tags"]
    (index,) = head["model-index"]
    assert {one["dataset"]["revision"] for one in index["results"]} == {"h"}
    assert [(one["dataset"]["type"], one["metrics"][0]["type"], one["metrics"][0]["value"]) for one in index["results"]] == [
        ("ifeval", "prompt_loose", 0.375), ("ifeval", "prompt_strict", 0.3125),
    ]  # fmt: skip
    from huggingface_hub import ModelCard

    assert {r.metric_type: r.metric_value for r in ModelCard(card).data.eval_results} == {
        "prompt_strict": 0.3125,
        "prompt_loose": 0.375,
    }


def test_the_cards_figures_are_the_trainings(trained: Path, model: Path, run: Run, tmp_path: Path) -> None:
    code, shown, err = run("publish-model", "actor-1", REPO, "--lake", trained, "--dry-run", tmp_path / "out")
    assert code == 0, err
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    with Lake.open(trained) as lake:
        training_set = find_training_set(lake, "spar_dpo@1")
    for said in (
        f"| training set's fingerprint | `{training_set.fingerprint}` |",
        f"`spar_dpo@1`, {training_set.train_rows} rows to train on, {training_set.held_out_rows} held out |",
        f"| these weights, SHA-256 | `{folder_sha256(model)}` |",
        "| loss, first and last step | 0.6931, 0.25 |",
        "| time | 120 s |",
        "| steps | 3 |",
        "| log p(chosen) - log p(rejected), nats | 1.25 | 3.5 |",
        "| ifeval | prompt\\_strict | 0.3125 | 0.212 to 0.412 | 541 |",
        "**Warning:** the chat template ends no turn with EOS.",
        "| beta | 0.1 |\n| seed\\_of\\_data | 0 |\n\n",
        "| torch | 2.13.0 |",
        "| reference model | smollm2-135m |",
    ):
        assert said in card, said
    assert "wrote" in shown and str(tmp_path) not in card


def test_a_model_that_is_not_what_the_lake_says_is_refused(
    trained: Path, model: Path, hub: Hub, run: Run, tmp_path: Path
) -> None:
    hub.add("datasets", "user/other", {"README.md": b"x"})
    for given, said in (
        (("nothing", REPO), "no training in lake"),
        (("actor-1", REPO, "--weights", tmp_path / "nowhere"), "there is no model in"),
        (("actor-1", REPO, "--dataset", "user/other"), "holds other content"),
        (("actor-1", REPO, "--dataset", "user/none"), "--dataset user/none holds nothing"),
        (("actor-1", REPO, "--allow", "overlap"), "there is no check 'overlap' of a model"),
    ):
        code, _, err = run("publish-model", *given, "--lake", trained)
        assert code == 1 and said in err, err
    save_file({"weight": np.zeros(12, dtype=np.float32)}, model / "model.safetensors")
    code, _, err = run("publish-model", "actor-1", REPO, "--lake", trained)
    assert code == 1 and f"does not hold the weights of training {RUN_ID}" in err
    assert ("models", REPO) not in hub.repositories


def test_a_model_of_unknown_licence_is_refused_unless_it_is_named_or_allowed(
    own_lake: Path, model: Path, run: Run, tmp_path: Path
) -> None:
    with Lake.open(own_lake, create=True) as lake:
        lake.append(
            [row(Model, "start", name="in-house", origin="vllm:x"),
             row(TrainingRun, RUN_ID, training_set_id=find_training_set(lake, "spar_dpo@1").training_set_id, objective="dpo",
                 base_model="in-house", start_model_id="start", status="finished", configuration="{}", metrics="{}", output="actor-1",
                 weights_sha256=folder_sha256(model))],
            message="trained",
        )  # fmt: skip
    out = tmp_path / "out"
    refused_until_allowed(own_lake, "model_licences", "the licence of in-house, from which it was trained,", run, out)
    words = ("publish-model", "actor-1", REPO, "--lake", own_lake, "--dry-run", out)
    assert run(*words, "--model-licence", "in-house=MIT")[0] == 0
    assert "- mit\n" in (out / "README.md").read_text("utf-8")


def refused_until_allowed(lake: Path, check: str, said: str, run: Run, out: Path) -> None:
    words = ("publish-model", "actor-1", REPO, "--lake", lake, "--dry-run", out)
    code, _, err = run(*words)
    assert code == 1 and f"{said} is not known" in err
    assert run(*words, "--allow", check)[0] == 0
    assert "\nlicense: unknown\n" in (out / "README.md").read_text("utf-8")


def test_a_model_trained_on_prompts_of_unknown_licence_is_refused(trained: Path, run: Run, tmp_path: Path) -> None:
    with Lake.open(trained, create=True) as lake:
        (run_id,) = json.loads(find_training_set(lake, "spar_dpo@1").parameters)["run_ids"]
        lake.append(
            [row(Prompt, "odd", messages=asked("hm?"), source="somewhere"),
             row(RunPrompt, "odd", run_id=run_id, prompt_id="odd")],
            message="odd",
        )  # fmt: skip
    refused_until_allowed(trained, "licences", "the licence of some of its training prompts", run, tmp_path / "out")


def test_the_bundled_model_has_its_id_on_the_hub() -> None:
    assert hub_id_of("embedded:smollm2-135m") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert hub_id_of("Qwen/Qwen2.5-7B@main") == "Qwen/Qwen2.5-7B"
    assert hub_id_of("round1-actor") is None and hub_id_of("/home/ada") is None and hub_id_of("embedded:a/b") is None


def test_publishing_a_model_again_changes_nothing_and_other_content_is_left_alone(
    trained: Path, model: Path, hub: Hub, run: Run
) -> None:
    assert run("publish-model", "actor-1", REPO, "--lake", trained)[0] == 0
    before = dict(hub.model(REPO).refs)
    assert run("publish-model", "actor-1", REPO, "--lake", trained)[0] == 0
    assert dict(hub.model(REPO).refs) == before
    hub.add("models", "user/theirs", {"model.safetensors": b"theirs"})
    code, _, err = run("publish-model", "actor-1", "user/theirs", "--lake", trained)
    assert code == 1 and "user/theirs holds other content (model.safetensors)" in err


def test_a_model_upload_that_broke_off_goes_on(trained: Path, model: Path, hub: Hub, run: Run) -> None:
    hub.fail("/commit/", cut=True)
    code, _, err = run("publish-model", "actor-1", REPO, "--lake", trained)
    assert code == 1 and "it goes on where it broke off" in err
    hub.requests.clear()
    assert run("publish-model", "actor-1", REPO, "--lake", trained)[0] == 0
    assert not [request for request in hub.requests if request.startswith("PUT")]  # the weights are there already
    assert MANIFEST not in hub.model(REPO).files()
