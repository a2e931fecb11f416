"""What both trainers do around TRL: prepare, its arguments, LoRA, a line of progress, and the record at the end."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from trainers.command import Asked
from trainers.examples import Examples, Rows, Tokens, end_warning, fit_examples
from trainers.log_probs import LABELS, Figures, answer_log_probs
from trainers.models import Base, end_tokens, find_model, load_model, load_tokenizer, save_model, weights_sha256
from trainers.record import write_record
from trainers.settings import Lora, TrainerSettings

SCHEDULES = {"linear": "linear", "constant": "constant_with_warmup"}
LINES_OF_PROGRESS = 20


@dataclass(frozen=True, slots=True)
class Job:
    """All that is known before a model is loaded."""

    asked: Asked
    objective: str
    settings: TrainerSettings
    training_set: TrainingSet
    base: Base
    tokenizer: Any
    examples: Examples
    held_out: Examples
    output: Path
    started_at: datetime
    warnings: list[str]
    """what does not keep it from being trained, but will be regretted"""

    @property
    def made(self) -> Path:
        """Where the model is written; it becomes `output` when it is complete."""
        output = self.output.resolve()
        return output.with_name(f".{output.name}.part")

    @property
    def set_name(self) -> str:
        return f"{self.training_set.name}@{self.training_set.version}"


def prepare(asked: Asked, objective: str, settings: TrainerSettings, rows: Rows) -> Job:
    """Refuses what cannot be trained: an output that is taken, no model, no chat template, examples too long."""
    started_at = datetime.now(UTC)
    name = f"{rows.training_set.name}@{rows.training_set.version}"
    output = _output_folder(asked, f"{name.replace('@', '-')}-{objective}-seed{asked.seed}")
    base = find_model(asked.model)
    tokenizer = load_tokenizer(base)
    examples = fit_examples(rows.train, tokenizer, settings, f"{name}, to train on")
    held_out = fit_examples(rows.held_out, tokenizer, settings, f"{name}, held out")
    ends = end_tokens(base, tokenizer)
    warning = end_warning(examples.tokens, ends, ", ".join(tokenizer.convert_ids_to_tokens(sorted(ends))))
    return Job(
        asked,
        objective,
        settings,
        rows.training_set,
        base,
        tokenizer,
        examples,
        held_out,
        output,
        started_at,
        [warning] if warning else [],
    )


def _output_folder(asked: Asked, name: str) -> Path:
    output = Path(asked.output or Path("models") / name)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FactoryError(f"{output} is not empty: give another folder with --output, or remove it")
    return output


def trainer_arguments(job: Job) -> dict[str, Any]:
    """What TRL's DPOConfig and SFTConfig are both given."""
    settings = job.settings
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = settings.micro_batch_size * processes
    if settings.batch_size % at_once:
        raise FactoryError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size {settings.micro_batch_size} "
            f"times {processes} processes: change one of them"
        )
    accelerated = torch.accelerator.is_available()
    steps = settings.epochs * math.ceil(len(job.examples.rows) / settings.batch_size)
    return {
        "output_dir": str(job.made),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "lr_scheduler_type": SCHEDULES[settings.schedule],
        # Rounded down: the first step of a warm-up has rate 0, so that a single step would train nothing.
        "warmup_steps": int(settings.warmup * steps),
        "per_device_train_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.batch_size // at_once,
        "bf16": settings.precision == "bfloat16",
        "gradient_checkpointing": settings.gradient_checkpointing,
        "max_length": None,  # nothing is cut: the lengths have been checked
        "seed": job.asked.seed,
        "use_cpu": not accelerated,  # said aloud, or several processes without a GPU would not find each other
        "full_determinism": not accelerated,  # on GPUs it costs too much time to be the default
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": accelerated,
    }


def trainer_parts(job: Job) -> dict[str, Any]:
    """What TRL's trainers are both given beside their arguments: model, examples, tokenizer, adapters."""
    return {
        "model": load_model(job.base, _weights_dtype(job.settings)),
        "train_dataset": Dataset.from_list(job.examples.rows),
        "processing_class": job.tokenizer,
        "peft_config": _lora_config(job.settings.lora),
    }


