"""A stage: a file in `factory/stages/`, found by its name.

It has `Settings` (a `StageSettings`) and `run`, an async function that takes a prompt through the stage. Its query of
pending prompts is `stores/sql/pending/STAGE.sql`; its templates are in `factory/templates/`.

It may have `ROWS`, the tables whose rows of a prompt it wants back in `Work.made` when a run is resumed, and
`prepare(lake, run_id, settings)`, called once before the run's first prompt: what it returns is the context's `prepared`,
and a `FactoryError` ends the run before anything is paid for. If that has a `note`, a sentence, the run shows it.
"""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
    """A stage's settings, and what recipes, the run loop, estimates and batches need to know about the stage."""

    batchable: ClassVar[bool] = True
    """whether a batch service can answer its requests, hours later"""
    needs: ClassVar[Mapping[str, str]] = {}
    """stages that must come before it, and why"""
    scores: ClassVar[bool] = False
    """whether its models are reward models, which give a score and write no text"""
    on_answers: ClassVar[bool] = False
    """whether it can work on the answers of another run"""
    judged: ClassVar[bool] = False
    """whether it gets judges: the recipe's, or those that its setting `judge` names"""

    def roles(self) -> tuple[str, ...]:
        """The roles of the models it asks."""
        model = getattr(self, "model", None)
        return (model,) if isinstance(model, str) else ()

    def insists_on(self) -> str | None:
        """The role whose model must return log-probabilities (`work/insisting.py`); None: no model must."""
        return getattr(self, "model", None) if getattr(self, "logprobs", None) == "required" else None

    def templates(self) -> dict[str, TemplateUse]:
        """The templates it renders, by name."""
        return {}

    def check_judge(self, name: str, judge: Any) -> None:
        """Rejects a judge that the stage cannot work with, by the judge's name and settings; for stages that are `judged`.

        Raises:
            ValueError: why, and how to fix it.
        """

    def reads_documents(self) -> bool:
        """Whether it reads the lake's documents, which a copy of the run's lake then needs, too."""
        return False

    def check_prompt(self, prompt: Prompt) -> None:
        """Rejects a prompt that the stage cannot use, before any model is asked.

        Raises:
            ValueError: why, and how to fix it.
        """


class Stage(Protocol):
    """The module of a stage."""

    Settings: type[StageSettings]

    async def run(self, context: Context, work: Work, settings: Any) -> Work | None:
        """Returns the work for the next stage, or None if the prompt ends here; skips what is already done."""
        ...


Run = Callable[[Context, Work, Any], Awaitable[Work | None]]


@cache
def stage_names() -> tuple[str, ...]:
    """All stages: the files in `factory/stages/`."""
    return tuple(sorted(file.stem for file in STAGES.glob("*.py") if file.stem != "__init__"))


def stage_of(name: str, where: str = "stages") -> Stage:
    """A stage by its name, imported on first use.

    Raises:
        FactoryError: there is no such stage.
    """
    if name not in stage_names():
        raise FactoryError(f"{where}: unknown stage {name!r}: {nearest(name, stage_names())}")
    return cast(Stage, importlib.import_module(f"factory.stages.{name}"))


def rows_of(names: Iterable[str]) -> tuple[type, ...]:
    """The tables that these stages want back, without duplicates."""
    return tuple(dict.fromkeys(table for name in names for table in getattr(stage_of(name), "ROWS", ())))


TopP = about("nucleus sampling: the probability mass kept", above=0, most=1)
MaxTokens = about("the maximum number of tokens per answer", least=1)


def sampling_of(settings: Any, n: int, **more: Any) -> Sampling:
    """The sampling of a stage's or judge's request."""
    return Sampling(settings.temperature, settings.top_p, settings.max_tokens, n, **more)
