"""Refusals at the command line: what it says, how it exits, and how the run goes on."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from stores.lake import Lake
from tests.completions import completion_body
from tests.runs import answer
from tests.scripted_endpoint import Reply, Request, running_endpoint
from tests.trouble.commands import Command, run_words, sentence, state

KEY = "sk-a-long-secret-123"


def test_no_money_left_stops_the_run_and_resume_goes_on(factory: Command, place: Path, prompts: Path) -> None:
    def until_the_tenth(request: Request) -> Any:
        if len(endpoint.requests) >= 10:
            return Reply(402, {"error": {"message": "Insufficient Balance"}})
        return answer(request)

    with running_endpoint(until_the_tenth) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
        assert "has run out of quota (HTTP 402: Insufficient Balance): top up your account" in said
        assert [status for status, _ in state(place).values()] == ["failed"]
        endpoint.script = answer
        typed = re.search("run `factory (resume spar-.+ --lake .+)`", said)
        assert typed and factory(*shlex.split(typed[1]))[0] == 0
        assert endpoint.stats().repeated_answers == 0
    assert list(state(place).values()) == [("finished", 3)]


def test_what_was_set_aside_is_asked_again_by_the_command_that_the_error_names(
    factory: Command, place: Path, prompts: Path
) -> None:
    def refuses_rain(request: Request) -> Any:
        if "rain" in str(request.messages):
            return Reply(400, {"error": {"message": "System role not supported"}})
        return answer(request)

    with running_endpoint(refuses_rain) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
        assert "1 of 3 prompts" in said and "shorten the prompt" not in said
        endpoint.script = answer
        typed = re.search("`factory (resume spar-[^`]+ --retry-set-aside --lake [^`]+)`", said)
        assert typed, said
        received = endpoint.stats().received
        resumed = factory(*shlex.split(typed[1].replace("--retry-set-aside", "")))
        assert resumed[0] == 0 and endpoint.stats().received == received  # without the option nothing is asked
        assert factory(*shlex.split(typed[1]))[0] == 0
    assert list(state(place).values()) == [("finished", 3)]
    with Lake.open(place) as lake:
        assert lake.query("FROM failed_prompts").num_rows == 0


def test_a_refusal_that_only_the_judge_meets_is_no_success(factory: Command, place: Path, prompts: Path) -> None:
    def refuses_votes(request: Request) -> Any:
        if "Final Judgement" in str(request.messages):
            return Reply(400, {"error": {"message": "too long: 5000 input tokens"}})
        return answer(request)

    with running_endpoint(refuses_votes) as endpoint:
        said = sentence(factory(*run_words(place, endpoint.url, prompts)))
    assert "3 of 3 prompts" in said and "too long: 5000 input tokens" in said and "shorten the prompt" in said


def test_a_key_that_an_answer_repeats_is_in_no_file_of_the_lake(
    factory: Command, place: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def chatty(request: Request) -> Any:
        said = [f"{text} (your key is {KEY})" for text in answer(request)]
        body = completion_body(request, said)
        body["choices"][0]["message"]["reasoning_content"] = f"They sent Bearer {KEY}"
        return Reply(200, body)

    with running_endpoint(chatty, api_key=KEY) as endpoint:
        assert factory(*run_words(place, endpoint.url, prompts))[0] == 0
    with Lake.open(place) as lake:
        assert lake.query("SELECT count(*) FROM responses WHERE text LIKE '%your key is ***%'").column(0)[0].as_py() > 0
    for kept in place.rglob("*"):
        assert not kept.is_file() or KEY.encode() not in kept.read_bytes(), kept
