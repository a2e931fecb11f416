"""A hosted Batch API, through the `openai` package: upload, create, find, look, download.

The package is imported when a service is opened: it takes more than a second to load. Its own retries are used for
everything but creating a batch, which is paid for: `submitting.py` looks for the batch before it asks again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from factory.batch.request_files import URL
from factory.inference.client import proxy_for, public_address
from factory.inference.failures import NO_KEY, Failure, of_transport, one_line, read_document
from factory.inference.keys import key_place, read_key
from factory.inference.settings import ModelSettings
from schemas.errors import FactoryError

SUBMISSION = "factory_submission"
"""The batch's metadata key that holds the id of the submission."""
PAGE = 100
MOST_PAGES = 1_000
MOST_ANSWER_BYTES = 64 * 2**30
ENDED = ("completed", "failed", "expired", "cancelled")
Result = TypeVar("Result")


class ServiceSilent(FactoryError):
    """The service did not answer, or is overloaded: later it may. What was asked may have been done."""


class CannotList(FactoryError):
    """The service does not list its batches."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """What the service says of a batch."""

    batch_id: str
    status: str
    total: int | None
    completed: int | None
    failed: int | None
    files: dict[str, str]
    """ids of the files to download, by what they hold: answers, errors"""
    words: str | None
    """why it failed"""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come; a batch whose answers are counted but not to be had yet has not ended."""
        return self.status in ENDED and not (self.completed and "answers" not in self.files)


@dataclass(frozen=True, slots=True)
class Service:
    """One account at one base URL."""

    client: Any
    """an `openai.OpenAI`"""
    address: str
    key: str
    key_place: str

    def upload(self, file: Path) -> str:
        """Uploads a file of requests; returns its id there."""

        def send() -> Any:
            with file.open("rb") as opened:
                return self.client.files.create(file=(file.name, opened), purpose="batch")

        return self._id(self._asked(send))

    def create(self, file_id: str, submission_id: str) -> str:
        """Makes a batch of an uploaded file, asking once; returns its id.

        Raises:
            ServiceSilent: nobody knows whether it was made.
            FactoryError: refused.
        """
        once = self.client.with_options(max_retries=0)
        return self._id(
            self._asked(
                lambda: once.batches.create(
                    input_file_id=file_id,
                    endpoint=URL,
                    completion_window="24h",
                    metadata={SUBMISSION: submission_id},
                )
            )
        )

    def find(self, submission_id: str) -> str | None:
        """The id of the batch that was made for a submission; None: there is none.

        Raises:
            CannotList: the service does not tell.
        """
        seen: set[str] = set()
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            try:
                page = self._asked(lambda after=after: self.client.batches.list(limit=PAGE, **after))  # type: ignore[misc]
            except NoBatches as error:
                raise CannotList(f"{self.address} does not list its batches") from error
            listed = getattr(page, "data", None)
            ids = []
            for batch in listed if isinstance(listed, list) else []:
                batch_id, metadata = getattr(batch, "id", None), getattr(batch, "metadata", None)
                if isinstance(batch_id, str) and batch_id:
                    if isinstance(metadata, dict) and metadata.get(SUBMISSION) == submission_id:
                        return batch_id
                    ids.append(batch_id)
            if not getattr(page, "has_more", False) or seen.issuperset(ids):
                return None  # a service that repeats itself has no more either
            seen.update(ids)
            after = {"after": ids[-1]}
        return None

    def look(self, batch_id: str) -> BatchState:
        """What has become of a batch."""
        batch = self._asked(lambda: self.client.batches.retrieve(batch_id))
        status = getattr(batch, "status", None)
        if not isinstance(status, str):
            raise ServiceSilent(f"{self.address} answered with something that is no batch: see whether it works")
        counts = getattr(batch, "request_counts", None)
        found = {"answers": getattr(batch, "output_file_id", None), "errors": getattr(batch, "error_file_id", None)}
        return BatchState(
            batch_id,
            one_line(status),
            _count(counts, "total"),
            _count(counts, "completed"),
            _count(counts, "failed"),
            {what: file_id for what, file_id in found.items() if isinstance(file_id, str) and file_id},
            self._without_key(_words(getattr(batch, "errors", None))) or None,
        )

    def download(self, file_id: str, into: Path) -> None:
        """Writes a file of answers to `into`, a piece at a time; one that breaks off is an error."""
        import httpx2

        def fetch() -> None:
            size = 0
            try:
                with self.client.files.with_streaming_response.content(file_id) as got, into.open("wb") as opened:
                    for piece in got.iter_bytes():
                        size += len(piece)
                        if size > MOST_ANSWER_BYTES:
                            raise FactoryError(f"{self.address} sends answers without an end: download them by hand")
                        opened.write(piece)
            except httpx2.TransportError as error:
                raise ServiceSilent(f"{self.address} broke off a download ({of_transport(error)}): {LATER}") from error

        self._asked(fetch)

    def _asked(self, ask: Callable[[], Result]) -> Result:
        """What the package returns; its errors as ours, without the key."""
        import openai

        try:
            return ask()
        except openai.APIStatusError as error:
            raise self._refusal(error.response) from error
        except openai.APIConnectionError as error:
            raise ServiceSilent(f"{self.address} does not answer ({of_transport(error)}): {LATER}") from error
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise ServiceSilent(
                f"{self.address} answered with something that is not JSON: see whether it has a Batch API"
            ) from error

    def _refusal(self, response: Any) -> FactoryError:
        status = response.status_code
        try:
            read_document(status, response.headers, response.content, self.key)
            words = f"HTTP {status}"
        except Failure as failure:
            words = str(failure)
        if status in (401, 403):
            return FactoryError(f"{self.address} refuses the key ({words}): put the right one in {self.key_place}")
        if status in (404, 405, 501):
            return NoBatches(f"{self.address} does not have it ({words}): {NOT_THERE}")
        if status >= 500 or status in (408, 409, 429):
            return ServiceSilent(f"{self.address} cannot now ({words}): {LATER}")
        if 300 <= status < 400:
            return FactoryError(
                f"{self.address} redirects to another address ({words}), where neither the key nor prompts are sent: "
                "give that one's base URL to `factory batch write` if you trust it"
            )
        return FactoryError(f"{self.address} refuses it ({words}): mend that, then run the same command again")

    def _id(self, made: Any) -> str:
        found = getattr(made, "id", None)
        if not isinstance(found, str) or not found:
            raise ServiceSilent(f"{self.address} answered without an id: see whether it has a Batch API")
        return found

    def _without_key(self, text: str) -> str:
        return text if self.key == NO_KEY else text.replace(self.key, "***")


