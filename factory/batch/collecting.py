"""`factory batch collect`: looks what has become of the batches, and reads the answers of those that have ended.

It may be stopped and repeated at any moment: answers go into the journal first, and only then is a batch written down
as read. A batch that failed, expired or was cancelled gives what it has; its other requests may then be written again.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from factory.batch.batches import read_batch, report
from factory.batch.deferred import journal_of
from factory.batch.service import BatchState, NoBatches, Service, ServiceSilent
from factory.batch.submissions import Submission, Submissions
from factory.batch.submitting import Services, settle
from factory.monitor.plain_text import counted, visible
from schemas.errors import FactoryError
from stores.attach import place
from stores.locks import run_lock

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Collecting:
    """What is known of a lake's batches while they are collected."""

    where: str
    at: str
    """the lake's option for commands, such as ` --lake mine`"""
    console: Console
    submissions: Submissions
    services: Services
    faults: dict[str, str] = field(default_factory=dict)
    """what keeps a submission from being collected, by its id"""
    states: dict[str, str] = field(default_factory=dict)
    """what was last said of a submission, by its id"""

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(visible(text), style), soft_wrap=True)


def collect(where: str, at: str, console: Console, *, wait: bool = False) -> None:
    """Reads the answers of every batch that has ended, and prints what is known of the others.

    Args:
        wait: until all have ended.
    Raises:
        FactoryError: no batch was written for the lake, a batch failed or cannot be had, or some lines could not be read;
            all that can be read was.
    """
    journal = journal_of(where)
    with Submissions(journal) as submissions, Services(where) as services:
        collecting = Collecting(where, at, console, submissions, services)
        try:
            _collect(collecting, wait)
        except KeyboardInterrupt:
            raise FactoryError(
                f"stopped: the batches go on at the service; run `factory batch collect{at}` for their answers"
            ) from None
    if collecting.faults:
        raise FactoryError("; ".join(collecting.faults.values()))


def _collect(collecting: Collecting, wait: bool) -> None:
    submissions, say = collecting.submissions, collecting.say
    if not submissions.pending():
        say("no batch is at a service: run `factory batch write`, then `factory batch submit`")
        return
    pause_s = FIRST_PAUSE_S
    with _shown(collecting, wait) as show:
        while left := [one for one in submissions.pending() if one.submission_id not in collecting.faults]:
            for submission in left:
                _look(collecting, submission, wait)
            show()
            if not wait or not _open(collecting):
                break
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)
    still = len(_open(collecting))
    if still:
        say(f"{counted(still, 'batch').replace('batchs', 'batches')} at the service: come back later, or wait with")
        say(f"  factory batch collect --wait{collecting.at}", "cyan")
    elif not submissions.pending():
        say("run the same `factory batch write` again: it saves the answers as rows and writes the next requests")


def _open(collecting: Collecting) -> list[Submission]:
    return [one for one in collecting.submissions.pending() if one.submission_id not in collecting.faults]


@contextmanager
def _shown(collecting: Collecting, wait: bool) -> Iterator["_Show"]:
    """Shows the state of all batches while waiting in a terminal; elsewhere, prints what has changed."""
    if not (wait and collecting.console.is_terminal):
        yield _Show(collecting, None)
        return
    with Live(console=collecting.console, auto_refresh=False, transient=True) as live:
        yield _Show(collecting, live)


@dataclass(slots=True)
class _Show:
    collecting: Collecting
    live: Live | None
    said: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        states = self.collecting.states
        if self.live is not None:
            self.live.update(Group(*(Text(visible(text)) for text in states.values())), refresh=True)
            return
        for submission_id, text in states.items():
            if self.said.get(submission_id) != text:
                self.collecting.say(text)
        self.said = dict(states)


def _look(collecting: Collecting, submission: Submission, wait: bool) -> None:
    """Asks for one batch, and reads it if it has ended. A fault of one keeps no other from being read."""
    key = submission.submission_id
    collecting.states.pop(key, None)
    try:
        service = collecting.services.of(submission.run_id, submission.role, submission.endpoint)
        found = submission if submission.batch_id else _settled(collecting, submission)
        if found is None:
            collecting.say(f"{submission.file} was never sent: run `factory batch submit` for it{collecting.at}")
            return
        assert found.batch_id is not None
        state = service.look(found.batch_id)
        if state.has_ended:
            _read(collecting, service, found, state)
        else:
            collecting.states[key] = f"{found.label}: {_progress(state)}"
    except ServiceSilent as error:
        if wait:
            collecting.states[key] = f"{submission.label}: {error}"
        else:
            collecting.faults[key] = f"{submission.label}: {error}"
    except NoBatches as error:
        give_up = f"`factory batch collect --give-up {submission.batch_id or submission.file}{collecting.at}`"
        collecting.faults[key] = f"{submission.label}: {error} (or have its requests written again: {give_up})"
    except FactoryError as error:
        collecting.faults[key] = f"{submission.label}: {error}"


def _settled(collecting: Collecting, submission: Submission) -> Submission | None:
    with run_lock(place(collecting.where)):  # it may be being sent at this moment
        return settle(submission, collecting.submissions, collecting.services)


def _progress(state: BatchState) -> str:
    """`in_progress, 3 of 10 answered, 1 failed`."""
    done = f", {state.completed:,} of {state.total:,} answered" if state.total and state.completed is not None else ""
    return state.status + done + (f", {state.failed:,} failed" if state.failed else "")


def _read(collecting: Collecting, service: Service, submission: Submission, state: BatchState) -> None:
    """Downloads and reads an ended batch; what it has not answered is free again."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{what}.jsonl" for what in sorted(state.files)]  # answers, then errors
        for file in files:
            service.download(state.files[file.stem], file)
        answers = read_batch(collecting.where, files, service.key)
        broken = [position.removeprefix(f"{folder}/") for position in answers.broken]
    left = collecting.submissions.end(submission.submission_id)
    words = f": {state.words}" if state.words else ""
    collecting.say(f"{submission.label}: {_progress(state)}{words}")
    report(answers, collecting.where, collecting.console)
    silent = left - answers.failed.total() - len(broken)
    if silent > 0:
        collecting.say(f"{silent:,} without a word: the next batch includes them again")
    if broken:
        collecting.faults[submission.submission_id] = (
            f"{submission.label}: {counted(len(broken), 'line')} cannot be read ({', '.join(broken[:5])}); the next batch "
            "includes those requests again"
        )
    elif state.status == "failed":
        collecting.faults[submission.submission_id] = (
            f"{submission.label} failed{words}: mend that, then write and submit its requests again"
        )


def give_up(where: str, name: str, console: Console) -> None:
    """Takes back the requests of a batch that cannot be collected, by its id or its file's name.

    Raises:
        FactoryError: there is no such batch, or it is not the only one.
    """
    with run_lock(place(where)), Submissions(journal_of(where)) as submissions:
        pending = submissions.pending()
        found = [one for one in pending if name in (one.batch_id, one.file)]
        if len(found) != 1:
            known = ", ".join(one.label for one in pending) or "none"
            fault = "no batch" if not found else "more than one batch"
            raise FactoryError(f"{fault} at a service is called {name}: give the id of one of these: {known}")
        left = submissions.end(found[0].submission_id)
    console.print(
        Text(
            f"{visible(found[0].label)} is given up: {counted(left, 'request')} may be written, and paid for, again; its "
            "answers, should they come, can still be read with `factory batch read`"
        ),
        soft_wrap=True,
    )
