"""axolotl: `chat_template.default` of `rl: dpo` (docs/rlhf.qmd), and `chat_template` (docs/dataset-formats/conversation.qmd)."""

from typing import Any

from factory.exporting.files import as_yaml
from factory.exporting.gaps import COMMON, Gap, no_long_answers, only_roles
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import Row, answers, text, turns, with_sides

_ROLES = only_roles("it knows no others")
_PREFERENCE = (
    _ROLES,
    no_long_answers("it takes the last turn alone"),
    Gap(
        "with white space at the end of an answer",
        "it cuts it off",
        lambda row: any(text(answer) != text(answer).rstrip() for answer in answers(row)),
    ),
    *COMMON["preference"],
)


def _completion(row: Row, split: str, place: int) -> Row:
    """Turns of the prompt are marked, as axolotl would otherwise learn the earlier answers among them, too."""
    asked: list[Row] = [{**turn, "training": False} for turn in turns(row["prompt"])]
    return {
        "messages": asked + [{**turn, "training": turn["role"] == "assistant"} for turn in turns(row["completion"])]
    }


def _config(head: Row, entry: Row, written: Written) -> dict[str, str]:
    def of(file: str) -> Row:
        return {"path": file, "ds_type": "json", "split": "train", **entry}

    config: dict[str, Any] = {**head, "chat_template": "tokenizer_default", "datasets": [of(written.train)]}
    if written.test is not None:
        config["test_datasets"] = [of(written.test)]
    return {"axolotl.yaml": as_yaml(config)}


_DPO = {
    "type": "chat_template.default",
    "field_messages": "messages",
    "field_chosen": "chosen",
    "field_rejected": "rejected",
    "message_property_mappings": {"role": "role", "content": "content"},
    "roles": {"user": ["user"], "assistant": ["assistant"], "system": ["system"]},
}
_SFT = {"type": "chat_template", "field_messages": "messages", "message_field_training": "training"}


def _use(written: Written) -> str:
    return "axolotl train axolotl.yaml --base-model MODEL --output-dir OUT"


AXOLOTL = Format(
    "axolotl",
    "axolotl 0.19.0, docs/rlhf.qmd: chat_template.default, and docs/dataset-formats/conversation.qmd: chat_template",
    {
        "preference": (Layout(with_sides, "jsonl", _use, _PREFERENCE, lambda w: _config({"rl": "dpo"}, _DPO, w)),),
        "prompt_completion": (
            Layout(_completion, "jsonl", _use, (_ROLES, *COMMON["prompt_completion"]), lambda w: _config({}, _SFT, w)),
        ),
    },
)
