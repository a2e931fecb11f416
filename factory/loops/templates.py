"""Chat templates of a loop's models, as far as they are known before its first round."""

from collections.abc import Callable
from pathlib import Path

from factory.inference.folders import chat_template, is_adapter, template_hash
from factory.inference.gguf_header import read_header
from factory.inference.settings import ModelSettings
from factory.inference.weights import MODELS, fetch
from factory.loops.reading import Loop, trainer_of
from factory.loops.training import first_weights
from factory.recipes.training import RoleTraining
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from stores.training_sets.templates import judgement_column

ANSWERING = ("sample", "search")
"""stages whose models write answers"""


def template_in(weights: Path) -> str | None:
    """The text of the chat template in a folder or .gguf file; None: it has none."""
    found = chat_template(weights) if weights.is_dir() else read_header(weights).get("tokenizer.chat_template")
    return found if isinstance(found, str) and found else None


def check_template(loop: Loop, role: str, training: RoleTraining, columns: Callable[[], set[str]]) -> None:
    """Checks that the model to be trained has the chat template of the models that write its answers.

    Args:
        columns: those of its training set, which take a while to find.
    Raises:
        FactoryError: it has another one, as its trainer would say after the round's data has been paid for.
    """
    models = loop.recipe.models
    of_any = training.allow_other_template or not OBJECTIVES[trainer_of(training)].same_template
    if of_any or all(one == models[role] for one in models.values()):
        return
    if (own := _own(loop, role)) is None:
        return
    known = {writer: template for writer, one in models.items() if (template := _served(one)) is not None}
    if set(known.values()) <= {own}:
        return
    theirs = {writer: known[writer] for writer in _writers(loop, columns()) if writer in known}
    if theirs and own not in theirs.values():
        named = " and ".join(f"models.{writer} ({template[:12]})" for writer, template in theirs.items())
        raise FactoryError(
            f"train.{role}: the chat template of models.{role} has SHA-256 {own[:12]}, but the answers of {training.set} are "
            f"written by {named}: give the model the same chat_template.jinja, or train on them all the same with "
            f"train.{role}.allow_other_template=true"
        )


def _writers(loop: Loop, columns: set[str]) -> list[str]:
    """The roles whose models write a set's answers, as its columns name what its rows are learned from; none: not known."""
    column = judgement_column(columns)
    entries = loop.recipe.entries("judge") if column is not None else []
    if "pair_id" in columns or column == "id" or (column is None and "response_id" in columns):
        entries = [*entries, *(entry for stage in ANSWERING for entry in loop.recipe.entries(stage))]
    roles = (role for entry in entries if not entry.settings.scores for role in entry.settings.roles())
    return list(dict.fromkeys(roles))


def _own(loop: Loop, role: str) -> str | None:
    """SHA-256 of the template that a role is trained with; None: its weights are not here yet."""
    weights = Path(first_weights(loop, role).path)
    if not weights.exists() or (weights.is_dir() and is_adapter(weights)):
        return None
    return template_hash(template_in(weights))


def _served(settings: ModelSettings) -> str | None:
    """SHA-256 of the template that a model is asked with; None: its server does not tell."""
    if (adapted := settings.without_adapter) is not None:
        return _served(adapted)
    if settings.embedded is not None:
        if settings.embedded in MODELS:
            return fetch(settings.embedded).chat_template_hash
        path = Path(settings.embedded).expanduser()
        return template_hash(template_in(path)) if path.exists() else None
    vllm = settings.vllm
    if vllm is None or vllm.folder is None or any(name.replace("-", "_") == "chat_template" for name in vllm.args):
        return None
    return template_hash(chat_template(vllm.folder))
