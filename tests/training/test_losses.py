"""Every loss that can be asked for, on random log-probabilities, against its formula in docs/trainers.md in float64."""

import math
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training.tiny import needs_torch
from trainers.settings import LOSSES, DpoSettings
from trainers.sppo import shrunk, spread_warning

PAIRS, TOKENS = 5, 9
BETA, SMOOTHING = 0.3, 0.2

Array = np.ndarray[Any, np.dtype[np.float64]]


class Drawn:
    """Log-probabilities of the tokens of random pairs, under a model and a reference, and their masks: (pairs, tokens)."""

    def __init__(self, seed: int, pairs: int = PAIRS) -> None:
        draw = np.random.default_rng(seed)
        lengths = draw.integers(1, TOKENS, (2, pairs))
        self.mask = np.arange(TOKENS)[None, None] < lengths[..., None]
        self.model, self.reference = -draw.exponential(2.0, (2, 2, pairs, TOKENS)) * self.mask
        self.probability = draw.uniform(0, 1, pairs)
        self.rates = draw.uniform(0, 1, (2, pairs))

    @property
    def ratios(self) -> Array:
        """(2, pairs): of chosen and rejected answers, summed over tokens."""
        return np.asarray((self.model - self.reference).sum(axis=-1))

    @property
    def per_token(self) -> Array:
        return np.asarray(self.ratios / self.mask.sum(axis=-1))


def log_sigmoid(x: Array) -> Array:
    return np.asarray(-np.logaddexp(0, -x))


def sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(log_sigmoid(x)))


def exo(h: Array, smoothing: float) -> Array:
    p = sigmoid(h)
    return np.asarray(p * (np.log(p) - np.log(1 - smoothing)) + (1 - p) * (np.log(1 - p) - np.log(smoothing)))


FORMULAS: dict[str, Callable[[Drawn], Array]] = {
    "sigmoid": lambda d: -log_sigmoid(BETA * (d.ratios[0] - d.ratios[1])),
    "sigmoid_norm": lambda d: -log_sigmoid(BETA * (d.per_token[0] - d.per_token[1])),
    "hinge": lambda d: np.maximum(0, 1 - BETA * (d.ratios[0] - d.ratios[1])),
    "ipo": lambda d: (d.per_token[0] - d.per_token[1] - 1 / (2 * BETA)) ** 2,
    "robust": lambda d: (
        (
            -(1 - SMOOTHING) * log_sigmoid(BETA * (d.ratios[0] - d.ratios[1]))
            + SMOOTHING * log_sigmoid(-BETA * (d.ratios[0] - d.ratios[1]))
        )
        / (1 - 2 * SMOOTHING)
    ),
    "exo_pair": lambda d: exo(BETA * (d.ratios[0] - d.ratios[1]), SMOOTHING),
    "nca_pair": lambda d: (
        -log_sigmoid(BETA * d.ratios[0]) - 0.5 * (log_sigmoid(-BETA * d.ratios[0]) + log_sigmoid(-BETA * d.ratios[1]))
    ),
    "bco_pair": lambda d: -log_sigmoid(BETA * d.ratios[0]) - log_sigmoid(-BETA * d.ratios[1]),
    "apo_zero": lambda d: 1 - sigmoid(BETA * d.ratios[0]) + sigmoid(BETA * d.ratios[1]),
    "apo_down": lambda d: sigmoid(BETA * d.ratios[0]) + 1 - sigmoid(BETA * (d.ratios[0] - d.ratios[1])),
    "sft": lambda d: -d.model[0].sum() / d.mask[0].sum() * np.ones(d.mask.shape[1]),
}


