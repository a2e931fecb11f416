"""Seconds of a step: our trainer, with checkpoints and guards on, against TRL's own trainer called by hand.

    python -m benchmarks.trainer_steps --objective dpo --pairs 24 --rounds 3

Both train the embedded model in float32 on the same short pairs, in turns, each in a fresh process: ours sets
deterministic algorithms, which would stay. By hand means TRL's own defaults wherever they give the same training, so no
log of each step; for sppo that is TRL's `sppo_hard`, whose step costs the same; online is RLOO, paid for answers without
commas: by our verifier, a process of its own, or by a line of Python. A checkpoint is timed apart, for by default
one is due every ten minutes. Run it on an idle machine, or with OMP_NUM_THREADS=1 and look at the processor time.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from factory.inference.weights import fetch
from schemas.objectives import OBJECTIVES
from schemas.tables import Prompt, RunPrompt
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.rows import asked, row
from tests.training.online import COMMAS
from tests.training.tiny import COMPLETIONS_SQL, SETS, build_numbers, pair_rows
from trainers.checkpoints import LEAST_S
from trainers.command import Asked

BATCH = 4
RATE = 2e-5
COMPLETION_TOKENS = 32
"""so few that hardly an answer ends before: both ways write as much"""
ONLINE = f"online: {{max_completion_length: {COMPLETION_TOKENS}, reward: {{kind: verifier}}}}"


def make_lake(folder: Path, pairs: int) -> None:
    (folder / "completions.sql").write_text(COMPLETIONS_SQL.replace("0.3", "0"))
    with Lake.open(folder / "lake", create=True) as lake:
        lake.append([each for number in range(pairs) for each in pair_rows(number)], message="pairs")
        build_training_set(lake, "spar_dpo", {"held_out": "0"}, ["run"])
        build_training_set(lake, str(folder / "completions.sql"), {}, ["run"])
        build_numbers(lake, folder, "rated", "0.9 AS chosen_win_rate, 0.2 AS rejected_win_rate", held_out=0)
        for number in range(pairs):
            told = asked(f"Write at length about item {number}.")
            lake.append(
                [
                    row(Prompt, f"asked {number}", messages=told, constraints=[COMMAS]),
                    row(RunPrompt, f"asked {number}", run_id="asked", prompt_id=f"asked {number}", position=number),
                ],
                message="prompts",
            )
        build_training_set(lake, "prompts", {"held_out": "0"}, ["asked"])
    (folder / "online.yaml").write_text(ONLINE)


def asked_for(objective: str, folder: Path, model: Path) -> Asked:
    of_set = {**SETS, "online": "prompts@1"}.get(objective, "completions@1")
    configs = ("small-cpu", *([str(folder / "online.yaml")] if objective == "online" else []))
    return Asked(str(folder / "lake"), of_set, str(model), configs, str(folder / "model"), 0, None, None, None, False)


def ours(objective: str, folder: Path, model: Path) -> dict[str, float]:
    import trainers.training
    from trainers.checkpoints import Checkpoints

    took: dict[str, float] = {}

    def measure(job: Any, trainer: Any, *others: Any) -> None:
        faults: list[Any] = []
        took.update(timed(trainer, lambda: faults.append(trainers.training._train(job, trainer))))
        assert faults == [None], faults
        keep = Checkpoints(job.part.checkpoints, None, 1, trainer.accelerator)
        start = time.monotonic()
        trainer._save_checkpoint(trainer.model, None)
        keep.on_save(trainer.args, trainer.state, trainer.control)
        took["saving_s"] = time.monotonic() - start
        job.part.remove()

    trainers.training.train_and_record = measure
    import_module(f"trainers.{objective}").train(asked_for(objective, folder, model))
    return took


def by_hand(objective: str, folder: Path, model: Path) -> dict[str, float]:
    import trl
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification

    from trainers.examples import read_rows
    from trainers.models import find_model, load_model, load_tokenizer
    from trainers.settings import load_settings
    from trainers.training import weights_dtype

    settings: Any = load_settings(import_module(f"trainers.{objective}").SETTINGS, objective, ["small-cpu"])
    base, dtype = find_model(str(model)), weights_dtype(settings)
    rows = read_rows(asked_for(objective, folder, model), OBJECTIVES[objective].format)
    common: dict[str, Any] = {
        "output_dir": str(folder / "by-hand"),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": BATCH,
        "learning_rate": RATE,
        "num_train_epochs": settings.epochs,
        "max_length": None,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    given: dict[str, Any] = {
        "train_dataset": Dataset.from_list(rows.train),
        "processing_class": load_tokenizer(base),
    }
    if objective == "reward":
        start = load_model(base, dtype, AutoModelForSequenceClassification, num_labels=1)
        trainer: Any = trl.RewardTrainer(model=start, args=trl.RewardConfig(**common), **given)
        return timed(trainer, trainer.train)
    start = load_model(base, dtype)
    if objective in ("rft", "sft"):
        trainer = trl.SFTTrainer(model=start, args=trl.SFTConfig(**common, completion_only_loss=True), **given)
        return timed(trainer, trainer.train)
    if objective == "online":
        return timed(*online_by_hand(start, settings, common, given))
    losses = {
        "dpo": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]},
        "sppo": {"loss_type": ["sppo_hard"], "beta": settings.beta, "optim": "rmsprop"},
    }
    arguments = trl.DPOConfig(**common, **losses[objective])
    trainer = trl.DPOTrainer(model=start, ref_model=copy.deepcopy(start), args=arguments, **given)
    return timed(trainer, trainer.train)


def online_by_hand(
    start: Any, settings: Any, common: dict[str, Any], given: dict[str, Any]
) -> tuple[Any, Callable[[], Any]]:
    import trl

    def without_commas(completions: Any, **others: Any) -> list[float]:
        return [float("," not in text) for text in (one[0]["content"] for one in completions)]

    batch = {"per_device_train_batch_size": settings.batch_size, "gradient_accumulation_steps": 1}
    del common["max_length"]
    arguments = trl.RLOOConfig(
        **common | batch | {"learning_rate": settings.learning_rate},
        num_generations=settings.num_generations,
        max_completion_length=COMPLETION_TOKENS,
        temperature=settings.temperature,
        beta=settings.beta,
    )
    start.save_pretrained(common["output_dir"])  # the reference model is loaded from where the policy came from
    given["processing_class"].save_pretrained(common["output_dir"])
    trainer = trl.RLOOTrainer(model=common["output_dir"], reward_funcs=without_commas, args=arguments, **given)
    return trainer, trainer.train


def timed(trainer: Any, train: Callable[[], Any]) -> dict[str, float]:
    start_s, cpu_s = time.monotonic(), time.process_time()
    train()
    steps = trainer.state.global_step
    return {"step_s": (time.monotonic() - start_s) / steps, "cpu_s": (time.process_time() - cpu_s) / steps}


def measured(way: str, objective: str, folder: Path, model: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.trainer_steps", "--one", way, "--objective", objective]
    command += ["--folder", str(folder), "--model", str(model)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", choices=["dpo", "rft", "sft", "sppo", "reward", "online"], default="dpo")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="folder or .gguf file (default: the embedded model)")
    parser.add_argument("--one", choices=["ours", "by_hand"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        way = {"ours": ours, "by_hand": by_hand}[args.one]
        print(json.dumps(way(args.objective, args.folder, args.model)))
        return
    model = args.model or fetch("smollm2-135m").path
    with tempfile.TemporaryDirectory() as name:
        make_lake(Path(name), args.pairs)
        found: dict[str, list[dict[str, float]]] = {"by_hand": [], "ours": []}
        for number in range(args.rounds):
            # The other one first each time, so that a machine that grows slower favours neither.
            for way in sorted(found, reverse=bool(number % 2)):
                found[way].append(measured(way, args.objective, Path(name), model))
                last = found[way][-1]
                print(f"{way}: {last['step_s']:.3f} s a step, {last['cpu_s']:.3f} s of processor time", flush=True)
    for key, what in (("step_s", "seconds"), ("cpu_s", "processor time")):
        ratio = min(each[key] for each in found["ours"]) / min(each[key] for each in found["by_hand"])
        print(f"{args.objective}: ours / by hand, {what}, the fastest of each: {ratio:.3f}")
    saving_s = min(each["saving_s"] for each in found["ours"])
    print(f"a checkpoint: {saving_s:.1f} s, {saving_s / (LEAST_S + saving_s):.1%} of the time at the default")


if __name__ == "__main__":
    main()
