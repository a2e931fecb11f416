"""Examples as tokens, as TRL makes them too, and what their log-probabilities say."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.tiny import captured, needs_torch, start
from trainers.settings import RftSettings


@needs_torch
def test_a_sequence_s_log_probability_is_that_of_its_answer_tokens() -> None:
    import torch

    from trainers.log_probs import sequence_log_probs

    # Two tokens in the vocabulary; position t gives p(token 1) at t + 1: 0.5, 0.8, 0.9.
    of_one = torch.tensor([0.5, 0.8, 0.9, 0.1])
    logits = torch.stack([(1 - of_one).log(), of_one.log()], dim=-1)[None]
    found = sequence_log_probs(logits, torch.tensor([[1, 0, 1, 0]]), torch.tensor([[False, False, True, True]]))
    assert found.tolist() == pytest.approx([math.log(0.8) + math.log(0.1)])


@needs_torch
@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 6), padding=st.integers(0, 4), seed=st.integers(0, 1000))
def test_padding_does_not_change_a_log_probability(length: int, padding: int, seed: int) -> None:
    import torch

    from trainers.log_probs import sequence_log_probs

    torch.manual_seed(seed)
    logits, ids = torch.randn(1, length, 5), torch.randint(0, 5, (1, length))
    mask = torch.arange(length)[None] >= length // 2
    pad = torch.nn.functional.pad
    padded = sequence_log_probs(pad(logits, (0, 0, 0, padding)), pad(ids, (0, padding)), pad(mask, (0, padding)))
    assert padded.tolist() == pytest.approx(sequence_log_probs(logits, ids, mask).tolist(), abs=1e-5)


@needs_torch
def test_figures_of_pairs_by_hand() -> None:
    from trainers.examples import Tokens
    from trainers.log_probs import pair_figures

    pairs = [Tokens([1], [[2, 3], [4]]), Tokens([1], [[2, 3], [4]])]
    found = pair_figures(pairs, now=[[-2.0, -5.0], [-6.0, -4.0]], base=[[-4.0, -4.0], [-5.0, -4.0]])
    assert found == {"margin": 0.5, "accuracy": 0.5, "reward_accuracy": 0.5, "chosen_log_prob": -2.0}


@needs_torch
def test_pairs_are_tokenized_as_trl_tokenizes_them(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    job, trainer = captured(monkeypatch, place, "dpo")
    theirs = [(each["prompt_ids"], [each["chosen_ids"], each["rejected_ids"]]) for each in trainer.train_dataset]
    assert theirs == [(each.prompt, each.answers) for each in job.examples.tokens]


@needs_torch
def test_rft_s_loss_is_on_the_completion_alone(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    job, trainer = captured(monkeypatch, place, "rft")
    theirs = [each["labels"] for each in trainer.train_dataset]
    assert theirs == [[-100] * len(each.prompt) + each.answers[0] for each in job.examples.tokens]


@needs_torch
def test_examples_too_long_are_refused_with_their_count(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.yaml").write_text("dpo: {max_tokens: 10}")
    assert start(place, "dpo", tmp_path / "out", config=tmp_path / "short.yaml") == 1
    rows = place.pairs.train.num_rows
    error = capsys.readouterr().err
    assert f"{rows} of {rows} examples (spar_dpo@1, to train on) are longer than max_tokens 10" in error
    assert "drop_too_long: true" in error


@needs_torch
def test_examples_too_long_are_left_out_when_asked_and_counted(place: SimpleNamespace) -> None:
    from trainers.examples import fit_examples
    from trainers.models import find_model, load_tokenizer

    tokenizer = load_tokenizer(find_model(str(place.folder / "tiny")))
    short, long = (
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": text}]}
        for text in ("good", "good. " * 60)
    )
    found = fit_examples([short, long, short], tokenizer, RftSettings(max_tokens=60, drop_too_long=True), "a set")
    assert (found.rows, len(found.tokens), found.dropped) == ([short, short], 2, 1)
