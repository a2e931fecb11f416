"""NeMo-RL: its PreferenceDataset, and its openai_format dataset (docs/guides/dpo.md, docs/guides/sft.md)."""

from typing import Any

from factory.exporting.files import as_yaml
from factory.exporting.gaps import COMMON, no_long_answers, only_roles, trains_on_history
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import Row, dialogue, turns

_PREFERENCE = (no_long_answers("a completion there is a single turn"), *COMMON["preference"])
_COMPLETION = (
    only_roles("its conversations end with the assistant"),
    trains_on_history("it learns those, too"),
    *COMMON["prompt_completion"],
)


def _preference(row: Row, split: str, place: int) -> Row:
    ranked = [{"rank": rank, "completion": turns(row[name])} for rank, name in enumerate(("chosen", "rejected"))]
    return {"context": turns(row["prompt"]), "completions": ranked}


def _data(written: Written, train: dict[str, Any], default: dict[str, Any]) -> dict[str, str]:
    data: dict[str, Any] = {"train": {"data_path": written.train, **train}}
    if written.test is not None:
        data["validation"] = {"data_path": written.test, **train}
    data["default"] = {"prompt_file": None, "system_prompt_file": None, **default}
    return {"nemo_rl.yaml": as_yaml({"data": data})}


def _use(command: str, written: Written) -> str:
    paths = {"train": written.train} | ({"validation": written.test} if written.test else {})
    given = " ".join(f'"data.{split}.data_path=$PWD/{file}"' for split, file in paths.items())
    return f"uv run examples/{command}.py --config CONFIG_WITH_nemo_rl.yaml {given} policy.model_name=MODEL"


NEMO_RL = Format(
    "NeMo-RL",
    "NeMo-RL, docs/guides/dpo.md (PreferenceDataset) and docs/guides/sft.md (openai_format)",
    {
        "preference": (
            Layout(
                _preference,
                "jsonl",
                lambda w: _use("run_dpo", w),
                _PREFERENCE,
                lambda w: _data(w, {"split": "train"}, {"dataset_name": "PreferenceDataset"}),
            ),
        ),
        "prompt_completion": (
            Layout(
                dialogue,
                "jsonl",
                lambda w: _use("run_sft", w),
                _COMPLETION,
                lambda w: _data(
                    w, {"chat_key": "messages"}, {"dataset_name": "openai_format", "processor": "sft_processor"}
                ),
            ),
        ),
    },
)
