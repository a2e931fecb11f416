"""Online training: the policy answers prompts itself and is paid for each answer, by TRL's RLOO and GRPO.

    python -m trainers.online --set prompts@1 --model ./actor --config mine.yaml
    python -m trainers.online --set prompts@1 --model ./actor --reward models/reward-1

RLOO (arXiv:2402.14740): reward minus beta times the answer's KL estimate against the reference, less the mean of the same
of the prompt's other answers, times the gradient of the answer's log-probability. GRPO (arXiv:2402.03300): rewards less
their mean, divided by their deviation within a prompt; KL is in the loss. Answers are sampled once for each step, which is
taken on policy: TRL's clipping never applies. Every answer and its reward is a row (`completions.py`).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import FactoryError
from schemas.settings import about
from schemas.tables import Constraint, Message, Prompt
from trainers.command import Asked, Diverged, run_command
from trainers.rewards import RewardSettings, in_rows, opened
from trainers.settings import RewardedSettings

OBJECTIVE = "online"
RLOO = "RLOO, arXiv:2402.14740"
RLAIF = "RLAIF, arXiv:2309.00267"
COLUMNS = ("prompt_id", "constraints", "reference")
EVALUATED_AT_ONCE = 8


class OnlineSettings(RewardedSettings, frozen=True, kw_only=True):
    """REINFORCE with a leave-one-out baseline, as RLAIF's policy is trained. `batch_size` counts completions."""

    algorithm: Annotated[Literal["rloo", "grpo"], about("how rewards become advantages", RLOO)] = "rloo"
    reward: Annotated[RewardSettings | None, about("what an answer is paid for")] = None
    num_generations: Annotated[int, about("completions of a prompt in a step", RLOO, least=2)] = 4
    max_completion_length: Annotated[int, about("the maximum number of tokens per completion", "TRL", above=0)] = 512
    temperature: Annotated[float, about("sampling temperature", RLAIF, above=0)] = 0.9
    beta: Annotated[float, about("the weight of the KL penalty; 0: no reference model is kept", RLAIF, least=0)] = 0.05
    learning_rate: Annotated[float, about("the learning rate after the warm-up", "TRL", above=0)] = 1e-6
    epochs: Annotated[int, about("how often each prompt is answered num_generations times", above=0)] = 1
    schedule: Annotated[Literal["linear", "constant"], about("linear falls to 0; both follow the warm-up")] = "linear"
    max_tokens: Annotated[int, about("tokens of a prompt and the longest completion together", above=0)] = 2048
    max_loss_rise: (
        Annotated[float, about("unset: a policy's loss is near 0 whatever it learns; rewards are guarded", above=0)] | None
    ) = None

    def __post_init__(self) -> None:
        if self.batch_size % self.num_generations:
            raise ValueError(
                f"batch_size {self.batch_size} counts completions, and must be a multiple of num_generations "
                f"{self.num_generations}"
            )
        if self.max_completion_length >= self.max_tokens:
            raise ValueError(
                f"max_completion_length {self.max_completion_length} leaves no room for a prompt in max_tokens "
                f"{self.max_tokens}"
            )


SETTINGS = OnlineSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and rows."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import Rows, read_rows
    from trainers.settings import load_settings

    settings = with_reward(load_settings(SETTINGS, OBJECTIVE, asked.configs), asked.reward)
    assert settings.reward is not None
    reward = settings.reward
    settings = msgspec.structs.replace(settings, reward=in_rows(reward))
    read = read_rows(asked, "prompt", also=COLUMNS)
    prompts = {id: prompt for id, prompt in map(prompt_of, (*read.train, *read.held_out))}
    check_rows(read, settings, asked.training_set)
    plain = [[{"prompt": row["prompt"], "prompt_id": row["prompt_id"]} for row in part] for part in (read.train, read.held_out)]

    # After that: nobody should wait for torch to be told of a misspelt name.
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    from trainers.completions import Keeping, Pay
    from trainers.models import end_tokens
    from trainers.preparing import prepare
    from trainers.record import training_run_id
    from trainers.training import train_and_record, trainer_arguments, trainer_parts

    job = prepare(asked, OBJECTIVE, settings, Rows(read.training_set, *plain))
    if job is None:
        return
    run_id = training_run_id(job.part, job.known)
    config, kind = (RLOOConfig, RLOOTrainer) if settings.algorithm == "rloo" else (GRPOConfig, GRPOTrainer)
    arguments = trainer_arguments(job, len(job.examples.rows) * settings.num_generations)
    del arguments["max_length"]  # of completions there is another
    with opened(reward, asked.lake, run_id, asked.seed) as paying:
        pay = Pay(run_id, paying, prompts, end_tokens(job.base, job.tokenizer), settings.num_generations)
        trainer = kind(
            reward_funcs=pay.of_completions,
            args=config(
                **arguments,
                num_generations=settings.num_generations,
                num_generations_eval=1,
                per_device_eval_batch_size=EVALUATED_AT_ONCE,
                max_completion_length=settings.max_completion_length,
                temperature=settings.temperature,
                beta=settings.beta,
            ),
            **with_reference(job, trainer_parts(job)),
        )
        keeping = Keeping(job, pay)
        trainer.add_callback(keeping)
        stages = iter(("before", "after"))

        def held_out_rewards(trainer: Any, tokens: Sequence[Any]) -> list[list[float]]:
            """The reward of an answer to each held-out prompt, now."""
            stage = next(stages)
            pay.begin(stage)
            if tokens:
                trainer.evaluate(Dataset.from_list(job.held_out.rows))
            rewards = [[paid] for paid in pay.rewards if paid is not None]
            pay.begin(None)
            if stage == "after":
                keeping.write("finished", None)
            return rewards

        def figures(tokens: Sequence[Any], now: list[list[float]], base: list[list[float]]) -> dict[str, float]:
            return {"reward": sum(paid for [paid] in now) / len(now)}

        try:
            train_and_record(job, trainer, figures, held_out_rewards)
        except Diverged as error:
            keeping.write("failed", str(error))
            raise
