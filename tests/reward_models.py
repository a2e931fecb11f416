"""Reward models small enough to score in a millisecond, whose scores are known by hand; and vLLM's scoring protocol."""

from collections.abc import Callable
from pathlib import Path

from tests.scripted_endpoint import Reply, Request, Script
from tests.training.tiny import make_tiny_model


def make_reward_model(folder: Path, outputs: int = 1, head_dim: int = 16) -> None:
    """A tiny sequence classifier of random weights, with its tokenizer and chat template.

    Args:
        head_dim: of its two heads; vLLM's build for processors takes 32 and more.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    make_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(folder, num_labels=outputs, hidden_size=2 * head_dim, head_dim=head_dim)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config.pad_token_id = tokenizer.bos_token_id
    LlamaForSequenceClassification(config).save_pretrained(folder)


def score_by_hand(folder: Path, conversation: list[dict[str, str]]) -> float:
    """The logit at the last token, computed without our code: embedding, layers and head of the model itself."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in conversation)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        hidden = model.model(input_ids=ids).last_hidden_state[0, -1]
        return float(model.score.weight[0] @ hidden)


def scoring(score_of: Callable[[list[dict[str, str]]], list[float]]) -> Script:
    """A script that answers as vLLM 0.32's `/classify` does.

    Args:
        score_of: a conversation -> one logit for each output of the head.
    """

    def script(request: Request) -> Reply:
        scores = score_of(request.messages)
        words = sum(len(message["content"].split()) for message in request.messages)
        item = {"index": 0, "label": "LABEL_0", "probs": scores, "num_classes": len(scores)}
        usage = {"prompt_tokens": words, "total_tokens": words, "completion_tokens": 0, "prompt_tokens_details": None}
        body = {
            "id": "classify-1",
            "object": "list",
            "created": 1,
            "model": request.model,
            "data": [item],
            "usage": usage,
        }
        return Reply(200, body)

    return script
