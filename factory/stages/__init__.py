"""The stages: each takes one prompt a step further and emits the rows of that step together."""

from collections.abc import Awaitable, Callable
from typing import Any

from factory.stages.evolve import evolve
from factory.stages.judge import judge
from factory.stages.sample import sample
from factory.stages.search import search
from factory.work.context import Context, Work

Stage = Callable[[Context, Work, Any], Awaitable[Work | None]]
"""Returns the work to go on with, or None when the prompt ends here. Does nothing for what is done already."""

STAGES: dict[str, Stage] = {"evolve": evolve, "sample": sample, "judge": judge, "search": search}
