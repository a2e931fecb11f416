"""Differences of two texts hold both of them, fold what is unchanged, and count white space only when asked to."""

from hypothesis import given
from hypothesis import strategies as st

from factory.monitor.difference import COMPARABLE, FOLD_AROUND, FOLD_FROM, Part, parts_of
from stores.likeness import words

texts = st.lists(st.sampled_from(["red", "blue", "青", " ", "  ", "\n", "\t", "."]), max_size=14).map("".join)


def space_difference(old: str, new: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parts_of(old, new, space=True, fold=False) or ()]


@given(old=texts, new=texts)
def test_a_difference_with_white_space_holds_both_texts_whole(old: str, new: str) -> None:
    parts = space_difference(old, new)
    assert "".join(text for kind, text in parts if kind != "removed") == new
    assert "".join(text for kind, text in parts if kind != "added") == old


def test_white_space_counts_only_when_asked_for() -> None:
    assert parts_of("a b", "a\nb") == [Part("same", "a\nb", 2)]
    assert parts_of("a b", "a\nb", space=True) == [
        Part("same", "a", 1),
        Part("removed", " b", 1),
        Part("added", "\nb", 1),
    ]
    assert Part("added", " \n\tb", 1).marked == "·↵\n→\tb"


def test_in_scripts_without_spaces_each_character_is_a_word() -> None:
    assert space_difference("雪が降る", "雨が降る") == [("removed", "雪"), ("added", "雨"), ("same", "が降る")]


@given(before=st.integers(0, 120), after=st.integers(0, 120))
def test_long_unchanged_runs_are_folded_and_nothing_is_lost(before: int, after: int) -> None:
    old = " ".join([*(f"b{i}" for i in range(before)), "old", *(f"a{i}" for i in range(after))])
    new = old.replace("old", "new")
    parts = parts_of(old, new)
    assert parts is not None
    assert "".join(part.text for part in parts if part.kind != "removed") == new
    folded = [part for part in parts if part.kind == "folded"]
    assert [part.words for part in folded] == [n - FOLD_AROUND for n in (before, after) if n >= FOLD_FROM]
    assert all(part.words == len(words(part.text)) for part in parts)


def test_equal_texts_are_not_folded_away() -> None:
    text = "word " * 200
    assert parts_of(text, text) == [Part("same", text, 200)]


def test_texts_that_would_take_too_much_memory_are_not_compared() -> None:
    long = "w " * 21_000
    assert COMPARABLE < 21_000**2 and parts_of(long, long + "x") is None
