"""Online training on a real lake with a tiny policy: what it answers and is paid for are rows, and the same again."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.runs.specification import specification_of
from schemas.errors import FactoryError
from schemas.ids import sha256_text, weights_sha256
from schemas.tables import Call, Judgement, Message, Model, Prompt, Response, Run, TrainingRun
from stores.lake import Lake
from stores.sql import sql
from tests.command_line import told
from tests.completions import Tokens
from tests.reward_models import make_reward_model, score_by_hand
from tests.rows import row
from tests.scripted_endpoint import Request, running_endpoint
from tests.training.online import make_place, run_online, write_settings
from tests.training.tiny import needs_torch, training_run, weights
from trainers.rewards import RewardSettings, in_rows, reward_of


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return make_place(tmp_path_factory.mktemp("online"))


@pytest.fixture(scope="module")
def rloo(online: SimpleNamespace) -> Path:
    """A policy trained by RLOO with a reward model, in two steps."""
    output = online.folder / "rloo"
    assert run_online(online, output, write_settings(online.folder), reward=online.folder / "tiny-reward") == 0
    return output


def rows(place: SimpleNamespace, output: Path) -> tuple[TrainingRun, list[Response], dict[str, Judgement], list[Run]]:
    run = training_run(place, output)
    given = {"r": f"online-{run.training_run_id[:10]}"}
    with Lake.open(place.lake) as lake:
        judged = {one.response_id: one for one in lake.read(Judgement, "run_id = $r", given)}
        return run, lake.read(Response, "run_id = $r", given), judged, lake.read(Run, "run_id = $r", given)


def by_stage(responses: list[Response]) -> dict[str, int]:
    stages = [response.stage or "" for response in responses]
    return {stage: stages.count(stage) for stage in sorted(stages)}


@needs_torch
def test_every_answer_and_its_reward_is_a_row_of_a_run_of_purpose_training(online: SimpleNamespace, rloo: Path) -> None:
    run, responses, judged, runs = rows(online, rloo)
    assert by_stage(responses) == {"after": 2, "before": 2, "step 1": 4, "step 2": 4}
    folder = online.folder / "tiny-reward"
    for response in responses:
        number = response.prompt_id.removeprefix("p")
        asked = {"role": "user", "content": f"Write about item {number}."}
        expected = score_by_hand(folder, [asked, {"role": "assistant", "content": response.text}])
        one = judged[response.response_id]
        assert one.points == pytest.approx(expected, abs=2e-6)
        assert one.value == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-6)
        assert (one.kind, one.decides, one.prompt_id) == ("reward_model", True, response.prompt_id)
        assert (response.flaw is None) == (response.finish_reason == "stop" and bool(response.text.strip()))
        assert 0 < (response.tokens or 0) <= 8
    sha256 = weights_sha256([folder / "model.safetensors"])
    with Lake.open(online.lake) as lake:
        [model] = lake.read(Model, "origin LIKE 'reward:%'")
        data_runs = lake.query("SELECT run_id FROM data_runs").column(0).to_pylist()
        progress = lake.query("SELECT prompts FROM run_progress WHERE run_id = $r", {"r": runs[0].run_id})
    assert (model.revision, {one.model_id for one in judged.values()}) == (sha256, {model.model_id})
    assert {(one.status, one.purpose) for one in runs} == {("running", "training"), ("finished", "training")}
    assert data_runs == ["run"] and progress.column(0).to_pylist() == [7]
    stored = f"{runs} {run} {(rloo / 'README.md').read_text()} {(rloo / 'config.json').read_text()}"
    assert str(online.folder) not in stored and f"tiny-reward@{sha256}" in run.configuration


@needs_torch
def test_other_commands_know_what_such_a_run_is(
    online: SimpleNamespace, rloo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, _, runs = rows(online, rloo)
    run_id = runs[0].run_id
    with (
        pytest.raises(FactoryError, match="holds what an online training answered, and goes on with that"),
        Lake.open(online.lake) as lake,
    ):
        specification_of(lake, run_id)
    with Lake.open(online.lake) as lake:
        wrong = lake.query(sql("verify/ids")).to_pylist()
        lost = lake.query(sql("verify/references")).to_pylist()
    # The prompts and the run that the tests made by hand have ids by hand.
    assert not [one for one in (*wrong, *lost) if one["table_name"] in ("responses", "judgements", "calls", "models")]
    report = ["report", run_id, "--out", online.folder / "report.html"]
    for words in (["status"], ["status", run_id], report):
        code, out, _ = told(capsys, *words, "--lake", online.lake)
        assert code == 0 and (run_id in out or words is report)


@needs_torch
def test_the_training_s_row_and_card_say_what_the_policy_was_paid_before_and_after(
    online: SimpleNamespace, rloo: Path
) -> None:
    run, responses, judged, _ = rows(online, rloo)
    metrics = json.loads(run.metrics)
    for stage in ("before", "after"):
        paid = [judged[one.response_id].points or 0 for one in responses if one.stage == stage]
        assert metrics[stage]["reward"] == pytest.approx(sum(paid) / 2)
    assert (run.objective, len(run.loss_curve), run.status) == ("online", 2, "finished")
    assert run.reference_model_id == run.start_model_id
    card = (rloo / "README.md").read_text()
    assert "mean reward of an answer to a held-out prompt" in card and "online reinforcement learning" in card
    before, after = weights(online.folder / "tiny"), weights(rloo)
    assert all(not before[name].equal(after[name]) for name in before)


@needs_torch
def test_the_same_seed_gives_the_same_weights_and_texts(online: SimpleNamespace, rloo: Path) -> None:
    first, texts, _, _ = rows(online, rloo)
    config = write_settings(online.folder)
    assert run_online(online, online.folder / "again", config, reward=online.folder / "tiny-reward") == 0
    again, texts_again, _, _ = rows(online, online.folder / "again")
    assert again.weights_sha256 == first.weights_sha256 and again.metrics == first.metrics
    assert sorted((r.stage, r.prompt_id, r.text) for r in texts) == sorted(
        (r.stage, r.prompt_id, r.text) for r in texts_again
    )


@needs_torch
def test_the_better_paid_answer_of_a_prompt_becomes_likelier(
    online: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.completions import Pay
    from trainers.log_probs import answer_log_probs

    seen: list[Any] = []
    paid = Pay.of_completions

    def watched(self: Pay, completions: Any, completion_ids: Any, prompt_id: Any, **others: Any) -> Any:
        rewards = [5.0, -5.0] * (len(completions) // 2)
        seen.append((list(map(list, completion_ids)), list(prompt_id)))
        paid(self, completions, completion_ids, prompt_id, **others)
        return rewards

    def recorded(job: Any, trainer: Any, *given: Any) -> None:
        prompts = dict(zip([row["prompt_id"] for row in job.examples.rows], job.examples.tokens, strict=True))
        trainer.args.max_steps = 1
        before: list[float] = []

        def scores() -> list[float]:
            from trainers.examples import Tokens

            ids, names = seen[0]
            told = [Tokens(prompts[name].prompt, [answer]) for answer, name in zip(ids, names, strict=True)]
            return [score for [score] in answer_log_probs(trainer, told)]

        original = trainer.compute_loss

        def compute_loss(*given: Any, **named: Any) -> Any:
            if not before:
                before.extend(scores())
                trainer.model.train()
            return original(*given, **named)

        trainer.compute_loss = compute_loss
        trainer.train()
        seen.append([now - then for now, then in zip(scores(), before, strict=True)])

    monkeypatch.setattr("trainers.training.train_and_record", recorded)
    monkeypatch.setattr(Pay, "of_completions", watched)
    config = write_settings(online.folder, beta=0)
    output = online.folder / "likelier"
    assert run_online(online, output, config, reward=online.folder / "tiny-reward") == 0
    changes = seen[-1]
    assert changes[0] > changes[1] and changes[2] > changes[3]


@needs_torch
def test_grpo_is_paid_by_the_verifier_s_share_of_constraints(online: SimpleNamespace) -> None:
    output = online.folder / "grpo"
    config = write_settings(online.folder, "grpo", reward="{kind: verifier}")
    assert run_online(online, output, config) == 0
    run, responses, judged, _ = rows(online, output)
    assert by_stage(responses) == {"after": 2, "before": 2, "step 1": 4, "step 2": 4}
    for response in responses:
        text = response.text
        share = ((("," not in text) + ("g" in text.lower())) / 2) if text.strip() else 0.0
        one = judged[response.response_id]
        assert (one.kind, one.judge, one.points) == ("verifier", "verifier", share)
        assert (one.verdict, one.model_id, one.call_id) == ("yes" if share == 1 else "no", None, None)
    assert len({one.points for one in judged.values()}) > 1  # or nothing would be learnt
    assert json.loads(run.metrics)["after"]["reward"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert json.loads(run.configuration)["algorithm"] == "grpo"


def rating(request: Request) -> list[Tokens]:
    """An answer to 'from 1 to 10' whose first token is 8 with probability 0.75, or 4 with 0.25: 7 points."""
    return [Tokens([("8", {"8": 0.75, "4": 0.25})])]


@needs_torch
def test_a_judge_behind_an_endpoint_pays_the_expectation_of_its_points_and_its_calls_are_rows(
    online: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = online.folder / "judged"
    with running_endpoint(rating) as endpoint:
        config = write_settings(online.folder, reward=f"{{kind: judge, endpoint: '{endpoint.url}', model: mock}}")
        assert run_online(online, output, config) == 0
        bodies = [request.body for request in endpoint.requests]
    run, responses, judged, runs = rows(online, output)
    one = next(iter(judged.values()))
    assert (one.kind, one.points) == ("score", pytest.approx(7.0))
    assert one.value == pytest.approx(6 / 9) and one.probabilities == pytest.approx({"8": 0.75, "4": 0.25})
    assert json.loads(run.metrics)["before"]["reward"] == pytest.approx((7 - 5.5) / 4.5)
    with Lake.open(online.lake) as lake:
        calls = lake.read(Call, "run_id = $r", {"r": runs[0].run_id})
        sent = lake.query(
            "SELECT messages_hash = sha256(to_json(messages)) AS same FROM call_messages WHERE run_id = $r",
            {"r": runs[0].run_id},
        )
    assert {call.call_id for call in calls} == {one.call_id for one in judged.values()}
    assert all(sent.column(0).to_pylist()) and {(call.stage, call.template) for call in calls} == {("reward", "score")}
    assert {one.template_hash for one in judged.values()} == {sha256_text(runs[0].templates["score"])}
    asked = bodies[-1]
    assert (asked["temperature"], asked["n"], asked["logprobs"], asked["top_logprobs"]) == (0.0, 1, True, 20)
    assert responses[0].text in "".join(body["messages"][0]["content"] for body in bodies)


@needs_torch
@pytest.mark.parametrize("readable", [(2, 7, 12), (7, 12), ()])
def test_a_judge_that_is_often_silent_pays_whom_it_can(
    readable: tuple[int, ...], online: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a probe, of twelve answers (2 before, 4 in each of two steps, 2 after) some get a score, in the second step none."""
    asked = 0

    def sometimes(request: Request) -> Any:
        nonlocal asked
        asked += 1
        return rating(request) if asked in readable else [Tokens([("I", {"I": 1.0})])]

    output = online.folder / f"silent-{len(readable)}"
    with running_endpoint(sometimes) as endpoint:
        endpoint.models = (output.name,)
        reward = f"{{kind: judge, endpoint: '{endpoint.url}', model: {output.name}}}"
        config = write_settings(online.folder, reward=reward)
        code = run_online(online, output, config)
        said, first = capfd.readouterr(), asked
        if not readable:
            assert code == 1 and "the last 6 answers could not be paid (step 1): the judge" in said.err
            assert run_online(online, output, config) == 1
            assert asked == first + 1  # the probe: the answers' scores are in the journal
            return
    assert "returned None" not in said.err, said.err
    assert code == 0, said.err
    run, responses, judged, _ = rows(online, output)
    assert run.status == "finished" and len(judged) == len(responses) == 12
    unpaid = 12 - len(readable)
    assert sum(one.points is None for one in judged.values()) == unpaid
    assert f"{unpaid} of 12 answers could not be paid" in said.out


