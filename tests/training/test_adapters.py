"""An adapter beside its base: both answer from one server, each as peft and transformers have it."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from factory.inference.connect import connect
from factory.inference.conversion.adapter import convert_adapter
from factory.inference.conversion.convert import Kind, convert
from factory.inference.embedded import serve
from factory.inference.endpoints import Endpoint
from factory.inference.settings import ModelSettings
from factory.inference.weights import Weights, fetch
from factory.recipes.reading import recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.tables import Call, Model
from stores.lake import Lake
from tests.training.test_conversion import CHATS, change, folder_of, post
from tests.training.tiny import make_tiny_model, needs_torch

pytestmark = needs_torch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and an adapter of random weights, which changes every answer."""
    place = tmp_path_factory.mktemp("adapted")
    write_adapter(folder_of("Llama", place / "base"), place / "adapter")
    return place


def write_adapter(base: Path, folder: Path, **changes: Any) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    given = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | changes
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**given))
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, folder)


@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}], ids=repr)
def test_base_and_adapter_answer_as_in_peft(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = folder_of(family, tmp_path / "base")
    write_adapter(base, tmp_path / "adapter", **changes)
    convert(base, tmp_path / "base.gguf", Kind.F16)
    convert_adapter(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16).float()
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16).float(), tmp_path / "adapter"
    )
    ids = AutoTokenizer.from_pretrained(base).apply_chat_template(
        CHATS[1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    expected = [model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).tolist() for model in (plain, adapted)]
    weights = fetch(str(tmp_path / "base.gguf"))
    both = Weights("adapted", weights.path, "", 0, None, None, adapter=tmp_path / "adapter.gguf", base=weights)

    async def ask() -> None:
        async with serve(both, slots=1, context_tokens=512) as server:
            for scale, model in enumerate(expected):
                given = {"prompt": ids, "n_predict": 1, "n_probs": 20, "grammar": 'root ::= "I"', "cache_prompt": False}
                answer = post(server, "/completion", lora=[{"id": 0, "scale": float(scale)}], **given)
                found = answer["completion_probabilities"][0]["top_logprobs"]
                assert max(abs(one["logprob"] - model[one["id"]]) for one in found) < 0.05

    asyncio.run(ask())
    assert max(abs(a - b) for a, b in zip(*expected, strict=True)) > 0.5


def test_two_roles_of_a_run_share_one_server(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(made)
    started: list[Weights] = []

    def counted(weights: Weights, **others: Any) -> Any:
        started.append(weights)
        return serve(weights, **others)

    monkeypatch.setattr("factory.inference.connect.serve", counted)
    document: dict[str, Any] = {
        "name": "both",
        "models": {"base": {"endpoint": "embedded:base"}, "adapted": {"endpoint": f"embedded:{made / 'adapter'}"}},
        "prompts": {"limit": 2},
        "stages": [
            {"stage": "sample", "name": role, "model": role, "n": 1, "max_tokens": 16} for role in ("base", "adapted")
        ]
        + [{"stage": "judge", "by": "verifier"}],
    }
    document["stages"][0].pop("name")
    run_recipe(RunSpecification(recipe_of(document, "recipe")), str(tmp_path / "lake"), Progress())
    with Lake.open(tmp_path / "lake") as lake:
        models = {model.model_id: model for model in lake.read(Model)}
        calls = lake.read(Call)
    assert len(started) == 1 and started[0].adapter is not None
    assert {model.name.partition("@")[0] for model in models.values()} == {"base", "adapter"}
    assert {models[call.model_id].name for call in calls} == {model.name for model in models.values()}


def test_the_adapter_s_model_is_named_by_both(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    other = folder_of("Mistral", tmp_path / "other")
    settings = ModelSettings(endpoint=(f"embedded:{made / 'adapter'}",))
    elsewhere = ModelSettings(endpoint=settings.endpoint, base=str(other))
    assert settings.deciding()["base"] != elsewhere.deciding()["base"]
    found: list[Endpoint] = []

    async def look() -> None:
        async with connect("actor", settings) as endpoint:
            assert endpoint.base is not None and await endpoint.answers() and await endpoint.base.answers()
            found.extend((endpoint, endpoint.base))

    asyncio.run(look())
    adapted, base = (endpoint.model for endpoint in found)
    assert adapted.revision != base.revision and base.revision == fetch(str(made / "base")).sha256
    assert adapted.name == f"adapter@{str(adapted.revision)[:12]}"
    assert adapted.chat_template_hash == base.chat_template_hash is not None


def test_a_base_that_is_not_the_adapter_s_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFERENCE_FACTORY_CACHE", str(tmp_path / "cache"))
    adapter, base = tmp_path / "adapter", tmp_path / "base"

    def refused(match: str, on: str | None = str(base)) -> None:
        with pytest.raises(FactoryError, match=match):
            fetch(str(adapter), on)

    def fresh() -> None:
        for one in ("adapter", "base"):
            shutil.rmtree(tmp_path / one, ignore_errors=True)
            shutil.copytree(made / one, tmp_path / one)

    fresh()
    assert fetch(str(adapter), str(base)).adapter is not None
    make_tiny_model(tmp_path / "smaller")
    misfit = r"adapter was not trained on .*: that model's architecture \(llama\) has nothing of the shape"
    refused(misfit, str(tmp_path / "smaller"))
    tokenizer = json.loads((adapter / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {token.replace("a", "ä"): at for token, at in tokenizer["model"]["vocab"].items()}
    (adapter / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused("with another tokenizer than that of")
    fresh()
    (adapter / "chat_template.jinja").write_text("{{ messages[0].content }}")
    refused("with another chat template than that of")
    fresh()
    change(adapter, "adapter_config.json", use_dora=True)
    refused("is not plain LoRA")
    fresh()
    change(adapter, "adapter_config.json", base_model_name_or_path="owner/model")
    refused(r"its base model 'owner/model' is not to be had", None)
    change(adapter, "adapter_config.json", base_model_name_or_path=None)
    refused(r"its base model '' is not to be had .*base: a folder", None)
    (adapter / "adapter_model.safetensors").unlink()
    refused(r"adapter_model\.safetensors is missing")
