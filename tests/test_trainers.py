"""The trainers on a real lake with a tiny real model: two layers and a tokenizer made here, no network."""

import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import FactoryError
from schemas.tables import Message, Model, Pair, Prompt, Response, TrainingRun
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import row
from trainers.settings import DpoSettings, RftSettings, load_settings

ROOT = Path(__file__).parent.parent
MISSING = [name for name in ("torch", "trl", "peft", "accelerate", "gguf") if importlib.util.find_spec(name) is None]
if MISSING and os.environ.get("CI") == "true":
    raise RuntimeError(f"{MISSING} not installed: the trainers would go untested")
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"{MISSING} not installed: pip install 'preference-factory[train]'"
)

CONFIG = """
dpo: &shared
  learning_rate: 1e-3
  epochs: 2
  batch_size: 4
  max_tokens: 128
  precision: float32
  gradient_checkpointing: false
rft: *shared
"""
COMPLETIONS_SQL = """-- Out: prompt_completion; ordered by response: split, prompt, completion.
SELECT split_of(prompt_id, 0.3) AS split, p.messages AS prompt, [assistant_turn(r.text)] AS completion, response_id
FROM responses AS r JOIN prompts AS p USING (prompt_id)
WHERE kind = 'refined' AND len($run_ids) >= 0 ORDER BY response_id
"""
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# Parts: a lake with pairs, and a model small enough to train in a second.


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
            source="tree",
            chosen_response_id=f"refined {number}",
            rejected_response_id=f"failed {number}",
            chosen_value=1.0,
            rejected_value=0.0,
        ),
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder with a lake of two training sets, a configuration, and (where torch is) a tiny model."""
    folder = tmp_path_factory.mktemp("trainers")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "completions.sql").write_text(COMPLETIONS_SQL)
    with Lake.open(folder / "lake", create=True) as lake:
        lake.append([each for number in range(24) for each in pair_rows(number)], message="pairs")
        pairs = build_training_set(lake, "spar_dpo", {"held_out": "0.3"}, ["run"])
        build_training_set(lake, str(folder / "completions.sql"), {}, ["run"])
        changed = dataclasses.replace(pairs.row, training_set_id="changed", version=2, fingerprint="0" * 64)
        lake.append([changed], message="a set whose rows are not what they were")
    if not MISSING:
        make_tiny_model(folder / "tiny")
    assert pairs.train.num_rows and pairs.held_out.num_rows
    return SimpleNamespace(folder=folder, lake=folder / "lake", pairs=pairs)


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
    """The model in `folder` as llama.cpp keeps it, not quantized."""
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


def start(place: SimpleNamespace, objective: str, output: Path, **options: Any) -> int:
    """Runs a trainer's main() in this process."""
    trainer = importlib.import_module(f"trainers.{objective}")
    arguments = {
        "lake": place.lake,
        "set": {"dpo": "spar_dpo@1", "rft": "completions@1"}[objective],
        "model": place.folder / "tiny",
        "config": place.folder / "config.yaml",
        "output": output,
        "seed": 7,
    } | options
    given = [(f"--{name}", str(value)) for name, value in arguments.items() if value is not None]
    return int(trainer.main([word for pair in given for word in pair]))


def training_run(place: SimpleNamespace, output: Path) -> TrainingRun:
    with Lake.open(place.lake) as lake:
        (run,) = lake.read(TrainingRun, "output = $output", {"output": str(output)})
    return run


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def dpo(place: SimpleNamespace) -> Path:
    """The folder of a model trained by DPO."""
    assert start(place, "dpo", place.folder / "dpo") == 0
    return place.folder / "dpo"


@pytest.fixture(scope="module")
def rft(place: SimpleNamespace) -> Path:
    """The folder of a model trained by RFT."""
    assert start(place, "rft", place.folder / "rft") == 0
    return place.folder / "rft"


def captured(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, objective: str) -> tuple[Any, Any]:
    """The job and TRL's trainer as they are before the first step."""
    import trainers.training

    seen: list[Any] = []
    monkeypatch.setattr(
        trainers.training, "train_and_record", lambda job, trainer, figures: seen.extend((job, trainer))
    )
    assert start(place, objective, place.folder / "never written") == 0
    return seen[0], seen[1]


# Settings


