"""What is kept of a training: its row in `training_runs`, its models' rows, and the trained model's card."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import FactoryError
from schemas.ids import content_id, folder_model_name, model_id
from schemas.objectives import OBJECTIVES, objective_of
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake
from stores.whole import put_folder
from trainers.command import Asked
from trainers.environment import hardware, package_versions
from trainers.log_probs import LABELS
from trainers.models import Base, weights_sha256
from trainers.settings import TrainerSettings, as_now, plain
from trainers.unfinished import RECORD, Part, Record, part_folder

CELL_CHARACTERS = 300
"""of a value in a card"""
Known = Mapping[str, Any]
"""The columns of TrainingRun that are settled when a training begins"""


def known_columns(
    training_set: TrainingSet,
    objective: str,
    settings: TrainerSettings,
    asked: Asked,
    start_sha256: str,
    models: Sequence[Model],
) -> dict[str, Any]:
    """What is settled when a training begins.

    Args:
        models: the start, and the reference if it is another.
    """
    path = Path(asked.model)
    return {
        "training_set_id": training_set.training_set_id,
        "objective": objective,
        "base_model": asked.called or (path.resolve().name if path.exists() else asked.model),
        "base_weights_sha256": start_sha256,
        "start_model_id": models[0].model_id,
        "reference_model_id": models[-1].model_id if OBJECTIVES[objective].reference else None,
        "chat_template_hash": models[0].chat_template_hash,
        "configuration": json.dumps(plain(settings), sort_keys=True),
        "seed": asked.seed,
        "package_versions": package_versions(),
        "hardware": hardware(int(os.environ.get("WORLD_SIZE", "1"))),
    }


def model_row(base: Base, sha256: str, called: str | None, template: str | None) -> Model:
    """The row of a model to start from or to refer to: the same as where it is served (`factory/inference/`)."""
    path, revision = Path(base.name), sha256
    if called is not None or base.gguf is not None:
        name = called.removeprefix("embedded:") if called is not None else path.stem
        origin = f"embedded:{name}"
    elif path.exists():
        name = folder_model_name(path, sha256)
        origin = f"vllm:{name}"
    else:
        name, _, revision = base.name.partition("@")
        origin = f"vllm:{name}"
    return Model(
        model_id=model_id(name, revision or None),
        name=name,
        origin=origin,
        revision=revision or None,
        training_run_id=None,
        chat_template_hash=template,
    )


def diverged_before(lake: str, known: Known) -> str | None:
    """Why the same training has diverged before on the same hardware; None: it has not."""
    with Lake.open(lake) as opened:
        runs = opened.read(
            TrainingRun, "status = 'diverged' AND training_set_id = $id", {"id": known["training_set_id"]}
        )
    return next((run.reason for run in runs if _is_the_same(run, known)), None)


def _is_the_same(run: TrainingRun, known: Known) -> bool:
    if any(getattr(run, name) != known[name] for name in known if name != "configuration"):
        return False
    try:
        then = json.loads(run.configuration)
    except (ValueError, RecursionError):
        return False  # a stranger's row
    asked: dict[str, Any] = json.loads(known["configuration"])
    return isinstance(then, dict) and as_now(run.objective, then) == asked


def write_record(
    lake: str,
    training_set: TrainingSet,
    known: Known,
    models: Sequence[Model],
    part: Part,
    output: Path,
    wanted: dict[str, Any],
    **found: Any,
) -> TrainingRun:
    """Completes the model in `part`, renames it to `output`, then adds the rows in one transaction; returns the row.

    Args:
        known, found: the columns of TrainingRun, settled at the start and found by training.
        models: start and reference, whose rows are added if they are not there.
    """
    sha256 = weights_sha256(Base(str(part.model), part.model, None))
    run = _row(
        part, known, status="finished", reason=None, weights_sha256=sha256, output=output.resolve().name, **found
    )
    name = folder_model_name(output, sha256)
    model = Model(
        model_id=model_id(name, sha256),
        name=name,
        origin=f"vllm:{name}",
        revision=sha256,
        training_run_id=run.training_run_id,
        chat_template_hash=run.chat_template_hash,
    )
    record = Record(wanted, run, [model, *models])
    (part.model / "README.md").write_text(model_card(run, training_set), encoding="utf-8")
    (part.model / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    put_folder(part.model, output.resolve())
    _add_rows(lake, record, f"{training_set.name}@{training_set.version}")
    return run


def write_diverged(
    lake: str, set_name: str, known: Known, models: Sequence[Model], part: Part, **found: Any
) -> TrainingRun:
    """The row of a training that gives no model."""
    run = _row(part, known, status="diverged", weights_sha256=None, output=None, **found)
    _add_rows(lake, Record({}, run, list(models)), set_name)
    return run


def write_finished(lake: str, output: Path, record: Record, set_name: str) -> None:
    """Adds the rows of a model that is complete, if the process that made it had no time to.

    Raises:
        FactoryError: its weights are not the ones that were trained.
    """
    run = record.run
    if weights_sha256(Base(str(output), output, None)) != run.weights_sha256:
        raise FactoryError(
            f"{output} is not empty: its weights are not those that its {RECORD} names: give another folder with "
            "--output, or remove it"
        )
    added = _add_rows(lake, record, set_name)
    shutil.rmtree(part_folder(output), ignore_errors=True)
    print(f"trained before{', and recorded only now' if added else ''}: {output}\ntraining run: {run.training_run_id}")


def training_run_id(part: Part, known: Known) -> str:
    """The id that the training's row will have, whatever comes out: known from its first start on."""
    what = (known["base_weights_sha256"], known["configuration"], known["seed"], part.started_at.isoformat())
    return content_id("training run", known["training_set_id"], *what)


