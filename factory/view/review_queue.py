"""What a reviewer sees next: pairs of a set or run that they have not reviewed yet."""

from dataclasses import dataclass

from factory.view.asking import text_of
from factory.view.pair_list import Filter
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Next:
    """The next pair of a queue."""

    pair_id: str | None
    """None: all are reviewed"""
    left: int
    """pairs not yet reviewed, this one included"""
    reviewed: int
    """pairs of the queue that this reviewer has reviewed"""


def next_pair(
    lake: Lake,
    which: Filter,
    reviewer: str,
    *,
    blind: bool,
    unseen: bool,
    skipped: tuple[str, ...] = (),
    cheap: bool = False,
) -> Next:
    """The first pair in order that the reviewer has not reviewed; edited pairs' originals are left out.

    Args:
        blind: in the order of a hash of the pair's id, the same for all reviewers, as an order by what is doubtful would tell
            which side is chosen; else the most doubtful first.
        unseen: only pairs that nobody has reviewed; else all that this reviewer has not, so that two review the same.
        skipped: pairs to show later.
        cheap: see `list_pairs`.
    """
    asked = {
        **which.parameters(cheap),
        "reviewer": reviewer,
        "blind": blind,
        "unseen": unseen,
        "skipped": list(skipped),
    }
    row = lake.query(text_of("pairs_found") + text_of("review_next"), asked).to_pylist()[0]
    return Next(row["pair_id"], row["pairs_left"], row["reviewed"])
