"""`factory batch collect` against a scripted Batch API, with the real `openai` client."""

import json

import pytest
from rich.console import Console

from factory.batch import collecting
from factory.batch.collecting import collect, give_up
from factory.batch.submissions import Submissions
from schemas.errors import FactoryError
from tests.batch.desk import Desk, Killed
from tests.batch.service import Lines, answer_all, unanswered
from tests.batches import PROMPTS, lines, reply_to


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


def test_in_a_terminal_the_waiting_is_shown_and_wiped_away(desk: Desk) -> None:
    desk.submit()
    desk.capsys.readouterr()
    collect(desk.lake, "", Console(force_terminal=True, width=120), wait=True)
    shown = desk.capsys.readouterr().out
    assert "requests.jsonl (batch-1): in_progress" in shown and f"{PROMPTS} answers added" in shown


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
