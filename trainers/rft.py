"""Rejection-sampling fine-tuning of SPaR's refiner (arXiv:2412.11605) on dialogues that a judge accepted, by TRL.

    python -m trainers.rft --set spar_rft@1 --model Qwen/Qwen2.5-7B-Instruct
    accelerate launch -m trainers.rft --set spar_rft@1 --model ./base --config mine.yaml

The loss is the mean negative log-likelihood of the completion's tokens: the last assistant's turn, its end included.
Earlier turns of a dialogue, an assistant's too, are context: each is an example of its own where it was accepted.
"""

import sys
from collections.abc import Sequence

from trainers.command import Asked, run_command
from trainers.settings import RftSettings

OBJECTIVE = "rft"
SETTINGS = RftSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and rows."""
    train_on_completions(asked, OBJECTIVE, RftSettings)


def train_on_completions(asked: Asked, objective: str, kind: type[RftSettings]) -> None:
    """The same loss whoever wrote the completions (`sft.py`)."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import read_rows
    from trainers.settings import load_settings

    settings = load_settings(kind, objective, asked.configs)
    rows = read_rows(asked, "prompt_completion")

    # After that: nobody should wait for torch to be told of a misspelt name.
    from trl import SFTConfig, SFTTrainer

    from trainers.log_probs import completion_figures
    from trainers.preparing import prepare
    from trainers.training import train_and_record, trainer_arguments, trainer_parts

    job = prepare(asked, objective, settings, rows)
    if job is None:
        return
    arguments = SFTConfig(**trainer_arguments(job), completion_only_loss=True)
    trainer = SFTTrainer(args=arguments, **trainer_parts(job))
    train_and_record(job, trainer, completion_figures)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
