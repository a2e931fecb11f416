"""A folder made into GGUF is the same model: the same tokens, the same chat, and in F16 the same words as transformers'."""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from factory.inference.conversion import tokenizer
from factory.inference.conversion.convert import Kind, convert
from factory.inference.embedded import EmbeddedServer, serve
from factory.inference.folders import chat_template, template_hash
from factory.inference.weights import fetch
from schemas.errors import FactoryError
from schemas.ids import sha256_text
from tests.training.tiny import make_tiny_model, needs_torch

pytestmark = needs_torch
CHATS = [
    [{"role": "user", "content": "Write about item 1234, and don't stop:\n\n  ★ 2,000 times."}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Item 7 is good. P.S. Take care."}],
]
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Llama, rope of 3.1": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "Llama, tied, with biases": {"tie_word_embeddings": True, "attention_bias": True},
    "Mistral": {"head_dim": 32},
    "Qwen2": {},
    "Qwen3": {"head_dim": 32},
}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SPLITTINGS: dict[str, list[dict[str, Any]]] = {
    "smollm": [{"type": "Digits", "individual_digits": True}, BYTES | {"use_regex": True}],
    **{
        name: [{"type": "Split", "pattern": {"Regex": steps[0]}, "behavior": "Isolated", "invert": False}, BYTES]
        for steps, name in tokenizer.SPLITTINGS.items()
        if name in ("qwen2", "llama-bpe")
    },
}


def folder_of(family: str, folder: Path, splitting: str | None = None) -> Path:
    """A random model of a family with the tiny tokenizer, which splits text as llama.cpp's `splitting` does."""
    import torch
    import transformers

    make_tiny_model(folder)
    name = family.partition(",")[0]
    torch.manual_seed(3)
    given = {
        "vocab_size": 388,  # more than the tokenizer has
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,  # so that every part of it matters
    } | FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**given)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    splitting = splitting or ("qwen2" if name.startswith("Qwen") else None)  # those classes bring their own
    if splitting is not None:
        file = folder / "tokenizer.json"
        given = json.loads(file.read_text())
        given["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": SPLITTINGS[splitting]}
        given["model"]["ignore_merges"] = splitting == "llama-bpe"
        file.write_text(json.dumps(given))
    return folder


