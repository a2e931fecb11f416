"""OpenRLHF: messages in prompt, chosen and rejected, or prompt and completion, and the flags that name them.

Its paths are relative to the folder, since it takes "@" and "," in a path as marks of its own, and the held-out file is its
split `train`, as of every single file (openrlhf/datasets/utils.py, 0.11.2).
"""

from factory.exporting.gaps import COMMON
from factory.exporting.layout import Format, Layout, Written
from factory.exporting.rows import columns

_KEYS = {
    "preference": "--data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected",
    "prompt_completion": "--data.input_key prompt --data.output_key completion",
}
_MODULES = {"preference": "openrlhf.cli.train_dpo", "prompt_completion": "openrlhf.cli.train_sft"}
_SCRIPT = """\
# Run in this folder: OpenRLHF takes "@" and "," in a path as marks of its own.
# It leaves out rows whose prompt is longer than --data.max_len, without a word.
deepspeed --module {module} \\
  --data.dataset {train} {test}\\
  {keys} \\
  --data.apply_chat_template --data.max_len 4096 \\
  "$@"
"""


def _layout(kind: str) -> Layout:
    def beside(written: Written) -> dict[str, str]:
        test = f"--eval.dataset {written.test} --eval.split train " if written.test else ""
        script = _SCRIPT.format(module=_MODULES[kind], train=written.train, test=test, keys=_KEYS[kind])
        return {"openrlhf.sh": script}

    def use(written: Written) -> str:
        return "bash openrlhf.sh --model.model_name_or_path MODEL --ckpt.output_dir OUT"

    return Layout(columns(kind), "jsonl", use, COMMON[kind], beside)


OPENRLHF = Format(
    "OpenRLHF",
    "OpenRLHF 0.11.2, openrlhf/datasets/reward_dataset.py and sft_dataset.py, with --data.apply_chat_template",
    {kind: (_layout(kind),) for kind in _MODULES},
)
