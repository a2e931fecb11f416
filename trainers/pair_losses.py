"""TRL's DPOTrainer with numbers of the set's rows in its loss: conservative DPO, and SPPO.

Both need the sums of log-probabilities that TRL computes and keeps to itself. A hook reads them from the models' outputs,
so that nothing is computed twice and TRL's own figures (rewards, margins) are logged as ever.
"""

from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer


class PairTrainer(DPOTrainer):  # type: ignore[misc, unused-ignore]
    """DPOTrainer whose loss is `pair_loss`."""

    numbers: tuple[str, ...]
    """columns of the set that `pair_loss` takes"""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        # TRL's own collator keeps token ids alone; given another, TRL would not set the padding token.
        collate: Any = self.data_collator
        self.data_collator: Any = lambda examples: (
            collate(examples) | {name: torch.tensor([example[name] for example in examples]) for name in self.numbers}
        )

    def _set_signature_columns_if_needed(self) -> None:
        fresh = self._signature_columns is None
        super()._set_signature_columns_if_needed()
        if fresh:
            self._signature_columns += list(self.numbers)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        numbers = [inputs.pop(name) for name in self.numbers]
        seen: list[Tensor] = []
        # With LoRA the reference is the model itself without its adapters, asked second.
        asked = [self.model] if self.ref_model is None else [self.model, self.ref_model]
        hooks = [each.register_forward_hook(lambda _, __, output: seen.append(output.log_probs)) for each in asked]
        try:
            loss = super().compute_loss(model, inputs)
        finally:
            for hook in hooks:
                hook.remove()
        policy, reference = (log_probs.sum(dim=1) for log_probs in seen)
        chosen, rejected = (policy - reference).chunk(2)
        return self.pair_loss(loss, chosen, rejected, *numbers)

    def pair_loss(self, loss: Tensor, chosen: Tensor, rejected: Tensor, *numbers: Tensor) -> Tensor:
        """
        Args:
            loss: TRL's own, a scalar.
            chosen, rejected: (batch,), log p(answer) / p_reference(answer), summed over its tokens.
            numbers: (batch,) each, in the order of `self.numbers`.
        """
        raise NotImplementedError


class ConservativeTrainer(PairTrainer):
    """DPO on soft labels: -p log sigmoid(h) - (1 - p) log sigmoid(-h), h = beta (chosen - rejected).

    p is the probability that the chosen answer is the better one: conservative DPO
    (Mitchell, 2023, 'A note on DPO with noisy preferences') with the noise of each label.
    """

    numbers = ("probability",)

    def pair_loss(self, loss: Tensor, chosen: Tensor, rejected: Tensor, *numbers: Tensor) -> Tensor:
        (probability,) = numbers
        weight = sum(w for kind, w in zip(self.loss_types, self.loss_weights, strict=True) if kind == "sigmoid")
        # log sigmoid(-h) = log sigmoid(h) - h, so the soft loss is the hard one plus this.
        return loss + weight * ((1 - probability) * self.beta * (chosen - rejected)).mean()


class SppoTrainer(PairTrainer):
    """SPPO's loss (arXiv:2405.00675, equation 4.7) for both answers, divided by eta^2 = 1 / beta^2.

    (beta chosen - (P_chosen - 1/2))^2 + (beta rejected - (P_rejected - 1/2))^2, P being the win rates.
    """

    numbers = ("chosen_win_rate", "rejected_win_rate")

    def pair_loss(self, loss: Tensor, chosen: Tensor, rejected: Tensor, *numbers: Tensor) -> Tensor:
        ratios = zip((chosen, rejected), numbers, strict=True)
        return torch.stack([(self.beta * ratio - (rate - 0.5)).square() for ratio, rate in ratios]).sum(dim=0).mean()
