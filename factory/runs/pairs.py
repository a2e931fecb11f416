"""A preference pair as a row, with how alike its two sides are."""

from factory.work.context import Context
from schemas.ids import content_id
from schemas.tables import Pair, Response
from stores.likeness import likeness


def pair_of(
    context: Context,
    chosen: Response,
    chosen_value: float | None,
    rejected: Response,
    rejected_value: float | None,
    *,
    source: str,
    tree_id: str | None = None,
    node_id: str | None = None,
) -> Pair:
    alike = likeness(chosen.text, rejected.text)
    return Pair(
        pair_id=content_id("pair", context.run_id, source, chosen.response_id, rejected.response_id),
        run_id=context.run_id,
        prompt_id=chosen.prompt_id,
        chosen_response_id=chosen.response_id,
        rejected_response_id=rejected.response_id,
        chosen_value=chosen_value,
        rejected_value=rejected_value,
        source=source,
        tree_id=tree_id,
        node_id=node_id,
        similarity=alike.similarity,
        length_ratio=alike.length_ratio,
        shared_prefix_words=alike.shared_prefix_words,
    )
