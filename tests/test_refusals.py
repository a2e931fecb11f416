"""A refusal of the set-up ends the run at the first of them; one of a prompt sets that prompt aside."""

import re
from pathlib import Path
from typing import Any

import pytest

from factory.inference.failures import Failure
from factory.inference.refusals import end_of_run, refused_parameter, remedy_for
from schemas.errors import FactoryError
from stores.lake import Lake
from tests.runs import answer, run_spar, spar_specification
from tests.scripted_endpoint import Reply, Request, running_endpoint


def error(status: int, message: str, **more: Any) -> Reply:
    return Reply(status, {"error": {"message": message, **more}})


def ended(lake: Path, refuse: Any, **changes: Any) -> tuple[str, int, list[dict[str, Any]]]:
    """The sentence of a run that a refusal ends, how many requests it sent, and its rows in `runs`."""
    with running_endpoint(lambda request: refuse(request) or answer(request)) as endpoint:
        with pytest.raises(FactoryError) as caught:
            run_spar(lake, endpoint.url, 3, models__actor__concurrency=1, models__refiner__concurrency=1, **changes)
        received = endpoint.stats().received
    with Lake.open(lake) as opened:
        return str(caught.value), received, opened.query("FROM current_runs").to_pylist()


def is_vote(request: Request) -> bool:
    return "Final Judgement" in str(request.messages)


def test_an_unsupported_parameter_ends_the_run_at_the_first_request_with_the_setting_to_change(tmp_path: Path) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    said, received, (run,) = ended(
        tmp_path / "lake", lambda request: error(400, words, param="max_tokens", code="unsupported_parameter")
    )
    assert received == 1 and run["status"] == "failed" and run["reason"] == said
    assert "refuses the parameter max_tokens (HTTP 400: Unsupported parameter" in said
    assert "-o 'models.actor.parameters={max_tokens: max_completion_tokens}'" in said


