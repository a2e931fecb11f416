"""A reward model (Bradley-Terry) of preferences, by TRL: a sequence classifier whose one output is an answer's reward.

    python -m trainers.reward --set imported_dpo@1 --model Qwen/Qwen2.5-7B-Instruct
    python -m trainers.reward --set rlaif@1 --model models/reward-1 --config mine.yaml

The loss of a pair is -log sigmoid(d), d being the reward of the chosen answer less that of the rejected one, and less the
set's column `margin` where it has one (Llama 2, arXiv:2307.09288). With a column `probability`, that the chosen answer is
better, it is the cross-entropy with that soft label, as RLAIF's (arXiv:2309.00267). All pairs of a prompt are one element of
a batch, and the loss is the mean over prompts of the mean over their pairs, as InstructGPT's (arXiv:2203.02155).
"""

import sys
from collections.abc import Sequence
from typing import Annotated

from schemas.errors import FactoryError
from schemas.settings import about
from trainers.command import Asked, run_command
from trainers.settings import Schedule, TrainerSettings

OBJECTIVE = "reward"
PAPER = "InstructGPT, arXiv:2203.02155"


class RewardSettings(TrainerSettings, frozen=True, kw_only=True):
    """InstructGPT's reward model, but for its size and schedule. `batch_size` counts prompts where they are grouped."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", PAPER, above=0)] = 9e-6
    epochs: Annotated[int, about("how often each example is trained on", PAPER, above=0)] = 1
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up")] = "linear"
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", above=0)] = 2048
    group_by_prompt: Annotated[
        bool, about("all pairs of a prompt are one element of a batch, and weigh as much as any other prompt's", PAPER)
    ] = True


SETTINGS = RewardSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and row."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import read_rows
    from trainers.settings import load_settings

    settings = load_settings(SETTINGS, OBJECTIVE, asked.configs)
    rows = read_rows(asked, "preference", ("probability", "margin"))
    if {"probability", "margin"} <= rows.train[0].keys():
        raise FactoryError(
            f"training set {asked.training_set} has both columns probability and margin, and a margin is for hard labels: "
            "leave one of them out of its query"
        )

    # After that: nobody should wait for torch to be told of a misspelt name.
    from trl import RewardConfig

    from trainers.preparing import prepare
    from trainers.reward_model import (
        PromptwiseTrainer,
        answer_rewards,
        elements,
        load_reward_model,
        reward_figures,
    )
    from trainers.training import train_and_record, trainer_arguments, trainer_parts, weights_dtype

    job = prepare(asked, OBJECTIVE, settings, rows)
    if job is None:
        return
    by_prompt = settings.group_by_prompt
    batched = elements(job.examples, by_prompt)
    model = load_reward_model(job.base, weights_dtype(settings), asked.seed)
    arguments = RewardConfig(**trainer_arguments(job, len(batched)))
    trainer = PromptwiseTrainer(args=arguments, **trainer_parts(job, model, batched, "SEQ_CLS"))
    train_and_record(job, trainer, lambda _, now, __: reward_figures(job.held_out.rows, by_prompt, now), answer_rewards)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