def loss_of(trainer_class: Any, drawn: Drawn, numbers: dict[str, Array], **settings: Any) -> float:
    """What the trainer makes of these log-probabilities: its own code and TRL's, without loading a model."""
    import torch
    from accelerate import Accelerator

    class Given(torch.nn.Module):
        is_gradient_checkpointing = False

        def __init__(self, log_probs: Array) -> None:
            super().__init__()
            self.log_probs = torch.tensor(log_probs.reshape(-1, TOKENS))

        def forward(self, **inputs: Any) -> Any:
            zeros = torch.zeros_like(self.log_probs)
            return SimpleNamespace(log_probs=self.log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros > 1)

    trainer = object.__new__(trainer_class)
    asked = DpoSettings(**{"beta": BETA, "loss_type": ("sigmoid",), **settings})
    trainer.__dict__ |= {
        "model": Given(drawn.model),
        "ref_model": Given(drawn.reference),
        "accelerator": Accelerator(cpu=True),
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None, max_length=None),
        "beta": asked.beta,
        "loss_types": list(asked.loss_type),
        "loss_weights": list(asked.loss_weights or ()),
        "label_smoothing": asked.label_smoothing,
        "ld_alpha": asked.ld_alpha,
        "f_divergence_type": "reverse_kl",
        "aux_loss_enabled": False,
        "use_weighting": False,
        "precompute_ref_logps": False,
        "_metrics": {"train": defaultdict(list)},
        "_tp_size": 1,
        "_total_train_tokens": 0,
    }
    mask = torch.tensor(drawn.mask.reshape(-1, TOKENS).astype(int))
    first = torch.zeros_like(mask[:, :1])  # a prompt of one token, which is never predicted
    inputs = {"completion_mask": torch.cat([first, mask], dim=1), "attention_mask": torch.cat([first + 1, mask], dim=1)}
    inputs["input_ids"] = torch.ones_like(inputs["attention_mask"])
    given = {name: torch.tensor(values) for name, values in numbers.items()}
    loss = trainer.compute_loss(trainer.model, inputs | given)
    assert not trainer.model._forward_hooks and not trainer.ref_model._forward_hooks
    # TRL's own figures, which the guards read, are there whatever the loss.
    assert asked.ld_alpha is not None or trainer._metrics["train"]["rewards/chosen"] == [
        pytest.approx(asked.beta * drawn.ratios[0].mean())
    ]
    return float(loss)


@needs_torch
@pytest.mark.parametrize("name", LOSSES)
def test_each_of_trl_s_losses_is_its_formula(name: str) -> None:
    from trl import DPOTrainer

    smoothing = SMOOTHING if name in ("robust", "exo_pair") else 0.0
    for seed in range(3):
        drawn = Drawn(seed)
        found = loss_of(DPOTrainer, drawn, {}, loss_type=(name,), label_smoothing=smoothing)
        weight = 0.1 if name == "sft" else 1
        assert found == pytest.approx(weight * FORMULAS[name](drawn).mean(), abs=1e-6)


@needs_torch
def test_losses_are_added_up_by_their_weights() -> None:
    from trl import DPOTrainer

    drawn = Drawn(1)
    parts = [FORMULAS[name](drawn).mean() for name in ("hinge", "ipo", "sft")]
    found = loss_of(DPOTrainer, drawn, {}, loss_type=("hinge", "ipo", "sft"), loss_weights=(0.5, 2.0, 0.25))
    assert found == pytest.approx(0.5 * parts[0] + 2 * parts[1] + 0.25 * parts[2], abs=1e-6)


@needs_torch
def test_ld_alpha_weighs_what_is_longer_than_the_other_answer() -> None:
    from trl import DPOTrainer

    drawn = Drawn(2)
    shared = drawn.mask.sum(axis=-1).min(axis=0)
    weights = np.where(np.arange(TOKENS) < shared[:, None], 1.0, 0.4)
    chosen, rejected = ((drawn.model - drawn.reference) * weights).sum(axis=-1)
    expected = -log_sigmoid(BETA * (chosen - rejected)).mean()
    assert loss_of(DPOTrainer, drawn, {}, ld_alpha=0.4) == pytest.approx(expected, abs=1e-6)


