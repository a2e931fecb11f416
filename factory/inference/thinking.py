"""Splits a model's thinking off its answer. Every text of a reply passes through here, wherever it was read.

Servers with a parser for thinking send it in a field of its own (`replies.py`). Without one it stands in the text:
between tags, before a closing tag whose opening one was part of the prompt, or in a channel of its own (gpt-oss).
"""

import re

from factory.inference.values import MARKS

_NAME = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)"
_TAG = re.compile(
    rf"<(/?){_NAME}\s{{0,4}}>|\[(/?)think\]|◁(/?)think▷|<\|(begin|end)_of_thought\|>",
    re.IGNORECASE,
)
_SPACE = re.compile(rf"[\s{MARKS}]*")
_QUOTES = frozenset("`'\"“”‘’")
_CHANNEL = re.compile(r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(\w+)[^<]{0,80}<\|message\|>")
_CHANNEL_MARK = re.compile(r"<\|(?:start|end|return|call)\|>")


def split_thinking(text: str) -> tuple[str, str]:
    """The thinking in a text, without its tags, and the answer after it.

    Thinking is: a block between tags at the start of the text, and further blocks right after it; everything up to a
    closing tag that no opening one precedes; everything after an opening tag at the start that is never closed. Tags
    elsewhere are the answer's own words, if each closing one has its opening one before it, and so are quoted ones
    (`` `</think>` ``). An answer that mentions a closing tag alone and unquoted cannot be told from thinking and is cut.
    An answer without thinking is returned as it is; splitting it again changes nothing.
    """
    thinking, answer = _split_tags(text)
    if not _CHANNEL.match(answer, _first_word(answer, 0)):
        return thinking, answer
    in_channels, answer = _split_channels(answer)
    within, answer = _split_tags(answer)
    return joined([thinking, in_channels, within]), answer


def _split_tags(text: str) -> tuple[str, str]:
    thoughts: list[str] = []
    end = begin = 0  # of the thinking so far, and of the part of it that is still open
    first = _first_word(text, 0)
    inside, open_in_answer = False, 0
    for tag in _TAG.finditer(text):
        closes = tag[1] == "/" or tag[2] == "/" or tag[3] == "/" or (tag[4] or "").lower() == "end"
        if not inside and not closes and tag.start() == first:
            inside, begin = True, tag.end()
        elif _is_quoted(text, tag):
            continue
        elif closes and (inside or not open_in_answer):
            thoughts.append(text[begin : tag.start()])
            end = begin = tag.end()
            first, inside, open_in_answer = _first_word(text, end), False, 0
        elif closes:
            open_in_answer -= 1
        elif not inside:
            open_in_answer += 1
    if inside:
        thoughts.append(text[begin:])
        end = len(text)
    return joined(thoughts), text[end:].lstrip() if end else text


def joined(thoughts: list[str]) -> str:
    """Several pieces of thinking as one."""
    return "\n\n".join(stripped for thought in thoughts if (stripped := thought.strip()))


def _first_word(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    before, after = text[tag.start() - 1 : tag.start()], text[tag.end() : tag.end() + 1]
    return before in _QUOTES and after in _QUOTES


def _split_channels(text: str) -> tuple[str, str]:
    """The same for a text in gpt-oss's channels: `final` holds the answer."""
    thoughts: list[str] = []
    answers: list[str] = []
    marks = [*_CHANNEL.finditer(text)]
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        said = _CHANNEL_MARK.sub("", text[mark.end() : following.start() if following else len(text)])
        (answers if mark[1].lower() == "final" else thoughts).append(said)
    return joined(thoughts), joined(answers)
