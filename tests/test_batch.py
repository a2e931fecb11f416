"""Batches: requests as files, a service that answers them, and runs that end as if they had been live."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from factory.batch.batches import Written, read_batch, write_and_report
from factory.batch.request_files import RequestFiles
from factory.cli.main import main
from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.batches import NOBODY, PROMPTS, lines, reply_to, requests_in, specification, write
from tests.runs import answer, assert_ids_unique, assert_same_tables, spar_overrides, tables
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint


def of_kind(written: Written) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests for votes, and those for answers."""
    requests = requests_in(written)
    votes = [request for request in requests if "Final Judgement" in str(request["body"])]
    return votes, [request for request in requests if request not in votes]


def serve(written: Written, answers: Path, script: Callable[[Request], Any] = answer) -> Path:
    """A batch service: answers come in no order."""
    replies = [reply_to(request, script) for request in requests_in(written)]
    return lines(answers, *sorted(replies, key=lambda reply: reply["custom_id"]))


def until_nothing_is_left(
    lake: Path, folder: Path, asked: RunSpecification, script: Callable[[Request], Any] = answer
) -> int:
    """Writes and reads batches; returns how many."""
    for batch in range(20):
        written = write(lake, folder / f"requests{batch}.jsonl", asked)
        if not written.files:
            return batch
        read_batch(str(lake), [serve(written, folder / "answers.jsonl", script)])
    raise AssertionError("batches without end")


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with running_endpoint(answer) as running:
        yield running


def status(lake: Path) -> dict[str, Any]:
    with Lake.open(lake) as opened:
        (state,) = opened.query("FROM run_progress").to_pylist()
    return state


def test_a_batched_run_that_is_resumed_for_the_search_has_the_tables_of_a_live_one(
    tmp_path: Path, endpoint: ScriptedEndpoint
) -> None:
    batched = specification(endpoint.url, stages__judge__first_votes=3)
    assert until_nothing_is_left(tmp_path / "batched", tmp_path, batched) >= 3  # answers, votes, more votes
    assert endpoint.stats().received == 0
    assert status(tmp_path / "batched")["judged"] == PROMPTS
    run_recipe(batched, str(tmp_path / "batched"), Progress())
    searched = endpoint.stats().received
    run_recipe(batched, str(tmp_path / "live"), Progress())
    assert 0 < searched < endpoint.stats().received - searched
    assert_same_tables(tables(tmp_path / "live"), tables(tmp_path / "batched"))
    assert_ids_unique(tmp_path / "batched")
    assert status(tmp_path / "batched") == status(tmp_path / "live")


def test_bodies_are_those_that_a_live_run_sends(tmp_path: Path, endpoint: ScriptedEndpoint) -> None:
    asked = specification(endpoint.url, prompts=2)
    first = write(tmp_path / "batched", tmp_path / "requests.jsonl", asked)
    run_recipe(asked, str(tmp_path / "live"), Progress())
    sent = [request.body for request in endpoint.requests if "Final Judgement" not in str(request.body)]
    written = requests_in(first)
    assert all(request["method"] == "POST" and request["url"] == "/v1/chat/completions" for request in written)
    assert sorted(json.dumps(request["body"]) for request in written) == sorted(map(json.dumps, sent))


def test_a_run_without_search_is_finished_by_batches_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "judging.yaml"
    source = lines(tmp_path / "prompts.jsonl", *({"prompt": f"Tell me of rain {i}."} for i in range(3)))
    recipe.write_text(
        f"name: judging\nprompts: {{source: {source}}}\n"
        f"models: {{actor: {{endpoint: '{NOBODY}', name: mock}}, refiner: {{endpoint: '{NOBODY}', name: judge}}}}\n"
        "stages: {evolve: {}, sample: {n: 2}, judge: {votes: 3}}\n"
    )
    asked = RunSpecification(load_recipe(str(recipe)))
    assert until_nothing_is_left(tmp_path / "lake", tmp_path, asked) >= 3
    state = status(tmp_path / "lake")
    assert (state["status"], state["answered"], state["judged"]) == ("finished", 3, 3)


