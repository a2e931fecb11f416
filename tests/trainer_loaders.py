"""What other trainers read from an export, by their own loaders: `python -m tests.trainer_loaders TRAINER CODE KIND TOKENIZER`.

Run in the exported folder. CODE is the trainer's unpacked wheel, without its dependencies; packages that its loader imports
but does not use (DeepSpeed, Ray) are put in their place as mocks, and so are packages' `__init__` that import a trainer's
other half. Prints JSON: for each row the prompt and what is learned of it, as texts, or messages where the loader keeps them.
"""

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from transformers import AutoTokenizer

Texts = list[dict[str, Any]]


def mocked(*names: str) -> None:
    for name in names:
        sys.modules[name] = mock.MagicMock(__spec__=None)


def without_init(code: str, *names: str) -> None:
    """Packages whose modules can be imported without their `__init__`."""
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [str(Path(code, *name.split(".")))]
        sys.modules[name] = package


def llamafactory(code: str, kind: str, tokenizer: Any) -> Texts:
    mocked("omegaconf")
    without_init(code, "llamafactory.data")
    parser = importlib.import_module("llamafactory.data.parser")
    converter = importlib.import_module("llamafactory.data.converter")
    import datasets

    config = yaml.safe_load(Path("llamafactory.yaml").read_text("utf-8"))
    (attributes,) = parser.get_dataset_list([config["dataset"]], config["dataset_dir"])
    rows = datasets.load_dataset("json", data_files=attributes.dataset_name, split="train")
    convert = converter.get_dataset_converter(attributes.formatting, attributes, mock.MagicMock())
    return [
        {
            "prompt": read["_prompt"],
            "system": read["_system"],
            "learned": [turn["content"] for turn in read["_response"]],
        }
        for read in map(convert, rows)
    ]


def openrlhf(code: str, kind: str, tokenizer: Any) -> Texts:
    mocked("pylatexenc", "pylatexenc.latex2text", "deepspeed", "flash_attn")
    without_init(code, "openrlhf.utils", "openrlhf.datasets")
    utils = importlib.import_module("openrlhf.datasets.utils")
    words = Path("openrlhf.sh").read_text("utf-8").split()
    flags = {word: words[at + 1] for at, word in enumerate(words) if word.startswith("--")}
    keys = {
        name: flags.get(f"--data.{name}")
        for name in ("prompt_key", "chosen_key", "rejected_key", "input_key", "output_key")
    }
    data = types.SimpleNamespace(**keys, apply_chat_template=True)
    args = types.SimpleNamespace(data=data, use_ms=False)
    strategy = types.SimpleNamespace(args=args, print=str, is_rank_0=bool)
    raw = utils.blending_datasets(flags["--data.dataset"], None, strategy, dataset_split="train")
    assert len(utils.blending_datasets(flags["--eval.dataset"], None, strategy, dataset_split=flags["--eval.split"]))
    if kind == "preference":
        module = importlib.import_module("openrlhf.datasets.reward_dataset")
        read = module.RewardDataset(raw, tokenizer, 4096, strategy, is_dpo=True, num_processors=None)
        sides = list(zip(read.chosens, read.rejects, strict=True))
    else:
        module = importlib.import_module("openrlhf.datasets.sft_dataset")
        read = module.SFTDataset(raw, tokenizer, 4096, strategy, num_processors=None)
        sides = [(response,) for response in read.responses]
    return [{"prompt": prompt, "learned": list(side)} for prompt, side in zip(read.prompts, sides, strict=True)]


