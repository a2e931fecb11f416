"""Online training: the policy answers prompts itself and is paid for each answer, by TRL's RLOO and GRPO.

    python -m trainers.online --set prompts@1 --model ./actor --config mine.yaml
    python -m trainers.online --set prompts@1 --model ./actor --reward models/reward-1

RLOO (arXiv:2402.14740): reward minus beta times the answer's KL estimate against the reference, less the mean of the same
of the prompt's other answers, times the gradient of the answer's log-probability. GRPO (arXiv:2402.03300): rewards less
their mean, divided by their deviation within a prompt; KL is in the loss. Answers are sampled once for each step, which is
taken on policy: TRL's clipping never applies. Every answer and its reward is a row (`completions.py`).
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import FactoryError
from schemas.ids import online_run_id
from schemas.settings import about
from schemas.tables import Constraint, Message, Prompt
from trainers.command import Asked, Diverged, run_command
from trainers.folders import check_index, loading
from trainers.rewards import RewardSettings, in_rows, opened
from trainers.settings import RewardedSettings, Schedule

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
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up")] = "linear"
    max_tokens: Annotated[int, about("tokens of a prompt and the longest completion together", above=0)] = 2048
    max_loss_rise: (
        Annotated[float, about("unset: a policy's loss is near 0 whatever it learns; rewards are guarded", above=0)]
        | None
    ) = None

    @property
    def generated_tokens(self) -> int:
        return self.max_completion_length

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
    read = read_rows(asked, "prompt", others=COLUMNS)
    prompts = {id: prompt for id, prompt in map(prompt_of, (*read.train, *read.held_out))}
    check_rows(read, settings, asked.training_set)
    plain = [
        [{"prompt": row["prompt"], "prompt_id": row["prompt_id"]} for row in part]
        for part in (read.train, read.held_out)
    ]

    # After that: nobody should wait for torch to be told of a misspelt name.
    from accelerate.utils import broadcast_object_list
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    from trainers.completions import HeldOut, Keeping, Pay, Steady, mean_reward
    from trainers.models import end_tokens
    from trainers.preparing import prepare
    from trainers.record import training_run_id
    from trainers.training import train_and_record, trainer_arguments, trainer_parts

    job = prepare(asked, OBJECTIVE, settings, Rows(read.training_set, *plain))
    if job is None:
        return
    config, kind = (RLOOConfig, RLOOTrainer) if settings.algorithm == "rloo" else (GRPOConfig, GRPOTrainer)
    given = trainer_arguments(job, len(job.examples.rows) * settings.num_generations)
    del given["max_length"]  # of completions there is another
    arguments = config(
        **given,
        num_generations=settings.num_generations,
        num_generations_eval=1,
        # No more than there are: a batch is filled up with prompts that are there already.
        per_device_eval_batch_size=max(1, min(EVALUATED_AT_ONCE, len(job.held_out.rows) // processes())),
        max_completion_length=settings.max_completion_length,
        temperature=settings.temperature,
        beta=settings.beta,
    )
    # The main process's: a training's first start is part of its id.
    [run_id] = broadcast_object_list([online_run_id(training_run_id(job.part, job.known))])
    with opened(reward, asked.lake, run_id, asked.seed) as paying:
        pay = Pay(run_id, paying, prompts, end_tokens(job.base, job.tokenizer), settings.num_generations)
        parts = with_reference(job, trainer_parts(job))
        # TRL prints one unpaid answer of every step, with its prompt.
        logging.getLogger(kind.__module__).addFilter(lambda record: "returned None" not in record.getMessage())
        trainer = kind(reward_funcs=pay.of_completions, args=arguments, **parts)
        keeping, steady = Keeping(job, pay), Steady(asked.seed)
        for callback in (keeping, steady):
            trainer.add_callback(callback)
        try:
            train_and_record(job, trainer, mean_reward, HeldOut(job, keeping, steady))
        except Diverged as error:
            keeping.write("failed", str(error))
            raise
        if pay.unpaid and trainer.is_world_process_zero():
            print(
                f"{pay.unpaid} of {sum(pay.counted.values())} answers could not be paid, and taught nothing",
                flush=True,
            )


def with_reward(settings: OnlineSettings, folder: str | None) -> OnlineSettings:
    """The settings with the reward that the command line names.

    Raises:
        FactoryError: neither names one.
    """
    if folder is not None:
        return msgspec.structs.replace(settings, reward=RewardSettings(kind="reward_model", model=folder))
    if settings.reward is None:
        raise FactoryError(
            "what an answer is paid for is not said: give --reward FOLDER, or a --config with reward: {kind: reward_model, "
            "verifier or judge}"
        )
    return settings


def prompt_of(row: dict[str, Any]) -> tuple[str, Prompt]:
    """A row's prompt by its id, with what judges look at."""
    prompt = Prompt(
        prompt_id=row.get("prompt_id") or "",
        messages=[Message(turn["role"], turn["content"]) for turn in row["prompt"]],
        language=None,
        subject=None,
        source="",
        licence=None,
        constraints=[Constraint(one["id"], one["kwargs"]) for one in row.get("constraints") or ()],
        reference=row.get("reference"),
        evolved_from=None,
    )
    return prompt.prompt_id, prompt


def check_rows(read: Any, settings: OnlineSettings, name: str) -> None:
    """
    Raises:
        FactoryError: prompts without ids, too few for a step, or without constraints where a program pays.
    """
    rows = [*read.train, *read.held_out]
    if not all(row.get("prompt_id") for row in rows):
        raise FactoryError(
            f"training set {name} has rows without prompt_id, by which its answers are recorded: add the column to its query"
        )
    needed = settings.batch_size // settings.num_generations
    if len(read.train) < needed:
        raise FactoryError(
            f"training set {name} has {len(read.train)} prompts to train on, and a step takes {needed} (batch_size "
            f"{settings.batch_size} / num_generations {settings.num_generations}): lower batch_size, or take more prompts"
        )
    without = sum(not row.get("constraints") for row in rows)
    if settings.reward is not None and settings.reward.kind == "verifier" and without:
        raise FactoryError(
            f"training set {name} has {without} of {len(rows)} prompts without constraints, which the verifier cannot judge: "
            "leave them out of its query (WHERE len(constraints) > 0), or take another reward"
        )


def with_reference(job: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """TRL loads the reference model itself, from where the policy's configuration says that it came from.

    Raises:
        FactoryError: another reference than the start is asked for beside LoRA, whose reference is the start, or it cannot be
            loaded.
    """
    base = job.reference or job.base
    if job.settings.lora is not None and job.reference is not None:
        raise FactoryError(
            "--reference cannot be another model with lora: the reference is then the start without its adapters; leave one "
            "of them out"
        )
    folder = base.folder
    if job.reference is not None and base.gguf is None:
        with loading(f"{base.option} {base.name}"):
            check_index(folder)
    if base.gguf is not None and job.settings.beta > 0 and job.settings.lora is None:
        from trainers.models import load_model
        from trainers.training import weights_dtype

        folder = job.part.folder / "reference"  # TRL reads no GGUF
        load_model(base, weights_dtype(job.settings)).save_pretrained(folder)
    parts["model"].config._name_or_path = str(folder)
    return parts


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
