"""Batches: writes a run's requests to files for a batch service, and reads the service's answers.

Hosted APIs charge half the price. Answers go into the journal under their request's hash, where the run finds them, so
writing the same batch again gets one stage further each time. Stages with many dependent requests, such as search, are
left to a live run: a batch service takes hours per answer.
"""

import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from factory.batch.deferred import Deferred, DeferredRequests, journal_of
from factory.batch.request_files import RequestFile, RequestFiles
from factory.inference.budget import BudgetReached
from factory.inference.client import public_address
from factory.inference.connect import named
from factory.inference.failures import NO_KEY, Failure, masked, one_line
from factory.inference.journal import Journal, Reply, journal_file
from factory.inference.replies import read_completion
from factory.inference.values import read_json
from factory.monitor.display import watch
from factory.monitor.plain_text import counted, visible
from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from factory.runs.session import Deferral
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError, Stopped
from stores.attach import place
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing a batch."""

    run_id: str
    files: list[RequestFile]
    again: int
    """requests that an earlier batch included, still unanswered"""
    sent: int
    """requests left out, since they are at a batch service"""
    finished: bool
    """the run needs no more answers"""
    budget: str | None
    """the recipe key of the limit that ended it"""


def write_batch(spec: RunSpecification, where: str, out: Path, progress: Progress) -> Written:
    """Runs as far as the journal's answers allow, and writes the requests that come next.

    Raises:
        FactoryError: a model has no name, a file exists already, or see `run_recipe`; no file is written.
    """
    recipe = spec.recipe.without({entry.name for entry in spec.recipe.stages if not entry.settings.batchable})
    endpoints = {role: named(role, recipe.models[role]) for role in recipe.roles()}
    again, budget, sent = 0, None, set[str]()
    with (
        RequestFiles(out) as files,
        closing(DeferredRequests(journal_file(place(where)))) as deferred,
    ):

        def defer(role: str, request_hash: str, body: dict[str, Any]) -> None:
            nonlocal again
            if deferred.is_sent(request_hash):
                sent.add(request_hash)
                return
            address = public_address(recipe.models[role].endpoint[0])
            in_earlier = deferred.add(request_hash, Deferred(progress.run_id, role, body["n"], address))
            if in_earlier is None:
                return  # another prompt made the same request
            again += in_earlier
            files.write(request_hash, body, address)

        try:
            run_recipe(spec, where, progress, Execution(deferral=Deferral(recipe, endpoints, defer)))
        except BudgetReached as reached:
            budget = reached.limit
    with Lake.open(where) as lake:
        query = "SELECT status FROM current_runs WHERE run_id = $id"
        status = lake.query(query, {"id": progress.run_id}).column(0)[0].as_py()
    return Written(progress.run_id, files.files, again, len(sent), status == "finished", budget)


@dataclass(slots=True)
class Answers:
    """What the answer files contained."""

    taken: int = 0
    known: int = 0
    """replies to requests that were answered before"""
    unknown: int = 0
    """replies to requests that are not deferred"""
    failed: Counter[str] = field(default_factory=Counter)
    """unanswered requests, by kind; the next batch includes them again"""
    broken: list[str] = field(default_factory=list)
    """unreadable lines: FILE:LINE"""


def read_batch(where: str, files: Sequence[Path], secret: str = NO_KEY) -> Answers:
    """Adds a batch service's answers to the journal of the lake at `where`.

    Args:
        secret: the key with which they were fetched, masked wherever the service repeats it.
    Raises:
        FactoryError: no batch was written there, or the journal cannot be written.
        OSError: a file cannot be opened.
    """
    journal_at = journal_of(where)
    answers = Answers()
    with closing(Journal(journal_at)) as journal, closing(DeferredRequests(journal_at)) as deferred:
        for file in files:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        _take(line, f"{file}:{number}", secret, answers, journal, deferred)
    return answers


def _take(
    line: bytes, position: str, secret: str, answers: Answers, journal: Journal, deferred: DeferredRequests
) -> None:
    try:
        answer = masked(read_json(line), line, secret)
        request_hash = answer["custom_id"]
        is_hash = isinstance(request_hash, str) and request_hash.isascii()  # SQLite takes no lone surrogates
    except (ValueError, TypeError, KeyError, RecursionError):  # RecursionError: thousands of open brackets
        answers.broken.append(position)
        return
    request = deferred.find(request_hash) if is_hash else None
    if is_hash and journal.find(request_hash):
        answers.known += 1
    elif request is None:
        answers.unknown += 1
    else:
        try:
            reply = _reply(answer, request)
        except Failure as failure:
            answers.failed[failure.said] += 1
            return
        journal.write(request_hash, reply, request.run_id, request.role)
        answers.taken += 1
    if request is not None:
        deferred.remove(request_hash)


def _reply(answer: dict[str, Any], request: Deferred) -> Reply:
    """The reply in an answer line, in the same form as a live one.

    Raises:
        Failure: there is no reply, or it has fewer choices than requested.
    """
    response = answer.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    if isinstance(response, dict) and body is None and "choices" in response:
        body = response
    # Some services send no status; then an answer is what has choices.
    fine = status in (200, "200") or (status is None and isinstance(body, dict) and bool(body.get("choices")))
    if answer.get("error") or not fine:
        code = _code(answer) or _code(body)
        words = [f"HTTP {status}"] if isinstance(status, int | str) and status not in (200, "200", "") else []
        raise Failure(one_line(" ".join([*words, *([code] if code else [])])) or "no response")
    choices, prompt_tokens, completion_tokens = read_completion(body)
    if len(choices) < request.choices:
        raise Failure("fewer choices than asked for")
    return Reply(choices[: request.choices], prompt_tokens, completion_tokens, None, 0, request.endpoint)


def _code(document: Any) -> str | None:
    """The error code in OpenAI's format, such as batch_expired."""
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return one_line(code) if isinstance(code, str) else None