def test_a_judge_that_refuses_a_parameter_ends_the_run_too_and_what_was_paid_is_kept(tmp_path: Path) -> None:
    words = "Input validation error: `top_p` must be > 0.0 and < 1.0"

    def refuse(request: Request) -> Any:
        if not is_vote(request):
            return None
        return Reply(422, {"error": words, "error_type": "validation"}) if request.body.get("top_p") == 1.0 else None

    lake = tmp_path / "lake"
    with running_endpoint(lambda request: refuse(request) or answer(request)) as endpoint:
        with pytest.raises(
            FactoryError, match=r"refuses the parameter top_p .*models\.refiner\.parameters=\{top_p: oth"
        ):
            run_spar(lake, endpoint.url, 2, models__refiner__name="mock")
        sampled = [r for r in endpoint.requests if not is_vote(r)]
        _, progress = run_spar(
            lake, endpoint.url, 2, models__refiner__name="mock", models__refiner__parameters={"top_p": None}
        )
        assert [r for r in endpoint.requests if not is_vote(r) and len(r.messages) == 1] == sampled
        assert not progress.set_aside
    with Lake.open(lake) as opened:
        (votes,) = opened.query("SELECT DISTINCT parameters FROM calls WHERE template = 'judge'").to_pylist()
        assert "top_p" not in votes["parameters"] and "max_tokens" in votes["parameters"]
        assert opened.query("SELECT count(*) FROM runs WHERE status = 'finished'").column(0)[0].as_py() == 1


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            error(402, "Insufficient Balance"),
            "has run out of quota (HTTP 402: Insufficient Balance): top up your account",
        ),
        (error(400, "Your credit balance: insufficient funds"), "has run out of quota"),
        (error(404, "The model `mock` does not exist.", code="model_not_found"), "has no model 'mock'"),
        (error(400, "mock is not a valid model ID"), "has no model 'mock'"),
        (Reply(404, "<html><body>Not Found</body></html>"), "does the base URL end in /v1?"),
        (error(405, "Method Not Allowed"), "has nothing at http"),
        (error(403, "Your region is not served"), "its words: Your region is not served"),
        (error(415, "Unsupported media type"), "refuses every request (HTTP 415"),
        (error(422, "x", param="seed"), "refuses the parameter seed"),
        (Reply(200, {"choices": [], "error": {"message": "No credits", "code": 402}}), "(HTTP 402: No credits)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_prompt_decides_ends_the_run(tmp_path: Path, reply: Reply, sentence: str) -> None:
    said, received, (run,) = ended(tmp_path / "lake", lambda request: reply)
    assert sentence in said and received == 1
    assert run["status"] == "failed"


@pytest.mark.parametrize(
    ("status", "words", "parameter"),
    [
        (400, "This model's maximum context length is 10 tokens. However, you requested 2048 max_tokens", None),
        (
            400,
            "'max_tokens' is too large: 2048. Your request has 3500 input tokens and the context is 4096",
            "max_tokens",
        ),
        (400, "max_tokens must be at least 1, got -12", None),
        (413, "Request entity too large", None),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", None),
        (400, "System role not supported", None),
        (400, "Conversation roles must alternate user/assistant", None),
        (400, "invalid message: what temperature does n have, and which seed?", None),
        (403, "Your input was flagged by moderation", None),
        (400, "The response was filtered by the content management policy", None),
        (400, "too long", "messages"),
    ],
)
def test_a_refusal_of_one_prompt_is_not_taken_for_one_of_the_set_up(
    status: int, words: str, parameter: str | None
) -> None:
    assert end_of_run(Failure(words, status, parameter=parameter), "http://one/v1", "actor", "mock") is None


@pytest.mark.parametrize(
    ("words", "parameter", "found"),
    [
        ("'temperature' does not support 0.9 with this model.", None, "temperature"),
        ("Unrecognized request argument supplied: seed", None, "seed"),
        ("'n' : number must be at most 1", None, "n"),
        ("body.logprobs: Extra inputs are not permitted", None, "logprobs"),
        (
            "max_tokens is too large: 4096. This model supports at most 2048 completion tokens",
            "max_tokens",
            "max_tokens",
        ),
        ("response_format json_schema is not available", None, "response_format"),
    ],
)
def test_the_parameter_is_read_from_the_words(words: str, parameter: str | None, found: str) -> None:
    assert refused_parameter(Failure(words, 400, parameter=parameter)) == found


def test_where_n_is_refused_the_choices_are_asked_for_one_by_one(tmp_path: Path) -> None:
    def only_one(request: Request) -> Any:
        if "n" in request.body:
            return error(400, "'n' : number must be at most 1", param="n")
        return answer(request)

    with running_endpoint(only_one) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 2)
        one_by_one = [r for r in endpoint.requests if "n" not in r.body and len(r.messages) == 1 and not is_vote(r)]
    assert not progress.set_aside and not progress.errors
    assert len({r.seed for r in one_by_one}) == len(one_by_one) == 10
    with Lake.open(tmp_path / "lake") as lake:
        (sampled,) = lake.query(
            "SELECT count(*) AS n, min(prompt_tokens) AS least FROM calls WHERE stage = 'sample' AND choices = 5"
        ).to_pylist()
        assert sampled["n"] == 2
        assert lake.query("SELECT count(*) FROM responses WHERE kind = 'sampled'").column(0)[0].as_py() == 10
        # Each of the five requests was charged for the prompt.
        assert sampled["least"] % 5 == 0


def test_parameters_are_renamed_left_out_and_part_of_what_is_asked(tmp_path: Path) -> None:
    names = {"max_tokens": "max_completion_tokens", "top_p": None}
    with running_endpoint(answer) as endpoint:
        run_spar(tmp_path / "lake", endpoint.url, 1, models__actor__parameters=names, stages__sample__n=1)
        sampled = [r.body for r in endpoint.requests if not is_vote(r) and len(r.messages) == 1]
        assert all("max_tokens" not in body and "top_p" not in body for body in sampled)
        assert sampled[0]["max_completion_tokens"] == 2048
    url = "http://localhost:9/v1"
    # Who serves a model, and by which names, does not change which run it is.
    renamed = spar_specification(url, models__actor__parameters=names)
    assert renamed.recipe.hash() == spar_specification(url).recipe.hash()