@needs_torch
@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        ({}, {}, "what an answer is paid for is not said: give --reward FOLDER"),
        ({"reward": "{kind: reward_model}"}, {}, "reward: model is missing"),
        ({"reward": "{kind: verifier, endpoint: 'http://a/v1'}"}, {}, "endpoint is of a judge, not of a verifier"),
        ({"reward": "{kind: votes}"}, {}, "reward: kind: unknown value 'votes'"),
        ({"num_generations": 3}, {"reward": "tiny-reward"}, "batch_size 4 counts completions, and must be a multiple"),
        ({"batch_size": 16}, {"reward": "tiny-reward"}, "has 5 prompts to train on, and a step takes 8"),
        ({"max_tokens": 20}, {"reward": "tiny-reward"}, "are longer than max_tokens 20"),
        ({}, {"reward": "two"}, "the head of two has 2 outputs"),
        ({}, {"reward": "tiny"}, "tiny is no classifier"),
        ({}, {"reward": "nowhere"}, "nowhere holds no model"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence_before_a_model_is_loaded(
    online: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, Any],
    options: dict[str, Any],
    words: str,
) -> None:
    if options.get("reward") == "two":
        make_reward_model(online.folder / "two", outputs=2)
    given = {name: online.folder / value for name, value in options.items()}
    config = write_settings(tmp_path, **more)
    capsys.readouterr()
    assert run_online(online, tmp_path / "out", config, **given) == 1
    said = capsys.readouterr().err
    error = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and words in error[0]
    assert not (tmp_path / "out").exists()


