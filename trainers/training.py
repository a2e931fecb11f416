"""What the trainers do around TRL: its arguments, LoRA, a line of progress, checkpoints, guards, and the record."""

import copy
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from trainers.checkpoints import Checkpoints, newest, step_of
from trainers.command import Diverged
from trainers.examples import Tokens
from trainers.guards import Entry, climbing, falling, no_number, sinking
from trainers.log_probs import LABELS, Figures, Scores, answer_log_probs
from trainers.models import load_model, save_model
from trainers.preparing import Job
from trainers.record import write_diverged, write_record
from trainers.settings import Lora, PairSettings, RewardedSettings, TrainerSettings, check_batches
from trainers.unfinished import writing

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
LINES_OF_PROGRESS = 20


def trainer_arguments(job: Job, rows: int | None = None) -> dict[str, Any]:
    """What all of TRL's configurations are given.

    Args:
        rows: that an epoch goes over; None: an example is a row.
    """
    settings = job.settings
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = settings.micro_batch_size * processes
    check_batches(settings, processes)
    accelerated = torch.accelerator.is_available()
    # A safeguard of deterministic mode that costs up to a fifth of a step; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False
    steps = settings.epochs * math.ceil((rows or len(job.examples.rows)) / settings.batch_size)
    return {
        "output_dir": str(job.part.saving),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        **({"optim": settings.optimizer} if settings.optimizer != "adamw" else {}),  # TRL's own default is AdamW
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
        "logging_nan_inf_filter": False,  # it would hide them from the guards
        "save_strategy": "no",  # `Checkpoints` asks for them
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": accelerated,
    }


def trainer_parts(
    job: Job, model: Any = None, rows: list[dict[str, Any]] | None = None, task: str = "CAUSAL_LM"
) -> dict[str, Any]:
    """What TRL's trainers are given beside their arguments: model, examples, tokenizer, adapters.

    Args:
        model, rows: None: the start as a language model, and the set's rows.
        task: peft's name for what the model does.
    """
    return {
        "model": load_model(job.base, weights_dtype(job.settings)) if model is None else model,
        "train_dataset": Dataset.from_list(job.examples.rows if rows is None else rows),
        "processing_class": job.tokenizer,
        "peft_config": _lora_config(job.settings.lora, task),
    }


def reference_model(job: Job, model: Any) -> Any:
    """The model that DPO compares with. None: the start, which with LoRA is `model` without its adapters."""
    if job.reference is not None:
        return load_model(job.reference, weights_dtype(job.settings))
    return None if job.settings.lora else copy.deepcopy(model)


def weights_dtype(settings: TrainerSettings) -> torch.dtype:
    """float32 for weights that are trained: at SPaR's learning rates bfloat16 would round every step away."""
    return torch.bfloat16 if settings.lora and settings.precision == "bfloat16" else torch.float32


def _lora_config(lora: Lora | None, task: str) -> Any:
    """peft's configuration; None for full fine-tuning."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type=task,
    )


class Progress(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Prints step and loss, some twenty times a training."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        every = max(1, state.max_steps // LINES_OF_PROGRESS)
        due = state.global_step % every == 0 or state.global_step in (1, state.max_steps)
        if state.is_world_process_zero and due and "loss" in logs:
            paid = f", reward {float(logs['reward']):.4f}" if logs.get("reward") is not None else ""
            print(f"step {state.global_step}/{state.max_steps}: loss {float(logs['loss']):.4f}{paid}", flush=True)


class Guards(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Ends a training that has gone wrong, before its weights can become a checkpoint."""

    def __init__(self, job: Job) -> None:
        self.settings = job.settings
        answers = [each.answers for each in job.examples.tokens]
        self.tokens = [sum(map(len, side)) / len(side) for side in zip(*answers, strict=True)]
        self.fault: str | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        if "loss" not in logs:
            return
        self.fault = self._fault(logs, state.log_history)
        if self.fault is not None:
            self.fault = f"step {state.global_step} of {state.max_steps}: {self.fault}"
            control.should_training_stop, control.should_save = True, False

    def _fault(self, logs: Any, history: Sequence[Entry]) -> str | None:
        settings = self.settings
        found = no_number(logs)
        if found is None and settings.max_loss_rise is not None:
            found = climbing(history, settings.guard_steps, settings.max_loss_rise, settings.loss_unit)
        if found is None and isinstance(settings, PairSettings) and settings.max_fall is not None:
            found = falling(history, settings.guard_steps, settings.max_fall, settings.beta, self.tokens)
        if found is None and isinstance(settings, RewardedSettings) and settings.max_reward_fall is not None:
            found = sinking(history, settings.guard_steps, settings.max_reward_fall)
        return found


