"""Which prompts a set's query holds out, known before there is a lake to ask."""

from schemas.ids import sha256_text


def is_held_out(prompt_id: str, held_out: float) -> bool:
    """As the macro `split_of` (stores/sql/views/render.sql): by the prompt's hash alone, so the same in every set.

    Args:
        held_out: the share of prompts, in [0, 1].
    """
    return int(sha256_text(prompt_id)[:8], 16) / 2**32 < held_out
