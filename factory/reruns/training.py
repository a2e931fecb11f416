"""A training done again: the pinned rows, the same seed and settings, the ordinary trainer; then both are compared."""

import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import yaml

from factory.inference.folders import folder_sha256
from factory.inference.weights import MODELS
from factory.loops.training import DIVERGED, Training, Weights, command_of, weights_of
from factory.reruns.comparing import loss_difference, weights_difference
from factory.reruns.environments import Differences, environment_now, environment_of, in_words, of_training
from factory.reruns.lock_file import LockedSet, LockedTraining
from factory.reruns.payers import folder_of_trainings, reward_named_here
from factory.reruns.rows_alone import make_lake_of_rows, row_of
from schemas.errors import FactoryError
from schemas.ids import weights_sha256
from schemas.tables import TrainingRun
from stores.lake import Lake

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")

Tell = Callable[[str], None]
"""receives a sentence as soon as it is known"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person who repeats it says."""

    start: str | None = None
    """the model to start from; None: where it is to be found without asking anybody"""
    reference: str | None = None
    reward: str | None = None
    """the reward model's folder or the judge's endpoint that paid for the answers of an online training; None: one that is to be
    found, or was named here before"""
    original: Path | None = None
    """the folder of the model that was trained then; None: looked for in `folders`"""
    output: Path | None = None
    """None: in a folder that is removed at the end"""
    launch: str | None = None
    folders: tuple[Path, ...] = (Path("models"),)
    """where models of earlier trainings may lie"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came out of a repetition."""

    started_at: datetime
    ended_at: datetime
    status: str
    """finished, or diverged"""
    loss_difference: float
    weights_sha256: str | None
    weights_identical: bool | None
    weights_difference: float | None
    environment: Differences
    reason: str | None
    """why it differs, as far as it is known; None: it does not"""

    @property
    def identical(self) -> bool:
        return self.reason is None


def repeat_training(
    locked: LockedTraining, of_set: LockedSet, rows: pa.Table, choices: Choices, tell: Tell
) -> Repeated:
    """Trains again and compares.

    Args:
        rows: the set's, in order, with the column `split`.
    Raises:
        FactoryError: its start is not to be found, nor what paid for its answers, this machine cannot train, or the trainer
            failed and has said why.
    """
    settings, reward_model = reward_named_here(locked, choices.reward, choices.folders)
    started = datetime.now(UTC)
    variables = environment_of(locked.hardware)
    differing = of_training(locked.package_versions, locked.hardware, environment_now(variables))
    tell(f"other than then: {in_words(differing)}" if differing else "packages, threads and processor are as they were")
    # Trainings before loops name their start in one column alone.
    named = locked.base_model.removeprefix("embedded:") if locked.start is None else locked.start.name
    start = _weights(choices.start, named, locked.base_weights_sha256, "--model", choices.folders)
    original = _original(locked, choices)
    if choices.output is not None and choices.output.is_dir() and any(choices.output.iterdir()):
        raise FactoryError(f"--output {choices.output} is not empty, and may hold the model itself: give a new folder")
    reference = None
    if locked.reference is not None:
        of_then = locked.reference
        sha256 = of_then.revision if _SHA256.fullmatch(of_then.revision or "") else None  # else a revision of the hub
        reference = _weights(choices.reference, of_then.name, sha256, "--reference", choices.folders)
    with tempfile.TemporaryDirectory(prefix="factory-rerun-") as temporary:
        folder = Path(temporary)
        make_lake_of_rows(folder / "lake", row_of(of_set), rows)
        config = folder / "settings.yaml"
        config.write_text(yaml.safe_dump({locked.objective: settings}), "utf-8")
        output = choices.output or folder / "model"
        training = Training(
            locked.objective,
            f"{of_set.name}@{of_set.version}",
            start,
            reference,
            output,
            locked.seed,
            (str(config),),
            reward_model,
            locked.chat_template_hash not in of_set.chat_template_hashes,
        )
        command = command_of(str(folder / "lake"), training, choices.launch)
        code = subprocess.run(command, check=False, env=variables).returncode
        if code not in (0, DIVERGED):
            raise FactoryError(
                f"the training ended with exit code {code}, and says why above: mend that, then repeat it"
            )
        with Lake.open(folder / "lake") as lake:
            [run] = lake.read(TrainingRun)
        _check_start(run, locked, start)
        return _compared(locked, run, differing, started, output, original)