def write_and_report(spec: RunSpecification, where: str, out: Path, at: str, console: Console) -> None:
    """Writes a batch, and prints its contents and the next step.

    Args:
        at: the lake's option for commands, such as ` --lake mine`.
    """
    progress = Progress()
    try:
        with watch(progress):
            written = write_batch(spec, where, out, progress)
    except KeyboardInterrupt:
        raise Stopped("stopped, and no file was written: run the same command again") from None
    run = written.run_id
    for file in written.files:
        requests, size = counted(file.requests, "request"), f"{file.bytes / 1e6:.1f} MB"
        _say(console, f"{file.path}: {requests} to {visible(file.model)}, {size}")
    if written.again:
        _say(console, f"{written.again:,} of them were also in an earlier batch and are still unanswered")
    if written.sent:
        _say(console, f"{counted(written.sent, 'request')} left out, at a batch service: factory batch collect{at}")
    if written.budget:
        raised = f"raise it (-o {written.budget}=…)"
        _say(console, f"run {run} has reached its {written.budget}: {raised} to write the rest")
    if written.files:
        _say(console, f"run {run} is waiting: send its files to their batch service, and fetch the answers")
        paths = " ".join(shlex.quote(str(file.path)) for file in written.files[:3]) + (
            " …" if written.files[3:] else ""
        )
        _say(console, f"  factory batch submit {visible(paths)}{at}", "cyan")
        _say(console, f"  factory batch collect --wait{at}", "cyan")
        _say(console, "or give them to it yourself, and read what comes back")
        _say(console, f"  factory batch read ANSWERS.jsonl{at}", "cyan")
        _say(
            console,
            "and the same `factory batch write` again, which saves the answers as rows and writes the next requests",
        )
    elif written.finished:
        _say(console, f"run {run} is finished")
    elif not written.budget and not written.sent:
        live = ", ".join(entry.name for entry in spec.recipe.stages if not entry.settings.batchable)
        why = f"{live} must run live" if live else "continue live"
        _say(console, f"run {run}: no requests left for a batch; {why}:")
        _say(console, f"  factory resume {run}{at}", "cyan")


def read_and_report(where: str, files: Sequence[Path], console: Console) -> None:
    """Reads answer files and prints a summary.

    Raises:
        FactoryError: some lines could not be read; all others were.
    """
    answers = read_batch(where, files)
    report(answers, where, console)
    if answers.broken:
        raise FactoryError(
            f"{counted(len(answers.broken), 'line')} cannot be read ({', '.join(answers.broken[:5])}): download "
            "the file and read it again; all other lines were added"
        )


def report(answers: Answers, where: str, console: Console) -> None:
    """Prints what answer files contained, but for broken lines."""
    _say(console, f"{counted(answers.taken, 'answer')} added to the journal of lake {where}")
    if answers.known:
        _say(console, f"{answers.known:,} already answered: ignored")
    if answers.failed:
        kinds = ", ".join(f"{count:,} {visible(kind)}" for kind, count in answers.failed.most_common())
        _say(console, f"{answers.failed.total():,} not answered ({kinds}): the next batch includes them again")
    if answers.unknown:
        _say(console, f"{answers.unknown:,} with an unknown id: do they belong to another lake (--lake)?")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