def _row(part: Part, known: Known, **found: Any) -> TrainingRun:
    return TrainingRun(
        training_run_id=training_run_id(part, known),
        started_at=part.started_at,
        ended_at=datetime.now(UTC),
        **known,
        **found,
    )


def _add_rows(lake: str, record: Record, set_name: str) -> int:
    with Lake.open(lake) as opened:
        return opened.append([record.run, *record.models], message=f"{record.run.objective} on {set_name}")


def model_card(run: TrainingRun, training_set: TrainingSet) -> str:
    """The trained model's README.md."""
    metrics, objective = json.loads(run.metrics), objective_of(run.objective)
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {objective.task}",
        f"tags: [preference-factory, {run.objective}]",
        "---",
        "",
        f"# {run.output}",
        "",
        f"`{run.base_model}`, trained by {objective.method} on `{training_set.name}@{training_set.version}`.",
        "The base model's licence and limits hold for this one too.",
        "",
        "| | |",
        "| --- | --- |",
        f"| training run | `{run.training_run_id}` |",
        f"| training set's fingerprint | `{training_set.fingerprint}` |",
        f"| lake's snapshot | {training_set.snapshot} |",
        f"| start's weights, SHA-256 | `{run.base_weights_sha256}` |",
        f"| these weights, SHA-256 | `{run.weights_sha256}` |",
        f"| seed | {run.seed} |",
        f"| hardware | {run.hardware} |",
        f"| time | {(run.ended_at - run.started_at).total_seconds():.0f} s |",
        f"| examples trained on | {metrics['examples']} |",
        f"| examples left out as too long | {metrics['dropped']} |",
        f"| loss, first and last step | {run.loss_curve[0]:.4f}, {run.loss_curve[-1]:.4f} |",
        "",
        *(f"**Warning:** {warning}.\n" for warning in metrics.get("warnings", [])),
        f"## Held-out examples: {metrics['held_out']}",
        "",
        *_comparison(metrics),
        "",
        "## Settings",
        "",
        *_table(json.loads(run.configuration)),
        "",
        "## Packages",
        "",
        *_table(run.package_versions),
    ]
    return "\n".join(lines) + "\n"


def _comparison(metrics: dict[str, Any]) -> list[str]:
    if not metrics["held_out"]:
        return ["None was held out, so nothing is known of answers that were not trained on."]
    before, after = metrics["before"], metrics["after"]
    rows = [f"| {LABELS[name]} | {before[name]:.4f} | {after[name]:.4f} |" for name in LABELS if name in before]
    return ["| figure | before | after |", "| --- | --- | --- |", *rows]


def _table(values: dict[str, Any]) -> list[str]:
    return ["| name | value |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in values.items())]


def _cell(value: Any) -> str:
    """A value in a table; of a long one, such as a judge's template, the beginning: the whole is in the row."""
    text = str(value).replace("|", "\\|")
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]}…"
