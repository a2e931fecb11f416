"""What pays a policy: a recipe's judge as its runs have it, within a budget, and a reward model that reads otherwise."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from factory.inference.journal import Journal
from factory.loops.rewards import judge_settings
from factory.recipes.reading import load_recipe
from factory.recipes.recipe import Recipe
from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from factory.runs.rewarding import WHERE, JudgeRecipe, judge_from
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import online_run_id, sha256_text
from schemas.settings import read_settings
from schemas.tables import Call, Judgement, Response, Run
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.command_line import told
from tests.completions import Tokens
from tests.reward_models import make_reward_model
from tests.scripted_endpoint import Request, ScriptedEndpoint, running_endpoint
from tests.training.online import make_place, run_online, write_settings
from tests.training.tiny import needs_torch, training_run
from trainers.rewards import RewardSettings, deciding, in_rows

pytestmark = needs_torch
MINE = "Mark it from 1 to 10.\n{prompt}\n[Response]\n{response}\n[End of response]"
SPENT = 5


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return make_place(tmp_path_factory.mktemp("payers"))


def marked(request: Request) -> Sequence[Any]:
    """An actor, and a judge whose first mark of an answer is 6 and whose second one is 9 or, one time in four, 5."""
    if "Mark it" not in str(request.messages[-1]["content"]):
        return ["Certainly."] * request.n
    marks = [Tokens([("6", {"6": 1.0})]), Tokens([("9", {"9": 0.75, "5": 0.25})])]
    return [marks[index % 2] for index in range(request.n)]


def recipe_of(folder: Path, endpoint: ScriptedEndpoint, **changes: Any) -> Recipe:
    """Direct RLAIF with a template, a sampling and a model whose every setting is another than the trainer's own."""
    (folder / "mine.txt").write_text(MINE, "utf-8")
    asked = ({"prompt": f"Say something, {number}."} for number in range(5))
    (folder / "prompts.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in asked), "utf-8")
    of_judge = {"revision": "v1", "prompt_price": 2, "completion_price": 4, "concurrency": 2, "parameters.seed": None}
    return load_recipe(
        "rlaif_direct",
        {
            "prompts.source": str(folder / "prompts.jsonl"),
            "templates.score": str(folder / "mine.txt"),
            **{f"models.{role}.{key}": value for role in ("actor", "judge") for key, value in of(endpoint).items()},
            **{f"models.judge.{key}": value for key, value in of_judge.items()},
            **{"stages.judge.n": 2, "stages.judge.temperature": 0.5, "stages.judge.max_tokens": 3, **changes},
        },
    )


def of(endpoint: ScriptedEndpoint) -> dict[str, Any]:
    return {"endpoint": endpoint.url, "name": "mock"}


def paid_by(recipe: Recipe, config: Path) -> Path:
    """The trainer's settings as a loop hands them over."""
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings["online"]["reward"] = judge_settings(recipe, "judge")
    config.write_text(yaml.safe_dump(settings), "utf-8")
    return config


def run_of(place: SimpleNamespace, output: Path) -> str:
    return online_run_id(training_run(place, output).training_run_id)


@pytest.fixture(scope="module")
def judged(
    online: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SimpleNamespace, str, ScriptedEndpoint, int]]:
    """A recipe's run and a training that its judge paid for, in a lake of their own; the endpoint, and its requests before."""
    folder = tmp_path_factory.mktemp("judged")
    place = SimpleNamespace(folder=online.folder, lake=folder / "lake", output=folder / "judged")
    with running_endpoint(marked) as endpoint:
        recipe = recipe_of(folder, endpoint)
        run_id = run_recipe(RunSpecification(recipe), str(place.lake), Progress(), Execution())
        with Lake.open(place.lake) as lake:
            build_training_set(lake, "prompts", {"held_out": 0}, [run_id])
        before = len(endpoint.requests)
        assert run_online(place, place.output, paid_by(recipe, write_settings(folder))) == 0
        yield place, run_id, endpoint, before


def test_the_recipe_s_judge_pays_as_its_run_has_it(
    judged: tuple[SimpleNamespace, str, ScriptedEndpoint, int],
) -> None:
    place, run_id, endpoint, before = judged
    training = training_run(place, place.output)
    ids = [run_id, online_run_id(training.training_run_id)]
    given = {"ids": ids}
    with Lake.open(place.lake) as lake:
        judgements = lake.read(Judgement, "list_contains($ids, run_id)", given)
        responses = lake.read(Response, "run_id = $ids[2]", given)
        runs = lake.read(Run, "run_id = $ids[2]", given)
        of_judge = "SELECT * FROM run_cost WHERE list_contains($ids, run_id) AND role = 'judge'"
        costs = lake.query(of_judge, given).to_pylist()
    of_runs = [{alike(one) for one in judgements if one.run_id == id} for id in ids]
    assert of_runs[0] == of_runs[1] and {one.template_hash for one in judgements} == {sha256_text(MINE)}
    assert {(one.vote, round(one.points or 0, 5)) for one in judgements} == {(0, 6.0), (1, 8.0)}
    assert len([one for one in judgements if one.run_id == ids[1]]) == 2 * len(responses) == 16
    bodies = [request.body for request in endpoint.requests[before : before + 9]]
    assert {(b["n"], b["temperature"], b["max_tokens"], b["top_logprobs"]) for b in bodies} == {(2, 0.5, 3, 20)}
    assert all("Mark it" in body["messages"][0]["content"] and "seed" not in body for body in bodies)
    kept = json.loads(training.configuration)["reward"]["recipe"]
    assert kept["template_texts"] == {"score": MINE} and "budget" not in kept
    for one in costs:
        assert one["cost"] == pytest.approx(int(one["prompt_tokens"]) * 2e-6 + int(one["completion_tokens"]) * 4e-6)
    assert len(costs) == 2 and runs[0].templates == {"score": MINE}
    shown = f"{runs} {kept} {(place.output / 'README.md').read_text('utf-8')}"
    assert str(place.lake.parent) not in shown


