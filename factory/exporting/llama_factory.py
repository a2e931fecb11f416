"""LLaMA-Factory: its sharegpt format with OpenAI's tags (data/README.md), and the entries of dataset_info.json.

Not its `openai` format: that one puts "detailed thinking off" into the system turn (data/converter.py, 0.9.5). Rows whose
turns do not alternate are skipped by it with a warning, so they are left out here.
"""

import json
from functools import partial
from typing import Any

from factory.exporting.files import as_yaml
from factory.exporting.gaps import COMMON, no_long_answers, only_alternating, only_roles
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import dialogue, with_sides

TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_SHAPE = (
    only_roles("it skips them"),
    only_alternating("it skips them"),
    no_long_answers("it learns one turn"),
)


def _beside(kind: str, written: Written) -> dict[str, str]:
    ranking = kind == "preference"
    columns = {"messages": "messages"} | ({"chosen": "chosen", "rejected": "rejected"} if ranking else {})
    entry: dict[str, Any] = {"formatting": "sharegpt", "ranking": ranking, "columns": columns, "tags": TAGS}
    info = {written.name: {"file_name": written.train, **entry}}
    # Without mask_history, earlier answers of a dialogue would be learned, too.
    config: dict[str, Any] = {"stage": "dpo"} if ranking else {"stage": "sft", "mask_history": True}
    config |= {"do_train": True, "dataset_dir": ".", "dataset": written.name}
    if written.test is not None:
        info[f"{written.name}-test"] = {"file_name": written.test, **entry}
        config |= {"eval_dataset": f"{written.name}-test", "eval_strategy": "epoch", "per_device_eval_batch_size": 1}
    return {
        "dataset_info.json": json.dumps(info, indent=2) + "\n",
        "llamafactory.yaml": as_yaml(config),
    }


def _use(written: Written) -> str:
    return (
        "llamafactory-cli train llamafactory.yaml model_name_or_path=MODEL template=ITS_TEMPLATE finetuning_type=full "
        "output_dir=OUT"
    )


LLAMA_FACTORY = Format(
    "LLaMA-Factory",
    "LLaMA-Factory 0.9.5, data/README.md: sharegpt format, preference and supervised fine-tuning",
    {
        kind: (Layout(row, "jsonl", _use, (*_SHAPE, *COMMON[kind]), partial(_beside, kind)),)
        for kind, row in (("preference", with_sides), ("prompt_completion", dialogue))
    },
)
