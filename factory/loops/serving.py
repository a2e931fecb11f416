"""New weights at an endpoint of the user's own; an embedded model or vLLM is simply started on the new folder."""

from collections.abc import Callable, Mapping

from factory.inference.new_weights import check_shown, push_weights
from factory.loops.reading import Loop
from factory.loops.rounds import trained_model, with_models
from schemas.errors import FactoryError
from stores.lake import Lake


def bring(loop: Loop, lake: Lake, chosen: Mapping[str, str | None], say: Callable[[str], None]) -> None:
    """Has each role's endpoint show the weights that it is to answer with, by the user's command if it does not yet.

    Args:
        chosen: the model's id by role; None: the one that the loop began with.
    Raises:
        FactoryError: the endpoint does not show them, or the command failed.
    """
    for role, model_id in chosen.items():
        begun_with = loop.recipe.models[role]
        if model_id is None or not begun_with.urls:
            continue
        trained = trained_model(lake, model_id)
        settings = with_models(loop, lake, {role: model_id}, {}).models[role]
        try:
            check_shown(role, settings, trained.model.name)
        except FactoryError:
            if loop.settings.on_new_weights is None:
                raise
            push_weights(loop.settings.on_new_weights, trained.folder, trained.model.name, role, settings, say)
