"""What an online training of a loop is paid by: the reward model that the round has trained, or a judge of the recipe."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from factory.inference.settings import ModelSettings
from factory.loops.plan import Step
from factory.loops.reading import Loop
from factory.loops.rounds import Done, model_after, trained_model, with_models
from schemas.errors import FactoryError
from stores.lake import Lake


@contextmanager
def paying(lake: Lake, loop: Loop, step: Step, done: Done, role: str | None) -> Iterator[tuple[Path | None, list[str]]]:
    """The reward model's folder, or configurations that name the judge; both are empty if the trainer's own says it all.

    Raises:
        FactoryError: there is no such model, or a judge that the trainer cannot ask.
    """
    if role is None:
        yield None, []
    elif role in loop.settings.train:
        yield _reward_model(lake, step, done, role), []
    else:
        with tempfile.TemporaryDirectory(prefix="factory-reward-") as folder:
            file = Path(folder) / "judge.yaml"
            chosen = {role: model_after(loop, done, step.round - 1, role)}
            model = with_models(loop, lake, chosen, {}).models[role]
            file.write_text(yaml.safe_dump({"online": judge_settings(role, model)}), "utf-8")
            yield None, [str(file)]


def _reward_model(lake: Lake, step: Step, done: Done, role: str) -> Path:
    trained = done[Step(step.round, "train", role)]
    if trained.model_id is None:
        raise FactoryError(
            f"round {step.round}: {step.role} cannot be trained, for the training of its reward model {role} gave no model "
            f"({trained.note}): change train.{role}.config"
        )
    return trained_model(lake, trained.model_id).folder


def judge_settings(role: str, model: ModelSettings) -> dict[str, Any]:
    """The online trainer's setting that names a role's model as the judge that pays.

    Raises:
        FactoryError: the trainer cannot ask it.
    """
    if model.vllm is not None or len(model.endpoint) != 1 or model.api_key_file is not None:
        raise FactoryError(
            f"{role} cannot pay for answers while it is served by vllm: or behind several addresses or a key file: give "
            f"models.{role}.endpoint as one base URL, or as embedded:NAME"
        )
    judge = {"kind": "judge", "endpoint": model.endpoint[0], "model": model.name, "api_key_env": model.api_key_env}
    return {"reward": judge}
