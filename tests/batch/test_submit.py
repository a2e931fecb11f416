"""`factory batch submit` against a scripted Batch API, with the real `openai` client."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.batch.collecting import give_up
from factory.batch.service import Service
from factory.batch.submissions import Submissions
from factory.batch.submitting import submit
from factory.cli.main import main
from schemas.errors import FactoryError
from stores.attach import place
from stores.locks import run_lock
from tests.batch.desk import Desk, Killed
from tests.batch.service import KEY, Lines
from tests.batches import PROMPTS, lines, reply_to, specification, write

ADVICE = "pip install 'preference-factory[batch]'"


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


def test_a_key_in_a_file_is_found_though_no_row_says_where_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    key = desk.folder / "my-key"
    key.write_text(f"{KEY}\n")
    places = {f"models__{role}__api_key_file": str(key) for role in ("actor", "refiner")}
    lake, file = desk.folder / "other", desk.folder / "other.jsonl"
    write(lake, file, specification(desk.service.url, **places))
    submit(str(lake), [file], "", Console())
    assert len(desk.service.batches) == 1
    held = [each.name for each in lake.rglob("*") if each.is_file() and str(key).encode() in each.read_bytes()]
    assert held == []


def test_a_file_that_was_sent_is_not_sent_again(desk: Desk) -> None:
    desk.submit()
    assert "is batch batch-1 already: nothing is sent" in desk.submit()
    copy = desk.file.rename(desk.folder / "renamed.jsonl")
    assert "is batch batch-1 already" in desk.submit(copy)
    desk.collect(wait=True)
    assert "all of its requests are answered already: nothing is sent" in desk.submit(copy)
    assert len(desk.service.batches) == len(desk.service.uploaded) == 1


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
