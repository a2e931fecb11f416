"""The Hub's client: what is there, uploads that go on where they broke off, downloads, and every fault as a sentence.

The token comes from the environment (HF_TOKEN) or the Hub's own login, and is never written or shown.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.monitor.plain_text import shortened
from factory.publishing.manifest import MANIFEST, is_shard
from schemas.errors import FactoryError

KINDS = ("dataset", "model")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_BRANCH = re.compile(r"[A-Za-z0-9][\w./-]{0,200}")
_NOBODYS = frozenset({".gitattributes"})
"""what the Hub itself puts into a new repository"""
_BESIDE = ("recipes/*", "templates/*", "pairings/*", "plots/*")
"""folders beside the data, of which only what is uploaded stays"""
LINEAGE = "lineage"
"""the folder of a model's lineage, of which only what is uploaded stays"""
_AGAIN = "start the command again: it goes on where it broke off"
_SAID = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is published."""

    repo: str
    """user/name"""
    kind: str
    """dataset or model"""
    revision: str | None = None
    """a branch; None: the main one"""

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo) or ".." in self.repo or "--" in self.repo:
            raise FactoryError(
                f"{self.repo!r} is not the name of a repository on the Hub: give USER/NAME, as in alice/spar-dpo"
            )
        if self.revision is not None and (not _BRANCH.fullmatch(self.revision) or ".." in self.revision):
            raise FactoryError(
                f"--revision {self.revision!r} is not the name of a branch or tag: give one such as next"
            )


@dataclass(frozen=True, slots=True)
class There:
    """What a repository holds before an upload."""

    head: str | None
    """its newest commit; None: there is no such repository, or no such branch"""
    files: dict[str, bytes]
    """those asked for that are there"""
    public: bool = False
    """whether it is there, and everybody may read it"""


def check_token() -> str:
    """The token to write with.

    Raises:
        FactoryError: there is none.
    """
    import huggingface_hub

    token = huggingface_hub.get_token()
    if not token:
        raise FactoryError("there is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN")
    return str(token)


def look(place: Place, names: Sequence[str], marks: Sequence[str] = (MANIFEST,)) -> There:
    """What is published at a place already.

    Args:
        names: files to fetch, where they are.
        marks: files, one of which a repository has that this program has published to.
    Raises:
        FactoryError: the repository holds other content, or the Hub cannot be asked.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = _client()
    with told(place):
        try:
            info = api.repo_info(place.repo, repo_type=place.kind)
            public = not info.private
            if place.revision is not None:
                info = api.repo_info(place.repo, repo_type=place.kind, revision=place.revision)
        except RevisionNotFoundError:
            return There(None, {}, public)
        except RepositoryNotFoundError as error:
            if getattr(error.response, "status_code", None) == 401:
                raise
            return There(None, {})
        present = {one.rfilename for one in info.siblings or []}
        # Data alone is what an upload leaves behind that broke off.
        theirs = sorted(name for name in present - _NOBODYS if not is_shard(name))
        if theirs and not present & set(marks):
            raise FactoryError(
                f"{place.repo} holds other content ({', '.join(theirs[:3])}), which would be mixed with this: give another "
                "name, or a branch with --revision"
            )
        files = {}
        for name in names:
            if name in present:
                path = api.hf_hub_download(place.repo, name, repo_type=place.kind, revision=info.sha)
                files[name] = Path(path).read_bytes()
    return There(str(info.sha), files, public)


def check_private(place: Place, there: There, private: bool) -> None:
    """Raises:
    FactoryError: it shall be private, and is public already.
    """
    if private and there.public:
        raise FactoryError(
            f"{place.kind} {place.repo} is public already, and --private is for a new one: make it private on the Hub first, or "
            "give another name"
        )


def upload(
    place: Place,
    folder: Path,
    *,
    private: bool,
    message: str,
    tag: str | None,
    head: str | None,
    tell: Callable[[str], None] = lambda words: None,
) -> str:
    """Uploads a folder: the data first, the card with all that names the data last, in one commit that drops older data.

    Broken off, it is started again: files that are there are not sent again. Until the last commit, readers see the version
    before as it was.

    Args:
        head: the newest commit when the repository was looked at; None: a new one.
        tell: is told what is being sent.
    Returns:
        the last commit.
    Raises:
        FactoryError: the Hub refuses, or cannot be reached.
    """
    api = _client()
    given: dict[str, Any] = {"repo_id": place.repo, "repo_type": place.kind, "revision": place.revision}
    with told(place, folder), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # a model's lineage
        api.create_repo(place.repo, repo_type=place.kind, private=private if head is None else None, exist_ok=True)
        if place.revision is not None:
            api.create_branch(place.repo, branch=place.revision, repo_type=place.kind, exist_ok=True)
        # Each commit names the one before it, so that the Hub refuses them if somebody else's came between.
        newest = str(api.repo_info(place.repo, repo_type=place.kind, revision=place.revision).sha)
        if head is not None and newest != head:
            raise FactoryError(_changed(place))
        configs = sorted((folder / "data").glob("*/*"))
        for number, config in enumerate(configs, start=1):
            tell(f"uploading {config.name}, config {number} of {len(configs)}")
            path = config.relative_to(folder).as_posix()
            said = f"{message}: {config.name}"
            newest = api.upload_folder(
                **given, folder_path=config, path_in_repo=path, commit_message=said, parent_commit=newest
            ).oid
        tell(f"uploading the card to {place.repo}")
        done = api.upload_folder(
            **given,
            folder_path=folder,
            commit_message=message,
            parent_commit=newest,
            delete_patterns=_stale(api, place, {key.name for key in (folder / "data").glob("*")}),
            ignore_patterns=["data/*"] if configs else None,
        )
        if tag is not None:
            api.create_tag(place.repo, tag=tag, repo_type=place.kind, revision=done.oid, exist_ok=True)
    return str(done.oid)


