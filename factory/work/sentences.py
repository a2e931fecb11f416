"""The words of a text and its sentences, as the rules about echoes compare them."""

import re
from collections.abc import Iterator, Sequence

from stores.likeness import words

QUOTED = re.compile(
    r"\"[^\"\n]{0,400}\"|“[^”\n]{0,400}”|「[^」\n]{0,400}」|『[^』\n]{0,400}』|«[^»\n]{0,400}»|(?<!\w)['‘][^'’\n]{0,400}['’](?!\w)"
)
IDEOGRAPH = re.compile(r"[\u3400-\u9fff\u3040-\u30ff]")
PLACEHOLDER = re.compile(r"\{\w+\}")
SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")
_NOT_A_WORD = re.compile(r"[\W_]+")


def flat(text: str) -> str:
    """A text's words in lower case between single spaces: a run of words is found as a substring."""
    return spaced(plain_words(text))


def plain_words(text: str) -> list[str]:
    """A text's words in lower case, without marks."""
    return words(_NOT_A_WORD.sub(" ", text.lower()))


def spaced(found: Sequence[str]) -> str:
    return f" {' '.join(found)} "


def sentences(text: str) -> Iterator[list[str]]:
    """The words of each sentence."""
    for part in SENTENCE_END.split(text):
        if found := plain_words(part):
            yield found
