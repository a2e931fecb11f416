"""The journal's file: what is written can be read, also from older files, and trouble with it is one sentence."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from factory.batch.deferred import Deferred, DeferredRequests
from factory.inference.journal import Choice, Journal, Reply
from factory.inference.logprobs import TokenLogprob
from schemas.errors import FactoryError


def test_a_reply_without_log_probabilities_is_stored_as_it_always_was() -> None:
    reply = Reply([Choice("a", "stop", 1)], 2, 1, 0.5, 0, "http://one/v1")
    stored = (
        '{"prompt_tokens":2,"completion_tokens":1,"latency_s":0.5,"retries":0,"endpoint":"http://one/v1",'
        '"choices":[{"text":"a","finish_reason":"stop","tokens":1}]}'
    )
    assert reply.as_json() == stored
    assert Reply.from_json(stored) == reply


def test_log_probabilities_come_back() -> None:
    tokens = [TokenLogprob("a", -0.25, {"a": -0.25, " b": -2.0}), TokenLogprob("", -0.5)]
    reply = Reply([Choice("a", "stop", 2, tokens), Choice("b", "stop", 2)], 2, 4, None, 0, "http://one/v1")
    assert Reply.from_json(reply.as_json()) == reply


def test_a_journal_of_before_is_read(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    reply = Reply([Choice("a", "stop", 1)], 2, 1, 0.5, 0, "http://one/v1")
    with closing(sqlite3.connect(file)) as old, old:
        old.execute(
            "CREATE TABLE replies (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, "
            "prompt_tokens INTEGER, completion_tokens INTEGER, reply TEXT) WITHOUT ROWID"
        )
        old.execute("INSERT INTO replies VALUES ('one', 'run', 'actor', 2, 1, ?)", [reply.as_json()])
        old.execute(
            "CREATE TABLE awaited (request_hash TEXT PRIMARY KEY, run_id TEXT, role TEXT, "
            "choices INTEGER, endpoint TEXT, batch INTEGER) WITHOUT ROWID"
        )
        old.execute("INSERT INTO awaited VALUES ('two', 'run', 'actor', 5, 'http://one/v1', 1)")
    with closing(Journal(file)) as journal, closing(DeferredRequests(file)) as deferred:
        assert journal.find("one") == reply and journal.find("two") is None
        assert journal.spent("run")["actor"].requests == 1
        assert deferred.find("two") == Deferred("run", "actor", 5, "http://one/v1")
        assert deferred.add("two", Deferred("run", "actor", 5, "http://one/v1")) is True
        assert deferred.add("two", Deferred("run", "actor", 5, "http://one/v1")) is None
        assert deferred.add("three", Deferred("run", "actor", 1, "http://one/v1")) is False
        deferred.remove("two")
        assert deferred.find("two") is None


def test_a_file_that_is_no_journal_is_named_by_both(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_text(json.dumps("x" * 5000))
    for open_it in (Journal, DeferredRequests):
        with pytest.raises(
            FactoryError, match=r"the journal .*journal\.sqlite cannot be opened: file is not a database"
        ):
            open_it(file)


def test_several_rows_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        reply = Reply([Choice("a", "stop", 1)], 2, 1, 0.5, 0, "http://one/v1")
        journal.write("one", reply, "run", "actor")
        journal.write("one", reply, "another run", "actor")  # the first stays: it was paid then
        assert set(journal.spent("run")) == {"actor"} and not journal.spent("another run")
