"""A model is what the lake knows it to be: the same weights behind another chat template are another question."""

from collections.abc import Iterable

from schemas.errors import FactoryError
from schemas.tables import Model
from stores.lake import Lake


def check_templates(lake: Lake, models: Iterable[Model]) -> None:
    """
    Raises:
        FactoryError: a model's chat template is not the one that it was asked or trained with before.
    """
    asked = {model.model_id: model for model in models if model.chat_template_hash is not None}
    if not asked:
        return
    for known in lake.read(Model, "list_contains($ids, model_id)", {"ids": list(asked)}):
        now = asked[known.model_id].chat_template_hash
        if known.chat_template_hash not in (None, now):
            raise FactoryError(
                f"the chat template of {known.name} has changed since this lake first saw these weights (SHA-256 "
                f"{known.chat_template_hash[:12]} then, {now[:12] if now else now} now): restore chat_template.jinja in "
                "its folder, or use another lake"
            )