def post(server: EmbeddedServer, path: str, **body: Any) -> Any:
    url = server.base_url.removesuffix("/v1") + path
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Authorization": f"Bearer {server.api_key}"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def compared(folder: Path, file: Path, chats: list[Any], tokens: int) -> None:
    """Asserts that the server renders and splits as transformers does, and expects the same next tokens.

    Args:
        tokens: greedily generated ones that have to be equal, too: for a real model, since in a random one the
            smallest rounding decides which of two tokens is the likelier.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    encoder = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).float()

    async def ask() -> None:
        async with serve(fetch(str(file)), slots=1, context_tokens=512) as server:
            for chat in chats:
                text = encoder.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
                assert post(server, "/apply-template", messages=chat)["prompt"] == text
                ids = encoder(text, add_special_tokens=False).input_ids
                assert post(server, "/tokenize", content=text, add_special=True, parse_special=True)["tokens"] == ids
                # What is sampled is a letter, since the server holds back half a character, and its probabilities.
                answer = post(server, "/completion", prompt=ids, n_predict=1, n_probs=20, grammar='root ::= "I"')
                expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
                found = answer["completion_probabilities"][0]["top_logprobs"]
                far = max(abs(one["logprob"] - expected[one["id"]].item()) for one in found)
                assert len(found) == 20 and far < 0.02
                if tokens:
                    given = {"prompt": ids, "temperature": 0, "n_predict": tokens, "return_tokens": True}
                    made = model.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)[0][len(ids) :]
                    answer = post(server, "/completion", **given)["tokens"]
                    ends = {encoder.eos_token_id}  # the server's list has it only where it stopped
                    assert [one for one in answer if one not in ends] == [
                        one for one in made.tolist() if one not in ends
                    ]

    asyncio.run(ask())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_the_model_that_transformers_has(family: str, tmp_path: Path) -> None:
    folder = folder_of(family, tmp_path / "model")
    convert(folder, tmp_path / "model.gguf", Kind.F16)
    compared(folder, tmp_path / "model.gguf", CHATS, 0)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_text_is_split_as_the_folder_s_tokenizer_does(splitting: str, tmp_path: Path) -> None:
    folder = folder_of("Llama", tmp_path / "model", splitting)
    convert(folder, tmp_path / "model.gguf", Kind.F16)
    compared(folder, tmp_path / "model.gguf", CHATS, 0)


@pytest.mark.heavy
@pytest.mark.real_model
def test_the_real_model_answers_in_the_same_words(tmp_path: Path) -> None:
    import torch

    from trainers.models import find_model, load_model, load_tokenizer

    base = find_model(str(fetch("smollm2-135m").path))
    load_model(base, torch.float16).save_pretrained(tmp_path / "base")
    encoder = load_tokenizer(base)
    encoder.save_pretrained(tmp_path / "base")
    convert(tmp_path / "base", tmp_path / "base.gguf", Kind.F16)
    questions = ("Name three animals.", "Write about rain in  1987.\n\n1. Be brief.\n\n 2. Don't rhyme.")
    compared(tmp_path / "base", tmp_path / "base.gguf", [[{"role": "user", "content": text}] for text in questions], 32)

    async def split() -> list[int]:
        async with serve(fetch("smollm2-135m"), slots=1, context_tokens=512) as server:
            return list(post(server, "/tokenize", content=questions[1])["tokens"])

    assert asyncio.run(split()) == encoder(questions[1]).input_ids  # as before any training


def test_a_folder_is_a_model_of_a_recipe_under_its_hashed_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.inference.connect import connect
    from factory.inference.settings import ModelSettings
    from trainers.models import Base, weights_sha256

    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    folder = folder_of("Llama", tmp_path / "secret place" / "actor-1")
    (made,) = {fetch(str(folder)).path for _ in range(2)}
    settings = ModelSettings(endpoint=(f"embedded:{folder}",))
    sha256 = weights_sha256(Base("actor-1", folder, None))

    async def look() -> None:
        async with connect("actor", settings) as endpoint:
            assert endpoint.model.name == f"actor-1@{sha256[:12]}" and endpoint.model.revision == sha256
            assert endpoint.model.origin == f"embedded:{endpoint.model.name}" == endpoint.servers[0].address
            assert (
                endpoint.model.chat_template_hash
                == template_hash(chat_template(folder))
                == fetch(str(made)).chat_template_hash
            )
            assert endpoint.context_tokens == 512 and await endpoint.answers()

    asyncio.run(look())
    assert settings.deciding() == {"embedded": sha256}
    again = tmp_path / "elsewhere"
    folder.rename(again)
    assert ModelSettings(endpoint=(f"embedded:{again}",)).deciding() == {"embedded": sha256}


def test_the_hash_of_the_template_is_the_trainers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make_tiny_model(tmp_path)
    text = AutoTokenizer.from_pretrained(tmp_path).chat_template
    assert template_hash(chat_template(tmp_path)) == sha256_text(text)


def test_the_same_folder_gives_the_same_bytes_and_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    folder = folder_of("Llama", tmp_path / "model")
    file = fetch(str(folder)).path
    content, written = file.read_bytes(), file.stat().st_ino
    assert fetch(str(folder)).path.stat().st_ino == written

    file.write_bytes(content[:-1] + b"x")  # damaged in the cache
    assert fetch(str(folder)).path.read_bytes() == content

    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    other = fetch(str(folder))
    assert other.path != file and other.chat_template_hash == sha256_text("{{ messages[0].content }}")


def change(folder: Path, name: str, **changes: Any) -> None:
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_cannot_be_converted_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"

    def refused(match: str) -> None:
        with pytest.raises(FactoryError, match=match):
            fetch(str(model))
        make_tiny_model(model)

    model.mkdir()
    refused("holds no model")
    change(model, "config.json", architectures=["GemmaForCausalLM"])
    refused(r"its architecture is GemmaForCausalLM.*serve it by vllm:")
    change(model, "config.json", rope_parameters={"rope_type": "yarn"})
    refused("rotary embedding is scaled by yarn")
    change(model, "config.json", vocab_size=5)
    refused("tokens, and the model 5")
    change(model, "tokenizer.json", pre_tokenizer={"type": "Whitespace"})
    refused(r"tokenizer\.json cannot be converted.*Whitespace")
    change(model, "tokenizer.json", model={"type": "Unigram"})
    refused("not byte-level BPE")
    (model / "chat_template.jinja").unlink()
    refused("has no chat template")
    (model / "config.json").write_text("{")
    refused("config.json cannot be read")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused("is damaged or no safetensors file .* is cut off")
    assert not list((tmp_path / "cache").rglob("*.gguf")) and not list((tmp_path / "cache").rglob("*.part"))
