"""A journal of an earlier version, or a damaged one, is checked when it is read: no run is lost to one of its rows."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from factory.inference.journal import Choice, Journal, JournalTable, Reply
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import answer, run_spar
from tests.scripted_endpoint import running_endpoint

GOOD = Reply([Choice("a", "stop", 1)], 2, 1, 0.5, 0, "http://one/v1")


def stored(file: Path, reply: Any) -> Reply | None:
    """What a journal makes of a row that another hand wrote."""
    with closing(Journal(file)) as journal:
        journal.write("one", GOOD, "run", "actor")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE replies SET reply = ?", [reply])
    with closing(Journal(file)) as journal:
        return journal.find("one")


def as_stored(**changes: Any) -> str:
    return json.dumps(json.loads(GOOD.as_json()) | changes)


def choice(**changes: Any) -> list[dict[str, Any]]:
    return [{"text": "a", "finish_reason": "stop", "tokens": 1} | changes]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"prompt_tokens": float("nan")}, "prompt_tokens is nan"),
        ({"completion_tokens": 10**30}, "completion_tokens is 1e+30"),
        ({"completion_tokens": [1]}, "completion_tokens is a list"),
        ({"choices": choice(finish_reason={"type": "stop"})}, "finish_reason is an object"),
        ({"choices": choice(tokens="1")}, "tokens is the text '1'"),
        ({"choices": choice(logprobs=[{"token": "a"}])}, "logprobs cannot be read"),
        ({"choices": choice(logprobs=[{"token": "a", "logprob": float("nan")}])}, "logprobs cannot be read"),
        ({"choices": choice(text="\ud83d")}, None),
        ({"latency_s": "long", "retries": None, "endpoint": None}, None),
        ({"unknown": 1}, None),
    ],
    ids=repr,
)
def test_an_odd_value_in_a_row_is_none_with_a_note(changes: dict[str, Any], note: str | None, tmp_path: Path) -> None:
    found = stored(tmp_path / "journal.sqlite", as_stored(**changes))
    assert found is not None and found.note == note and found.choices[0].text.encode()


def test_thinking_that_an_earlier_version_left_in_the_text_is_split_off(tmp_path: Path) -> None:
    found = stored(tmp_path / "journal.sqlite", as_stored(choices=choice(text="<think>hm</think>\n\na")))
    assert found is not None and found.choices[0] == Choice("a", "stop", 1, None, "hm")
    found = stored(tmp_path / "other.sqlite", as_stored(choices=choice(text="<think>hm", finish_reason="length")))
    assert found is not None and found.choices[0].text == "" and "only thinking" in (found.note or "")


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        "{}",
        as_stored(choices=[]),
        as_stored(choices={"0": 1}),
        as_stored(choices=["a"]),
        as_stored(choices=[{"finish_reason": "stop"}]),
        as_stored(choices=choice(text=None)),
        b"\xff\xfe\x00",
        7,
    ],
    ids=lambda damaged: repr(damaged)[:30],
)
def test_a_damaged_row_counts_as_unanswered_and_as_paid(damaged: Any, tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    assert stored(file, damaged) is None
    with closing(Journal(file)) as journal:
        journal.write("one", GOOD, "run", "actor")
        assert journal.find("one") == GOOD
        assert journal.spent("run")["actor"].requests == 2


def test_counts_that_an_earlier_version_kept_as_they_came_break_no_sum(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    with closing(Journal(file)) as journal:
        for key, odd in {"a": 3, "b": float("inf"), "c": -(10**12), "d": "x", "e": b"\xff", "f": None}.items():
            journal.write(key, GOOD, "run", "actor")
            journal._table.execute("UPDATE replies SET completion_tokens = ? WHERE request_hash = ?", odd, key)
        spent = journal.spent("run")["actor"]
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (6, 12, 3)


def test_whatever_a_write_fails_of_reaches_those_who_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record_twice(journal: Journal) -> list[Any]:
        waiting = [journal.record(key, GOOD, "run", "actor") for key in "ab"]
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=20)

    too_large = Reply(GOOD.choices, 10**30, 1, None, 0, "http://one/v1")
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        with pytest.raises(FactoryError, match=r"the journal .* cannot be written: .*too large"):
            asyncio.run(journal.record("one", too_large, "run", "actor"))
        assert asyncio.run(record_twice(journal)) == [None, None]  # no transaction is left open
        monkeypatch.setattr(JournalTable, "execute_many", lambda *given: 1 / 0)
        assert [type(error) for error in asyncio.run(record_twice(journal))] == [ZeroDivisionError] * 2


def test_a_run_continues_over_a_journal_of_odd_and_damaged_rows(tmp_path: Path) -> None:
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "whole", endpoint.url, prompts=3)
        Lake.open(tmp_path / "lake", create=True).close()
        (tmp_path / "whole" / "journal.sqlite").rename(tmp_path / "lake" / "journal.sqlite")
        asked = endpoint.stats().received
        with closing(sqlite3.connect(tmp_path / "lake" / "journal.sqlite")) as db, db:
            rows = db.execute("SELECT request_hash, reply FROM replies ORDER BY request_hash").fetchall()
            for number, (key, reply) in enumerate(rows):
                odd = json.loads(reply) | {"prompt_tokens": float("nan")}
                odd["choices"][0]["finish_reason"] = {"type": "stop"}
                changed = json.dumps(odd) if number % 5 else reply[: len(reply) // 2]
                db.execute("UPDATE replies SET reply = ? WHERE request_hash = ?", [changed, key])
            db.execute("UPDATE replies SET run_id = CAST(X'FF' AS TEXT) WHERE request_hash = ?", [rows[1][0]])
        run_spar(tmp_path / "lake", endpoint.url, prompts=3)
        assert endpoint.stats().received - asked == -(-len(rows) // 5)
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.query("FROM calls WHERE from_journal").num_rows == 1  # the one whose payer cannot be read
        notes = lake.query("SELECT DISTINCT note FROM calls WHERE NOT from_journal ORDER BY ALL").to_pylist()
    assert [row["note"].split(",")[0] for row in notes] == [
        "its answer in the journal is damaged and could not be read",
        "prompt_tokens is nan; finish_reason is an object",
    ]
