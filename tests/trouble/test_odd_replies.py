"""A short version of the replies that `make torture` sends: the same kinds, in one run."""

from tests.fuzz_replies import fuzz
from tests.odd_replies import KINDS


def test_odd_replies_end_no_run_without_a_sentence_and_reach_no_row_without_a_note() -> None:
    odd, ends = fuzz(seed=3, replies=200, prompts=15)
    assert ends["finished"] and odd.total() >= 200
    assert len(odd) >= len(KINDS) - 2