def test_defaults_are_spar_s_own() -> None:
    dpo, rft = DpoSettings(), RftSettings()
    assert (dpo.learning_rate, dpo.epochs, dpo.schedule, dpo.warmup, dpo.max_tokens) == (2e-7, 1, "linear", 0.1, 2048)
    assert (dpo.beta, dpo.sigmoid_weight, dpo.sft_weight, dpo.precision) == (0.1, 1.0, 0.1, "bfloat16")
    assert (rft.learning_rate, rft.epochs, rft.schedule, rft.warmup, rft.max_tokens) == (2e-6, 5, "constant", 0.1, 4096)


@pytest.mark.parametrize(("kind", "objective"), [(DpoSettings, "dpo"), (RftSettings, "rft")])
def test_the_preset_for_processors_needs_no_accelerator(kind: Any, objective: str) -> None:
    assert load_settings(kind, objective, "small-cpu").precision == "float32"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpo: {learning_rte: 1}", "did you mean learning_rate?"),
        ("dpoo: {}", "did you mean dpo?"),
        ("dpo: {epochs: many}", "epochs must be of type int, got 'many'"),
        ("dpo: {epochs: 0}", "epochs must be above 0, got 0"),
        ("dpo: {lora: {rnk: 8}}", "did you mean rank?"),
        ("dpo: {schedule: cosine}", "schedule must be linear or constant"),
        ("dpo: {beta: -1}", "beta must be above 0"),
        ("dpo: [1]", "must hold 'key: value' lines"),
        ("dpo: {", "cannot be read as YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(FactoryError) as error:
        load_settings(DpoSettings, "dpo", str(tmp_path / "mine.yaml"))
    assert words in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_an_unknown_preset_is_told_the_known_ones() -> None:
    with pytest.raises(FactoryError, match="the presets are: small-cpu"):
        load_settings(DpoSettings, "dpo", "small-gpu")


def test_a_number_without_a_dot_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("dpo: {learning_rate: 3e-6, lora: {rank: 4}}")
    found = load_settings(DpoSettings, "dpo", str(tmp_path / "mine.yaml"))
    assert found.learning_rate == 3e-6
    assert found.lora is not None and found.lora.rank == 4


def test_every_setting_is_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs" / "trainers.md").read_text()
    for kind, column in ((DpoSettings, 2), (RftSettings, 3)):
        for name, value in dataclasses.asdict(kind()).items():
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
            written = line.split("|")[column].strip()
            assert written == str(value).lower().replace("e-0", "e-")


# What needs no torch


def test_the_trainers_are_imported_without_torch() -> None:
    code = "import sys, trainers.dpo, trainers.rft; print([m for m in ('torch', 'trl', 'factory') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("objective", "name", "words"),
    [
        ("dpo", "spar_dpo@9", "has no training set spar_dpo@9"),
        ("dpo", "spar_dpo@2", "has fingerprint"),
        ("dpo", "completions@1", "has format prompt_completion, and this trainer needs preference"),
        ("rft", "spar_dpo@1", "use `factory train dpo`"),
    ],
)
def test_a_set_that_cannot_be_trained_on_is_refused(
    place: SimpleNamespace, capsys: pytest.CaptureFixture[str], objective: str, name: str, words: str
) -> None:
    assert start(place, objective, place.folder / "refused", set=name) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (place.folder / "refused").exists()


# Log-probabilities


@needs_torch
def test_a_sequence_s_log_probability_is_that_of_its_answer_tokens() -> None:
    import torch

    from trainers.log_probs import sequence_log_probs

    # Two tokens in the vocabulary; position t gives p(token 1) at t + 1: 0.5, 0.8, 0.9.
    of_one = torch.tensor([0.5, 0.8, 0.9, 0.1])
    logits = torch.stack([(1 - of_one).log(), of_one.log()], dim=-1)[None]
    found = sequence_log_probs(logits, torch.tensor([[1, 0, 1, 0]]), torch.tensor([[False, False, True, True]]))
    assert found.tolist() == pytest.approx([math.log(0.8) + math.log(0.1)])


@needs_torch
@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 6), padding=st.integers(0, 4), seed=st.integers(0, 1000))
def test_padding_does_not_change_a_log_probability(length: int, padding: int, seed: int) -> None:
    import torch

    from trainers.log_probs import sequence_log_probs

    torch.manual_seed(seed)
    logits, ids = torch.randn(1, length, 5), torch.randint(0, 5, (1, length))
    mask = torch.arange(length)[None] >= length // 2
    pad = torch.nn.functional.pad
    padded = sequence_log_probs(pad(logits, (0, 0, 0, padding)), pad(ids, (0, padding)), pad(mask, (0, padding)))
    assert padded.tolist() == pytest.approx(sequence_log_probs(logits, ids, mask).tolist(), abs=1e-5)


