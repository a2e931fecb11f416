"""What would end a loop later, found before anything is paid for."""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from factory.evaluation.benchmarks import load_benchmark
from factory.loops.checking_trainings import Taken, check_enough, check_trainings
from factory.loops.plan import JUDGING, REFINING
from factory.loops.reading import Loop
from factory.loops.rounds import round_seed
from factory.loops.settings import trainer_settings
from factory.loops.templates import template_in
from factory.loops.training import first_weights
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import read_prompts
from schemas.errors import FactoryError
from stores.training_sets import check_parameters

_IS_PATH = re.compile(r"^[./~]|/.*/|\.gguf$")
"""what no hub id, OWNER/NAME, looks like"""
TRAINERS_NEED = ("torch", "transformers", "trl", "datasets", "peft")


def check_before(loop: Loop) -> None:
    """
    Raises:
        FactoryError: the trainers are not installed, a model to train is not there or has no chat template, a training set's
            parameters are not known, a training could not start (`check_trainings`), the prompts do not last for all rounds or
            are too few for online training, or an evaluation is not known, cannot be read, or has prompts that the rounds
            would train on.
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
    online = check_trainings(loop)
    rounds = _prompts(loop, range(1, loop.settings.rounds + 1) if online else (1,))
    check_enough(loop, online, rounds)
    texts = {prompt.text for taken in rounds for prompt in taken}
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
    if template_in(path) is None:
        raise FactoryError(
            f"models.{role}: {path.name} has no chat template, and conversations need one: take an instruction-tuned model, or "
            "add chat_template.jinja to its folder"
        )


def _prompts(loop: Loop, of_seeds: Iterable[int]) -> list[list[Taken]]:
    """The prompts that each round takes.

    Args:
        of_seeds: of prompts that each round's seed draws, the rounds to draw them for.
    """
    source, settings = loop.recipe.prompts, loop.settings.prompts
    each, rounds = settings.each_round, loop.settings.rounds
    if source.source == "bundled":
        limited = msgspec.structs.replace(source, limit=each or source.limit)
        return [_taken(limited, round_seed(loop, number)) for number in of_seeds]
    different = each is not None and not settings.same
    needed = None if each is None else each * (rounds if different else 1)
    taken = _taken(msgspec.structs.replace(source, limit=needed or source.limit), loop.settings.seed)
    if each is None or needed is None:
        return [taken] * rounds
    if len(taken) < needed:
        raise FactoryError(
            f"{source.source} has {len(taken):,} prompts, and {rounds} rounds of {each:,} need "
            f"{needed:,}: lower prompts.each_round, or take the same ones again (prompts.same: true)"
        )
    return [taken[start : start + each] for start in range(0, needed, each)] if different else [taken] * rounds


def _taken(source: PromptSettings, seed: int) -> list[Taken]:
    return [
        Taken(prompt.prompt_id, prompt.messages[-1].content, bool(prompt.constraints))
        for prompt in read_prompts(source, seed)
    ]
