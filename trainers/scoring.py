"""Reward models: sequence classifiers with one output, whose logit scores a conversation (arXiv:2203.02155, 3.5).

The text is handed over, so tokenizer and chat template are the reward model's own, whichever model wrote the answer.
`scoring_server.py` serves one to `factory`; `online.py` asks one in its own process.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import FactoryError
from trainers.folders import NO_CODE, NO_PICKLES, check_index, loading

Conversation = Sequence[dict[str, str]]
"""messages with role and content; the last one is the answer"""
DECIMALS = 6
"""Models compute in 32 bits; further decimals would be noise."""
_SUFFIX = "ForSequenceClassification"


class Unscorable(FactoryError):
    """A conversation that the reward model cannot read."""


class TooLong(Unscorable):
    """One with more tokens than it can read."""


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A reward model that is loaded."""

    name: str
    model: Any
    tokenizer: Any
    most_tokens: int | None
    """None: its configuration names no limit"""

    def tokens(self, conversation: Conversation) -> list[int]:
        """
        Raises:
            TooLong: there are more than `most_tokens`.
            Unscorable: the chat template refuses the conversation or shows nothing of it, or the model lacks one of its tokens.
        """
        from jinja2 import TemplateError

        try:
            ids = self.tokenizer.apply_chat_template(list(conversation), tokenize=True, return_dict=True)["input_ids"]
        except TemplateError as error:
            raise Unscorable(
                f"the chat template of the reward model {self.name} refuses this conversation ({error})"
            ) from error
        if not ids or max(ids) >= self.model.get_input_embeddings().num_embeddings:
            fault = "has a token that the model lacks" if ids else "is empty"
            raise Unscorable(f"this conversation in the chat template of the reward model {self.name} {fault}")
        if self.most_tokens is not None and len(ids) > self.most_tokens:
            raise TooLong(
                f"the maximum context length of the reward model {self.name} is {self.most_tokens} tokens, and this "
                f"conversation has {len(ids)}"
            )
        return list(ids)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """The logit of each sequence of tokens, all in one forward pass, padded on the right."""
        import torch

        longest = max(map(len, sequences))
        padding = self.model.config.get_text_config().pad_token_id or 0
        ids = torch.tensor([[*tokens, *[padding] * (longest - len(tokens))] for tokens in sequences])
        mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in sequences])
        device = self.model.device
        with torch.inference_mode():
            logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return [round(value, DECIMALS) for value in logits[:, 0].float().tolist()]


def check_reward_model(folder: Path, where: str) -> None:
    """Refuses what cannot score, by its files alone.

    Args:
        where: what names the folder, for the sentence.
    Raises:
        FactoryError: no folder of a model, no classifier, a head with two or more outputs, or no chat template.
    """
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise FactoryError(f"{where}: {folder.name} holds only an adapter: merge it into its base model, and give that")
    config = _read(folder / "config.json", where)
    if config is None or not list(folder.glob("*.safetensors")):
        raise FactoryError(
            f"{where}: {folder.name} holds no model: give a folder with config.json and *.safetensors, as "
            "`factory train reward` writes it"
        )
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else "no architecture"
    if not architecture.endswith(_SUFFIX):
        raise FactoryError(
            f"{where}: {folder.name} is no classifier ({architecture}): a reward model is a *{_SUFFIX}, as "
            "`factory train reward` makes one"
        )
    labels = config.get("id2label")
    outputs = len(labels) if isinstance(labels, dict) else config.get("num_labels", 2)
    if outputs != 1:
        raise FactoryError(
            f"{where}: the head of {folder.name} has {outputs} outputs, and a reward model has one: which of them would "
            "be the score is not known, so give a model that was trained with num_labels=1"
        )
    tokenizer = _read(folder / "tokenizer_config.json", where) or {}
    if not (folder / "chat_template.jinja").is_file() and not tokenizer.get("chat_template"):
        raise FactoryError(
            f"{where}: {folder.name} has no chat template, and a reward model reads conversations: add the "
            "chat_template.jinja with which it was trained"
        )


def load_reward_model(folder: Path, where: str) -> RewardModel:
    """Loads a reward model onto the accelerator, or in float32 onto the processor where there is none.

    Raises:
        FactoryError: as `check_reward_model`, or it cannot be loaded.
    """
    check_reward_model(folder, where)
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    accelerated = torch.accelerator.is_available()
    with loading(f"{where}: {folder.name}"):
        check_index(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **NO_CODE)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype="auto" if accelerated else torch.float32, **NO_CODE, **NO_PICKLES
        )
    config = model.config.get_text_config()
    if config.pad_token_id is None:
        # As TRL does: the score is read at the last token that is not padding.
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if accelerated:
        model.to(torch.accelerator.current_accelerator())
    return RewardModel(folder.name, model.eval(), tokenizer, getattr(config, "max_position_embeddings", None))


def _read(file: Path, where: str) -> dict[str, Any] | None:
    """A JSON object in a model's folder; None: there is no such file."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FactoryError(f"{where}: {file.name} cannot be read ({error}): copy the model's folder again") from error
    if not isinstance(found, dict):
        raise FactoryError(f"{where}: {file.name} holds no JSON object: copy the model's folder again")
    return found
