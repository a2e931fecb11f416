"""What the policy of an online training is paid for: a reward model, or a judge of `factory` in a process of its own.

Both give judgements as rows; `reward_of` says what an answer's judgements pay.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import msgspec

from schemas.errors import FactoryError
from schemas.ids import content_id, folder_model_name, model_id, sha256_text, weights_sha256
from schemas.places import last_name, reduced, taken_apart
from schemas.settings import Settings, about
from schemas.tables import Call, Judgement, Model, Prompt, Response
from trainers.command import Spent
from trainers.scoring import Conversation, RewardModel, TooLong, check_reward_model, load_reward_model

JUDGE = "factory.runs.rewarding"
"""the module that is started, never imported: factory and trainers know each other by rows alone"""
SCORE_TOKENS = 16
IN_POINTS = ("reward_model", "verifier")
"""kinds of judges whose points are the reward"""


class RewardSettings(Settings, frozen=True, kw_only=True):
    """What an answer's reward is."""

    kind: Annotated[
        Literal["reward_model", "verifier", "judge"],
        about(
            "reward_model: a classifier's score; verifier: the share of the prompt's constraints that are met; judge: a "
            "model's points from 1 to 10, expected over their log-probabilities, scaled to [-1, 1], or a recipe's judge",
            "arXiv:2309.00267",
        ),
    ]
    model: Annotated[str, about("reward_model: its folder; judge: its name at the endpoint")] | None = None
    endpoint: Annotated[str, about("judge: its base URL, or embedded:NAME")] | None = None
    api_key_env: Annotated[str, about("the environment variable that holds the endpoint's key")] = "OPENAI_API_KEY"
    recipe: (
        Annotated[
            dict[str, Any],
            about(
                "judge: instead of model and endpoint, what a recipe says of a judge: stage, models, template_texts, budget"
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.kind == "reward_model" and self.model is None:
            raise ValueError("model is missing: give the reward model's folder")
        if self.kind == "judge" and self.endpoint is None and self.recipe is None:
            raise ValueError("endpoint is missing: give the judge's base URL")
        if self.kind == "judge" and self.recipe is not None and (self.endpoint, self.model) != (None, None):
            raise ValueError("recipe names the judge's model and endpoint itself: leave model and endpoint out")
        if self.kind != "judge" and self.recipe is not None:
            raise ValueError(f"recipe is of a judge, not of a {self.kind}: leave it out")
        if self.kind == "verifier" and self.model is not None:
            raise ValueError("model is of a reward_model or a judge, and a verifier is a program: leave it out")
        if self.kind != "judge" and self.endpoint is not None:
            raise ValueError(f"endpoint is of a judge, not of a {self.kind}: leave it out")


def in_rows(reward: RewardSettings) -> RewardSettings:
    """The settings as rows have them: models by name and weights, not by where they are; no budget, which decides nothing.

    Raises:
        FactoryError: there is no reward model in its folder, or it cannot score.
    """
    if reward.recipe is not None:
        recipe = {name: value for name, value in reward.recipe.items() if name != "budget"}
        recipe["models"], _ = reduced(recipe.get("models", {}))
        return msgspec.structs.replace(reward, recipe=recipe)
    if reward.kind == "judge" and reward.endpoint is not None:
        return msgspec.structs.replace(reward, endpoint=_without_place(reward.endpoint))
    if reward.kind != "reward_model":
        return reward
    folder = Path(reward.model or "").expanduser()
    check_reward_model(folder, "reward.model")
    sha256 = weights_sha256(sorted(folder.glob("*.safetensors")))
    return msgspec.structs.replace(reward, model=f"{folder.resolve().name}@{sha256}")


_DECIDING = ("name", "revision", "base", "vllm", "endpoint")
"""what of a judge's model its judgements depend on; of an endpoint, the weights that it names"""


def deciding(reward: Any) -> Any:
    """What of a reward, as rows have it, the rewards depend on: not who serves a judge's models, how fast, and for how much."""
    if not isinstance(reward, dict) or reward.get("kind") != "judge":
        return reward
    if reward.get("recipe") is None:
        return {**reward, "api_key_env": None, "endpoint": _weights_in(reward.get("endpoint"))}
    models = reward["recipe"].get("models", {})
    kept = {
        role: {name: _weights_in(model[name]) for name in _DECIDING if model.get(name)}
        for role, model in models.items()
    }
    return {**reward, "recipe": {**reward["recipe"], "models": kept}}


def _weights_in(value: Any) -> Any:
    """The value without addresses, and with the last names of files and folders."""
    if isinstance(value, dict):
        return {name: _weights_in(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [one for one in map(_weights_in, value) if one is not None]
    if not isinstance(value, str):
        return value
    prefix, path = taken_apart(value)
    return None if "://" in value else prefix + (last_name(path) if prefix else path)


def _without_place(endpoint: str) -> str:
    """An endpoint without where its file or folder is."""
    kind, _, path = endpoint.partition(":")
    return f"{kind}:{Path(path).name}" if kind == "embedded" else endpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion of the policy."""

    prompt: Prompt
    response: Response


Judged = tuple[list[list[Judgement]], list[Call]]
"""of each answer (none: the judge could not be asked), and the calls behind them"""


def reward_of(judgements: Sequence[Judgement]) -> float | None:
    """What an answer is paid: points of a reward model or verifier; a judge's mean value as [-1, 1]; None: not known.

    A score of 1 to 10 has the value (points - 1) / 9, so that 2 value - 1 is the paper's (points - 5.5) / 4.5.
    """
    readable = [one for one in judgements if one.value is not None]
    if not readable:
        return None
    if readable[0].kind in IN_POINTS:
        return fmean(one.points for one in readable if one.points is not None)
    return 2 * fmean(one.value for one in readable if one.value is not None) - 1


# A reward model in this process


@dataclass(frozen=True, slots=True)
class Scorer:
    """A reward model that scores in this process."""

    run_id: str
    model: RewardModel
    row: Model
    batch: int
    """answers in one forward pass"""
    templates: dict[str, str] = field(default_factory=dict)
    """prompt templates: name and text"""
    alone: bool = False
    """whether one process judges for all of them"""

    @property
    def models(self) -> list[Model]:
        return [self.row]

    def judge(self, answers: Sequence[Answer]) -> Judged:
        """
        Raises:
            FactoryError: an answer with its prompt is too long for the model, or its score is no number.
        """
        try:
            tokens = [self.model.tokens(_conversation(answer)) for answer in answers]
        except TooLong as error:
            raise FactoryError(f"{error}: lower max_tokens, or take a reward model that reads more") from error
        scores: list[float] = []
        for start in range(0, len(tokens), self.batch):
            scores += self.model.score(tokens[start : start + self.batch])
        if not all(map(math.isfinite, scores)):
            raise FactoryError(f"the reward model {self.model.name} gives scores that are no numbers: train it again")
        return [[self._row(answer, score)] for answer, score in zip(answers, scores, strict=True)], []

    def _row(self, answer: Answer, score: float) -> Judgement:
        response_id = answer.response.response_id
        return Judgement(
            judgement_id=content_id("judgement", self.run_id, response_id, "reward_model", self.row.model_id, 0),
            run_id=self.run_id,
            prompt_id=answer.prompt.prompt_id,
            response_id=response_id,
            judge="reward_model",
            kind="reward_model",
            decides=True,
            model_id=self.row.model_id,
            template_hash=None,
            vote=0,
            verdict=None,
            points=score,
            value=1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score)),
            pass_points=None,
            probabilities=None,
            critique=str(score),
            call_id=None,
            item_id=None,
            weight=None,
        )


def _conversation(answer: Answer) -> Conversation:
    turns = [{"role": m.role, "content": m.content} for m in answer.prompt.messages]
    return [*turns, {"role": "assistant", "content": answer.response.text}]


def _scorer(folder: Path, run_id: str) -> Scorer:
    model = load_reward_model(folder, "reward.model")
    sha256 = weights_sha256(sorted(folder.glob("*.safetensors")))
    name = folder_model_name(folder, sha256)
    template = sha256_text(model.tokenizer.get_chat_template())
    row = Model(
        model_id=model_id(name, sha256),
        name=name,
        origin=f"reward:{name}",
        revision=sha256,
        training_run_id=None,
        chat_template_hash=template,
    )
    return Scorer(run_id, model, row, 1 if model.model.device.type == "cpu" else 16)


# A judge in a process of its own


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge of `factory`."""

    process: "subprocess.Popen[str] | None"
    """None: the main process has it"""
    models: list[Model]
    templates: dict[str, str]
    alone: bool = True

    def judge(self, answers: Sequence[Answer]) -> Judged:
        """
        Raises:
            Spent: its budget is.
            FactoryError: its endpoint is down, or refuses what no answer decides.
        """
        texts = [
            {"prompt": one.prompt, "response_id": one.response.response_id, "text": one.response.text}
            for one in answers
        ]
        said = _exchange(self.process, {"texts": texts})
        found = msgspec.convert(said, type=_Found)
        return found.judgements, found.calls


class _Found(msgspec.Struct, frozen=True):
    judgements: list[list[Judgement]]
    calls: list[Call]


class _Ready(msgspec.Struct, frozen=True):
    models: list[Model]
    templates: dict[str, str]


@contextmanager
def _started(asked: Mapping[str, Any]) -> Iterator[Judge]:
    root = str(Path(__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", JUDGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the trainer, and this with it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
    )
    assert process.stdin is not None
    try:
        ready = msgspec.convert(_exchange(process, {**asked, "parent_pid": os.getpid()}), type=_Ready)
        yield Judge(process, ready.models, ready.templates)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def _exchange(process: "subprocess.Popen[str] | None", asked: Mapping[str, Any]) -> Any:
    assert process is not None and process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended, and perhaps said why
        process.stdin.write(msgspec.json.encode(asked).decode() + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise FactoryError(f"the reward's judge ended with exit code {process.wait()}, and says why above")
    said = msgspec.json.decode(line)
    if "error" in said:
        raise (Spent if "limit" in said else FactoryError)(str(said["error"]))
    return said


# Either of them


Reward = Scorer | Judge
"""who judges"""


@contextmanager
def opened(reward: RewardSettings, lake: str, run_id: str, seed: int) -> Iterator[Reward]:
    """The reward, ready to judge until the end of the block.

    Raises:
        Spent: the judge's budget is.
        FactoryError: the model cannot be loaded, or the judge cannot be asked or gives no log-probabilities.
    """
    if reward.kind == "reward_model":
        yield _scorer(Path(reward.model or "").expanduser(), run_id)
        return
    if os.environ.get("RANK", "0") != "0":
        yield Judge(None, [], {})  # the main process asks for all
        return
    with _started({"lake": lake, "run_id": run_id, "seed": seed, "recipe": _recipe(reward)}) as judge:
        yield judge


def _recipe(reward: RewardSettings) -> dict[str, Any]:
    """What a recipe would say of the judge."""
    if reward.recipe is not None:
        return reward.recipe
    if reward.kind == "verifier":
        return {"stage": {"stage": "judge", "kind": "verifier"}}
    how = {"scale": "ten", "n": 1, "temperature": 0.0, "max_tokens": SCORE_TOKENS, "logprobs": "required"}
    model = {"endpoint": reward.endpoint, "name": reward.model, "api_key_env": reward.api_key_env}
    return {"stage": {"stage": "judge", "kind": "score", "model": "reward", **how}, "models": {"reward": model}}