def test_what_a_judge_refuses_of_one_answer_is_set_aside_told_and_asked_again_when_wanted(tmp_path: Path) -> None:
    from factory.runs.loop import Execution, run_recipe
    from factory.runs.progress import Progress

    refusing = [True]

    def too_long_to_judge(request: Request) -> Any:
        if refusing[0] and is_vote(request) and "lake" not in str(request.messages):
            return error(400, "This model's maximum context length is 10 tokens.")
        return answer(request)

    lake = tmp_path / "lake"
    with running_endpoint(too_long_to_judge) as endpoint:
        _, progress = run_spar(lake, endpoint.url, 3)
        assert len(progress.set_aside) == 3 and "maximum context length" in progress.set_aside[0]
        refusing[0] = False
        _, unchanged = run_spar(lake, endpoint.url, 3)
        received = endpoint.stats().received
        assert unchanged.requests == 0
        spec = spar_specification(endpoint.url, 3)
        again = Progress()
        run_recipe(spec, str(lake), again, Execution(retry_set_aside=True))
        assert not again.set_aside and endpoint.stats().received > received
        run_spar(tmp_path / "undisturbed", endpoint.url, 3)
    counts = {}
    for where in (lake, tmp_path / "undisturbed"):
        with Lake.open(where) as opened:
            assert opened.query("FROM failed_prompts").num_rows == 0
            counts[where] = opened.query(
                "SELECT (SELECT list(judgement_id ORDER BY judgement_id) FROM judgements) AS judgements, "
                "(SELECT list(tree_id ORDER BY tree_id) FROM trees) AS trees, "
                "(SELECT list(pair_id ORDER BY pair_id) FROM pairs) AS pairs"
            ).to_pylist()
    one, other = counts.values()
    assert one == other


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("prompt 1 (ab): refused (HTTP 400: maximum context length is 10)", "shorten the prompt"),
        ("prompt 1 (ab): refused (HTTP 413: no reason given)", "shorten the prompt"),
        ("prompt 1 (ab): refused (HTTP 403: flagged)", "does not allow this prompt"),
        ("prompt 1 (ab): failed 8 times: HTTP 500: no reason given", "the endpoint's log"),
        ("prompt 1 (ab): refused (HTTP 400: System role not supported)", "what the endpoint objects to"),
    ],
)
def test_the_hint_fits_the_cause(reason: str, hint: str) -> None:
    said = remedy_for(reason)
    assert hint in said and "--retry-set-aside" in said
    assert ("shorten" in said) == (hint == "shorten the prompt")
    assert re.search("`factory resume [^`]+`", said)


def test_a_refusal_that_every_prompt_gets_ends_the_run_even_in_words_that_nobody_knows(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "Write {n} words."}}\n' for n in range(40)))
    said, received, (run,) = ended(
        tmp_path / "lake",
        lambda request: error(400, f"Bad request {int(request.body_hash[:2], 16)}") if is_vote(request) else None,
        prompts__source=str(prompts),
        prompts__limit=40,
    )
    assert run["status"] == "failed" and received < 40 + 5 * 40
    assert "has refused 10 requests alike and answered none of their kind (HTTP 400: Bad request" in said
    assert "--retry-set-aside" in said


def test_prompts_that_are_all_too_long_are_each_set_aside(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "Write {n} words."}}\n' for n in range(12)))
    long = error(400, "This model's maximum context length is 10 tokens.")
    with running_endpoint(lambda request: long) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 12, prompts__source=str(prompts))
    assert len(progress.set_aside) == 12


def test_half_an_emoji_in_an_error_is_no_traceback(tmp_path: Path) -> None:
    odd = Reply(400, '{"error": {"message": "no \\ud83d"}}')
    with running_endpoint(lambda request: odd) as endpoint:
        _, progress = run_spar(tmp_path / "lake", endpoint.url, 1)
    assert "no ?" in progress.set_aside[0]