def _weights_dtype(settings: TrainerSettings) -> torch.dtype:
    """float32 for weights that are trained: at SPaR's learning rates bfloat16 would round every step away."""
    return torch.bfloat16 if settings.lora and settings.precision == "bfloat16" else torch.float32


def _lora_config(lora: Lora | None) -> Any:
    """peft's configuration; None for full fine-tuning."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


class Progress(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Prints step and loss, some twenty times a training."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        every = max(1, state.max_steps // LINES_OF_PROGRESS)
        due = state.global_step % every == 0 or state.global_step in (1, state.max_steps)
        if state.is_world_process_zero and due and "loss" in logs:
            print(f"step {state.global_step}/{state.max_steps}: loss {float(logs['loss']):.4f}", flush=True)


def train_and_record(
    job: Job, trainer: Any, figures: Callable[[Sequence[Tokens], list[list[float]], list[list[float]]], Figures]
) -> None:
    """Scores the held-out examples, trains, scores them again; saves model, card and row.

    Called by every process; the main one prints and writes.

    Args:
        figures: held-out examples, their log-probabilities now and at the start -> figures.
    """
    train, held_out = job.examples, job.held_out
    counts = {"examples": len(train.rows), "held_out": len(held_out.rows), "dropped": train.dropped + held_out.dropped}
    main_process = trainer.is_world_process_zero()
    if main_process:
        print(
            f"{job.set_name}: {counts['examples']} examples to train on, {counts['held_out']} held out, "
            f"{counts['dropped']} left out as too long",
            flush=True,
        )
        for warning in job.warnings:
            print(f"warning: {warning}", file=sys.stderr, flush=True)
    base = answer_log_probs(trainer, held_out.tokens)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress())
    trainer.train()
    now = answer_log_probs(trainer, held_out.tokens)

    metrics: dict[str, Any] = dict(counts) | ({"warnings": job.warnings} if job.warnings else {})
    if held_out.tokens:
        metrics["before"] = figures(held_out.tokens, base, base)
        metrics["after"] = figures(held_out.tokens, now, base)
    if main_process:
        shutil.rmtree(job.made, ignore_errors=True)  # of a training that was killed
    trainer.accelerator.wait_for_everyone()
    save_model(trainer, job.made)
    if main_process:
        print(_report(metrics), flush=True)
        _record(job, trainer, metrics)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _public_name(job: Job) -> str:
    """The base model's name for rows and cards, which are not told how this machine's folders are called."""
    path = Path(job.base.name)
    return job.asked.called or (path.resolve().name if path.exists() else job.base.name)


def _report(metrics: dict[str, Any]) -> str:
    if not metrics["held_out"]:
        return "nothing is held out: what the model makes of unseen examples is not known"
    lines = [f"{'held-out examples: ' + str(metrics['held_out']):<58}{'before':>9}{'after':>9}"]
    for name, value in metrics["before"].items():
        lines.append(f"{LABELS[name]:<58}{value:>9.3f}{metrics['after'][name]:>9.3f}")
    return "\n".join(lines)


def _record(job: Job, trainer: Any, metrics: dict[str, Any]) -> None:
    run = write_record(
        job.asked.lake,
        job.training_set,
        objective=job.objective,
        base_model=_public_name(job),
        base_weights_sha256=weights_sha256(job.base),
        configuration=json.dumps(msgspec.to_builtins(job.settings), sort_keys=True),
        seed=job.asked.seed,
        processes=trainer.accelerator.num_processes,
        loss_curve=[float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry],
        metrics=json.dumps(metrics, sort_keys=True),
        weights_sha256=weights_sha256(Base(str(job.made), job.made, None)),
        made=job.made,
        output=job.output,
        started_at=job.started_at,
    )
    print(f"model: {job.output}\ntraining run: {run.training_run_id}", flush=True)
