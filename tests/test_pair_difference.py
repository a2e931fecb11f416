"""The word-level difference of two texts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.view.difference import Piece, difference, folded

TEXTS = st.lists(st.sampled_from(["a", "b", "c", " ", "  ", "\n", "雪", "\x00", "\u202e", "<b>"]), max_size=30).map(
    "".join
)


def shown(a: str, b: str) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in difference(a, b)]


@given(TEXTS, TEXTS)
def test_nothing_is_lost_and_no_piece_is_empty(a: str, b: str) -> None:
    pieces = difference(a, b)
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == a
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == b
    assert all(piece.text for piece in pieces)
    assert all(first.kind != second.kind for first, second in itertools.pairwise(pieces))
    assert (a == b) == all(piece.kind == "equal" for piece in pieces)


def test_a_changed_word_is_removed_and_added_without_the_white_space_around_it() -> None:
    assert shown("one two three", "one 2 three") == [
        ("equal", "one "),
        ("removed", "two"),
        ("added", "2"),
        ("equal", " three"),
    ]


def test_words_at_the_end_and_white_space_alone_are_changes() -> None:
    assert shown("one", "one two") == [("equal", "one"), ("added", " two")]
    assert shown("one two", "one  two") == [("equal", "one "), ("added", " "), ("equal", "two")]


def test_in_scripts_without_spaces_each_character_is_a_word() -> None:
    assert shown("雪が降る", "雨が降る") == [("removed", "雪"), ("added", "雨"), ("equal", "が降る")]


def test_texts_too_long_to_align_still_lose_nothing() -> None:
    a = "start " + " ".join(f"a{n}" for n in range(30_000)) + " end"
    b = "start " + " ".join(f"b{n}" for n in range(30_000)) + " end"
    assert [kind for kind, _ in shown(a, b)] == ["equal", "removed", "added", "equal"]
    assert "".join(text for kind, text in shown(a, b) if kind != "added") == a


@pytest.mark.parametrize("around", [1, 5, 12])
def test_what_is_equal_and_far_from_a_change_is_folded_and_not_lost(around: int) -> None:
    words = [f"word{n}" for n in range(200)]
    changed = [*words]
    changed[100] = "other"
    pieces = folded(difference(" ".join(words), " ".join(changed)), around)
    assert [piece.kind for piece in pieces] == ["folded", "equal", "removed", "added", "equal", "folded"]
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == " ".join(words)
    assert len(pieces[1].text.split()) == around


def test_equal_texts_are_not_folded() -> None:
    text = "word " * 500
    assert folded(difference(text, text)) == [Piece("equal", text)]