@needs_torch
@pytest.mark.parametrize("losses", [("sigmoid",), ("sigmoid", "sft"), ("sft", "sigmoid")])
def test_a_soft_label_is_cross_entropy(losses: tuple[str, ...]) -> None:
    from trainers.pair_losses import ConservativeTrainer

    for seed in range(3):
        drawn = Drawn(seed)
        h, p = BETA * (drawn.ratios[0] - drawn.ratios[1]), drawn.probability
        expected = (-p * log_sigmoid(h) - (1 - p) * log_sigmoid(-h)).mean()
        expected += 0.1 * FORMULAS["sft"](drawn).mean() if "sft" in losses else 0
        found = loss_of(ConservativeTrainer, drawn, {"probability": p}, loss_type=losses)
        assert found == pytest.approx(expected, abs=1e-6)
        # A label of 1 is the hard loss.
        hard = loss_of(ConservativeTrainer, drawn, {"probability": np.ones(PAIRS)})
        assert hard == pytest.approx(FORMULAS["sigmoid"](drawn).mean(), abs=1e-6)


@needs_torch
@pytest.mark.parametrize("beta", [1e-3, 0.3])
def test_sppo_s_loss_is_the_paper_s_over_eta_squared(beta: float) -> None:
    from trainers.pair_losses import SppoTrainer

    for seed in range(3):
        drawn, eta = Drawn(seed), 1 / beta
        paper = sum((ratio - eta * (rate - 0.5)) ** 2 for ratio, rate in zip(drawn.ratios, drawn.rates, strict=True))
        rates = {"chosen_win_rate": drawn.rates[0], "rejected_win_rate": drawn.rates[1]}
        found = loss_of(SppoTrainer, drawn, rates, beta=beta)
        assert found == pytest.approx(np.mean(paper) / eta**2, abs=1e-6)


@needs_torch
def test_the_minimum_is_where_the_labels_say() -> None:
    """p = 0.7: a difference of log(0.7 / 0.3), and for SPPO a log-ratio of (0.7 - 0.5) / beta."""
    import torch

    from trainers.pair_losses import ConservativeTrainer, SppoTrainer
    from trainers.reward_model import preference_losses

    def slope(loss: Callable[[Any], Any], at: float) -> float:
        x = torch.tensor([at], dtype=torch.float64, requires_grad=True)
        loss(x).sum().backward()
        assert x.grad is not None
        return float(x.grad)

    logit, p = math.log(0.7 / 0.3), torch.tensor([0.7], dtype=torch.float64)
    soft = object.__new__(ConservativeTrainer)
    soft.__dict__ |= {"beta": 0.1, "loss_types": ["sigmoid"], "loss_weights": [1.0]}
    sppo = object.__new__(SppoTrainer)
    sppo.beta = 0.1
    zero = torch.zeros(1, dtype=torch.float64)
    for loss, minimum in (
        (lambda x: soft.pair_loss(-torch.nn.functional.logsigmoid(0.1 * x).mean(), x, zero, p), logit / 0.1),
        (lambda x: preference_losses(x, p), logit),
        (lambda x: sppo.pair_loss(zero, x, -x, p, 1 - p), 0.2 / 0.1),
    ):
        assert slope(loss, minimum) == pytest.approx(0, abs=1e-6)
        assert slope(loss, minimum - 0.5) < 0 < slope(loss, minimum + 0.5)


def test_targets_shrink_towards_one_half() -> None:
    assert [shrunk(rate, 0.25) for rate in (0.5, 0.9, 0.1)] == pytest.approx([0.5, 0.8, 0.2])
    assert shrunk(0.9, 0.0) == 0.9


def test_a_judge_that_says_the_same_of_every_pair_is_told_with_the_spread() -> None:
    def rows(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
        return [{"chosen_win_rate": chosen, "rejected_win_rate": rejected} for chosen, rejected in pairs]

    assert spread_warning(rows((0.9, 0.1), (0.6, 0.4))) is None
    assert spread_warning(rows((0.9, 0.1))) is None
    found = spread_warning(rows((0.9, 0.1), (0.91, 0.1), (0.9, 0.12)))
    assert found is not None and "0.800 in the median, with a standard deviation of 0.012 over 3 pairs" in found
    # Everything near one half.
    assert spread_warning(rows((0.51, 0.5), (0.5, 0.5))) is not None
    # One pair of which the judge is sure does not make it one that prefers anything.
    assert spread_warning(rows((0.51, 0.5), (0.5, 0.49), (0.9, 0.1))) is not None