def test_the_judge_waits_for_a_prompt_s_votes_and_not_for_other_prompts(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    written = write(lake, tmp_path / "first.jsonl")
    replies = [reply_to(request) for request in requests_in(written)]
    read_batch(str(lake), [lines(tmp_path / "some.jsonl", *replies[:2])])
    second = write(lake, tmp_path / "second.jsonl")
    votes, answers = of_kind(second)
    assert (len(votes), len(answers)) == (2 * 5, PROMPTS - 2)
    assert second.again == PROMPTS - 2
    read_batch(str(lake), [lines(tmp_path / "votes.jsonl", reply_to(votes[0]))])
    write(lake, tmp_path / "third.jsonl")
    with Lake.open(lake) as opened:  # a prompt's verdicts and its control pair are made together, as in a live run
        assert opened.counts()["judgements"] == opened.counts()["pairs"] == 0
    assert status(lake)["answered"] == 2


def test_what_was_read_counts_as_paid_by_the_run(tmp_path: Path) -> None:
    lake, asked = tmp_path / "lake", specification(budget__max_requests=4)
    written = write(lake, tmp_path / "requests.jsonl", asked)
    assert (len(requests_in(written)), written.budget) == (4, "budget.max_requests")
    read_batch(str(lake), [serve(written, tmp_path / "answers.jsonl")])
    assert len(requests_in(write(lake, tmp_path / "more.jsonl", specification(budget__max_requests=5)))) == 1


def test_reading_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    answers = serve(write(lake, tmp_path / "requests.jsonl"), tmp_path / "answers.jsonl")
    assert read_batch(str(lake), [answers]).taken == PROMPTS
    again = read_batch(str(lake), [answers])
    assert (again.taken, again.known, again.unknown) == (0, PROMPTS, 0)


def test_what_was_not_answered_is_counted_by_kind_and_written_again(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    requests = requests_in(write(lake, tmp_path / "requests.jsonl"))
    good, expired, limited, few, empty, broken = map(reply_to, requests)
    expired |= {"response": None, "error": {"code": "batch_expired", "message": "Too late."}}
    limited["response"] |= {"status_code": 429, "body": {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}}}
    few["response"]["body"]["choices"].pop()
    empty["response"]["body"] = {"choices": None}
    stranger = reply_to(requests[0]) | {"custom_id": "nobody's"}
    torn = json.dumps(broken)[:-20]
    answers = lines(tmp_path / "answers.jsonl", expired, limited, torn, few, "[]", "", empty, stranger, good)
    found = read_batch(str(lake), [answers])
    assert (found.taken, found.known, found.unknown) == (1, 0, 1)
    assert found.failed == {
        "batch_expired": 1,
        "HTTP 429 rate_limit_exceeded": 1,
        "fewer choices than asked for": 1,
        "answered in JSON, but with no chat completion": 1,
    }
    assert found.broken == [f"{answers}:3", f"{answers}:5"]
    second = write(lake, tmp_path / "second.jsonl")
    _, answers_again = of_kind(second)
    assert sorted(map(json.dumps, answers_again)) == sorted(map(json.dumps, requests[1:]))


def test_the_commands_say_what_was_written_and_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def factory(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["batch", *words, "--lake", "here"])
        return (ended.value.code, *capsys.readouterr())

    options = ["--model", NOBODY, "--model-name", "mock", "--limit", "6", "--out", "requests.jsonl"]
    code, shown, _ = factory("write", "spar", *options)
    assert code == 0
    assert "requests.jsonl: 6 requests to mock" in shown and "factory batch read ANSWERS.jsonl --lake here" in shown
    requests = [json.loads(line) for line in Path("requests.jsonl").read_text("utf-8").splitlines()]
    lines(Path("answers.jsonl"), reply_to(requests[0]), "{", reply_to(requests[1]))
    lines(Path("errors.jsonl"), reply_to(requests[2]) | {"response": None, "error": {"code": "batch_expired"}})
    code, shown, errors = factory("read", "answers.jsonl", "errors.jsonl")
    assert code == 1 and "1 line cannot be read (answers.jsonl:2)" in errors
    assert "2 answers added to the journal" in shown and "1 not answered (1 batch_expired)" in shown


def test_where_only_the_search_is_left_the_command_that_goes_on_live_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = specification(prompts=2, stages__judge__by="verifier")
    assert until_nothing_is_left(tmp_path / "lake", tmp_path, asked) == 1
    write_and_report(asked, str(tmp_path / "lake"), tmp_path / "last.jsonl", "", Console())
    assert "factory resume spar-" in capsys.readouterr().out
    assert not (tmp_path / "last.jsonl").exists()


def test_equal_requests_are_written_once(tmp_path: Path) -> None:
    def same(request: Request) -> Any:
        return ["always the same"] * request.n

    lake = tmp_path / "lake"
    read_batch(str(lake), [serve(write(lake, tmp_path / "first.jsonl"), tmp_path / "answers.jsonl", same)])
    hashes = [request["custom_id"] for request in requests_in(write(lake, tmp_path / "second.jsonl"))]
    assert len(hashes) == len(set(hashes)) == PROMPTS


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models.actor.name": None}, r"models\.actor\.name is missing, and writing a batch calls no server"),
        ({"models.refiner.endpoint": "embedded:smollm2-135m"}, r"models\.refiner is the embedded model"),
    ],
)
def test_a_model_must_be_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    names = {"models.actor.name": "mock", "models.refiner.name": "mock"}
    asked = RunSpecification(load_recipe("spar", spar_overrides(NOBODY, 1) | names | changes))
    with pytest.raises(FactoryError, match=sentence):
        write(tmp_path / "lake", tmp_path / "requests.jsonl", asked)
    assert list(tmp_path.iterdir()) == []


