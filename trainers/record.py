"""What is kept of a training: its row in `training_runs`, the trained model's row, and the model's card."""

import importlib.metadata
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from schemas.ids import content_id, folder_model_name, model_id
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake
from stores.whole import put_folder
from trainers.log_probs import LABELS

PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "tokenizers", "safetensors", "gguf")


def write_record(
    lake: str,
    training_set: TrainingSet,
    *,
    processes: int,
    made: Path,
    output: Path,
    started_at: datetime,
    **known: Any,
) -> TrainingRun:
    """Writes `made/README.md`, renames `made` to `output`, then adds the rows in one transaction; returns the row.

    Args:
        made: the folder that holds the complete model.
        known: the columns of TrainingRun that the caller knows and that are not named here.
    """
    asked = (known["base_weights_sha256"], known["configuration"], known["seed"], started_at.isoformat())
    run = TrainingRun(
        training_run_id=content_id("training run", training_set.training_set_id, *asked),
        training_set_id=training_set.training_set_id,
        start_model_id=None,
        reference_model_id=None,
        chat_template_hash=None,
        status="finished",
        reason=None,
        package_versions=package_versions(),
        hardware=hardware(processes),
        output=output.resolve().name,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        **known,
    )
    (made / "README.md").write_text(model_card(run, training_set), encoding="utf-8")
    put_folder(made, output.resolve())
    name = folder_model_name(output, run.weights_sha256)
    model = Model(
        model_id=model_id(name, run.weights_sha256),
        name=name,
        origin=f"vllm:{name}",
        revision=run.weights_sha256,
        training_run_id=run.training_run_id,
        chat_template_hash=run.chat_template_hash,
    )
    with Lake.open(lake) as opened:
        opened.append([run, model], message=f"{run.objective} on {training_set.name}@{training_set.version}")
    return run


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # gguf is needed for .gguf files alone
    return versions


def hardware(processes: int) -> str:
    """Accelerator or processor, and how many: '8 x NVIDIA H100' or '1 x CPU x86_64 (AVX512), 2 cores in all'."""
    if torch.cuda.is_available():
        return f"{processes} x {torch.cuda.get_device_name()}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processes} x CPU {platform.machine()} ({capability}), {os.cpu_count()} cores in all"


def model_card(run: TrainingRun, training_set: TrainingSet) -> str:
    """The trained model's README.md."""
    metrics = json.loads(run.metrics)
    method = {"dpo": "direct preference optimization", "rft": "rejection-sampling fine-tuning"}[run.objective]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        f"tags: [preference-factory, {run.objective}]",
        "---",
        "",
        f"# {run.output}",
        "",
        f"`{run.base_model}`, trained by {method} on `{training_set.name}@{training_set.version}`.",
        "The base model's licence and limits hold for this one too.",
        "",
        "| | |",
        "| --- | --- |",
        f"| training run | `{run.training_run_id}` |",
        f"| training set's fingerprint | `{training_set.fingerprint}` |",
        f"| lake's snapshot | {training_set.snapshot} |",
        f"| base model's weights, SHA-256 | `{run.base_weights_sha256}` |",
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
    return ["| name | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in values.items())]
