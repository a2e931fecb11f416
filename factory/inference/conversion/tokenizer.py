"""A folder's tokenizer as the fields of a GGUF file: tokens, merges, how text is split before, special tokens.

Only byte-level BPE is converted. Which of llama.cpp's splittings a tokenizer has is read from its own `pre_tokenizer`;
llama.cpp's converter tells it by hashing a text that was encoded by each vocabulary it knows, and so refuses others.
"""

from pathlib import Path
from typing import Any

import gguf

from factory.inference.folders import chat_template, read_json
from schemas.errors import FactoryError

_BEFORE_DIGITS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_AFTER_DIGITS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITTINGS = {
    ("bytes by regex",): "gpt-2",
    ("digits", "bytes by regex"): "smollm",
    (rf"{_BEFORE_DIGITS}\p{{N}}{_AFTER_DIGITS}", "bytes"): "qwen2",
    (rf"{_BEFORE_DIGITS}\p{{N}}{{1,3}}{_AFTER_DIGITS}", "bytes", "whole words first"): "llama-bpe",
}
"""llama.cpp's names (`tokenizer.ggml.pre`) of the steps that `_steps` finds."""


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocabulary: int) -> None:
    """Writes the tokenizer's fields, chat template included.

    Args:
        vocabulary: tokens that the model has, at least as many as the tokenizer.
    Raises:
        FactoryError: the tokenizer is of another kind, the folder has no chat template, or a file is damaged.
    """
    tokenizer, settings = read_json(folder, "tokenizer.json"), read_json(folder, "tokenizer_config.json")
    template = chat_template(folder)
    if template is None:
        raise FactoryError(
            f"{folder} has no chat template, and conversations need one: take an instruction-tuned model, or add "
            "chat_template.jinja to its folder"
        )
    try:
        _check(tokenizer)
        steps = tuple(_steps(tokenizer))
        if steps not in SPLITTINGS:
            raise ValueError("llama.cpp has no such splitting of text before BPE")
        tokens, kinds = _tokens(tokenizer, vocabulary)
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FactoryError(
            f"{folder}: its tokenizer.json cannot be converted for llama.cpp ({error}): serve it by vllm:{folder}"
        ) from error
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(SPLITTINGS[steps])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    # A chat is what its template renders: no BOS before it that transformers would not put there.
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    places = {token: at for at, token in enumerate(tokens)}
    config = read_json(folder, "config.json")
    ends = _ends(settings, config, read_json(folder, "generation_config.json"), places)
    for number, add in zip(
        ends, (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id), strict=False
    ):
        add(number)
    for name, add in {
        "bos": writer.add_bos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }.items():
        if (place := _special(name, settings, config, places)) is not None:
            add(place)
    writer.add_chat_template(template)


def _check(tokenizer: dict[str, Any]) -> None:
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback") or "ByteLevel" not in str(tokenizer.get("decoder")):
        raise ValueError("it is not byte-level BPE")
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(name):
            raise ValueError(f"it has {name}")
    if (tokenizer.get("normalizer") or {"type": "NFC"})["type"] != "NFC":  # llama.cpp's converter leaves NFC out, too
        raise ValueError("it changes the text before it is split (normalizer)")


def _steps(tokenizer: dict[str, Any]) -> list[str]:
    given = tokenizer["pre_tokenizer"]
    steps = []
    for step in given["pretokenizers"] if given["type"] == "Sequence" else [given]:
        match step:
            case {"type": "ByteLevel", "add_prefix_space": False}:
                steps.append("bytes by regex" if step.get("use_regex", True) else "bytes")
            case {"type": "Digits", "individual_digits": True}:
                steps.append("digits")
            case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
                steps.append(pattern)
            case _:
                raise ValueError(f"a step {step['type']!r} before BPE is unknown")
    return [*steps, "whole words first"] if tokenizer["model"].get("ignore_merges") else steps


_MOST_UNUSED = 100_000
"""numbers without a token: models round their vocabulary up, but not without end"""


def _tokens(tokenizer: dict[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    """Every token's text and kind by its number; numbers that the tokenizer does not use are filled in."""
    added = {one["id"]: one for one in tokenizer["added_tokens"]}
    by_number = {number: token for token, number in tokenizer["model"]["vocab"].items()}
    by_number |= {number: one["content"] for number, one in added.items()}
    for number, token in by_number.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0 or not isinstance(token, str):
            raise ValueError(f"token {str(token)[:30]!r} has the number {str(number)[:30]}")
    if max(by_number) >= vocabulary:
        raise ValueError(f"it has {max(by_number) + 1} tokens, and the model {vocabulary}")
    if vocabulary > len(by_number) + _MOST_UNUSED:
        raise ValueError(f"it has {len(by_number)} tokens, and the model {vocabulary}")
    tokens, kinds = [], []
    for number in range(vocabulary):
        if number in added:
            kind = gguf.TokenType.CONTROL if added[number]["special"] else gguf.TokenType.USER_DEFINED
        else:
            kind = gguf.TokenType.NORMAL if number in by_number else gguf.TokenType.UNUSED
        tokens.append(by_number.get(number, f"[PAD{number}]"))
        kinds.append(int(kind))
    return tokens, kinds


def _special(name: str, settings: dict[str, Any], config: dict[str, Any], places: dict[str, int]) -> int | None:
    given = settings.get(f"{name}_token")
    text = given.get("content") if isinstance(given, dict) else given
    place = places.get(text) if isinstance(text, str) else config.get(f"{name}_token_id")
    return place if isinstance(place, int) else None


def _ends(*files: Any) -> list[int]:
    """The tokens that end a turn: the tokenizer's EOS first, then those at which the model's configuration stops."""
    settings, config, generation, places = files
    found = [_special("eos", settings, {}, places)]
    for given in (generation.get("eos_token_id"), config.get("eos_token_id")):
        found += given if isinstance(given, list) else [given]
    return list(dict.fromkeys(end for end in found if isinstance(end, int)))


def tokens_of(folder: Path) -> list[str] | None:
    """Every token of the folder's tokenizer by its number; None: it has no tokenizer.json.

    Raises:
        FactoryError: the file is damaged.
    """
    tokenizer = read_json(folder, "tokenizer.json")
    if not tokenizer:
        return None
    try:
        most = max([*tokenizer["model"]["vocab"].values(), *(one["id"] for one in tokenizer["added_tokens"])])
        return _tokens(tokenizer, most + 1)[0]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactoryError(f"{folder}: its tokenizer.json cannot be read ({error}): copy the folder again") from error
