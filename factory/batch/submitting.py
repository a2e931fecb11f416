"""`factory batch submit`: sends files of requests to the Batch API of their model, each once.

Order of events for a file: it is written down (`submissions.py`), the service is asked whether it has the batch already,
the file is uploaded, the batch made, its id written down. A kill in between leaves a submission without a batch; the
next `submit` or `collect` settles it by the service's list.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import msgspec
from rich.console import Console
from rich.text import Text

from factory.batch.deferred import Deferred, journal_of
from factory.batch.request_files import MOST_BYTES, MOST_REQUESTS
from factory.batch.service import CannotList, Service, ServiceSilent, service_of
from factory.batch.submissions import Submission, Submissions
from factory.inference.failures import FIRST_WAIT_S
from factory.inference.journal import Journal, journal_file
from factory.inference.settings import ModelSettings
from factory.inference.trust import check_trusted
from factory.monitor.plain_text import counted, visible
from factory.runs.places import with_places
from schemas.errors import FactoryError
from schemas.tables import Run
from stores.attach import place
from stores.lake import Lake
from stores.locks import run_lock

TRIES = 3
"""of making a batch whose service does not answer; before each it is looked for"""


@dataclass(slots=True)
class Services:
    """The services of a lake's submissions, each opened when it is first asked, and closed at the end of the block."""

    where: str
    _stack: ExitStack = field(default_factory=ExitStack)
    _opened: dict[tuple[str, str], Service] = field(default_factory=dict)

    def of(self, run_id: str, role: str, endpoint: str) -> Service:
        """The service of a run's model.

        Raises:
            FactoryError: the run is gone or now asks another address, or see `service_of`.
        """
        key = (run_id, role)
        if key not in self._opened:
            self._opened[key] = self._open(run_id, role)
        service = self._opened[key]
        if service.address != endpoint:
            raise FactoryError(
                f"its requests are for {endpoint}, and models.{role} of run {run_id} is at {service.address} by now: "
                "write the batch again, or give the run its endpoint back"
            )
        return service

    def _open(self, run_id: str, role: str) -> Service:
        with Lake.open(self.where) as lake:
            found = lake.read(
                Run, "run_event_id IN (SELECT run_event_id FROM current_runs WHERE run_id = $id)", {"id": run_id}
            )
        if not found:
            raise FactoryError(f"lake {self.where} has no run {run_id} any more: give the lake that wrote the batch")
        settings = msgspec.convert(with_places(found[0].recipe, run_id)["models"][role], ModelSettings)
        check_trusted({role: settings}, [], f"run {run_id}")
        return self._stack.enter_context(service_of(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Requests:
    """A file of requests."""

    path: Path
    sha256: str
    hashes: list[str]


def submit(where: str, files: Sequence[Path], at: str, console: Console) -> None:
    """Sends files that `factory batch write` wrote, and prints what became of each.

    Args:
        at: the lake's option for commands, such as ` --lake mine`.
    Raises:
        FactoryError: a file is no such file, some of its requests are answered or sent already, the service refuses, or
            another run is using the lake.
    """
    asked = [read_requests(file) for file in files]
    journal = journal_of(where)
    with run_lock(place(where)), Submissions(journal) as submissions, Services(where) as services:
        for submission in submissions.pending():
            if submission.batch_id is None:
                settle(submission, submissions, services)
        for requests in asked:
            console.print(Text(_submit(where, requests, submissions, services)), soft_wrap=True)
    console.print(Text("answers come within a day:"), soft_wrap=True)
    console.print(Text(f"  factory batch collect --wait{at}", "cyan"), soft_wrap=True)


def read_requests(file: Path) -> Requests:
    """Reads a file of requests.

    Raises:
        FactoryError: a line is no request, an id occurs twice, there are two models, or it is more than a service takes.
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    hashes: dict[str, None] = {}
    models = set()
    with file.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            digest.update(line)
            size += len(line)
            try:
                request = json.loads(line)
                custom_id, model = request["custom_id"], request["body"]["model"]
                if not isinstance(custom_id, str) or not isinstance(model, str) or custom_id in hashes:
                    raise ValueError(custom_id)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise FactoryError(
                    f"{file}:{number} is no request, or one that the file holds before: submit a file as "
                    "`factory batch write` wrote it"
                ) from error
            hashes[custom_id] = None
            models.add(model)
    if not hashes or len(models) > 1 or len(hashes) > MOST_REQUESTS or size > MOST_BYTES:
        raise FactoryError(
            f"{file} holds {counted(len(hashes), 'request')} to {counted(len(models), 'model')} in {size:,} bytes, and a "
            f"batch has 1 to {MOST_REQUESTS:,} requests to one model in at most {MOST_BYTES:,} bytes: submit the files as "
            "`factory batch write` wrote them"
        )
    return Requests(file, digest.hexdigest(), list(hashes))


def _submit(where: str, requests: Requests, submissions: Submissions, services: Services) -> str:
    """Sends one file unless it is at the service already; returns what to say."""
    earlier = submissions.of_file(requests.sha256)
    for submission in earlier:
        if not submission.ended:
            return (
                f"{visible(str(requests.path))} is batch {visible(str(submission.batch_id))} already: nothing is sent"
            )
    first = _first_awaited(where, requests, submissions)
    if first is None:
        return f"{visible(str(requests.path))}: all of its requests are answered already: nothing is sent"
    service = services.of(first.run_id, first.role, first.endpoint)
    submission = Submission(
        f"{requests.sha256}-{len(earlier) + 1}",
        requests.path.name,
        first.run_id,
        first.role,
        first.endpoint,
        len(requests.hashes),
    )
    submissions.begin(submission, requests.hashes)
    try:
        batch_id, found = _make(service, submission, requests.path)
    except (ServiceSilent, CannotList):
        raise  # it stays written down: whether there is a batch is for the service's list to say
    except FactoryError:
        submissions.forget(submission.submission_id)
        raise
    submissions.is_batch(submission.submission_id, batch_id)
    how = "was there already, as batch" if found else "is batch"
    return (
        f"{visible(str(requests.path))}: {counted(len(requests.hashes), 'request')} at {visible(service.address)}; it {how} "
        f"{visible(batch_id)}"
    )


def _first_awaited(where: str, requests: Requests, submissions: Submissions) -> Deferred | None:
    """Where the requests of a file belong; None: all are answered.

    Raises:
        FactoryError: some are answered, sent in another file, unknown, or for another address.
    """
    awaited = [submissions.deferred.find(request_hash) for request_hash in requests.hashes]
    known = [request for request in awaited if request is not None]
    total, missing = len(requests.hashes), [h for h, found in zip(requests.hashes, awaited, strict=True) if not found]
    with closing(Journal(journal_file(place(where)))) as journal:
        answered = sum(journal.find(request_hash) is not None for request_hash in missing)
    if answered == total:
        return None
    again = "run the same `factory batch write` again with another --out, and submit what it writes"
    if answered:
        raise FactoryError(f"{requests.path}: {answered:,} of its {total:,} requests are answered by now: {again}")
    if missing:
        raise FactoryError(
            f"{requests.path}: {len(missing):,} of its {total:,} requests were not written for lake {where}: give the "
            "lake that wrote them (--lake)"
        )
    sent = sum(map(submissions.deferred.is_sent, requests.hashes))
    if sent:
        raise FactoryError(
            f"{requests.path}: {sent:,} of its {total:,} requests are in another batch at the service: run `factory batch "
            f"collect`, then {again.removeprefix('run ')}"
        )
    if len({request.endpoint for request in known}) > 1:
        raise FactoryError(f"{requests.path}: its requests are for more than one address: {again}")
    return known[0]


def _make(service: Service, submission: Submission, file: Path) -> tuple[str, bool]:
    """The id of the submission's batch, and whether it was there already.

    Raises:
        ServiceSilent: nobody knows whether there is one.
        FactoryError: there is none.
    """
    file_id: str | None = None
    for attempt in range(TRIES):
        try:
            # Before the first attempt too: another copy of this lake may have sent the file.
            found = _found(service, submission, sure=attempt > 0)
            if found is not None:
                return found, True
            file_id = file_id or service.upload(file)
            return service.create(file_id, submission.submission_id), False
        except ServiceSilent:
            if attempt + 1 == TRIES:
                raise
            time.sleep(FIRST_WAIT_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _found(service: Service, submission: Submission, *, sure: bool) -> str | None:
    try:
        return service.find(submission.submission_id)
    except CannotList:
        if sure:
            raise
        return None  # nothing was sent yet, as far as this lake knows


def settle(submission: Submission, submissions: Submissions, services: Services) -> Submission | None:
    """Finds the batch of a submission that was cut off; without one it is forgotten, and None is returned.

    Raises:
        FactoryError: the service does not say.
    """
    service = services.of(submission.run_id, submission.role, submission.endpoint)
    try:
        batch_id = service.find(submission.submission_id)
    except CannotList as error:
        raise FactoryError(
            f"sending {submission.file} was cut off, and {service.address} does not list its batches: look there for one; "
            f"if there is none, `factory batch collect --give-up {submission.file}`, and submit the file again"
        ) from error
    if batch_id is None:
        submissions.forget(submission.submission_id)
        return None
    submissions.is_batch(submission.submission_id, batch_id)
    return replace(submission, batch_id=batch_id)
