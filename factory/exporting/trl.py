"""TRL: conversational preference and prompt-completion data (its docs/source/dataset_formats.md)."""

import pyarrow as pa

from factory.exporting.gaps import COMMON
from factory.exporting.layout import TURN, Format, Layout, Written
from factory.exporting.rows import ANSWERS, Row, turns


def _layout(kind: str, command: str) -> Layout:
    columns = ("prompt", *ANSWERS[kind])

    def row(given: Row, split: str, place: int) -> Row:
        return {name: turns(given[name]) for name in columns}

    def use(written: Written) -> str:
        test = " --eval_strategy epoch" if written.test else ""
        return f"trl {command} --dataset_name . --model_name_or_path MODEL --output_dir OUT{test}"

    schema = pa.schema([(name, pa.list_(TURN)) for name in columns])
    return Layout(row, "parquet", use, COMMON[kind], schema=schema)


TRL = Format(
    "TRL",
    "TRL 1.16, docs/source/dataset_formats.md: conversational preference, and conversational prompt-completion",
    {"preference": (_layout("preference", "dpo"),), "prompt_completion": (_layout("prompt_completion", "sft"),)},
)
