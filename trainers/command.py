"""The command line that the trainers share, and how their errors are shown. Imports no torch."""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas import signals
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from schemas.parents import end_with
from schemas.streams import standard_streams, visible

TRAIN_EXTRA = ("torch", "transformers", "trl", "datasets", "accelerate", "peft")


DIVERGED = 3
"""The exit code of a training that its guards ended; 1 is an error, 2 a misspelt option."""
SPENT = 5
"""The exit code of an online training whose judge has spent its budget; 4 is a repetition that differs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked on the command line."""

    lake: str
    training_set: str  # NAME@VERSION
    model: str  # the start: folder, .gguf file or hub id
    configs: tuple[str, ...]  # presets and YAML files; later ones win
    output: str | None
    seed: int
    called: str | None  # the model's name in rows and cards; None: that of its folder or file, or its hub id
    reference: str | None  # where the objective has one: as `model`; None: the start
    reference_called: str | None
    other_template: bool  # whether the answers may have been written with another chat template
    reward: str | None = None  # online alone: a reward model's folder, instead of the one in the settings


class Diverged(FactoryError):
    """A training that its guards ended: it is recorded, and gives no model."""


class Spent(FactoryError):
    """The judge's budget is spent: with a larger one, the training goes on from its last checkpoint."""


def run_command(objective: str, train: Callable[[Asked], None], arguments: Sequence[str] | None) -> int:
    """Parses `arguments` (the process's own where None), calls `train`, and returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m trainers.{objective}", allow_abbrev=False)
    parser.add_argument("--lake", default="lake", help="folder or PostgreSQL URL of the lake (default: lake)")
    parser.add_argument("--set", required=True, help="training set, NAME@VERSION")
    parser.add_argument(
        "--model",
        required=True,
        help="the model to start from: folder of safetensors, .gguf file, or hub id[@revision]",
    )
    parser.add_argument("--called", help="the model's name in rows and cards (default: its folder's, file's or hub id)")
    parser.add_argument(
        "--allow-other-template", action="store_true", help="train though the answers had another chat template"
    )
    if OBJECTIVES[objective].reference:
        parser.add_argument("--reference", help="the reference model, given as --model is (default: the start)")
        parser.add_argument("--reference-called", help="the reference's name in rows and cards")
    if OBJECTIVES[objective].format == "prompt":
        parser.add_argument("--reward", help="the folder of a reward model that pays, instead of the settings' reward")
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        help="preset or YAML file (default: settings for 7B-class models); may be repeated: of each key the last wins",
    )
    parser.add_argument("--output", help="folder for the trained model (default: models/SET-OBJECTIVE-seedN)")
    parser.add_argument("--seed", type=int, default=0, help="of shuffling and initialisation (default: 0)")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # the process with which a loop's training ends
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if arguments is None:
        signals.listen()  # a signal ends a training at once: what is left of it is its last checkpoint
    given = parser.parse_args(arguments)
    if given.parent is not None:
        end_with(given.parent)
    with standard_streams():
        return _trained(train, given)


def _trained(train: Callable[[Asked], None], given: argparse.Namespace) -> int:
    _be_quiet()
    try:
        train(
            Asked(
                given.lake,
                given.set,
                given.model,
                tuple(given.config),
                given.output,
                given.seed,
                given.called,
                getattr(given, "reference", None),
                getattr(given, "reference_called", None),
                given.allow_other_template,
                getattr(given, "reward", None),
            )
        )
    except (FactoryError, ModuleNotFoundError) as error:
        # Under `accelerate launch` every process fails alike; one of them says so.
        if os.environ.get("RANK", "0") == "0":
            if given.debug:
                traceback.print_exc()
            print(f"error: {' '.join(visible(_sentence(error)).split())}", file=sys.stderr)
        return DIVERGED if isinstance(error, Diverged) else SPENT if isinstance(error, Spent) else 1
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        if error.name not in TRAIN_EXTRA:
            raise error
        return f"training needs {error.name}, which is not installed: pip install 'preference-factory[train]'"
    return str(error)


def _be_quiet() -> None:
    """Set before torch and its company are imported, which is when they read these."""
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",  # TRL reports every training to its makers; nothing leaves unasked
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }.items():
        os.environ.setdefault(name, value)
    # TRL 1.16 uses names that transformers 5.23 calls old: nothing that a user could mend.
    warnings.simplefilter("ignore", FutureWarning)