def test_rows_name_a_judge_s_weights_and_not_where_they_are() -> None:
    for given, kept in (
        ("embedded:/home/me/judge-1", "embedded:judge-1"),
        ("embedded:smollm2-135m", "embedded:smollm2-135m"),
        ("http://a:8000/v1", "http://a:8000/v1"),
    ):
        assert in_rows(RewardSettings(kind="judge", endpoint=given)).endpoint == kept


@needs_torch
def test_what_a_lake_cannot_store_is_replaced_before_it_is_paid_for(online: SimpleNamespace) -> None:
    from trainers.completions import Pay
    from trainers.rewards import opened

    folder = online.folder / "tiny-reward"
    prompts = {"p1": row(Prompt, "p1", messages=[Message("user", "Hi")])}
    with opened(RewardSettings(kind="reward_model", model=str(folder)), str(online.lake), "r", 0) as reward:
        pay = Pay("r", reward, prompts, {1}, 2)
        state, said = SimpleNamespace(global_step=4), ["a\0b\ud83d", "word " * 300]
        completions = [[{"role": "assistant", "content": text}] for text in said]
        [paid] = pay.of_completions(completions[:1], [[5, 1]], ["p1"], state)
        with pytest.raises(FactoryError, match="this conversation has 1522: lower max_tokens"):
            pay.of_completions(completions[1:], [[5, 1]], ["p1"], state)
    response, judgement = pay.rows
    assert isinstance(response, Response) and isinstance(judgement, Judgement)
    assert (response.text, response.stage, response.flaw, response.finish_reason) == (
        "a\ufffdb?",
        "step 5",
        None,
        "stop",
    )
    asked = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a\ufffdb?"}]
    assert paid == judgement.points == pytest.approx(score_by_hand(folder, asked), abs=2e-6)


