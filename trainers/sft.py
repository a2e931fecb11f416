"""Supervised fine-tuning on given answers, by TRL: a start for actor and refiner before the first round.

    python -m trainers.sft --set reference_sft@1 --model HuggingFaceTB/SmolLM2-135M

The loss is that of `rft.py`; the answers were given (references, imported ones), where those of RFT are the model's own.
"""

import sys
from collections.abc import Sequence

from trainers.command import Asked, run_command
from trainers.rft import train_on_completions
from trainers.settings import SftSettings

OBJECTIVE = "sft"
SETTINGS = SftSettings


def train(asked: Asked) -> None:
    """Trains as asked and writes model, card and rows."""
    train_on_completions(asked, OBJECTIVE, SftSettings)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(OBJECTIVE, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