def _stale(api: Any, place: Place, keys: set[str]) -> list[str]:
    """What an earlier version left, which stays in its commits and under its tag; of a model, its lineage alone."""
    if not keys:
        return [f"{LINEAGE}/*"]
    files = api.list_repo_files(place.repo, repo_type=place.kind, revision=place.revision)
    older = {match[1] for file in files if (match := re.match(r"data/([0-9a-f]{12})/", file))} - keys
    return [*(f"data/{key}/*" for key in sorted(older)), *_BESIDE]


def download(place: Place, folder: Path, patterns: Sequence[str]) -> str:
    """Downloads the files that fit the patterns into a folder, and returns the commit they are of.

    Raises:
        FactoryError: there is no such repository or revision, or the Hub cannot be asked.
    """
    api = _client()
    with told(place, reads=True):
        sha = api.repo_info(place.repo, repo_type=place.kind, revision=place.revision).sha
        api.snapshot_download(
            place.repo, repo_type=place.kind, revision=sha, local_dir=folder, allow_patterns=list(patterns)
        )
    return str(sha)


def _client() -> Any:
    """The Hub's client, without bars, for progress is shown already, and without warnings, which are for programmers."""
    import huggingface_hub
    import huggingface_hub.utils.logging

    huggingface_hub.utils.disable_progress_bars()
    huggingface_hub.utils.logging.set_verbosity_error()
    return huggingface_hub.HfApi()


@contextmanager
def told(place: Place, folder: Path | None = None, *, reads: bool = False) -> Iterator[None]:
    """Turns whatever the Hub or the network answers into one sentence; Ctrl-C and the program's own faults stay.

    Args:
        folder: what is uploaded.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    faults = (
        HfHubHTTPError,
        httpx2.HTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RuntimeError,
        ValueError,
        OSError,
    )
    try:
        yield
    except faults as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (HfHubHTTPError, httpx2.HTTPError)):
            cause = cause.__cause__
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            raise FactoryError(_refusal(place, cause, folder, reads=reads)) from error
        if isinstance(cause, httpx2.HTTPError):
            kind = type(cause).__name__
            raise FactoryError(
                f"the Hub cannot be reached, or the connection to it broke ({kind}): {_AGAIN}"
            ) from error
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            raise FactoryError(
                "the Hub cannot be reached: check the network (and HF_HUB_OFFLINE), then " + _AGAIN
            ) from error
        if (isinstance(error, OSError) and error.filename is None) or isinstance(error, RuntimeError):
            # The Hub's newer storage (Xet) has a client of its own, with errors of its own.
            words = shortened(re.sub(r"hf_\w+", "hf_…", str(error)), _SAID)
            raise FactoryError(
                f"the transfer to or from the Hub failed ({words}): {_AGAIN}; a Hub without Xet storage needs "
                "HF_HUB_DISABLE_XET=1"
            ) from error
        raise


def _refusal(place: Place, error: Any, folder: Path | None, *, reads: bool) -> str:
    response = error.response
    status, repo = response.status_code, f"{place.kind} {place.repo}"
    said = _said(error)
    if status == 401:
        return f"the Hub does not accept the token for {repo}{said}: log in with `hf auth login`, or set HF_TOKEN"
    if status == 403:
        may = "read" if reads else "write to"
        return f"the token may not {may} {repo}{said}: use one with that right, or a name of your own"
    if status == 404:
        at = f" at revision {place.revision}" if place.revision else ""
        return f"the Hub has no {repo}{at}, or none that this token may see: look at the name, or log in with `hf auth login`"
    if status in (409, 412):
        return _changed(place)
    if status == 413:
        largest = f" (the largest is {_largest(folder)})" if folder is not None else ""
        return f"the Hub finds a file or a commit of {repo} too large{largest}{said}: ask it for more room, or publish fewer rows"
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        when = f"in {wait} s" if wait.isdigit() else "in some minutes"
        return f"the Hub has had too many requests{said}: {_AGAIN}, {when}"
    if status >= 500:
        return f"the Hub answered {status}, a fault of its own{said}: {_AGAIN} later"
    return f"the Hub refused {repo} with {status}{said}"


def _changed(place: Place) -> str:
    return (
        f"somebody has changed {place.kind} {place.repo} meanwhile, and nothing of theirs is overwritten: look at it, then "
        "start the command again"
    )


def _largest(folder: Path) -> str:
    largest = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    return f"{largest.relative_to(folder).as_posix()} with {largest.stat().st_size:,} bytes"


def _said(error: Any) -> str:
    """What the server said, without anything that could be a token."""
    words = re.sub(r"hf_\w+", "hf_…", str(getattr(error, "server_message", None) or ""))
    return f" ({shortened(words, _SAID)})" if words.strip() else ""
