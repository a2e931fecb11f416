"""Log-probabilities of answers, and what held-out examples say of a model by them. In nats throughout."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from trainers.examples import Tokens

Figures = dict[str, float]
Scores = list[list[float]]
"""[example][answer]: log-probabilities, or rewards"""

LABELS = {
    "margin": "log p(chosen) - log p(rejected), mean over pairs, nats",
    "accuracy": "pairs whose chosen answer is the likelier one, 0..1",
    "reward_accuracy": "pairs whose margin is above the base model's, 0..1",
    "chosen_log_prob": "log p of a token of the chosen answers, nats",
    "loss": "-log p of a token of the completions, nats",
    "reward_margin": "reward of the chosen answer less that of the rejected one",
    "preferred": "pairs whose chosen answer has the higher reward, 0..1",
    "reward": "mean reward of an answer to a held-out prompt",
    "preference_loss": "-log p of the preferences, as trained, nats",
}


def sequence_log_probs(logits: Tensor, token_ids: Tensor, answer_mask: Tensor) -> Tensor:
    """Log-probability of each sequence's answer given what stands before it.

    Args:
        logits: (batch, tokens, vocabulary); those at position t predict token t + 1.
        token_ids: (batch, tokens).
        answer_mask: (batch, tokens), bool, true on the answer's tokens; the first position is never predicted.
    Returns:
        (batch,), float32: the sum over the answer's tokens.
    """
    log_probs = logits[:, :-1].float().log_softmax(dim=-1)
    of_tokens = log_probs.gather(dim=-1, index=token_ids[:, 1:, None]).squeeze(-1)
    return of_tokens.masked_fill(~answer_mask[:, 1:], 0.0).sum(dim=-1)


def answer_log_probs(trainer: Any, examples: Sequence[Tokens]) -> Scores:
    """The log-probability of every answer of every example under the trainer's model as it is now."""
    sequences = [(example.prompt, answer) for example in examples for answer in example.answers]
    size = trainer.args.per_device_train_batch_size
    trainer.model.eval()
    scores: list[float] = []
    for start in range(0, len(sequences), size):
        batch = _pad(sequences[start : start + size])
        ids, real, answer = (tensor.to(trainer.accelerator.device) for tensor in batch)
        with torch.no_grad(), trainer.accelerator.autocast():
            logits = trainer.model(input_ids=ids, attention_mask=real, use_cache=False).logits
        scores += sequence_log_probs(logits, ids, answer).tolist()
    in_order = iter(scores)
    return [[next(in_order) for _ in example.answers] for example in examples]


def _pad(sequences: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and answer mask, each (batch, longest), padded on the right."""
    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    real, answers = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(sequences):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        real[row, :end] = 1
        answers[row, len(prompt) : end] = True
    return ids, real, answers


def pair_figures(pairs: Sequence[Tokens], now: Scores, base: Scores) -> Figures:
    """Figures of held-out pairs, see LABELS; `now` and `base` are [log p(chosen), log p(rejected)] by pair.

    Sums over tokens favour the shorter answer, so `accuracy` starts wherever the lengths put it; `reward_accuracy`
    is the share of pairs in which DPO's implicit reward, beta log(p / p_base), prefers the chosen one: 0 at first.
    """
    margins = [chosen - rejected for chosen, rejected in now]
    base_margins = [chosen - rejected for chosen, rejected in base]
    return {
        "margin": _mean(margins),
        "accuracy": _mean(margin > 0 for margin in margins),
        "reward_accuracy": _mean(new > old for new, old in zip(margins, base_margins, strict=True)),
        "chosen_log_prob": sum(chosen for chosen, _ in now) / sum(len(pair.answers[0]) for pair in pairs),
    }


def completion_figures(examples: Sequence[Tokens], now: Scores, base: Scores) -> Figures:
    """The loss of held-out completions, each token counted alike; `base` is not needed."""
    return {"loss": -sum(chain.from_iterable(now)) / sum(len(example.answers[0]) for example in examples)}


def _mean(values: Iterable[float]) -> float:
    taken = list(values)
    return sum(taken) / len(taken)
