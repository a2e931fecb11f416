"""Who may pay for the answers of an online training: a reward model that the round has trained before, or a judge."""

from collections.abc import Mapping

from factory.recipes.recipe import Entry, Recipe
from factory.recipes.training import RoleTraining
from schemas.errors import FactoryError, nearest


def check_payers(recipe: Recipe, train: Mapping[str, RoleTraining], where: str) -> None:
    """
    Raises:
        FactoryError: a training is paid by a role that is not there, judges nothing, or is no reward model by then.
    """
    trained: list[str] = []
    for role, training in train.items():
        paying, place = training.reward, f"{where}: train.{role}.reward"
        if paying is not None and paying not in recipe.models:
            raise FactoryError(
                f"{place}: recipe {recipe.name} has no role {paying!r}: {nearest(paying, recipe.models)}"
            )
        if paying in train and (paying not in trained or train[paying].trainer != "reward"):
            raise FactoryError(
                f"{place}: {paying} is trained itself, and pays only as a reward model that is trained before {role}: put "
                f"train.{paying} first, with trainer: reward, or name another role"
            )
        if paying is not None and paying not in train:
            judge_that_asks(recipe, paying, place)
        trained.append(role)


def judge_that_asks(recipe: Recipe, role: str, where: str) -> Entry:
    """The recipe's first judge that asks this role's model, and needs no more than the answer and its prompt.

    Raises:
        FactoryError: there is none.
    """
    found = [entry for entry in recipe.entries("judge") if role in entry.settings.roles()]
    for entry in found:
        if not entry.settings.needs.keys() - {"sample"}:
            return entry
    why = f"judge {found[0].judge_name} needs what another stage makes" if found else f"no stage `judge` asks {role}"
    raise FactoryError(
        f"{where}: {role} cannot pay, as {why}: add the stage {{stage: judge, kind: score, model: {role}, scale: ten}}, or "
        f"train {role} as a reward model"
    )