def without_logprobs(request: Request) -> list[str]:
    return ["7"]


@needs_torch
def test_an_endpoint_without_log_probabilities_is_refused_before_anything_is_paid_for(
    online: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_endpoint(without_logprobs) as endpoint:
        config = write_settings(tmp_path, reward=f"{{kind: judge, endpoint: '{endpoint.url}', model: mock}}")
        assert run_online(online, tmp_path / "out", config) == 1
        assert len(endpoint.requests) == 1
    assert "returns no log-probabilities" in capsys.readouterr().err


@needs_torch
def test_prompts_without_constraints_or_ids_are_refused(
    online: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stores.training_sets import build_training_set

    bare = "-- Out: prompt; ordered by prompt.\nSELECT 'train' AS split, messages AS prompt, prompt_id FROM prompts "
    (tmp_path / "bare.sql").write_text(f"{bare} WHERE len($run_ids) > 0 ORDER BY prompt_id")
    (tmp_path / "nameless.sql").write_text(
        f"{bare.replace(', prompt_id', '')} WHERE len($run_ids) > 0 ORDER BY prompt_id"
    )
    with Lake.open(online.lake) as lake:
        for name in ("bare", "nameless"):
            build_training_set(lake, str(tmp_path / f"{name}.sql"), {}, ["run"])
    config = write_settings(tmp_path, reward="{kind: verifier}")
    for name, words in (("bare", "7 of 7 prompts without constraints"), ("nameless", "rows without prompt_id")):
        assert run_online(online, tmp_path / "out", config, set=f"{name}@1") == 1
        assert words in capsys.readouterr().err
    assert not [one for one in (tmp_path / "out").parent.glob(".out.part")]


def test_a_judgement_pays_its_points_or_its_scaled_score() -> None:
    def judged(kind: str, points: float | None, value: float | None) -> Judgement:
        return row(Judgement, "j", kind=kind, points=points, value=value)

    assert reward_of([judged("reward_model", -2.5, 0.1)]) == -2.5
    assert reward_of([judged("verifier", 0.5, 0.25)]) == 0.5
    assert [reward_of([judged("score", p, (p - 1) / 9)]) for p in (1.0, 5.5, 10.0)] == pytest.approx([-1, 0, 1])
    several = [judged("score", 1.0, 0.0), judged("score", None, None), judged("score", 10.0, 1.0)]
    assert reward_of(several) == pytest.approx(0)
    assert reward_of([judged("score", None, None)]) is None and reward_of([]) is None


@needs_torch
def test_the_prompts_of_the_set_are_those_of_the_lake(online: SimpleNamespace) -> None:
    from stores.training_sets import read_training_set
    from trainers.online import prompt_of

    with Lake.open(online.lake) as lake:
        known = {prompt.prompt_id: prompt for prompt in lake.read(Prompt)}
        for row in read_training_set(lake, "prompts@1").train.to_pylist():
            id, prompt = prompt_of(row)
            assert (prompt.messages, prompt.constraints) == (known[id].messages, known[id].constraints)
