"""`factory batch submit` and `collect` against a scripted Batch API, with the real `openai` client."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.batch import collecting, submitting
from factory.batch.collecting import collect, give_up
from factory.batch.service import Service
from factory.batch.submissions import Submissions
from factory.batch.submitting import submit
from factory.cli.main import main
from factory.inference.journal import journal_file
from schemas.errors import FactoryError
from stores.attach import place
from stores.locks import run_lock
from tests.batch_service import KEY, BatchService, Lines, answer_all, running_service, unanswered
from tests.batches import PROMPTS, lines, reply_to, specification, write

pytest.importorskip("openai", reason="these need openai: pip install 'preference-factory[batch]'")
ADVICE = "pip install 'preference-factory[batch]'"


@pytest.fixture(scope="module")
def running() -> Iterator[BatchService]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def written(running: BatchService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake and the batch that was written for it."""
    folder = tmp_path_factory.mktemp("written")
    write(folder / "lake", folder / "requests.jsonl", specification(running.url))
    return folder


@dataclass
class Desk:
    """A lake with a batch to send, and the service."""

    service: BatchService
    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def lake(self) -> str:
        return str(self.folder / "lake")

    @property
    def file(self) -> Path:
        return self.folder / "requests.jsonl"

    def submit(self, *files: Path) -> str:
        self.capsys.readouterr()
        submit(self.lake, files or [self.file], "", Console())
        return self.capsys.readouterr().out

    def collect(self, wait: bool = False) -> str:
        self.capsys.readouterr()
        collect(self.lake, "", Console(), wait=wait)
        return self.capsys.readouterr().out

    def write_next(self) -> Any:
        number = len(list(self.folder.glob("next*")))
        return write(Path(self.lake), self.folder / f"next{number}.jsonl", specification(self.service.url))

    def journal(self) -> Submissions:
        return Submissions(journal_file(place(self.lake)))