class NoBatches(FactoryError):
    """The service has no such file, batch, or API at all."""


LATER = "run the same command again later; nothing is paid for twice"
NOT_THERE = (
    "if it has no Batch API, give the file to a service that has one and read its answers with `factory batch read`, or "
    "ask live with `factory resume`"
)


@contextmanager
def service_of(settings: ModelSettings) -> Iterator[Service]:
    """The Batch API at a model's first base URL.

    Raises:
        FactoryError: the `openai` package is missing, or the key or the proxy cannot be used.
    """
    try:
        import httpx2
        import openai
    except ModuleNotFoundError as error:
        if error.name not in ("openai", "httpx2"):
            raise
        raise FactoryError(
            "`factory batch submit` and `collect` need the package openai: pip install 'preference-factory[batch]'"
        ) from error
    url, key = settings.endpoint[0], read_key(settings)
    # No redirects: they would take the prompts elsewhere. No trust_env: it would send what is for this machine through
    # a proxy.
    http = httpx2.Client(
        follow_redirects=False,
        trust_env=False,
        proxy=proxy_for(url),
        timeout=httpx2.Timeout(settings.timeout_s, connect=30),
    )
    with openai.OpenAI(api_key=key, base_url=url, http_client=http) as client:
        yield Service(client, public_address(url), key, key_place(settings))


def _count(counts: Any, name: str) -> int | None:
    count = getattr(counts, name, None)
    return count if isinstance(count, int) and count >= 0 else None


def _words(errors: Any) -> str:
    """The first of the service's reasons: `token_limit_exceeded: Too many tokens (line 3)`."""
    said = []
    listed = getattr(errors, "data", None)
    for error in listed[:3] if isinstance(listed, list) else []:
        parts = [getattr(error, name, None) for name in ("code", "message")]
        line = getattr(error, "line", None)
        at = f" (line {line})" if isinstance(line, int) else ""
        said.append(": ".join(part for part in parts if isinstance(part, str)) + at)
    return one_line("; ".join(said))
