"""A loop in YAML: which recipe, how many rounds, what each trains and how that is measured."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from factory.recipes.training import RoleTraining, Rounds
from schemas.settings import Settings, about


def trainer_settings(config: str) -> Path:
    """The file of a trainer's preset, or the user's own; it may not be there."""
    return _preset(config) if is_preset(config) else Path(config)


def is_preset(config: str) -> bool:
    return _preset(config).is_file()


def _preset(name: str) -> Path:
    found = importlib.util.find_spec("trainers")
    return Path(str(found.origin)).parent / "presets" / f"{name}.yaml" if found is not None else Path(name)


class RoundPrompts(Settings, frozen=True, kw_only=True):
    """The prompts of each round."""

    source: Annotated[str | None, about("as in a recipe; none: the recipe's")] = None
    each_round: Annotated[int, about("prompts in each round; none: all of them", least=1)] | None = None
    same: Annotated[bool, about("take the same prompts in every round; otherwise each round takes the next ones")] = (
        False
    )


class StartTraining(Settings, frozen=True, kw_only=True):
    """Supervised fine-tuning of a role's model before the first round."""

    set: Annotated[str, about("a training set that is in the lake, such as reference_sft@1")]
    config: Annotated[str | None, about("the trainer's preset or YAML file")] = None
    allow_other_template: Annotated[
        bool, about("train even on answers written with a chat template other than the model's")
    ] = False

    @property
    def configs(self) -> tuple[str, ...]:
        return (self.config,) if self.config else ()


class LoopBudget(Settings, frozen=True, kw_only=True):
    """Where a loop stops; it can be resumed with a larger budget. An omitted key means no limit."""

    max_tokens: (
        Annotated[
            int, about("the most prompt and answer tokens of all rounds, online trainings and evaluations", above=0)
        ]
        | None
    ) = None
    disk_gb: Annotated[float, about("the most disk space for the loop's models, in GB (1e9 bytes)", above=0)] | None = (
        None
    )


class LoopSettings(Settings, frozen=True, kw_only=True):
    """A loop."""

    recipe: Annotated[str, about("a bundled recipe's name or a YAML file")]
    rounds: Annotated[int, about("the number of rounds", least=1)] = 3
    models: Annotated[
        dict[str, Any], about("by role: an endpoint, another role, or a mapping as in a recipe; none: the recipe's")
    ] = msgspec.field(default_factory=dict)
    override: Annotated[dict[str, Any], about("keys of the recipe to set, such as stages.search.strategy: dfs")] = (
        msgspec.field(default_factory=dict)
    )
    prompts: Annotated[RoundPrompts, about("which prompts each round takes")] = RoundPrompts()
    start_with: Annotated[dict[str, StartTraining], about("by role: fine-tuning before the first round")] = (
        msgspec.field(default_factory=dict)
    )
    train: Annotated[
        dict[str, RoleTraining],
        about("by role: its training after each round, changing the recipe's; none: the recipe's"),
    ] = msgspec.field(default_factory=dict)
    data: Annotated[Rounds, about("the rounds that a training set is built from", "last_two: SPIN")] = "this"
    generate_with: Annotated[
        Literal["kept", "first"],
        about("the models that make the data: those kept so far, or the loop's first throughout"),
    ] = "kept"
    evaluate: Annotated[
        tuple[str, ...],
        about("what is measured before the first round and after each: ifeval, ifbench, judge, refine, a file"),
    ] = ()
    evaluate_limit: Annotated[int, about("prompts of each evaluation; none: all of them", least=1)] | None = None
    evaluate_override: Annotated[
        dict[str, Any], about("keys of the evaluations' recipe to set, such as stages.sample.max_tokens")
    ] = msgspec.field(default_factory=dict)
    keep: Annotated[
        tuple[str, ...],
        about(
            "a new model is used only if these hold (percentage points): actor.ifbench.instruction_loose >= previous - 1.0"
        ),
    ] = ()
    on_new_weights: Annotated[str | None, about("a command that brings {folder} to a remote endpoint as {name}")] = None
    launch: Annotated[
        str | None, about("what starts a trainer on several GPUs, such as accelerate launch --num_processes 8")
    ] = None
    keep_rounds: Annotated[int, about("the rounds whose model folders stay on the disk; none: all", least=1)] | None = (
        None
    )
    budget: Annotated[LoopBudget, about("where the loop stops")] = LoopBudget()
    seed: Annotated[int, about("all seeds of runs and trainers are derived from it")] = 0


COMMANDS = ("on_new_weights", "launch")
"""settings that run a program: they stay on the machine whose user gave them, never in a row"""