@pytest.fixture
def desk(
    running: BatchService,
    written: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    fresh = BatchService(running.url)
    for each in dataclasses.fields(BatchService):
        setattr(running, each.name, getattr(fresh, each.name))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(collecting, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(submitting, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0, raising=True)
    shutil.copytree(written, tmp_path / "desk")
    return Desk(running, tmp_path / "desk", capsys)


def test_a_batch_is_sent_waited_for_and_read(desk: Desk) -> None:
    said = desk.submit()
    assert f"requests.jsonl: {PROMPTS} requests at {desk.service.url}; it is batch batch-1" in said
    assert desk.service.uploaded == [desk.file.read_bytes()]
    (batch,) = desk.service.batches
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")
    first = desk.collect()
    assert f"requests.jsonl (batch-1): validating, 0 of {PROMPTS} answered" in first
    assert "1 batch at the service" in first and "factory batch collect --wait" in first
    waited = desk.collect(wait=True)
    assert f"in_progress, 0 of {PROMPTS} answered" in waited
    assert (
        f"completed, {PROMPTS} of {PROMPTS} answered" in waited and f"{PROMPTS} answers added to the journal" in waited
    )
    assert "run the same `factory batch write` again" in waited
    assert "no batch is at a service" in desk.collect()
    assert len(desk.write_next().files) == 1  # votes


def test_the_key_is_in_no_file_of_the_lake(desk: Desk) -> None:
    def repeat_the_key(requests: Lines) -> tuple[Lines, Lines]:
        replies = [reply_to(request) for request in requests]
        replies[0]["response"]["body"]["choices"][0]["message"]["content"] = f"Your key is {KEY}."
        return replies, []

    desk.service.fulfil = repeat_the_key
    desk.submit()
    desk.collect(wait=True)
    desk.write_next()
    held = [file for file in desk.folder.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert held == []


def test_a_file_that_was_sent_is_not_sent_again(desk: Desk) -> None:
    desk.submit()
    assert "is batch batch-1 already: nothing is sent" in desk.submit()
    copy = desk.file.rename(desk.folder / "renamed.jsonl")
    assert "is batch batch-1 already" in desk.submit(copy)
    desk.collect(wait=True)
    assert "all of its requests are answered already: nothing is sent" in desk.submit(copy)
    assert len(desk.service.batches) == len(desk.service.uploaded) == 1


class Killed(BaseException):
    """Ends a command at once, as `kill -9` does: nothing of ours catches it."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "step"),
    [(Submissions, "begin"), (Service, "find"), (Service, "upload"), (Service, "create"), (Submissions, "is_batch")],
)
@pytest.mark.parametrize("then", ["submit", "collect"])
def test_a_kill_at_any_point_makes_no_second_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: Any, step: str, when: str, then: str
) -> None:
    real = getattr(kind, step)

    def killed(*given: Any) -> None:
        if when == "after":
            real(*given)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(kind, step, killed)
        desk.submit()
    if then == "collect":
        desk.collect()
    desk.submit()
    assert len(desk.service.batches) == 1
    assert f"{PROMPTS} answers added" in desk.collect(wait=True)


def test_a_batch_whose_reply_was_lost_is_found_and_not_made_twice(desk: Desk) -> None:
    desk.service.faults["POST /v1/batches"] = ["do and drop"]
    assert "was there already, as batch batch-1" in desk.submit()
    assert len(desk.service.batches) == 1


def test_a_service_that_never_answers_leaves_a_state_that_the_next_submit_settles(desk: Desk) -> None:
    desk.service.faults["POST /v1/batches"] = ["drop", (500, {"error": {"message": "Oops."}}, {}), "do and drop"]
    with pytest.raises(FactoryError, match=r"does not answer .*run the same command again later"):
        desk.submit()
    assert desk.service.asked.count("POST /v1/batches") == 3
    assert "is batch batch-1 already" in desk.submit()
    assert len(desk.service.batches) == 1


def test_another_copy_of_the_lake_finds_the_batch(desk: Desk) -> None:
    for _ in range(5):
        desk.service.create({"input_file_id": "file-1"})
    shutil.copytree(desk.lake, desk.folder / "copy")
    desk.submit()
    submit(str(desk.folder / "copy"), [desk.file], "", Console())
    assert len(desk.service.batches) == 6


def test_a_service_that_lists_no_batches_is_asked_once_and_never_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_list = (405, {"error": {"message": "Method not allowed."}}, {})
    desk.service.faults["GET /v1/batches"] = [no_list] * 20
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Submissions, "is_batch", lambda *_: (_ for _ in ()).throw(Killed))
        desk.submit()
    for again in (desk.submit, desk.collect):
        with pytest.raises(FactoryError, match=r"does not list its batches: look there .* --give-up requests.jsonl"):
            again()
    assert len(desk.service.batches) == 1
    give_up(desk.lake, "requests.jsonl", Console())
    desk.submit()
    assert len(desk.service.batches) == 2


def test_requests_at_a_service_are_not_written_again(desk: Desk) -> None:
    desk.submit()
    left = desk.write_next()
    assert (left.files, left.sent, left.again, left.finished) == ([], PROMPTS, 0, False)
    give_up(desk.lake, "batch-1", Console())
    again = desk.write_next()
    assert (again.files[0].requests, again.sent, again.again) == (PROMPTS, 0, PROMPTS)


def test_a_request_is_in_one_batch_at_a_time(desk: Desk) -> None:
    first, *others = desk.file.read_text().splitlines()
    part = lines(desk.folder / "part.jsonl", first)
    desk.submit(part)
    with pytest.raises(FactoryError, match=f"1 of its {PROMPTS} requests are in another batch at the service"):
        desk.submit()
    desk.collect(wait=True)
    with pytest.raises(FactoryError, match=f"1 of its {PROMPTS} requests are answered by now"):
        desk.submit()
    desk.submit(lines(desk.folder / "rest.jsonl", *others))
    assert len(desk.service.batches) == 2


@pytest.mark.parametrize("status", ["expired", "cancelled", "completed"])
def test_a_batch_that_was_answered_in_part_gives_what_it_has(desk: Desk, status: str) -> None:
    def in_part(requests: Lines) -> tuple[Lines, Lines]:
        refused = reply_to(requests[2])
        refused["response"] |= {"status_code": 400, "body": {"error": {"code": "context_length_exceeded"}}}
        return [reply_to(request) for request in requests[:2]], [refused, unanswered(requests[3], f"batch_{status}")]

    desk.service.plan, desk.service.fulfil = (status,), in_part
    desk.submit()
    said = desk.collect()
    assert f"{status}, 2 of {PROMPTS} answered, 2 failed" in said and "2 answers added" in said
    assert f"2 not answered (1 HTTP 400 context_length_exceeded, 1 batch_{status})" in said
    assert f"{PROMPTS - 4} without a word: the next batch includes them again" in said
    second = desk.write_next()
    assert (second.sent, second.again) == (0, PROMPTS - 2)
    desk.service.plan, desk.service.fulfil = ("completed",), answer_all
    desk.submit(*(file.path for file in second.files))
    desk.collect()
    assert desk.write_next().again == 0


def test_a_batch_that_fails_says_why_and_can_be_sent_again(desk: Desk) -> None:
    desk.service.plan = ("failed",)
    desk.service.errors = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "Full.", "line": 3}]}
    desk.submit()
    with pytest.raises(FactoryError, match=r"\(batch-1\) failed: token_limit_exceeded: Full. \(line 3\): mend that"):
        desk.collect()
    desk.service.plan = ("completed",)
    assert "it is batch batch-2" in desk.submit()  # the same file: nothing of it was paid
    assert f"{PROMPTS} answers added" in desk.collect()


def test_answers_that_are_counted_but_not_there_yet_are_waited_for(desk: Desk) -> None:
    desk.submit()
    early = {"id": "batch-1", "status": "completed", "request_counts": {"total": 6, "completed": 6, "failed": 0}}
    desk.service.faults["GET /v1/batches/batch-1"] = [(200, early, {})]
    assert "completed, 6 of 6 answered" in desk.collect()
    assert f"{PROMPTS} answers added" in desk.collect(wait=True)


def test_a_kill_while_answers_are_read_loses_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.service.plan = ("completed",)
    desk.submit()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Submissions, "end", lambda *_: (_ for _ in ()).throw(Killed))
        desk.collect()
    said = desk.collect()
    assert "0 answers added" in said and f"{PROMPTS} already answered: ignored" in said
    assert desk.write_next().sent == 0


def test_a_download_that_breaks_off_is_fetched_again(desk: Desk) -> None:
    desk.service.plan = ("completed",)
    desk.submit()
    short = (200, b'{"custom_id": "', {"Content-Length": "1000"})
    desk.service.faults["GET /v1/files/file-batch-1-output/content"] = [short]
    with pytest.raises(FactoryError, match="broke off a download"):
        desk.collect()
    assert f"{PROMPTS} answers added" in desk.collect()


def test_waiting_goes_on_when_the_service_is_silent(desk: Desk) -> None:
    desk.submit()
    desk.service.faults["GET /v1/batches/batch-1"] = [(503, {"error": {"message": "Later."}}, {})] * 4
    said = desk.collect(wait=True)
    assert "cannot now (HTTP 503: Later.)" in said and f"{PROMPTS} answers added" in said


def test_ctrl_c_while_waiting_is_one_sentence_and_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    desk.submit()
    with monkeypatch.context() as patched, pytest.raises(FactoryError, match="the batches go on at the service"):
        patched.setattr(collecting.time, "sleep", interrupt)
        desk.collect(wait=True)
    assert f"{PROMPTS} answers added" in desk.collect(wait=True)


def test_one_batch_that_is_gone_keeps_no_other_from_being_read(desk: Desk) -> None:
    first, *others = desk.file.read_text().splitlines()
    desk.service.plan = ("completed",)
    desk.submit(lines(desk.folder / "a.jsonl", first), lines(desk.folder / "b.jsonl", *others))
    desk.service.batches[0]["id"] = "gone"
    with pytest.raises(FactoryError, match=r"a.jsonl \(batch-1\): .*No such thing.*--give-up batch-1`"):
        desk.collect()
    assert f"{PROMPTS - 1} answers added" in desk.capsys.readouterr().out
    give_up(desk.lake, "batch-1", Console())
    assert desk.write_next().sent == 0


def test_lines_that_cannot_be_read_are_told_and_written_again(desk: Desk) -> None:
    desk.service.plan = ("completed",)
    desk.submit()
    desk.service.faults["GET /v1/files/file-batch-1-output/content"] = [(200, b'{"custom\n[[[[\n', {})]
    with pytest.raises(FactoryError, match=r"2 lines cannot be read \(answers.jsonl:1, answers.jsonl:2\)"):
        desk.collect()
    assert desk.write_next().again == PROMPTS


@pytest.mark.parametrize(
    ("path", "reply", "sentence"),
    [
        ("POST /v1/files", (404, {"detail": "Not Found"}, {}), "if it has no Batch API, give the file to a service"),
        ("POST /v1/files", (400, {"error": {"message": "Bad file."}}, {}), "refuses it .HTTP 400: Bad file"),
        ("POST /v1/files", (307, b"", {"Location": "http://127.0.0.1:9/v1/files"}), "redirects to another address"),
        ("POST /v1/files", (200, {"object": "file"}, {}), "answered without an id"),
        ("POST /v1/files", (200, b"<html>", {"Content-Type": "text/html"}), "answered without an id"),
        ("POST /v1/batches", (402, {"error": {"message": "Pay."}}, {}), "refuses it .HTTP 402: Pay"),
        ("GET /v1/batches", (200, b"{" * 9, {"Content-Type": "application/json"}), "not JSON"),
    ],
)
def test_what_the_service_refuses_is_told_in_one_sentence(desk: Desk, path: str, reply: Any, sentence: str) -> None:
    desk.service.faults[path] = [reply] * 9
    with pytest.raises(FactoryError, match=sentence):
        desk.submit()
    desk.service.faults.clear()
    desk.submit()
    assert len(desk.service.batches) == 1


def test_a_wrong_key_is_told_by_its_place_and_never_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    with pytest.raises(FactoryError, match=r"refuses the key .*\*\*\*.* environment variable OPENAI_API_KEY") as raised:
        desk.submit()
    assert "sk-wrong" not in str(raised.value)
    assert desk.write_next().sent == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda file: file.write_text("{}\n"), "requests.jsonl:1 is no request"),
        (lambda file: file.write_text(""), "holds 0 requests"),
        (
            lambda file: file.write_text(file.read_text() * 2),
            f"requests.jsonl:{PROMPTS + 1} is no request, or one that",
        ),
        (lambda file: file.write_text(file.read_text().replace('"mock"', '"other"', 1)), "2 models"),
        (
            lambda file: lines(file, {"custom_id": "x", "body": {"model": "mock"}}),
            "1 of its 1 requests were not written for lake",
        ),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(
    desk: Desk, change: Callable[[Path], Any], sentence: str
) -> None:
    change(desk.file)
    with pytest.raises(FactoryError, match=sentence):
        desk.submit()
    assert desk.service.asked == []


def test_a_lake_that_a_run_is_using_sends_nothing(desk: Desk) -> None:
    with run_lock(place(desk.lake)), pytest.raises(FactoryError, match="another run is using lake"):
        desk.submit()


def test_the_package_is_named_where_it_is_missing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(FactoryError, match="need the package openai") as raised:
        desk.submit()
    assert ADVICE in str(raised.value)


def test_the_commands_print_what_they_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)

    def factory(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["batch", *words])
        return (ended.value.code, *desk.capsys.readouterr())

    code, shown, _ = factory("submit", "requests.jsonl")
    assert code == 0 and "it is batch batch-1" in shown and "factory batch collect --wait" in shown
    code, shown, _ = factory("collect", "--wait")
    assert code == 0 and f"{PROMPTS} answers added to the journal of lake lake" in shown
    code, _, errors = factory("collect", "--give-up", "batch-1")
    assert code == 1 and "no batch at a service is called batch-1" in errors
    code, _, errors = factory("submit", "missing.jsonl")
    assert code == 1 and "missing.jsonl cannot be used: No such file" in errors


def test_a_line_with_an_answer_and_no_status_is_answered(desk: Desk) -> None:
    requests = [json.loads(line) for line in desk.file.read_text().splitlines()]
    replies = [reply_to(request) for request in requests]
    del replies[0]["response"]["status_code"]
    replies[1]["response"]["status_code"] = "200"
    replies[2]["response"] = replies[2]["response"]["body"]
    replies[3]["response"] = {"body": {"error": {"code": "overloaded"}}}
    replies[4]["custom_id"] = "\ud800"
    text = "\ufeff" + "\r\n".join(map(json.dumps, replies[:5])) + "\r\n\r\n" + "[" * 200_000 + "\r\n"
    (desk.folder / "answers.jsonl").write_text(text, "utf-8")
    from factory.batch.batches import read_batch

    found = read_batch(desk.lake, [desk.folder / "answers.jsonl"])
    assert (found.taken, found.unknown, len(found.broken)) == (3, 1, 1)
    assert found.failed == {"overloaded": 1}