def alike(one: Judgement) -> tuple[Any, ...]:
    return one.judge, one.kind, one.decides, one.model_id, one.template_hash, one.vote


def test_a_lake_alone_has_no_judge_asked(
    judged: tuple[SimpleNamespace, str, ScriptedEndpoint, int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    place, _, endpoint, _ = judged
    again = ["rerun", training_run(place, place.output).training_run_id, "--lake", place.lake]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # of somebody who has been given the lake
    code, _, said = told(capfd, *again, "--model", place.folder / "tiny")
    asking = f"wants to ask {endpoint.url.removesuffix('/v1')}, which only its lake names: if you trust that, name it"
    assert code == 1 and asking in " ".join(said.split())


@pytest.mark.heavy
def test_a_training_that_a_recipe_s_judge_paid_is_repeated(
    judged: tuple[SimpleNamespace, str, ScriptedEndpoint, int], capfd: pytest.CaptureFixture[str]
) -> None:
    place = judged[0]
    again = ["rerun", training_run(place, place.output).training_run_id, "--lake", place.lake]
    code, said, _ = told(capfd, *again, "--model", place.folder / "tiny")
    assert code == 0 and said.rstrip().endswith("identical")


@pytest.mark.heavy
def test_a_training_that_a_reward_model_paid_is_repeated_where_the_model_is(
    online: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, output = online.folder / "tiny-reward", online.folder / "paid"
    assert run_online(online, output, write_settings(online.folder), reward=model) == 0
    again = ["rerun", training_run(online, output).training_run_id, "--lake", online.lake]
    again += ["--model", online.folder / "tiny"]
    code, _, said = told(capfd, *again)
    assert code == 1 and "give its folder with --reward" in " ".join(said.split())
    code, _, said = told(capfd, *again, "--reward", online.folder / "tiny")
    assert code == 1 and "does not hold the weights" in " ".join(said.split())
    code, said, _ = told(capfd, *again, "--reward", model)
    assert code == 0 and said.rstrip().endswith("identical")


def test_a_training_whose_judge_has_spent_its_budget_ends_and_goes_on_with_a_larger_one(
    online: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = online.folder / "budget"
    with running_endpoint(marked) as endpoint:
        codes = []
        for most in (8, 1_000):  # the first: a probe, two held-out prompts, the first step's four answers and one more
            recipe = recipe_of(tmp_path, endpoint, **{"budget.max_requests": most, "models.judge.concurrency": most})
            config = paid_by(recipe, write_settings(tmp_path, save_every=1))
            codes.append(run_online(online, output, config))
            said = capfd.readouterr()
            if most == 8:
                assert "error: the budget's max_requests of 8 is reached (8 requests, " in said.err
                assert len(endpoint.requests) == 8
    assert codes == [SPENT, 0] and "going on from step 1" in said.out
    run_id = run_of(online, output)
    with Lake.open(online.lake) as lake:
        calls = lake.read(Call, "run_id = $id", {"id": run_id})
    journal = Journal(online.lake / "journal.sqlite")
    spent = journal.spent(run_id)["judge"]
    journal.close()
    # All but the two probes are calls, those that the first process was answered and could not write among them.
    probe = 2 * (len(MINE.format(prompt="Hello", response="Hello! How can I help you?").split()) + 2)
    paid = [call for call in calls if not call.from_journal]
    tokens = sum((call.prompt_tokens or 0) + (call.completion_tokens or 0) for call in paid)
    assert len(paid) == len(calls) == spent.requests - 2
    assert tokens == spent.prompt_tokens + spent.completion_tokens - probe


def test_a_reward_model_reads_with_its_own_tokenizer_and_template(online: SimpleNamespace, tmp_path: Path) -> None:
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

    folder = tmp_path / "other-reward"
    make_reward_model(folder)
    for file in (*folder.glob("*token*"), *folder.glob("chat_template*")):
        file.unlink()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=True)  # every byte has another id than the policy's
    raw = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, **{c: 2 + at for at, c in enumerate(alphabet)}}, "<s>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex("."), "isolated"),
        ]
    )
    own = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<s>")
    own.chat_template = "{% for m in messages %}{{ m.role | upper }}: {{ m.content }} </s>{% endfor %}"
    own.save_pretrained(folder)
    output = tmp_path / "paid-by-another"
    assert run_online(online, output, write_settings(tmp_path), reward=folder) == 0
    given = {"id": run_of(online, output)}
    with Lake.open(online.lake) as lake:
        responses = lake.read(Response, "run_id = $id", given)
        points = {one.response_id: one.points for one in lake.read(Judgement, "run_id = $id", given)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    policy = AutoTokenizer.from_pretrained(online.folder / "tiny")
    assert (
        len(set(tokenizer("Item")["input_ids"])) == 4 and tokenizer("Item")["input_ids"] != policy("Item")["input_ids"]
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    for response in responses:
        asked = f"Write about item {response.prompt_id.removeprefix('p')}."
        ids = tokenizer(f"USER: {asked} </s>ASSISTANT: {response.text} </s>", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
            expected = float(model.score.weight[0] @ hidden)
        assert points[response.response_id] == pytest.approx(expected, abs=2e-6)
    assert len(responses) == len(points) == 12


def test_rows_have_a_recipe_s_judge_without_places_and_budget(tmp_path: Path) -> None:
    (tmp_path / "judge-1").mkdir()
    (tmp_path / "key").write_text("secret")
    model = {"endpoint": [f"embedded:{tmp_path / 'judge-1'}"], "api_key_file": str(tmp_path / "key"), "concurrency": 2}
    recipe = {
        "stage": {"stage": "judge", "kind": "votes"},
        "models": {"judge": model},
        "template_texts": {"judge": "/"},
    }
    kept = in_rows(RewardSettings(kind="judge", recipe={**recipe, "budget": {"max_tokens": 7}})).recipe
    there = {"endpoint": ["embedded:judge-1"], "api_key_file": "key", "concurrency": 2}
    assert kept == {**recipe, "models": {"judge": there}}


def test_a_training_is_the_same_whoever_serves_its_judge_and_for_how_much() -> None:
    def of(**model: Any) -> Any:
        return deciding({"kind": "judge", "recipe": {"stage": {"kind": "score"}, "models": {"judge": model}}})

    served = of(endpoint=["http://a:8000/v1"], name="m", concurrency=4, prompt_price=2)
    assert (
        served == of(endpoint=("http://b/v1", "http://c/v1"), name="m", api_key_env="KEY") != of(endpoint=[], name="n")
    )
    kept = of(endpoint=["embedded:lake/models/one"])
    assert kept == of(endpoint=["embedded:/lake/models/one"]) != of(endpoint=["embedded:two"])
    flat = {"kind": "judge", "endpoint": "http://a/v1", "model": "m", "api_key_env": "A"}
    assert deciding(flat) == deciding({**flat, "endpoint": "http://b/v1"}) != deciding({**flat, "model": "n"})
    assert deciding({"kind": "reward_model", "model": "a@1"}) == {"kind": "reward_model", "model": "a@1"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "{kind: judge, endpoint: 'http://a/v1', recipe: {stage: {stage: judge}}}",
            "recipe names the judge's model and",
        ),
        ("{kind: verifier, recipe: {stage: {stage: judge}}}", "recipe is of a judge, not of a verifier"),
        ("{kind: judge, recipe: {stage: {stage: sample}}}", "reward.recipe: stage is sample, and a judge pays"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_in_a_sentence(
    online: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str], more: str, words: str
) -> None:
    assert run_online(online, tmp_path / "out", write_settings(tmp_path, reward=more)) == 1
    [error] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert words in error


def test_a_recipe_s_judge_has_to_be_whole() -> None:
    stage = {"stage": "judge", "kind": "score", "name": "strict"}
    for given, words in (
        ({"stage": stage}, "reward.recipe: models lacks 'refiner', which its judge asks"),
        ({"stage": {**stage, "scal": "ten"}}, "reward.recipe: stages.strict: unknown key 'scal'"),
        ({"stages": [stage]}, "reward.recipe: unknown key 'stages'"),
        ({"stage": stage, "models": {"refiner": {}}}, "reward.recipe: models.refiner: key 'endpoint' is missing"),
    ):
        with pytest.raises(FactoryError, match=words):
            judge_from(read_settings(JudgeRecipe, given, WHERE))
    named = {"stage": stage, "models": {"refiner": {"endpoint": "http://a/v1"}}}
    judge = judge_from(read_settings(JudgeRecipe, {**named, "template_texts": {"strict.score": MINE}}, WHERE))
    assert (judge.name, judge.templates["score"].name, judge.templates["score"].text) == (
        "strict",
        "strict.score",
        MINE,
    )
    bundled = judge_from(read_settings(JudgeRecipe, named, WHERE)).templates["score"]
    assert bundled.name == "strict.score" and bundled.text.startswith("You are")
