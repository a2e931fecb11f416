"""What a stage is: a file in `factory/stages/`, found by its name, that says everything about itself.

The file has `Settings` (a `StageSettings`), and `run`, an async function that takes a prompt a step further. Its query
of pending prompts is `stores/sql/pending/STAGE.sql`, and its templates lie in `factory/templates/`.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

from factory.inference.endpoints import Sampling
from factory.templates.rendering import TemplateUse
from factory.work.context import Context, Work
from schemas.errors import FactoryError, nearest
from schemas.settings import Settings, about
from schemas.tables import Prompt

STAGES = Path(__file__).parents[1] / "stages"


class StageSettings(Settings, frozen=True, kw_only=True):
    """A stage's settings, and what the recipe, the run loop, the estimate and the batch writer ask of the stage."""

    batchable: ClassVar[bool] = True
    """whether its requests can be answered by a batch service, hours later"""
    needs: ClassVar[Mapping[str, str]] = {}
    """stages that have to come before it: name, and what for"""
    judged: ClassVar[bool] = False
    """whether it is given judges: the recipe's, or those that its setting `judge` names"""

    def roles(self) -> tuple[str, ...]:
        """The roles of the models that it asks."""
        model = getattr(self, "model", None)
        return (model,) if isinstance(model, str) else ()

    def templates(self) -> dict[str, TemplateUse]:
        """The templates that it renders, by name."""
        return {}

    def check_prompt(self, prompt: Prompt) -> None:
        """Refuses a prompt that the stage can do nothing with, before anything is asked.

        Raises:
            ValueError: why, and how to fix it.
        """


class Stage(Protocol):
    """The module of a stage."""

    Settings: type[StageSettings]

    async def run(self, context: Context, work: Work, settings: Any) -> Work | None:
        """The work to go on with, or None when the prompt ends here. Does nothing for what is done already."""
        ...


Run = Callable[[Context, Work, Any], Awaitable[Work | None]]


@cache
def stage_names() -> tuple[str, ...]:
    """The stages there are: the files in `factory/stages/`."""
    return tuple(sorted(file.stem for file in STAGES.glob("*.py") if file.stem != "__init__"))


def stage_of(name: str, where: str = "stages") -> Stage:
    """A stage by its name; only the stages that a recipe names are imported.

    Raises:
        FactoryError: there is none of that name.
    """
    if name not in stage_names():
        raise FactoryError(f"{where}: unknown stage {name!r}: {nearest(name, stage_names())}")
    return cast(Stage, importlib.import_module(f"factory.stages.{name}"))


Temperature = about("sampling temperature", least=0, most=2)
TopP = about("nucleus sampling: the share of probability kept", above=0, most=1)
MaxTokens = about("tokens of one answer at most", least=1)


def sampling_of(settings: Any, n: int, **more: Any) -> Sampling:
    """How the replies to a stage's or a judge's request are drawn."""
    return Sampling(settings.temperature, settings.top_p, settings.max_tokens, n, **more)
