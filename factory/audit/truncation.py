"""What is left of a pair after the trainer's own chat template and its limit on tokens (needs a model's tokenizer)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from factory.audit.finding import Check, Measured, not_applicable, share
from factory.audit.rows import Audited, Trainer
from schemas.errors import FactoryError

_WITHOUT = "give --model to look at the rows as its trainer does"
_AT_ONCE = 2_000
MAX_TOKENS = {"preference": 2_048, "prompt_completion": 4_096}
"""the trainers' own defaults (trainers/settings.py), by format"""


def cut_by_trainer(given: Audited) -> Measured:
    if given.trainer is None:
        return not_applicable(_WITHOUT)
    rows = given.trainer.rows
    detail = {
        "max_tokens": given.trainer.max_tokens,
        "median tokens": rows["longest"].median(),
        "most tokens": rows["longest"].max(),
        "cut before the answer begins": rows.filter(pl.col("prompt_tokens") >= given.trainer.max_tokens).height,
    }
    return share(rows, pl.col("longest") > given.trainer.max_tokens, detail=detail)


def equal_after_template(given: Audited) -> Measured:
    if given.trainer is None:
        return not_applicable(_WITHOUT)
    return share(given.trainer.rows, pl.col("equal"))


def as_trained(turns: pl.DataFrame, tokenizer: Any, max_tokens: int, tell: Any = None) -> Trainer:
    """The rows' lengths in tokens, and whether both sides are equal once templated and cut at `max_tokens`.

    Args:
        turns: id, prompt, chosen, rejected, as lists of turns.
        tokenizer: with `apply_chat_template`, as transformers has it.
        tell: is called with the number of rows done.
    """
    found: list[dict[str, Any]] = []
    for part in turns.iter_slices(_AT_ONCE):
        rows = part.to_dicts()
        prompts = _tokens(tokenizer, [row["prompt"] for row in rows], opened=True)
        chosen = _tokens(tokenizer, [row["prompt"] + row["chosen"] for row in rows])
        rejected = _tokens(tokenizer, [row["prompt"] + (row["rejected"] or row["chosen"]) for row in rows])
        for row, start, one, other in zip(rows, prompts, chosen, rejected, strict=True):
            equal = row["rejected"] is not None and one[:max_tokens] == other[:max_tokens]
            longest = max(len(one), len(other))
            found.append({"id": row["id"], "prompt_tokens": len(start), "longest": longest, "equal": equal})
        if tell is not None:
            tell(len(found))
    return Trainer(max_tokens, pl.DataFrame(found))


def _tokens(tokenizer: Any, conversations: Sequence[Any], *, opened: bool = False) -> list[list[int]]:
    texts = [
        tokenizer.apply_chat_template(
            [{"role": turn["role"], "content": turn["content"]} for turn in turns],
            tokenize=False,
            add_generation_prompt=opened,
        )
        for turns in conversations
    ]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a folder, a .gguf file or an embedded model.

    Raises:
        FactoryError: transformers is not installed, no such model, or it has no chat template.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise FactoryError(
            "--model needs transformers: `pip install 'preference-factory[train]'`, or leave --model out"
        ) from error
    path = Path(model)
    if model.startswith("embedded:"):
        named = Path(model.removeprefix("embedded:"))
        if named.is_dir():
            path = named
        else:
            from factory.inference.weights import fetch

            path = fetch(model.removeprefix("embedded:")).path
    if not path.exists():
        raise FactoryError(
            f"--model {model}: there is no such folder or file: give a folder, a .gguf file or embedded:NAME"
        )
    try:
        if path.is_dir():
            # Said, or transformers asks on a terminal whether to run the code that a folder brings.
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        else:
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (OSError, ValueError) as error:
        raise FactoryError(
            f"--model {model}: its tokenizer cannot be loaded: {' '.join(str(error).split())[:200]}"
        ) from error
    if not tokenizer.chat_template:
        raise FactoryError(
            f"--model {model}: its tokenizer has no chat template: give a model that was trained to chat"
        )
    return tokenizer


CHECKS = (
    Check(
        "cut_by_trainer",
        "Share of rows longer than the trainer's max_tokens with the model's chat template (needs --model).",
        cut_by_trainer,
        0.01,
    ),
    Check(
        "equal_after_template",
        "Share of pairs whose sides are the same tokens once the chat template is applied and cut at max_tokens (needs --model).",
        equal_after_template,
        0.0,
        beyond="fail",
        needs=("rejected",),
    ),
)
