"""What would end a loop later, found before anything is paid for."""

import importlib.util
import re
from itertools import islice
from pathlib import Path

import msgspec

from factory.evaluation.benchmarks import load_benchmark
from factory.inference.folders import chat_template
from factory.inference.gguf_header import read_header
from factory.loops.plan import JUDGING, REFINING
from factory.loops.reading import Loop
from factory.loops.resources import trainer_settings
from factory.loops.training import first_weights
from factory.prompts.sources import read_prompts
from schemas.errors import FactoryError
from stores.training_sets import check_parameters

_IS_PATH = re.compile(r"^[./~]|/.*/|\.gguf$")
"""what no hub id, OWNER/NAME, looks like"""
TRAINERS_NEED = ("torch", "transformers", "trl", "datasets", "peft")


def check_before(loop: Loop) -> None:
    """
    Raises:
        FactoryError: the trainers are not installed, a model to train is not there or has no chat template, a trainer's settings
            or a training set's parameters are not known, the prompts do not last for all rounds, or an evaluation is not
            known, cannot be read, or has prompts that the rounds would train on.
    """
    missing = [name for name in TRAINERS_NEED if importlib.util.find_spec(name) is None]
    if missing:
        raise FactoryError(
            f"training needs {missing[0]}, which is not installed: pip install 'preference-factory[train]'"
        )
    for role in {*loop.settings.train, *loop.settings.start_with}:
        _check_template(loop, role)
    for role, training in loop.settings.train.items():
        try:
            check_parameters(training.set, training.parameters)
        except FactoryError as error:
            raise FactoryError(f"train.{role}.parameters: {error}") from None
    for section in ("train", "start_with"):
        for role, training in getattr(loop.settings, section).items():
            for config in training.configs:
                if not trainer_settings(config).is_file():
                    raise FactoryError(
                        f"{section}.{role}.config: there is no preset and no file {config!r}: give a preset's name, such as "
                        "small-cpu, or a YAML file (docs/trainers.md)"
                    )
    texts = _prompts(loop)
    for benchmark in loop.benchmarks.values():
        if benchmark in (JUDGING, REFINING):
            continue
        found = load_benchmark(benchmark)
        shared = sum(prompt.messages[-1].content in texts for prompt in found.prompts)
        if shared:
            raise FactoryError(
                f"{shared} of the {len(found.prompts)} prompts of {found.name} are among the prompts of the loop "
                f"({loop.recipe.prompts.source}), whose models would be measured on what they were trained on: take other "
                "prompts, or another evaluation"
            )


def _check_template(loop: Loop, role: str) -> None:
    given = first_weights(loop, role).path
    path = Path(given)
    if not path.exists():
        if _IS_PATH.search(given):
            raise FactoryError(
                f"the weights of models.{role} are not at {given}: give a folder of safetensors, a .gguf file or a hub id"
            )
        return  # a hub id, which the trainer fetches
    template = chat_template(path) if path.is_dir() else read_header(path).get("tokenizer.chat_template")
    if not template:
        raise FactoryError(
            f"models.{role}: {path.name} has no chat template, and conversations need one: take an instruction-tuned model, or "
            "add chat_template.jinja to its folder"
        )


def _prompts(loop: Loop) -> set[str]:
    """The last turns of all prompts that the rounds take; of the bundled ones, of the first round."""
    source, settings = loop.recipe.prompts, loop.settings.prompts
    rounds = 1 if settings.same or source.source == "bundled" else loop.settings.rounds
    needed = None if settings.each_round is None else settings.each_round * rounds
    reading = msgspec.structs.replace(source, limit=needed or source.limit)
    texts = [prompt.messages[-1].content for prompt in islice(read_prompts(reading, loop.settings.seed), needed)]
    if needed is not None and len(texts) < needed and source.source != "bundled":
        raise FactoryError(
            f"{source.source} has {len(texts):,} prompts, and {loop.settings.rounds} rounds of {settings.each_round:,} need "
            f"{needed:,}: lower prompts.each_round, or take the same ones again (prompts.same: true)"
        )
    return set(texts)
