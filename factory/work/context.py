"""What a stage is given: one prompt with what the lake has of it, and a context through which it asks and writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.inference.endpoints import Sampling
from factory.work.asker import Asker
from factory.work.request import Answered, Request
from schemas.tables import Comparison, Judgement, Message, Prompt, Response


@dataclass(slots=True)
class Work:
    """One prompt on its way through the stages, with what the lake already has of it."""

    prompt: Prompt
    position: int
    evolved: bool = False
    responses: list[Response] = field(default_factory=list)
    """sampled ones, in the order of their stages and choices"""
    reference: Response | None = None
    judgements: dict[str, list[Judgement]] = field(default_factory=dict)
    """by response"""
    comparisons: list[Comparison] = field(default_factory=list)
    roots: set[tuple[str, str]] = field(default_factory=set)
    """searches that are done: stage and root response"""


@dataclass(frozen=True, slots=True)
class Template:
    """A template as a stage renders it."""

    name: str
    """in the run's templates, and in its calls"""
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """A run, as one of its stages sees it."""

    stage: str
    """the stage's name in the recipe"""
    asker: Asker
    templates: Mapping[str, Template]
    """by the name under which the stage's settings ask for them"""
    judges: Sequence[Any] = ()
    """the judges (`factory.judges.Judge`) that the stage is given, the one that decides first"""

    @property
    def run_id(self) -> str:
        return self.asker.run_id

    async def ask(
        self,
        prompt: Prompt,
        role: str,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        template: str | None = None,
        response_ids: tuple[str, ...] = (),
        draw: int = 0,
    ) -> Answered:
        """Asks the model of a role; the parameters are those of `Request`, and errors are as of `Asker.ask`."""
        request = Request(self.stage, prompt, role, messages, sampling, template, response_ids, draw)
        return await self.asker.ask(request)

    def emit(self, rows: Iterable[Any]) -> None:
        """Writes rows, which are committed together."""
        self.asker.emit(rows)
