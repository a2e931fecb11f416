"""Judges of kind reward_model: a tiny classifier in a real server process, and vLLM's scoring protocol."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.judges.reward_model import sigmoid
from factory.recipes.reading import load_recipe, recipe_of
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import weights_sha256
from schemas.tables import Call, Judgement, Model, Prompt, Response
from stores.lake import Lake
from tests.reward_models import make_reward_model, score_by_hand, scoring
from tests.scripted_endpoint import Reply, Request, running_endpoint
from tests.training.tiny import needs_torch

DOCUMENT: dict[str, Any] = {
    "name": "scored",
    "models": {"actor": {"endpoint": "ACTOR", "name": "mock"}, "reward_model": {"endpoint": "REWARD"}},
    "prompts": {"source": "PROMPTS"},
    "stages": [{"stage": "sample", "n": 2, "max_tokens": 32}, {"stage": "judge", "kind": "reward_model"}],
    "pairs": ["best_over_worst"],
}


def answers(request: Request) -> list[str]:
    return ["A short answer.", "An answer that is a little longer than the other one."]


def scored(lake: Path, actor: str, reward: str, **judge: Any) -> tuple[str, Progress]:
    prompts = lake.parent / "prompts.jsonl"
    prompts.write_text('{"prompt": "Name a bird."}\n{"prompt": "Name a tree."}\n')
    given = {"ACTOR": actor, "REWARD": reward, "PROMPTS": str(prompts)}
    text = json.dumps(DOCUMENT)
    for name, value in given.items():
        text = text.replace(name, value)
    document = json.loads(text)
    document["stages"][1] |= judge
    progress = Progress()
    return run_recipe(RunSpecification(recipe_of(document, "recipe scored"), 0), str(lake), progress), progress


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reward") / "tiny-reward"
    make_reward_model(made)
    return made


@needs_torch
def test_a_classifier_in_a_folder_scores_every_answer_and_its_calls_are_rows(tmp_path: Path, folder: Path) -> None:
    with running_endpoint(answers) as actor:
        run_id, progress = scored(tmp_path / "lake", actor.url, f"reward:{folder}")
    sha256 = weights_sha256([folder / "model.safetensors"])
    with Lake.open(tmp_path / "lake") as lake:
        [model] = lake.read(Model, "origin LIKE 'reward:%'")
        judgements = {j.response_id: j for j in lake.read(Judgement, "run_id = $r", {"r": run_id})}
        responses, prompts = lake.read(Response), {p.prompt_id: p for p in lake.read(Prompt)}
        calls = {call.call_id: call for call in lake.read(Call, "stage = 'judge'")}
        pairs = lake.query("SELECT chosen_response_id AS c, rejected_response_id AS r FROM pairs").to_pylist()
        sent = lake.query("SELECT messages_hash = sha256(to_json(messages)) AS same FROM call_messages").column(0)
        row = lake.query("SELECT recipe FROM runs LIMIT 1").to_pylist()[0]
    assert (model.revision, model.name) == (sha256, f"tiny-reward@{sha256[:12]}")
    assert model.origin == f"reward:{model.name}" and model.chat_template_hash
    assert len(judgements) == len(calls) == 4 and progress.requests == 6
    for response in responses:
        messages = [{"role": m.role, "content": m.content} for m in prompts[response.prompt_id].messages]
        expected = score_by_hand(folder, [*messages, {"role": "assistant", "content": response.text}])
        one = judgements[response.response_id]
        assert one.points == pytest.approx(expected, abs=2e-6)
        assert one.value == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-6)
        assert (one.kind, one.judge, one.verdict, one.template_hash) == ("reward_model", "reward_model", None, None)
        call = calls[one.call_id or ""]
        assert (call.model_id, call.response_ids, call.parameters) == (model.model_id, [response.response_id], "{}")
        assert call.prompt_tokens and call.completion_tokens == 0 and call.error is None
    for pair in pairs:
        assert judgements[pair["c"]].points > judgements[pair["r"]].points
    assert len(pairs) == 2 and all(sent.to_pylist())
    assert str(folder.parent) not in row["recipe"]


@needs_torch
def test_a_head_with_two_outputs_and_a_model_that_is_no_classifier_are_refused_before_anything_is_asked(
    tmp_path: Path, folder: Path
) -> None:
    from tests.training.tiny import make_tiny_model

    make_reward_model(tmp_path / "two", outputs=2)
    make_tiny_model(tmp_path / "writer")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("two", "models.reward_model.endpoint: the head of two has 2 outputs, and a reward model has one"),
        ("writer", "writer is no classifier (LlamaForCausalLM)"),
        ("empty", "empty holds no model"),
        ("nowhere", "there is no folder"),
    ):
        with running_endpoint(answers) as actor, pytest.raises(FactoryError, match=r".") as refused:
            scored(tmp_path / f"lake-{name}", actor.url, f"reward:{tmp_path / name}")
        assert words in str(refused.value) and "\n" not in str(refused.value)
        assert not actor.requests


@needs_torch
def test_without_a_chat_template_and_too_long_conversations(tmp_path: Path, folder: Path) -> None:
    from trainers.scoring import TooLong, check_reward_model, load_reward_model

    model = load_reward_model(folder, "--reward")
    with pytest.raises(TooLong, match="maximum context length of the reward model tiny-reward is 256 tokens"):
        model.tokens([{"role": "user", "content": "word " * 300}])
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in folder.iterdir():
        if file.name not in ("chat_template.jinja", "tokenizer_config.json"):
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(FactoryError, match="--reward: bare has no chat template"):
        check_reward_model(bare, "--reward")


def more_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": 100_000, "content": "answer"})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")


@needs_torch
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "chat_template.jinja").write_text("{{ raise_exception('no tools') }}"), "(no tools)"),
        (lambda folder: (folder / "chat_template.jinja").write_text("{# nothing #}"), "is empty"),
        (more_tokens, "has a token that the model lacks"),
    ],
    ids=["refusing", "empty", "more tokens"],
)
def test_a_conversation_that_the_model_cannot_read_is_set_aside_at_once(
    tmp_path: Path, folder: Path, change: Callable[[Path], Any], said: str
) -> None:
    shutil.copytree(folder, tmp_path / "odd")
    change(tmp_path / "odd")
    with running_endpoint(answers) as actor:
        scored(tmp_path / "lake", actor.url, f"reward:{tmp_path / 'odd'}")
    with Lake.open(tmp_path / "lake") as lake:
        calls = lake.read(Call, "role = 'reward_model'")
    assert calls and all(said in str(call.error) and not call.retries for call in calls)


@needs_torch
def test_a_padded_batch_scores_as_one_by_one(folder: Path) -> None:
    from trainers.scoring import load_reward_model

    model = load_reward_model(folder, "--reward")
    tokens = [
        model.tokens([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a " * n}]) for n in (1, 9)
    ]
    assert model.score(tokens) == pytest.approx([model.score([one])[0] for one in tokens], abs=2e-6)


def by_length(messages: list[dict[str, str]]) -> list[float]:
    return [len(messages[-1]["content"]) / 10 - 3]


def test_vllm_s_classify_is_asked_for_the_raw_logit(tmp_path: Path) -> None:
    with running_endpoint(answers) as actor, running_endpoint(scoring(by_length), models=["rm"]) as reward:
        scored(tmp_path / "lake", actor.url, f"reward:{reward.url}", pass_points=0.5)
    bodies = [request.body for request in reward.requests]
    assert all(
        body["use_activation"] is False and set(body) == {"model", "messages", "use_activation"} for body in bodies
    )
    with Lake.open(tmp_path / "lake") as lake:
        found = lake.query(
            "SELECT r.text, j.points, j.value, v.passed, m.origin FROM judgements AS j JOIN responses AS r USING (response_id) "
            "JOIN verdicts AS v USING (response_id) JOIN models AS m ON m.model_id = j.model_id ORDER BY points"
        ).to_pylist()
    assert [row["points"] for row in found] == pytest.approx([-1.5, -1.5, 2.3, 2.3])
    assert [row["passed"] for row in found] == [False, False, True, True]
    assert found[2]["value"] == pytest.approx(0.908877, abs=1e-6)
    assert {row["origin"] for row in found} == {reward.url}
    assert bodies[1]["messages"][-1] == {"role": "assistant", "content": answers(reward.requests[0])[0]}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (scoring(lambda messages: [0.3, 0.7]), "answered with 2 scores, and a reward model has one output"),
        (scoring(lambda messages: [math.nan]), "a score that is nan"),
        (lambda request: ["A text."], "answered in JSON, but with no score"),
        (lambda request: Reply(404, {"error": {"message": "Not Found"}}), "HTTP 404"),
    ],
)
def test_a_server_that_does_not_score_is_refused_before_anything_is_asked(
    tmp_path: Path, script: Any, words: str
) -> None:
    with (
        running_endpoint(answers) as actor,
        running_endpoint(script) as reward,
        pytest.raises(FactoryError) as refused,
    ):
        scored(tmp_path / "lake", actor.url, f"reward:{reward.url}")
    assert words in str(refused.value) and "does not score a conversation" in str(refused.value)
    assert not actor.requests


def test_a_faulty_server_is_asked_again_and_paced_like_any_other(tmp_path: Path) -> None:
    def once_busy(request: Request) -> Any:
        first = request.attempt == 1 and request.messages[-1]["content"] != "Hello!"
        return Reply(503, {"error": {"message": "busy"}}) if first else scoring(by_length)(request)

    with running_endpoint(answers) as actor, running_endpoint(once_busy) as reward:
        scored(tmp_path / "lake", actor.url, f"reward:{reward.url}")
    with Lake.open(tmp_path / "lake") as lake:
        retries = lake.query("SELECT retries FROM calls WHERE stage = 'judge'").column(0).to_pylist()
    assert retries and all(count == 1 for count in retries)


def test_a_recipe_never_asks_a_reward_model_for_text_nor_another_for_a_score() -> None:
    with pytest.raises(FactoryError, match=r"models.reward_model for a score, and it is no reward model"):
        recipe_of(
            DOCUMENT | {"models": {role: {"endpoint": "http://a/v1"} for role in ("actor", "reward_model")}}, "recipe"
        )
    with pytest.raises(FactoryError, match=r"models.actor is a reward model, which writes no text, and stages.sample"):
        load_recipe("demo", {"models.actor.endpoint": "reward:there"})
    with pytest.raises(FactoryError, match="all begin with reward:"):
        load_recipe("demo", {"models.actor.endpoint": ["reward:there", "http://a/v1"]})


def test_a_lake_s_recipe_does_not_make_us_load_a_folder(tmp_path: Path) -> None:
    from factory.inference.settings import ModelSettings
    from factory.inference.trust import check_trusted, trust

    models = {"reward_model": ModelSettings(endpoint=(f"reward:{tmp_path}",))}
    with pytest.raises(FactoryError, match=rf"wants to load {tmp_path}, which only its lake names"):
        check_trusted(models, [], "run scored")
    trust(models, [])
    check_trusted(models, [], "run scored")


def test_the_value_is_the_logistic_function_of_the_score() -> None:
    assert [sigmoid(x) for x in (0.0, 2.0, -2.0)] == pytest.approx([0.5, 0.880797, 0.119203], abs=1e-6)
    assert (sigmoid(1e4), sigmoid(-1e4)) == (1.0, 0.0)
