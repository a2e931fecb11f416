"""Answers end with the token at which the model stops: it is trained on, and where it is missing, that is said."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.training.tiny import captured, needs_torch, start, training_run
from trainers.examples import Tokens, end_warning

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def test_eos_may_be_followed_by_the_template_s_newline() -> None:
    ended, unended = Tokens([1], [[5, 6, 2, 9]]), Tokens([1], [[5, 6, 9]])
    assert end_warning([ended, Tokens([1], [[2]])], {2, 3}, "</s>") is None
    assert "template ends no turn with EOS (</s>)" in (end_warning([unended], {2}, "</s>") or "")
    assert "1 of 2 answers do not end with EOS" in (end_warning([ended, unended], {2}, "</s>") or "")
    assert "the tokenizer has none" in (end_warning([ended], set(), "") or "")
    assert end_warning([], {2}, "</s>") is None


@needs_torch
def test_a_template_that_ends_no_turn_is_told_before_training_and_in_the_record(
    place: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(place.folder / "tiny", tmp_path / "model")
    (model / "chat_template.jinja").write_text(PLAIN)
    assert start(place, "dpo", tmp_path / "trained", model=model) == 0
    said = capfd.readouterr()
    words = "the chat template ends no turn with EOS (<|im_end|>), so the model unlearns to stop"
    assert f"warning: {words}" in said.err
    (warning,) = json.loads(training_run(place, tmp_path / "trained").metrics)["warnings"]
    assert warning.startswith(words)
    assert words in (tmp_path / "trained" / "README.md").read_text("utf-8")


@needs_torch
def test_a_model_may_stop_at_another_token_than_the_tokenizer_s(place: SimpleNamespace, tmp_path: Path) -> None:
    from trainers.models import end_tokens, find_model, load_tokenizer

    model = shutil.copytree(place.folder / "tiny", tmp_path / "model")
    base = find_model(str(model))
    tokenizer = load_tokenizer(base)
    (model / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert end_tokens(base, tokenizer) == {7, 9, tokenizer.eos_token_id}
    (model / "generation_config.json").write_text("[")
    assert end_tokens(base, tokenizer) == {tokenizer.eos_token_id}


@needs_torch
def test_without_a_pad_token_the_loss_is_still_on_eos(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    job, trainer = captured(monkeypatch, place, "rft")
    assert "pad_token" not in json.loads((place.folder / "tiny" / "tokenizer_config.json").read_text("utf-8"))
    assert job.warnings == []
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(len(trainer.train_dataset))])
    trained = [[token for token in labels if token != -100] for labels in batch["labels"].tolist()]
    assert trained == [each.answers[0] for each in job.examples.tokens]
    assert all(job.tokenizer.eos_token_id in answer for answer in trained)