def _compared(
    locked: LockedTraining,
    run: TrainingRun,
    differing: Differences,
    started: datetime,
    output: Path,
    original: Path | None,
) -> Repeated:
    losses = loss_difference(locked.loss_curve, run.loss_curve)
    same = None if locked.weights_sha256 is None else run.weights_sha256 == locked.weights_sha256
    apart = 0.0 if same else None
    if same is False and run.weights_sha256 is not None and original is not None:
        apart = weights_difference(original, output)
    found = Repeated(started, datetime.now(UTC), run.status, losses, run.weights_sha256, same, apart, differing, None)
    if run.status == locked.status and same is not False and losses == 0:
        return found
    return replace(found, reason=_why(locked, run, differing))


def _why(locked: LockedTraining, run: TrainingRun, differing: Differences) -> str:
    if run.status != locked.status:
        return f"it {locked.status} then and {run.status} now" + (f" ({run.reason})" if run.reason else "")
    deciding = {name: values for name, values in differing.items() if name != "cores"}
    if deciding:
        return f"not the same machine: {in_words(deciding)}"
    if " CPU " not in run.hardware:
        return "accelerators add up in an order that changes, and deterministic mode is off there"
    return (
        "nothing that is recorded differs: another patch of a library or processor, or weights that were changed since"
    )


def _weights(given: str | None, name: str, sha256: str | None, option: str, folders: tuple[Path, ...]) -> Weights:
    """The weights to start from: those that were given, or found without asking anybody.

    A lake or lock file may be a stranger's: what it names is neither fetched nor opened, unless it is a model of this
    package or lies where models of trainings lie.

    Raises:
        FactoryError: they are not to be found, or are others.
    """
    if given is None:
        found = folder_of_trainings(folders, name.partition("@")[0], sha256)
        if found is not None:
            return Weights(str(found))
        if name not in MODELS:
            raise FactoryError(
                f"where model {name or 'it started from'} (SHA-256 {(sha256 or '?')[:12]}) lies is not known here: give its "
                f"folder, .gguf file or hub id with {option}"
            )
        given = f"embedded:{name}"
    weights = weights_of(given)
    path = Path(weights.path)
    if not path.exists() and not _HUB_ID.fullmatch(weights.path):
        raise FactoryError(f"{option} {given}: there is no such folder or file")
    own = _sha256_of(path)
    if own is not None and sha256 is not None and own != sha256:
        raise FactoryError(
            f"{option} {given} has weights with SHA-256 {own[:12]}, and the training began with {sha256[:12]}: give the same "
            "model"
        )
    return weights


def _sha256_of(path: Path) -> str | None:
    """None: it is not here yet."""
    if path.is_file():
        return weights_sha256([path])
    return folder_sha256(path) if path.is_dir() else None


def _original(locked: LockedTraining, choices: Choices) -> Path | None:
    if choices.original is None:
        return folder_of_trainings(choices.folders, locked.output or "", locked.weights_sha256)
    if folder_sha256(choices.original) != locked.weights_sha256:
        raise FactoryError(
            f"--original {choices.original} does not hold the weights {(locked.weights_sha256 or '')[:12]} of this training: "
            "give the folder that it wrote"
        )
    return choices.original


def _check_start(run: TrainingRun, locked: LockedTraining, start: Weights) -> None:
    if run.base_weights_sha256 != locked.base_weights_sha256:
        raise FactoryError(
            f"--model {start.path} has weights with SHA-256 {run.base_weights_sha256[:12]}, and the training began with "
            f"{locked.base_weights_sha256[:12]}: give the same model, with its revision (owner/name@revision)"
        )
