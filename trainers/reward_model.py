"""A Bradley-Terry reward model by TRL's RewardTrainer, an element of whose batches is a prompt with all its pairs.

InstructGPT (arXiv:2203.02155, 3.5, equation 1) takes all pairs of a prompt as one element, as they share their answers: a
model that sees them one by one overfits. Here too the loss is the mean over prompts of the mean over their pairs, and an
answer that is in several pairs is computed once.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification
from trl import RewardTrainer

from schemas.errors import FactoryError
from schemas.ids import canonical_json
from trainers.examples import Examples, Row, Tokens
from trainers.log_probs import Figures, Scores
from trainers.models import CLASSIFIER, Base, architecture_of, load_model


def load_reward_model(base: Base, dtype: torch.dtype, seed: int) -> Any:
    """A sequence classifier with one output: the start's own head, or a new one that `seed` decides.

    Raises:
        FactoryError: the start is a classifier with several outputs, or cannot be loaded.
    """
    if architecture_of(base).endswith(CLASSIFIER):
        labels = json.loads((base.folder / "config.json").read_text("utf-8")).get("id2label", {0: "", 1: ""})
        if len(labels) != 1:
            raise FactoryError(
                f"{base.option} {base.name} is a classifier with {len(labels)} outputs, and a reward is one number: start from "
                "a language model, or from a classifier with one"
            )
    torch.manual_seed(seed)
    return load_model(base, dtype, AutoModelForSequenceClassification, num_labels=1)


def grouped(rows: Sequence[Row], by_prompt: bool) -> list[list[int]]:
    """The rows' places: those of one prompt together, or each alone."""
    if not by_prompt:
        return [[place] for place in range(len(rows))]
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(canonical_json(row["prompt"]), []).append(place)
    return list(groups.values())


def elements(examples: Examples, by_prompt: bool) -> list[dict[str, Any]]:
    """What a batch is made of: pairs as token ids, with the probability that the chosen answer is better and the margin."""
    whole = [[each.prompt + answer for answer in each.answers] for each in examples.tokens]
    return [
        {
            "chosen_ids": [whole[place][0] for place in places],
            "rejected_ids": [whole[place][1] for place in places],
            "probability": [examples.rows[place].get("probability", 1.0) for place in places],
            "margin": [examples.rows[place].get("margin", 0.0) for place in places],
        }
        for places in grouped(examples.rows, by_prompt)
    ]


def collated(batch: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """A batch of elements.

    Returns:
        input_ids, attention_mask: (answers, longest), each answer once, padded on the right; chosen, rejected: (pairs,),
        rows of these; probability, margin: (pairs,); weight: (pairs,), of each pair in the loss, 1 in sum.
    """
    places: dict[tuple[int, ...], int] = {}
    sides = {
        side: [places.setdefault(tuple(ids), len(places)) for each in batch for ids in each[f"{side}_ids"]]
        for side in ("chosen", "rejected")
    }
    input_ids, attention_mask = padded(list(places), pad_token_id)
    numbers = {name: [value for each in batch for value in each[name]] for name in ("probability", "margin")}
    sizes = [len(each["chosen_ids"]) for each in batch]
    weights = [1 / (len(batch) * size) for size in sizes for _ in range(size)]
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        **{side: torch.tensor(rows) for side, rows in sides.items()},
        **{name: torch.tensor(values) for name, values in numbers.items()},
        "weight": torch.tensor(weights),
    }


def padded(sequences: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, each (sequences, longest). A classifier looks for its last token by the padding's id."""
    ids = [torch.tensor(each) for each in sequences]
    masks = [torch.ones(len(each), dtype=torch.long) for each in sequences]
    return pad_sequence(ids, batch_first=True, padding_value=pad_token_id), pad_sequence(masks, batch_first=True)


def preference_losses(difference: Tensor, probability: Tensor) -> Tensor:
    """-p log sigmoid(d) - (1 - p) log sigmoid(-d), elementwise: cross-entropy with a soft label (RLAIF, arXiv:2309.00267).

    Args:
        difference: reward of the chosen answer less that of the rejected one, less the margin.
        probability: p, that the chosen answer is better; 1: a hard label.
    """
    return (1 - probability) * difference - logsigmoid(difference)  # log sigmoid(-d) = log sigmoid(d) - d


class PromptwiseTrainer(RewardTrainer):  # type: ignore[misc, unused-ignore]
    """RewardTrainer on `elements`, in batches as `collated` makes them."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        pad_token_id = self.processing_class.pad_token_id  # which TRL has set
        self.data_collator = lambda batch: collated(batch, pad_token_id)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["chosen_ids", "rejected_ids", "probability", "margin"]

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        # TRL's would hand the model what it does not know, and take every two answers for a pair.
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        rewards = outputs.logits.squeeze(-1).float()
        difference = rewards[inputs["chosen"]] - rewards[inputs["rejected"]]
        losses = preference_losses(difference - inputs["margin"], inputs["probability"])
        for name, value in (
            ("accuracy", (difference > 0).float().mean()),
            ("margin", difference.mean()),
            ("mean_reward", rewards.mean()),
        ):
            self._metrics["train"][name].append(value.item())
        return (inputs["weight"] * losses).sum()


def answer_rewards(trainer: Any, examples: Sequence[Tokens]) -> Scores:
    """The reward of every answer of every example under the trainer's model as it is now."""
    sequences = [example.prompt + answer for example in examples for answer in example.answers]
    size = trainer.args.per_device_train_batch_size
    trainer.model.eval()
    rewards: list[float] = []
    for start in range(0, len(sequences), size):
        batch = padded(sequences[start : start + size], trainer.processing_class.pad_token_id)
        ids, real = (tensor.to(trainer.accelerator.device) for tensor in batch)
        with torch.no_grad(), trainer.accelerator.autocast():
            rewards += trainer.model(input_ids=ids, attention_mask=real, use_cache=False).logits[:, 0].float().tolist()
    in_order = iter(rewards)
    return [[next(in_order) for _ in example.answers] for example in examples]


def reward_figures(rows: Sequence[Row], by_prompt: bool, now: Scores) -> Figures:
    """Figures of held-out pairs; the loss is what is trained on.

    Args:
        now: [reward of the chosen answer, of the rejected one] by pair.
    """
    differences = torch.tensor(now, dtype=torch.float64).diff(dim=1).neg().squeeze(1)
    margins, probabilities = (
        torch.tensor([row.get(name, default) for row in rows], dtype=torch.float64)
        for name, default in (("margin", 0.0), ("probability", 1.0))
    )
    losses = preference_losses(differences - margins, probabilities)
    by_group = torch.stack([losses[places].mean() for places in grouped(rows, by_prompt)])
    return {
        "reward_margin": float(differences.mean()),
        "preferred": float((differences > 0).double().mean()),
        "preference_loss": float(by_group.mean()),
    }
