"""Start and reference are two models, each a row; a chat template that is not the answers' own is refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.loops.training import Training, Weights, command_of, weights_of
from schemas.errors import FactoryError
from schemas.ids import folder_model_name, model_id, sha256_text, weights_sha256
from schemas.tables import Model
from stores.lake import Lake
from tests.training.tiny import CHAT_TEMPLATE, CONFIG, captured, needs_torch, start, training_run, weights

OTHER = "f" * 64


def id_of(folder: Path) -> str:
    sha256 = weights_sha256([folder / "model.safetensors"])
    return model_id(folder_model_name(folder, sha256), sha256)


@needs_torch
def test_a_training_names_its_start_its_reference_and_their_template(
    place: SimpleNamespace, dpo: Path, rft: Path
) -> None:
    tiny = id_of(place.folder / "tiny")
    first, second = training_run(place, dpo), training_run(place, rft)
    assert (first.start_model_id, first.reference_model_id) == (tiny, tiny)
    assert (second.start_model_id, second.reference_model_id) == (tiny, None)
    with Lake.open(place.lake) as lake:
        models = {model.model_id: model for model in lake.read(Model)}
    for run, folder in ((first, dpo), (second, rft)):
        assert run.status == "finished" and run.reason is None
        trained = models[id_of(folder)]
        assert trained.training_run_id == run.training_run_id
        hashes = {run.chat_template_hash, trained.chat_template_hash, models[tiny].chat_template_hash}
        assert hashes == {sha256_text(CHAT_TEMPLATE)}
    assert models[tiny].training_run_id is None
    assert "threads on" in first.hardware


@needs_torch
@pytest.mark.parametrize("more", ["", "lora: {rank: 4, alpha: 8}"])
def test_another_reference_than_the_start(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, dpo: Path, tmp_path: Path, more: str
) -> None:
    (tmp_path / "mine.yaml").write_text(CONFIG.replace("  epochs: 2", f"  epochs: 2\n  {more}"))
    options = {"model": dpo, "reference": place.folder / "tiny", "config": tmp_path / "mine.yaml"}
    job, trainer = captured(monkeypatch, place, "dpo", **options)
    reference = dict(trainer.ref_model.state_dict())
    assert all(reference[name].equal(value) for name, value in weights(place.folder / "tiny").items())
    base = trainer.model.get_base_model() if more else trainer.model
    started = {name.replace(".base_layer", ""): value for name, value in base.state_dict().items()}
    assert all(started[name].equal(value) for name, value in weights(dpo).items())
    assert (job.known["start_model_id"], job.known["reference_model_id"]) == (id_of(dpo), id_of(place.folder / "tiny"))
    assert [model.model_id for model in job.models] == [id_of(dpo), id_of(place.folder / "tiny")]


@needs_torch
def test_a_reference_with_another_vocabulary_is_refused(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(place.folder / "tiny", tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    last, before = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    vocabulary[last], vocabulary[before] = vocabulary[before], vocabulary[last]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    assert start(place, "dpo", tmp_path / "out", reference=other) == 1
    assert "has another vocabulary than --model" in capsys.readouterr().err
    assert start(place, "dpo", tmp_path / "out", reference=tmp_path / "nowhere") == 1
    assert f"--reference {tmp_path / 'nowhere'}" in capsys.readouterr().err


@needs_torch
def test_a_template_that_is_not_the_answers_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drifted = dataclasses.replace(place.pairs.row, training_set_id="drifted", version=3, chat_template_hashes=[OTHER])
    with Lake.open(place.lake) as lake:
        lake.append([drifted], message="a set whose answers had another template")
    assert start(place, "dpo", tmp_path / "out", set="spar_dpo@3") == 1
    said = capsys.readouterr().err
    assert sha256_text(CHAT_TEMPLATE)[:12] in said and OTHER[:12] in said and "--allow-other-template" in said
    assert said.count("\n") == 1 and list(tmp_path.iterdir()) == []
    captured(monkeypatch, place, "dpo", set="spar_dpo@3", allow_other_template=True)
    captured(monkeypatch, place, "reward", set="spar_dpo@3")  # it reads the text of any writer


@needs_torch
def test_a_template_among_the_answers_own_is_taken(place: SimpleNamespace) -> None:
    from trainers.preparing import check_template

    row = dataclasses.replace(place.pairs.row, chat_template_hashes=["a" * 64, OTHER])
    check_template(OTHER, row)
    check_template(OTHER, dataclasses.replace(row, chat_template_hashes=[]))
    with pytest.raises(FactoryError):
        check_template("b" * 64, row)


@needs_torch
def test_sft_trains_on_given_answers_as_rft_does(place: SimpleNamespace, rft: Path) -> None:
    assert start(place, "sft", place.folder / "sft") == 0
    run = training_run(place, place.folder / "sft")
    assert run.objective == "sft"
    assert run.weights_sha256 == training_run(place, rft).weights_sha256
    assert "trained by supervised fine-tuning on" in (place.folder / "sft" / "README.md").read_text("utf-8")


def test_a_folder_is_trained_as_it_is_however_a_recipe_serves_it(tmp_path: Path) -> None:
    for given in (str(tmp_path), f"embedded:{tmp_path}", f"vllm:{tmp_path}"):
        assert weights_of(given) == Weights(str(tmp_path))
    assert weights_of("owner/name@main") == Weights("owner/name@main")
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    own = weights_of(f"embedded:{tmp_path / 'own.gguf'}")
    assert own == Weights(str(tmp_path / "own.gguf"), "embedded:own")
    asked = Training("dpo", "spar_dpo@1", Weights("start"), own, None, 0, ())
    words = command_of("lake", asked, None)
    assert words[words.index("--reference") :] == ["--reference", own.path, "--reference-called", "embedded:own"]
    other = dataclasses.replace(asked, allow_other_template=True)
    assert command_of("lake", other, None) == [*words, "--allow-other-template"]
