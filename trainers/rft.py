"""Rejection-sampling fine-tuning of SPaR's refiner (arXiv:2412.11605) on dialogues that a judge accepted, by TRL.

    python -m trainers.rft --set spar_rft@1 --model Qwen/Qwen2.5-7B-Instruct
    accelerate launch -m trainers.rft --set spar_rft@1 --model ./base --config mine.yaml

The loss is the mean negative log-likelihood of the completion's tokens: the last assistant turn, its end included.
Earlier turns of a dialogue, including the assistant's, are context: each accepted one is also its own example.
"""

import sys
from collections.abc import Sequence

from trainers.command import Options, run_command
from trainers.examples import read_rows
from trainers.settings import RftSettings, load_settings

OBJECTIVE = "rft"


def train(options: Options) -> None:
    """Trains, and writes the model, its card and its row."""
    settings = load_settings(RftSettings, OBJECTIVE, options.config)
    rows = read_rows(options, "prompt_completion")

    # Imported late, so that a misspelt name is reported without waiting for torch.
    from trl import SFTConfig, SFTTrainer

    from trainers.log_probs import completion_figures
    from trainers.training import prepare, train_and_record, trainer_arguments, trainer_parts

    job = prepare(options, OBJECTIVE, settings, rows)
    arguments = SFTConfig(**trainer_arguments(job), completion_only_loss=True)
    trainer = SFTTrainer(args=arguments, **trainer_parts(job))
    train_and_record(job, trainer, completion_figures)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