@needs_torch
def test_figures_of_pairs_by_hand() -> None:
    from trainers.examples import Tokens
    from trainers.log_probs import pair_figures

    pairs = [Tokens([1], [[2, 3], [4]]), Tokens([1], [[2, 3], [4]])]
    found = pair_figures(pairs, now=[[-2.0, -5.0], [-6.0, -4.0]], base=[[-4.0, -4.0], [-5.0, -4.0]])
    assert found == {"margin": 0.5, "accuracy": 0.5, "reward_accuracy": 0.5, "chosen_log_prob": -2.0}


# Tokens


@needs_torch
def test_pairs_are_tokenized_as_trl_tokenizes_them(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    job, trainer = captured(monkeypatch, place, "dpo")
    theirs = [(each["prompt_ids"], [each["chosen_ids"], each["rejected_ids"]]) for each in trainer.train_dataset]
    assert theirs == [(each.prompt, each.answers) for each in job.examples.tokens]


@needs_torch
def test_rft_s_loss_is_on_the_completion_alone(monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace) -> None:
    job, trainer = captured(monkeypatch, place, "rft")
    theirs = [each["labels"] for each in trainer.train_dataset]
    assert theirs == [[-100] * len(each.prompt) + each.answers[0] for each in job.examples.tokens]


@needs_torch
def test_examples_too_long_are_refused_with_their_count(
    place: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.yaml").write_text("dpo: {max_tokens: 10}")
    assert start(place, "dpo", tmp_path / "out", config=tmp_path / "short.yaml") == 1
    rows = place.pairs.train.num_rows
    error = capsys.readouterr().err
    assert f"{rows} of {rows} examples (spar_dpo@1, to train on) are longer than max_tokens 10" in error
    assert "drop_too_long: true" in error


@needs_torch
def test_examples_too_long_are_left_out_when_asked_and_counted(place: SimpleNamespace) -> None:
    from trainers.examples import fit_examples
    from trainers.models import find_model, load_tokenizer

    tokenizer = load_tokenizer(find_model(str(place.folder / "tiny")))
    short, long = (
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": text}]}
        for text in ("good", "good. " * 60)
    )
    found = fit_examples([short, long, short], tokenizer, RftSettings(max_tokens=60, drop_too_long=True), "a set")
    assert (found.rows, len(found.tokens), found.dropped) == ([short, short], 2, 1)


# Training


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_training_moves_the_weights_and_leaves_a_complete_model(
    request: pytest.FixtureRequest, place: SimpleNamespace, objective: str
) -> None:
    output = request.getfixturevalue(objective)
    files = {file.name for file in output.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    before, after = weights(place.folder / "tiny"), weights(output)
    assert before.keys() == after.keys()
    assert all(not before[name].equal(after[name]) for name in before)


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_a_training_leaves_a_row_that_says_how_it_went(
    request: pytest.FixtureRequest, place: SimpleNamespace, objective: str
) -> None:
    run = training_run(place, request.getfixturevalue(objective))
    metrics = json.loads(run.metrics)
    steps = 2 * math.ceil(metrics["examples"] / 4)
    assert len(run.loss_curve) == steps
    assert run.loss_curve[-1] < run.loss_curve[0]
    assert json.loads(run.configuration)["learning_rate"] == 1e-3
    assert (run.objective, run.seed) == (objective, 7)
    assert run.package_versions["trl"]
    assert run.weights_sha256 != run.base_weights_sha256
    with Lake.open(place.lake) as lake:
        (model,) = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    assert model.revision == run.weights_sha256


@needs_torch
def test_dpo_raises_the_margin_of_held_out_pairs(place: SimpleNamespace, dpo: Path) -> None:
    metrics = json.loads(training_run(place, dpo).metrics)
    assert metrics["held_out"] == place.pairs.held_out.num_rows
    assert metrics["after"]["margin"] > metrics["before"]["margin"]
    assert metrics["before"]["reward_accuracy"] == 0
    assert metrics["after"]["reward_accuracy"] > 0.5


@needs_torch
def test_rft_lowers_the_loss_of_held_out_completions(place: SimpleNamespace, rft: Path) -> None:
    metrics = json.loads(training_run(place, rft).metrics)
    assert metrics["after"]["loss"] < metrics["before"]["loss"]


@needs_torch
def test_the_card_names_the_set_the_weights_and_the_figures(place: SimpleNamespace, dpo: Path) -> None:
    card, run = (dpo / "README.md").read_text(), training_run(place, dpo)
    figure = json.loads(run.metrics)["after"]["margin"]
    for part in ("spar_dpo@1", place.pairs.row.fingerprint, run.weights_sha256, f"{figure:.4f}"):
        assert part in card
    assert str(place.folder) not in card


@needs_torch
def test_dpo_s_first_loss_is_log_two_and_a_tenth_of_the_chosen_answers_own(
    monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace
) -> None:
    from trainers.log_probs import answer_log_probs

    job, trainer = captured(monkeypatch, place, "dpo")
    pairs = job.examples.tokens
    trainer.args.gradient_accumulation_steps = len(pairs)
    trainer.args.max_steps = 1
    scores = answer_log_probs(trainer, pairs)
    own = [-chosen / len(pair.answers[0]) for pair, (chosen, _) in zip(pairs, scores, strict=True)]
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2) + 0.1 * sum(own) / len(own), rel=1e-3)


@needs_torch
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(place: SimpleNamespace, dpo: Path) -> None:
    first = training_run(place, dpo)
    assert start(place, "dpo", place.folder / "again") == 0
    again = training_run(place, place.folder / "again")
    assert (again.weights_sha256, again.loss_curve) == (first.weights_sha256, first.loss_curve)
    assert start(place, "dpo", place.folder / "other", seed=8) == 0
    assert training_run(place, place.folder / "other").weights_sha256 != first.weights_sha256


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_lora_keeps_its_adapters_and_merges_them_into_a_complete_model(
    place: SimpleNamespace, tmp_path: Path, objective: str
) -> None:
    lora = CONFIG.replace("  epochs", "  lora: {rank: 4, alpha: 8}\n  epochs")
    (tmp_path / "lora.yaml").write_text(lora)
    output = tmp_path / "lora"
    assert start(place, objective, output, config=tmp_path / "lora.yaml") == 0
    assert (output / "adapter" / "adapter_model.safetensors").is_file()
    before, after = weights(place.folder / "tiny"), weights(output)
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {name for name in before if "_proj" in name}


@needs_torch
@pytest.mark.parametrize("objective", ["dpo", "rft"])
def test_the_settings_for_7b_models_train_in_bfloat16_and_keep_float32_weights(
    place: SimpleNamespace, tmp_path: Path, objective: str
) -> None:
    assert start(place, objective, tmp_path / "out", config=None) == 0
    before, after = weights(place.folder / "tiny"), weights(tmp_path / "out")
    assert {str(value.dtype) for value in after.values()} == {"torch.float32"}
    assert any(not before[name].equal(after[name]) for name in before)


@needs_torch
def test_a_gguf_file_is_trained_with_its_own_tokenizer_and_template(place: SimpleNamespace, tmp_path: Path) -> None:
    write_gguf(place.folder / "tiny", tmp_path / "tiny.gguf")
    assert start(place, "rft", tmp_path / "out", model=tmp_path / "tiny.gguf") == 0
    trained = weights(tmp_path / "out")
    assert trained.keys() == weights(place.folder / "tiny").keys()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


@needs_torch
def test_nothing_is_written_over(place: SimpleNamespace, dpo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(dpo)
    assert start(place, "dpo", dpo) == 1
    assert "is not empty" in capsys.readouterr().err
    assert all(value.equal(weights(dpo)[name]) for name, value in before.items())


@needs_torch
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.mkdir(), "the folder holds no model"),
        (lambda folder: None, "neither a folder nor a .gguf file"),
    ],
)
def test_a_model_that_is_not_there_is_refused(
    place: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Any,
    words: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    make(tmp_path / "model")
    assert start(place, "dpo", tmp_path / "out", model=tmp_path / "model") == 1
    assert words in capsys.readouterr().err


@needs_torch
def test_two_processes_of_accelerate_launch_write_one_model_and_one_row(place: SimpleNamespace) -> None:
    output = place.folder / "launched"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["-m", "trainers.dpo", "--lake", str(place.lake), "--set", "spar_dpo@1"]
    command += ["--model", str(place.folder / "tiny"), "--config", str(place.folder / "config.yaml")]
    done = subprocess.run([*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training run: ") == 1
    assert training_run(place, output).hardware.startswith("2 x CPU")
    assert not weights(output)["lm_head.weight"].equal(weights(place.folder / "tiny")["lm_head.weight"])
