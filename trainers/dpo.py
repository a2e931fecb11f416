"""Direct preference optimization (arXiv:2305.18290), with any of TRL's losses of a pair; by default SPaR's.

    python -m trainers.dpo --set spar_dpo@1 --model Qwen/Qwen2.5-7B-Instruct
    accelerate launch -m trainers.dpo --set spar_dpo@1 --model ./last-round --reference ./base --config mine.yaml

SPaR's loss (arXiv:2412.11605) is the mean over pairs of -log sigmoid(beta * (margin - the reference's margin)), plus 0.1
times the mean over the chosen answers' tokens of -log p(token). TRL takes the second mean over all tokens of a micro-batch:
with micro_batch_size 1 it is SPaR's mean by answer, with more a long answer weighs more.

A set's column `probability`, that the chosen answer is better, softens the labels (conservative DPO).
"""

import sys
from collections.abc import Sequence

from schemas.errors import FactoryError
from trainers.command import Asked, run_command
from trainers.settings import DpoSettings

OBJECTIVE = "dpo"
SETTINGS = DpoSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and row."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import read_rows
    from trainers.settings import load_settings

    settings = load_settings(SETTINGS, OBJECTIVE, asked.configs)
    rows = read_rows(asked, "preference", ("probability",))
    soft = "probability" in rows.train[0]
    if soft:
        check_soft_labels(settings, asked.training_set)

    # After that: nobody should wait for torch to be told of a misspelt name.
    from trl import DPOConfig, DPOTrainer

    from trainers.log_probs import pair_figures
    from trainers.pair_losses import ConservativeTrainer
    from trainers.preparing import prepare
    from trainers.training import reference_model, train_and_record, trainer_arguments, trainer_parts

    job = prepare(asked, OBJECTIVE, settings, rows)
    if job is None:
        return
    arguments = DPOConfig(
        **trainer_arguments(job),
        loss_type=list(settings.loss_type),
        loss_weights=list(settings.loss_weights or ()),
        label_smoothing=settings.label_smoothing,
        ld_alpha=settings.ld_alpha,
        beta=settings.beta,
    )
    parts = trainer_parts(job)
    kind = ConservativeTrainer if soft else DPOTrainer
    trainer = kind(ref_model=reference_model(job, parts["model"]), args=arguments, **parts)
    train_and_record(job, trainer, pair_figures)


def check_soft_labels(settings: DpoSettings, of_set: str) -> None:
    """
    Raises:
        FactoryError: the loss has no soft form.
    """
    if "sigmoid" not in settings.loss_type or not set(settings.loss_type) <= {"sigmoid", "sft"}:
        fault = f"loss_type {', '.join(settings.loss_type)} has no soft form"
    elif settings.ld_alpha is not None:
        fault = "ld_alpha does not go with soft labels"
    else:
        return
    raise FactoryError(
        f"training set {of_set} has a column probability, and {fault}: set loss_type to sigmoid (with sft or without) and no "
        "ld_alpha, or leave the column out of the set's query"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
