"""verl: pairs of texts (its RMDataset and DPODataset), the prompts of its RL trainers, and messages for its SFT trainer.

verl 0.9.1 has no DPO trainer; DPODataset is that of its main branch (verl/utils/dataset/dpo_dataset.py), which applies a
chat template only if `chat_template_key` is set. RL rows are those of examples/data_preprocess: `reward_model.ground_truth`
is what a reward function compares an answer with, here the chosen answer or the completion.
"""

from dataclasses import replace

import pyarrow as pa

from factory.exporting.files import as_yaml
from factory.exporting.gaps import COMMON, no_long_answers, no_several_turns, no_system, only_roles, trains_on_history
from factory.exporting.layout import TURN, Format, Layout, Written
from factory.exporting.rows import Row, answers, dialogue, text, turns

_WHY = "a pair there is a user's text and two answers"
_PAIRS = (
    no_system(_WHY),
    no_several_turns(_WHY),
    no_long_answers(_WHY),
    only_roles(_WHY),
    *COMMON["preference"],
)
_MESSAGES = (trains_on_history("its SFT trainer learns those, too"), *COMMON["prompt_completion"])


def _pair(row: Row, split: str, place: int) -> Row:
    return {"prompt": text(row["prompt"]), "chosen": text(row["chosen"]), "rejected": text(row["rejected"])}


def _prompt(row: Row, split: str, place: int) -> Row:
    return {
        "data_source": "preference-factory",
        "prompt": turns(row["prompt"]),
        "ability": "instruction following",
        "reward_model": {"style": "model", "ground_truth": text(answers(row)[0])},
        "extra_info": {"split": split, "index": place},
    }


def _data(prefix: str, written: Written, **more: str) -> dict[str, str]:
    data = {"data": {"train_files": written.train, "val_files": written.test, **more}}
    return {f"verl_{prefix}.yaml": as_yaml(data)}


_TEXTS = pa.schema([(name, pa.string()) for name in ("prompt", "chosen", "rejected")])
_PROMPTS = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(TURN)),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("split", pa.string()), ("index", pa.int64())])),
    ]
)
_RL = Layout(
    _prompt,
    "parquet",
    lambda w: (
        f"python -m verl.trainer.main_ppo data.train_files={w.train} data.val_files={w.test or w.train} "
        "actor_rollout_ref.model.path=MODEL"
    ),
    (replace(no_long_answers("ground_truth is the last turn"), left_out=False),),
    lambda w: _data("rl", w, prompt_key="prompt"),
    _PROMPTS,
    "rl_",
    "prompts for its RL trainers, with the better answer as ground_truth",
)

VERL = Format(
    "verl",
    "verl 0.9.1, verl/utils/dataset (RMDataset, MultiTurnSFTDataset, RLHFDataset), and DPODataset of its main branch",
    {
        "preference": (
            Layout(
                _pair,
                "parquet",
                lambda w: "the keys of verl_dpo.yaml are those of `data` in the configuration of a DPO trainer",
                _PAIRS,
                lambda w: _data(
                    "dpo",
                    w,
                    prompt_key="prompt",
                    chosen_key="chosen",
                    rejected_key="rejected",
                    chat_template_key="default",
                ),
                _TEXTS,
                of="pairs of texts",
            ),
            _RL,
        ),
        "prompt_completion": (
            Layout(
                dialogue,
                "parquet",
                lambda w: (
                    f"torchrun --nproc_per_node=1 -m verl.trainer.sft_trainer data.train_files={w.train} "
                    f"data.val_files={w.test or 'null'} data.messages_key=messages model.path=MODEL"
                ),
                _MESSAGES,
                lambda w: _data("sft", w, messages_key="messages"),
                pa.schema([("messages", pa.list_(TURN))]),
                of="conversations for its SFT trainer",
            ),
            _RL,
        ),
    },
)
