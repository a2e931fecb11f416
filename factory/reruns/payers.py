"""What paid for the answers of an online training that is done again: found, or named, on this machine.

A lake or lock file may be a stranger's: the models that it names are neither opened nor asked for that alone.
"""

from pathlib import Path
from typing import Any

from factory.inference.folders import folder_sha256
from factory.inference.settings import ModelSettings
from factory.inference.trust import check_trusted
from factory.reruns.lock_file import LockedTraining
from schemas.errors import FactoryError
from schemas.settings import read_settings


def reward_named_here(
    locked: LockedTraining, named: str | None, folders: tuple[Path, ...]
) -> tuple[dict[str, Any], Path | None]:
    """The training's settings, with the judge as it is named here, and the folder of the reward model that paid, if one did.

    Args:
        named: the reward model's folder or the judge's endpoint, as the user names it now.
        folders: where models of earlier trainings may lie.
    Raises:
        FactoryError: the reward model is not to be found, or the judge is one that nobody on this machine has named.
    """
    settings, where = locked.configuration, f"training {locked.training_run_id}"
    reward = settings.get("reward")
    if not isinstance(reward, dict) or reward.get("kind") == "verifier":
        return settings, None
    if reward.get("kind") == "reward_model":
        return settings, _reward_model(str(reward.get("model")), where, named, folders)
    if named is not None:
        reward = _at(reward, named, where)
    models = _models_of_judge(reward, where)
    given = [f"models.{role}" for role in models] if named is not None else []
    check_trusted(models, (), where, given, "name it yourself with --reward ENDPOINT")
    return {**settings, "reward": reward}, None


def folder_of_trainings(folders: tuple[Path, ...], name: str, sha256: str | None) -> Path | None:
    """A folder of this name with these weights."""
    if not name or Path(name).name != name or sha256 is None:
        return None
    return next((f / name for f in folders if (f / name).is_dir() and folder_sha256(f / name) == sha256), None)


def _reward_model(model: str, where: str, named: str | None, folders: tuple[Path, ...]) -> Path:
    name, _, sha256 = model.rpartition("@")
    if named is not None:
        if folder_sha256(Path(named)) != sha256:
            raise FactoryError(
                f"--reward {named} does not hold the weights {sha256[:12]} of the reward model that paid: give its folder"
            )
        return Path(named)
    if (found := folder_of_trainings(folders, name, sha256)) is None:
        raise FactoryError(
            f"{where} was paid for by the reward model {name or '?'} (SHA-256 {sha256[:12]}), and where it lies is not known here: "
            "give its folder with --reward"
        )
    return found


def _at(reward: dict[str, Any], endpoint: str, where: str) -> dict[str, Any]:
    """The reward with its judge's model at this endpoint, which gets no key but that in OPENAI_API_KEY."""
    if reward.get("recipe") is None:
        return {**{name: value for name, value in reward.items() if name != "api_key_env"}, "endpoint": endpoint}
    models = _models_of_judge(reward, where)
    if len(models) != 1:
        raise FactoryError(f"{where} was paid for by a judge that asks {len(models)} models: --reward names only one")
    [(role, model)] = models.items()
    there = {"name": model.name, "revision": model.revision, "endpoint": [endpoint]}
    return {**reward, "recipe": {**reward["recipe"], "models": {role: there}}}


def _models_of_judge(reward: dict[str, Any], where: str) -> dict[str, ModelSettings]:
    """The models that the judge asks, by role.

    Raises:
        FactoryError: they cannot be read.
    """
    own = {"models": {"reward": {name: reward[name] for name in ("endpoint", "api_key_env") if name in reward}}}
    recipe = reward.get("recipe") or own
    models = recipe.get("models", {}) if isinstance(recipe, dict) else None
    if not isinstance(models, dict):
        raise FactoryError(f"{where}: the models of its reward cannot be read: the lake or the lock file is damaged")
    return {
        str(role): read_settings(ModelSettings, given, f"{where}: reward: {role}") for role, given in models.items()
    }
