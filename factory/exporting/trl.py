"""TRL: conversational preference, prompt-completion and prompt-only data (its docs/source/dataset_formats.md)."""

import pyarrow as pa

from factory.exporting.gaps import COMMON
from factory.exporting.layout import TURN, Format, Layout, Written
from factory.exporting.rows import ANSWERS, columns


def _layout(kind: str, command: str) -> Layout:
    def use(written: Written) -> str:
        test = " --eval_strategy epoch" if written.test else ""
        return f"trl {command} --dataset_name . --model_name_or_path MODEL --output_dir OUT{test}"

    schema = pa.schema([(name, pa.list_(TURN)) for name in ("prompt", *ANSWERS[kind])])
    return Layout(columns(kind), "parquet", use, COMMON[kind], schema=schema)


TRL = Format(
    "TRL",
    "TRL 1.16, docs/source/dataset_formats.md: conversational preference, prompt-completion and prompt-only",
    {
        "preference": (_layout("preference", "dpo"),),
        "prompt_completion": (_layout("prompt_completion", "sft"),),
        "prompt": (_layout("prompt", "rloo --reward_model_name_or_path REWARD_MODEL"),),
    },
)
