"""Self-play preference optimization (arXiv:2405.00675): log-ratios are fitted to win rates, by TRL's DPOTrainer.

    python -m trainers.sppo --set sppo@1 --model mistralai/Mistral-7B-Instruct-v0.2
    python -m trainers.sppo --set sppo@2 --model ./last-round --config small-cpu

Of each pair, [D(chosen) - eta (P(chosen) - 1/2)]^2 + [D(rejected) - eta (P(rejected) - 1/2)]^2, where D is log p(answer) less
the reference's, summed over tokens, P the answer's win rate (the set's columns chosen_win_rate and rejected_win_rate), and
eta = 1 / beta. What is minimised is that divided by eta^2, which has the same minimiser and no factor of a million (eta 1000)
before it. The reference is the start: in a loop, the last round's model, as in the paper.

TRL's `sppo_hard` is another loss: it takes each win as certain.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from schemas.errors import FactoryError
from schemas.objectives import NARROW_GAP, OBJECTIVES
from schemas.settings import about
from trainers.command import Asked, run_command
from trainers.settings import PairSettings, Schedule

OBJECTIVE = "sppo"
PAPER = "SPPO, arXiv:2405.00675"
RATES = OBJECTIVES[OBJECTIVE].columns
LEAST_SPREAD = 0.02
"""standard deviation of the pairs' gaps in win rate below which a judge says the same of everything"""


class SppoSettings(PairSettings, frozen=True, kw_only=True):
    """The paper's, for 7B-class models."""

    learning_rate: Annotated[float, about("the learning rate after the warm-up", PAPER, above=0)] = 5e-7
    epochs: Annotated[int, about("how often each example is trained on", PAPER, above=0)] = 1
    schedule: Annotated[Schedule, about("linear and cosine fall to 0; all follow the warm-up")] = "constant"
    optimizer: Annotated[
        Literal["adamw", "rmsprop"], about("torch's, with its defaults and no weight decay", PAPER)
    ] = "rmsprop"
    max_tokens: Annotated[int, about("tokens of a prompt and its answer together", above=0)] = 2048
    beta: Annotated[float, about("1 / eta: the log-ratio of an answer goes to (P - 1/2) / beta", PAPER, above=0)] = 1e-3
    shrink: Annotated[
        float, about("by how much win rates are drawn to 1/2: 0 not at all, 1 wholly", least=0, below=1)
    ] = 0.0

    @property
    def loss_unit(self) -> tuple[float, str]:
        return 1.0, "squared win rates"


SETTINGS = SppoSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and row."""
    # Here, not at the top: Ctrl-C is to be heeded while they are imported.
    from trainers.examples import read_rows
    from trainers.settings import load_settings

    settings = load_settings(SETTINGS, OBJECTIVE, asked.configs)
    rows = read_rows(asked, "preference", RATES)
    if missing := [name for name in RATES if name not in rows.train[0]]:
        raise FactoryError(
            f"training set {asked.training_set} has no column {' and no column '.join(missing)}: sppo learns win rates, so "
            "let its query return both, each in [0, 1], or train it with `factory train dpo`"
        )
    warning = spread_warning(rows.train)
    for row in rows.train:
        row |= {name: shrunk(row[name], settings.shrink) for name in RATES}

    # After that: nobody should wait for torch to be told of a misspelt name.
    from trl import DPOConfig

    from trainers.log_probs import pair_figures
    from trainers.pair_losses import SppoTrainer
    from trainers.preparing import prepare
    from trainers.training import reference_model, train_and_record, trainer_arguments, trainer_parts

    job = prepare(asked, OBJECTIVE, settings, rows)
    if job is None:
        return
    job.warnings.extend([warning] if warning else [])
    # TRL's loss gives way to SppoTrainer's own; its rewards, beta times the log-ratios, are SPPO's too.
    arguments = DPOConfig(**trainer_arguments(job), loss_type=["sppo_hard"], beta=settings.beta)
    parts = trainer_parts(job)
    trainer = SppoTrainer(ref_model=reference_model(job, parts["model"]), args=arguments, **parts)
    train_and_record(job, trainer, pair_figures)


def shrunk(rate: float, shrink: float) -> float:
    return 0.5 + (1 - shrink) * (rate - 0.5)


def spread_warning(rows: Sequence[dict[str, Any]]) -> str | None:
    """What is wrong where the judge says nearly the same of every pair; None: it does not.

    Such targets teach nothing if they are near 1/2, and otherwise push every pair as far as any other.
    """
    if len(rows) < 2:
        return None
    gaps = [row["chosen_win_rate"] - row["rejected_win_rate"] for row in rows]
    spread = statistics.pstdev(gaps)
    middle = statistics.median(gaps)
    if spread >= LEAST_SPREAD and middle >= NARROW_GAP:
        return None
    return (
        f"the win rates say nearly the same of every pair: chosen less rejected is {middle:.3f} in the median, with a standard "
        f"deviation of {spread:.3f} over {len(rows):,} pairs: look at the judge, and at shrink if it is too sure of itself"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