def test_a_judge_that_is_a_program_needs_no_name(tmp_path: Path) -> None:
    asked = specification(models__refiner__name=None, stages__judge__by="verifier")
    assert write(tmp_path / "lake", tmp_path / "requests.jsonl", asked).files


def test_files_are_split_at_the_service_s_number_of_requests(tmp_path: Path) -> None:
    with RequestFiles(tmp_path / "requests.jsonl", most_requests=4) as files:
        for number in range(6):
            files.write(str(number), {"model": "mock"})
    assert [(file.path.name, file.requests) for file in files.files] == [
        ("requests-0001.jsonl", 4),
        ("requests-0002.jsonl", 2),
    ]
    found = [json.loads(line)["custom_id"] for file in files.files for line in file.path.open()]
    assert found == list("012345")


def test_no_file_is_larger_than_the_service_takes(tmp_path: Path) -> None:
    with RequestFiles(tmp_path / "requests.jsonl", most_bytes=1_000) as files:
        for number in range(40):
            files.write(str(number), {"model": "mock", "messages": "雨" * (number % 7)})
    sizes = [file.path.stat().st_size for file in files.files]
    assert sizes == [file.bytes for file in files.files]
    assert len(sizes) > 1 and 500 < max(sizes) <= 1_000
    assert sum(file.requests for file in files.files) == 40


def test_each_file_asks_one_model(tmp_path: Path) -> None:
    lake, asked = tmp_path / "lake", specification(models__refiner__name="judge")
    requests = requests_in(write(lake, tmp_path / "first.jsonl", asked))
    read_batch(str(lake), [lines(tmp_path / "answers.jsonl", *map(reply_to, requests[:3]))])
    second = write(lake, tmp_path / "second.jsonl", asked)
    models = [{json.loads(line)["body"]["model"] for line in file.path.open()} for file in second.files]
    assert sorted(map(tuple, models)) == [("judge",), ("mock",)]


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    for there in ("requests.jsonl", "requests-0002.jsonl"):
        (tmp_path / there).write_text("mine")
        with pytest.raises(FactoryError, match=f"{there} already exists"):
            RequestFiles(tmp_path / "requests.jsonl")
        (tmp_path / there).unlink()


def test_files_are_there_when_all_of_them_are_whole(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RequestFiles(tmp_path / "requests.jsonl") as files:
        files.write("one", {"model": "mock"})
        assert not (tmp_path / "requests.jsonl").exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_answers_for_a_lake_without_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="no batch was written for lake"):
        read_batch(str(tmp_path / "lake"), [lines(tmp_path / "answers.jsonl", "{}")])
    assert not (tmp_path / "lake").exists()
