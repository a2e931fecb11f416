"""What a stage receives: a prompt with its rows so far, and the context through which it asks and writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.inference.endpoints import Sampling
from factory.work.asker import Asker
from factory.work.request import Answered, Request
from schemas.tables import Comparison, Judgement, Message, Prompt, Response


@dataclass(slots=True)
class Work:
    """A prompt passing through the stages, with its rows so far."""

    prompt: Prompt
    position: int
    evolved: bool = False
    responses: list[Response] = field(default_factory=list)
    """sampled ones, by stage and choice"""
    reference: Response | None = None
    judgements: dict[str, list[Judgement]] = field(default_factory=dict)
    """by response id"""
    comparisons: list[Comparison] = field(default_factory=list)
    made: dict[type, list[Any]] = field(default_factory=dict)
    """rows of the tables that the run's stages name as theirs (`ROWS`), in the order of their ids"""
    paired: set[frozenset[str]] = field(default_factory=set)
    """ids of two answers that the run they come from has paired"""
    roots: set[tuple[str, str]] = field(default_factory=set)
    """finished searches: stage and id of the root response"""

    @property
    def answers(self) -> list[Response]:
        """The sampled responses that have a text: one without is recorded, but is no answer to judge or refine."""
        return [response for response in self.responses if response.flaw != "empty"]


@dataclass(frozen=True, slots=True)
class Template:
    """A template as a stage renders it."""

    name: str
    """in the run's templates and its calls"""
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """A run as one of its stages sees it."""

    stage: str
    """the stage's name in the recipe"""
    asker: Asker
    templates: Mapping[str, Template]
    """by their names in the stage's settings"""
    judges: Sequence[Any] = ()
    """the stage's judges (`factory.work.judging.Judge`), the deciding one first"""
    prepared: Any = None
    """what the stage's `prepare` returned"""

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
        """Asks the model of a role; for parameters see `Request`, for errors `Asker.ask`."""
        request = Request(self.stage, prompt, role, messages, sampling, template, response_ids, draw)
        return await self.asker.ask(request)

    def emit(self, rows: Iterable[Any]) -> None:
        """Writes rows in one commit."""
        self.asker.emit(rows)
