"""Whether a model fits is reckoned from sizes, before anything is loaded."""

import json
from pathlib import Path

import pytest

from factory.inference import memory
from factory.inference.memory import available_bytes, check_memory, parameters_of, serving_parts, training_parts
from factory.inference.weights import fetch
from schemas.errors import FactoryError

SHAPES = {
    "model.embed_tokens.weight": (320, 64),
    "model.layers.0.self_attn.q_proj.weight": (64, 64),
    "model.layers.0.mlp.down_proj.weight": (64, 96),
    "model.norm.weight": (64,),
}
WEIGHTS = 320 * 64 + 64 * 64 + 64 * 96 + 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, in bfloat16."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "vocab_size": 320,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in SHAPES.items():
        size = 2 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return tmp_path


def test_serving_takes_the_weights_and_what_is_kept_of_each_token(folder: Path) -> None:
    weights, cache, computing = serving_parts(folder, 16, 4096).values()
    assert weights == (WEIGHTS - 64) * 34 // 32 + 64 * 4
    assert (
        cache == 16 * 512 * 2 * 3 * 2 * 16 * 2
    )  # tokens (the model has no more), keys and values, layers, heads, width, float16
    assert computing == 512 * 320 * 4


def test_a_gguf_file_tells_the_same_of_itself() -> None:
    weights, cache, computing = serving_parts(fetch("smollm2-135m").path, 1, 1000).values()
    assert weights == 144_811_072 and cache == 1000 * 2 * 30 * 3 * 64 * 2 and computing == 512 * 49152 * 4


def test_training_takes_weights_gradients_averages_and_a_reference(folder: Path) -> None:
    assert parameters_of(folder) == WEIGHTS
    assert training_parts(WEIGHTS, reference=True, lora=False) == {
        "weights": 4 * WEIGHTS,
        "gradients": 4 * WEIGHTS,
        "Adam's averages": 8 * WEIGHTS,
        "reference": 4 * WEIGHTS,
    }
    assert "reference" not in training_parts(WEIGHTS, reference=False, lora=False)
    assert training_parts(WEIGHTS, reference=True, lora=True) == {"weights": 2 * WEIGHTS}


def test_a_gguf_files_weights_are_reckoned_by_its_size() -> None:
    assert parameters_of(fetch("smollm2-135m").path) == pytest.approx(134_515_008, rel=0.02)


def test_what_does_not_fit_shows_the_sum() -> None:
    parts = {"weights": 7_600_000_000, "KV cache": 500_000_000, "computing": 0}
    check_memory("serving m", parts, "take less", available=8_100_000_000)
    with pytest.raises(FactoryError) as caught:
        check_memory("serving m", parts, "take less", available=3_100_000_000)
    told = "takes at least 8.1 GB of memory (7.6 GB weights + 0.5 GB KV cache), and 3.1 GB are free: take less"
    assert str(caught.value) == f"serving m {told}"


def test_what_is_free_is_the_machines_or_the_groups_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    info = put("meminfo", "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    monkeypatch.setattr(memory, "_MEMORY_INFO", info)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_CGROUP", put("own", "0::/a/b\n"))
    put("groups/a/b/memory.max", "max\n")
    assert available_bytes() == 4000 * 1024
    put("groups/a/memory.max", "1000000\n")
    put("groups/a/memory.current", "900000\n")
    put("groups/a/memory.stat", "anon 500000\ninactive_file 300000\n")
    assert available_bytes() == 400_000
    monkeypatch.setattr(memory, "_OWN_CGROUP", put("own", "5:memory:/c\n4:cpu:/d\n"))
    put("groups/memory/c/memory.limit_in_bytes", "200000\n")
    put("groups/memory/c/memory.usage_in_bytes", "150000\n")
    put("groups/memory/c/memory.stat", "total_inactive_file 10000\n")
    assert available_bytes() == 60_000


def test_a_model_that_does_not_fit_is_refused_before_it_is_converted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from factory.inference import connect
    from factory.inference.settings import ModelSettings

    async def start() -> None:
        async with connect.connect("actor", ModelSettings(endpoint=(f"embedded:{folder}",))):
            pass

    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    monkeypatch.setattr(connect, "fetch", None)
    with pytest.raises(FactoryError, match=r"models\.actor: serving .* takes at least 0\.0 GB"):
        asyncio.run(start())
