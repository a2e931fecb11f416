"""Direct preference optimization (arXiv:2305.18290) with SPaR's SFT term (arXiv:2412.11605), by TRL.

    python -m trainers.dpo --set spar_dpo@1 --model Qwen/Qwen2.5-7B-Instruct
    accelerate launch -m trainers.dpo --set spar_dpo@1 --model ./last-round --reference ./base --config mine.yaml

The loss is sigmoid_weight * mean over pairs of -log sigmoid(beta * (margin - the reference's margin)), plus sft_weight *
mean over the chosen answers' tokens of -log p(token). TRL takes the second mean over all tokens of a micro-batch:
with micro_batch_size 1 it is SPaR's mean by answer, with more a long answer weighs more. Left out: every other loss.
"""

import copy
import sys
from collections.abc import Sequence

from trainers.command import Asked, run_command

OBJECTIVE = "dpo"


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and row."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import read_rows
    from trainers.settings import DpoSettings, load_settings

    settings = load_settings(DpoSettings, OBJECTIVE, asked.config)
    rows = read_rows(asked, "preference")

    # After that: nobody should wait for torch to be told of a misspelt name.
    from trl import DPOConfig, DPOTrainer

    from trainers.log_probs import pair_figures
    from trainers.models import load_model
    from trainers.preparing import prepare
    from trainers.training import train_and_record, trainer_arguments, trainer_parts, weights_dtype

    job = prepare(asked, OBJECTIVE, settings, rows)
    if job is None:
        return
    arguments = DPOConfig(
        **trainer_arguments(job),
        loss_type=["sigmoid", "sft"],
        loss_weights=[settings.sigmoid_weight, settings.sft_weight],
        beta=settings.beta,
    )
    parts = trainer_parts(job)
    if job.reference is not None:
        reference = load_model(job.reference, weights_dtype(settings))
    else:
        # With LoRA it is the start without its adapters.
        reference = None if settings.lora else copy.deepcopy(parts["model"])
    trainer = DPOTrainer(ref_model=reference, args=arguments, **parts)
    train_and_record(job, trainer, pair_figures)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
