"""Options that several commands share, and the run specification made from them."""

import re
import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import yaml

from schemas.errors import FactoryError

LakeOption = Annotated[
    str, typer.Option("--lake", envvar="FACTORY_LAKE", help="The lake: a folder, or postgresql://host/db?data_path=…")
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option("--override", "-o", metavar="KEY=VALUE", help="Set any key of the recipe: -o stages.search.depth=2"),
]
LogFormatOption = Annotated[
    str | None,
    typer.Option(
        help="plain (a line every 30 s) or json (events for machines), on stderr; by default, live in a terminal, else plain."
    ),
]
ExecutorOption = Annotated[str, typer.Option(help="local: this process; ray: workers on a Ray cluster.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Workers on the Ray cluster.")]
RayAddressOption = Annotated[
    str | None, typer.Option(help="Address of the Ray cluster; by default, starts one on this machine.")
]
GpusOption = Annotated[float, typer.Option(min=0, help="GPUs per worker on the Ray cluster.")]
RecipeArgument = Annotated[str, typer.Argument(help="A bundled recipe's name or a YAML file.")]
PromptsOption = Annotated[str | None, typer.Option(help="bundled, a file or folder (docs/prompts.md), or datasets:ID.")]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", help="Take only the first N prompts.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Endpoint of every model that writes: embedded:NAME or FOLDER, vllm:FOLDER, or a base URL (repeat it for several servers)."
    ),
]
ModelNameOption = Annotated[str | None, typer.Option(help="The model's name at the endpoint.")]
JudgeOption = Annotated[str | None, typer.Option(help="Judge by votes, verifier or both.")]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option("--threshold", metavar="CHECK=NUMBER", help="Set a check's threshold: longer_chosen=0.6"),
]
SeedOption = Annotated[int, typer.Option(help="Seed from which every sampling seed is derived.")]


@dataclass(frozen=True, slots=True)
class Choices:
    """The values of a run's options."""

    prompts: str | None
    limit: int | None
    model: list[str] | None
    model_name: str | None
    judge: str | None
    seed: int
    override: list[str] | None


def specification(recipe: str, choices: Choices) -> Any:
    """The run specification of a recipe and options."""
    from factory.recipes.reading import load_recipe
    from factory.runs.specification import RunSpecification

    changes = {
        "prompts.source": choices.prompts,
        "prompts.limit": choices.limit,
        "stages.judge.by": choices.judge,
    }
    overrides = {path: value for path, value in changes.items() if value is not None} | assignments(choices.override)
    for role, model in load_recipe(recipe).models.items():
        if model.is_reward:
            continue  # --model is of those that write
        if choices.model:
            overrides[f"models.{role}.endpoint"] = choices.model
        if choices.model_name is not None:
            overrides[f"models.{role}.name"] = choices.model_name
    return RunSpecification(load_recipe(recipe, overrides), choices.seed)


def assignments(given: list[str] | None) -> dict[str, Any]:
    """Parses `key=value` words; values are YAML, so 2 is a number and [a, b] a list."""
    values: dict[str, Any] = {}
    for word in given or []:
        key, equals, value = word.partition("=")
        if not equals:
            raise FactoryError(f"{word!r} must be KEY=VALUE, as in stages.search.depth=2")
        try:
            values[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, thousands of digits
            raise FactoryError(f"{word[:80]!r}: the value is not YAML: quote text with special characters") from error
    return values


def thresholds(given: list[str] | None) -> dict[str, float]:
    """Parses `check=number` words."""
    values = assignments(given)
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise FactoryError(
                f"--threshold {name}: it must be a finite number, as in {name}=0.1, got {str(value)[:40]!r}"
            )
    return {name: float(value) for name, value in values.items()}


def at_lake(lake: str) -> str:
    """The --lake option that a suggested command needs for this lake."""
    return "" if lake == "lake" else f" --lake {shlex.quote(lake)}"


def to_type(said: str, run_id: str | None, lake: str) -> str:
    """Completes `factory resume` in a sentence with the run and lake, which its author did not know."""
    if run_id is None:
        return said

    def whole(found: re.Match[str]) -> str:
        words = found[1] or ""
        run = f" {run_id}" if words.startswith(" -") or not words else ""
        return f"`factory resume{run}{words}{at_lake(lake)}`"

    return re.sub(r"`factory resume( [^`]+)?`", whole, said)