def axolotl(code: str, kind: str, tokenizer: Any) -> Texts:
    mocked("colorama", "addict")
    schema = importlib.import_module("axolotl.utils.schemas.config")
    import datasets

    given = yaml.safe_load(Path("axolotl.yaml").read_text("utf-8"))
    checked = schema.AxolotlInputConfig(
        **given, base_model="M", micro_batch_size=1, gradient_accumulation_steps=1, learning_rate=1e-5
    )
    (entry,) = checked.model_dump(exclude_none=True)["datasets"]
    rows = datasets.load_dataset("json", data_files=entry["path"], split=entry["split"])
    if kind == "preference":
        module = importlib.import_module("axolotl.prompt_strategies.dpo.chat_template")
        transform, _ = module.default({"datasets": [entry], "chat_template": given["chat_template"]})
        made = [transform(row, tokenizer=tokenizer) for row in rows]
        return [{"prompt": row["prompt"], "learned": [row["chosen"], row["rejected"]]} for row in made]
    module = importlib.import_module("axolotl.prompt_strategies.chat_template")
    dict_default = type("Config", (dict,), {"__getattr__": lambda self, name: self.get(name)})
    config = dict_default(chat_template="tokenizer_default", train_on_inputs=False, sequence_len=4096, datasets=[entry])
    strategy = module.load(tokenizer, config, ds_cfg=dict_default(entry))
    texts = []
    for row in rows:
        read = strategy.tokenize_prompt(row)
        learned = [token for token, label in zip(read["input_ids"], read["labels"], strict=True) if label != -100]
        first = next(at for at, label in enumerate(read["labels"]) if label != -100)
        texts.append({"prompt": tokenizer.decode(read["input_ids"][:first]), "learned": [tokenizer.decode(learned)]})
    return texts


def verl(code: str, kind: str, tokenizer: Any) -> Texts:
    mocked("tensordict", "tensordict.tensorclass", "codetiming", "hydra", "ray", "verl.models.transformers.qwen2_vl")
    sys.modules["omegaconf"] = mock.MagicMock(
        ListConfig=type("ListConfig", (list,), {}), DictConfig=dict, __spec__=None
    )
    without_init(code, "verl", "verl.models", "verl.models.transformers")
    config = yaml.safe_load(Path("verl_rl.yaml").read_text("utf-8"))["data"]
    rl = importlib.import_module("verl.utils.dataset.rl_dataset")
    asked = rl.RLHFDataset(config["train_files"], tokenizer, {**config, "filter_overlong_prompts": False})
    prompts = [asked[at] for at in range(len(asked))]
    assert all(row["index"] == at and row["data_source"] and row["ability"] for at, row in enumerate(prompts))
    rest = {"rl": [{"prompt": row["raw_prompt"], "truth": row["reward_model"]["ground_truth"]} for row in prompts]}
    if kind == "preference":
        config = yaml.safe_load(Path("verl_dpo.yaml").read_text("utf-8"))["data"]
        module = importlib.import_module("verl.utils.dataset.rm_dataset")
        keys = {name: config[name] for name in ("prompt_key", "chosen_key", "rejected_key")}
        read = module.RMDataset(config["train_files"], tokenizer, cache_dir=str(Path.cwd().parent / "cache"), **keys)
        assert read[0]["input_ids"].shape[0] == 2
        sides = zip(read.prompts, read.chosen_responses, read.rejected_responses, strict=True)
        return [rest, *({"prompt": prompt, "learned": list(pair)} for prompt, *pair in sides)]
    config = yaml.safe_load(Path("verl_sft.yaml").read_text("utf-8"))["data"]
    module = importlib.import_module("verl.utils.dataset.multiturn_sft_dataset")
    read = module.MultiTurnSFTDataset(
        config["train_files"], tokenizer, {**config, "pad_mode": "no_padding", "max_length": 4096}
    )
    texts: Texts = [rest]
    for at in range(len(read)):
        row = read[at]
        texts.append(
            {"prompt": read.messages[at], "learned": [tokenizer.decode(row["input_ids"][row["loss_mask"] == 1])]}
        )
    return texts


LOADERS = {"llamafactory": llamafactory, "openrlhf": openrlhf, "axolotl": axolotl, "verl": verl}

if __name__ == "__main__":
    trainer, code, kind, tokenizer_folder, out = sys.argv[1:]
    sys.path.insert(0, code)
    found = LOADERS[trainer](code, kind, AutoTokenizer.from_pretrained(tokenizer_folder))
    Path(out).write_text(json.dumps(found), "utf-8")