def train_and_record(
    job: Job,
    trainer: Any,
    figures: Callable[[Sequence[Tokens], Scores, Scores], Figures],
    scored: Callable[[Any, Sequence[Tokens]], Scores] = answer_log_probs,
) -> None:
    """Scores the held-out examples, trains, scores them again; saves model, card and rows.

    Called by every process; the main one prints and writes.

    Args:
        figures: held-out examples, the scores of their answers now and at the start -> figures.
        scored: trainer, examples -> the scores of their answers.
    Raises:
        Diverged: a guard has ended it; its row is in the lake.
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
    base = scored(trainer, held_out.tokens)
    metrics: dict[str, Any] = dict(counts) | ({"warnings": job.warnings} if job.warnings else {})
    if held_out.tokens:
        metrics["before"] = figures(held_out.tokens, base, base)
    fault = _train(job, trainer)
    if fault is None:
        now = scored(trainer, held_out.tokens)
        fault = (
            None if all(map(math.isfinite, chain.from_iterable(now))) else "the trained model's scores are no numbers"
        )
    curve = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    if fault is not None:
        if main_process:
            _give_up(job, fault, curve, metrics)
        _end(trainer)
        raise Diverged(
            f"the training has diverged ({fault}): no model is kept; lower learning_rate, or look at the set's longest "
            "and strangest answers"
        )
    if held_out.tokens:
        metrics["after"] = figures(held_out.tokens, now, base)
    with writing("the model", job.part.model):
        save_model(trainer, job.part.model)
    if main_process:
        print(_report(metrics), flush=True)
        _record(job, curve, metrics)
    _end(trainer)


def _train(job: Job, trainer: Any) -> str | None:
    """Trains to the end, from the last checkpoint if there is one; returns what a guard has found."""
    settings = job.settings
    guards = Guards(job)
    keep = Checkpoints(job.part.checkpoints, settings.save_every, settings.keep_checkpoints, trainer.accelerator)
    trainer.remove_callback(PrinterCallback)
    for callback in (Progress(), guards, keep):
        trainer.add_callback(callback)
    checkpoint = newest(job.part.checkpoints)
    if checkpoint is not None and trainer.is_world_process_zero():
        print(f"going on from step {step_of(checkpoint)}, where this training was stopped", flush=True)
    with writing("a checkpoint", job.part.checkpoints, now=lambda: keep.saving):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if guards.fault is None and not all(bool(weight.isfinite().all()) for weight in trainer.model.parameters()):
        return "weights are no numbers after the last step"
    return guards.fault


def _end(trainer: Any) -> None:
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _report(metrics: dict[str, Any]) -> str:
    if not metrics["held_out"]:
        return "nothing is held out: what the model makes of unseen examples is not known"
    lines = [f"{'held-out examples: ' + str(metrics['held_out']):<58}{'before':>9}{'after':>9}"]
    for name, value in metrics["before"].items():
        lines.append(f"{LABELS[name]:<58}{value:>9.3f}{metrics['after'][name]:>9.3f}")
    return "\n".join(lines)


def _record(job: Job, curve: list[float], metrics: dict[str, Any]) -> None:
    run = write_record(
        job.asked.lake,
        job.training_set,
        job.known,
        job.models,
        job.part,
        job.output,
        job.wanted,
        loss_curve=curve,
        metrics=json.dumps(metrics, sort_keys=True),
    )
    job.part.remove()
    print(f"model: {job.output}\ntraining run: {run.training_run_id}", flush=True)


def _give_up(job: Job, fault: str, curve: list[float], metrics: dict[str, Any]) -> None:
    run = write_diverged(
        job.asked.lake,
        job.set_name,
        job.known,
        job.models,
        job.part,
        reason=fault,
        loss_curve=curve,
        metrics=json.dumps(metrics, sort_keys=True),
    )
    job.part.remove()
    print(f"training run: {run.training_run_id}", flush=True)
