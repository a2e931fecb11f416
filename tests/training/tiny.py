"""A lake with pairs, a model small enough to train in a second, and helpers that start a trainer on them."""

import importlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.tables import Message, Pair, Prompt, Response, TrainingRun
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import row

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("torch", "trl", "peft", "accelerate", "gguf") if importlib.util.find_spec(name) is None]
if MISSING and os.environ.get("CI") == "true":
    raise RuntimeError(f"{MISSING} not installed: the trainers would go untested")
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"{MISSING} not installed: pip install 'preference-factory[train]'"
)

SETS = {"dpo": "spar_dpo@1", "reward": "spar_dpo@1", "sppo": "rated@1"}
"""objective -> the set that it is trained on unless a test asks for another"""
CONFIG = """
dpo: &shared
  learning_rate: 1e-3
  epochs: 2
  batch_size: 4
  max_tokens: 128
  precision: float32
  gradient_checkpointing: false
rft: *shared
sft: *shared
sppo: *shared
reward: *shared
"""
COMPLETIONS_SQL = """-- Out: prompt_completion; ordered by response: split, prompt, completion.
SELECT split_of(prompt_id, 0.3) AS split, p.messages AS prompt, [assistant_turn(r.text)] AS completion, response_id
FROM responses AS r JOIN prompts AS p USING (prompt_id)
WHERE kind = 'refined' AND len($run_ids) >= 0 ORDER BY response_id
"""
NUMBERS_SQL = """-- Out: preference; ordered by pair: split, prompt, chosen, rejected, and more.
SELECT split_of(prompt_id, 0.3) AS split, p.messages AS prompt, [assistant_turn(c.text)] AS chosen,
  [assistant_turn(r.text)] AS rejected, pair_id, COLUMNS
FROM (SELECT *, CAST(substr(pair_id, 6) AS INTEGER) AS number FROM pairs) AS pairs JOIN prompts AS p USING (prompt_id)
JOIN responses AS c ON c.response_id = chosen_response_id JOIN responses AS r ON r.response_id = rejected_response_id
WHERE len($run_ids) >= 0 ORDER BY pair_id
"""
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def pair_rows(number: int) -> list[Any]:
    """A prompt, a failed answer, a refined one that ends with a post-script, and their pair."""
    messages = [Message("user", f"Write about item {number}, and end with a post-script.")]
    failed, refined = f"Item {number} is good.", f"Item {number} is good. P.S. Take care."
    prompt_id = f"prompt {number}"
    return [
        row(Prompt, prompt_id, messages=messages),
        row(Response, f"failed {number}", prompt_id=prompt_id, kind="sampled", text=failed),
        row(Response, f"refined {number}", prompt_id=prompt_id, kind="refined", text=refined),
        row(
            Pair,
            f"pair {number}",
            run_id="run",
            prompt_id=prompt_id,
            source="refined_over_failed",
            chosen_response_id=f"refined {number}",
            rejected_response_id=f"failed {number}",
            chosen_value=1.0,
            rejected_value=0.0,
        ),
    ]


def make_tiny_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [each.text for number in range(24) for each in pair_rows(number)[1:3]]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=special[0], eos_token=special[1])
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_gguf(folder: Path, file: Path) -> None:
    """The model in `folder` in llama.cpp's format, not quantized."""
    import gguf

    tokenizer, config = (json.loads((folder / name).read_text()) for name in ("tokenizer.json", "config.json"))
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, value in weights(folder).items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """Of a model this small, a second thread has nothing to do but to wait: on a busy machine, for most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        if MISSING:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def start(place: SimpleNamespace, objective: str, output: Path, **options: Any) -> int:
    """Runs a trainer's main() in this process, with one thread: a fixture may start it before the package's own is set."""
    trainer = importlib.import_module(f"trainers.{objective}")
    arguments = {
        "lake": place.lake,
        "set": SETS.get(objective, "completions@1"),
        "model": place.folder / "tiny",
        "config": place.folder / "config.yaml",
        "output": output,
        "seed": 7,
    } | options
    given = [(f"--{name.replace('_', '-')}", value) for name, value in arguments.items() if value is not None]
    words = [[name] if value is True else [name, str(value)] for name, value in given]
    with one_thread():
        return int(trainer.main([word for pair in words for word in pair]))


def build_numbers(lake: Lake, folder: Path, name: str, columns: str, held_out: float = 0.3) -> None:
    """A set of the pairs with further columns, in SQL: `number` is the pair's."""
    (folder / f"{name}.sql").write_text(NUMBERS_SQL.replace("COLUMNS", columns).replace("0.3", str(held_out)))
    build_training_set(lake, str(folder / f"{name}.sql"), {}, ["run"])


def training_run(place: SimpleNamespace, output: Path) -> TrainingRun:
    with Lake.open(place.lake) as lake:
        runs = lake.read(TrainingRun, "output = $output", {"output": output.name})
    return max(runs, key=lambda run: run.ended_at)  # several tests call their folders alike


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def captured(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, objective: str, **options: Any
) -> tuple[Any, Any]:
    """The job and TRL's trainer as they are before the first step."""
    import trainers.training

    seen: list[Any] = []
    monkeypatch.setattr(trainers.training, "train_and_record", lambda job, trainer, *_: seen.extend((job, trainer)))
    assert start(place, objective, place.folder / "never written", **options) == 0
    shutil.rmtree(place.folder / ".never written.part")  # renamed by what does not happen here
    return seen[0], seen[1]
