"""Whether a refined answer repeats its prompt, its critique or the instruction to refine, instead of following them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from factory.work.reworded import rewords
from factory.work.sentences import IDEOGRAPH, PLACEHOLDER, QUOTED, flat, sentences, spaced


@dataclass(frozen=True, slots=True)
class Refined:
    """What a refiner was shown, and so may repeat instead of writing an answer."""

    prompt: str
    parent: str
    """the answer to refine"""
    parent_flaw: str | None = None
    critique: str = ""
    templates: tuple[str, ...] = ()
    """the judge's and the refiner's, with their placeholders"""


_LABEL = re.compile(r"^[ \t]*\[[^\]\n]{3,40}\][ \t]*$", re.MULTILINE)
_MARKER = re.compile(
    r"^[ \t*#_]*(reflection|refined (?:response|answer)|final judge?ment)[\s*_]*[:：]", re.IGNORECASE | re.MULTILINE
)
_OF_THE_TASK = re.compile(  # words of a critique about the answer, rather than about the world
    r" (?:response|answer|reply|instructions?|requests?|requested|requirements?|constraints?|critique|judge?ment|asked|"
    r"keywords?|sentences?|paragraphs?|words|lacks?|miss(?:es|ed|ing)|mentions?|mentioned|fails?"
    r"|回 答|回 复|回 覆|答 复|指 令|要 求|约 束|缺 少|提 到|关 键 词|句 子|句 话|段 落|字 数|应 当) "
)
_REPEATING = re.compile(r"repeat|word for word|verbatim|重复|複述|复述|照抄|原样", re.IGNORECASE)
_THEN_ANSWERING = re.compile(r"before (?:you )?answer|then (?:give )?(?:your |an )?answer|再作答|再回答", re.IGNORECASE)
LONG_RUN, SHORT_RUN = 8, 5
"""Words in a row that make an echo: 8, or 60% of a shorter sentence but at least 5. An ideograph counts as half a word."""


def echoes(text: str, refined: Refined) -> bool:
    """Whether an answer repeats the prompt as a whole, the critique, or the judge's or refiner's instruction.

    A critique's sentence must speak of the answer or the task: a fact it states may well be needed in the answer.
    What it quotes is left out, as it may be the very words to use.
    """
    # What a flawed parent says is no excuse: its child would keep the echo.
    excusing = "" if refined.parent_flaw in ("echo", "preamble") else refined.parent
    known = f"{refined.prompt}\n{excusing}"
    if any(label in text and label not in known for label in _labels(refined.templates)):
        return True
    written = {found[1].lower() for found in _MARKER.finditer(text)} - {
        found[1].lower() for found in _MARKER.finditer(known)
    }
    if any(marker in template.lower() for marker in written for template in refined.templates):
        return True
    answer, given, parent = flat(text), flat(known), flat(excusing)
    asks_to_repeat = _REPEATING.search(refined.prompt) is not None
    if asks_to_repeat and _THEN_ANSWERING.search(refined.prompt) and answer in flat(refined.prompt):
        return True  # nothing follows what it was to repeat
    if not asks_to_repeat and _repeats_prompt(refined.prompt, answer, parent):
        return True
    for sentence in _sentences_of(refined.templates):
        if any(run in answer and run not in given for run in _runs(sentence)):
            return True
    for sentence in sentences(QUOTED.sub("\n", refined.critique)):
        if _OF_THE_TASK.search(spaced(sentence)) and any(
            run in answer and run not in given and _OF_THE_TASK.search(run) for run in _runs(sentence)
        ):
            return True
    return rewords(text, excusing, refined.prompt, refined.critique, refined.templates, repeats_prompt=asks_to_repeat)


def _repeats_prompt(prompt: str, answer: str, parent: str) -> bool:
    """Whether an answer is only words of the prompt, holds all of it, or opens with its first sentence, unlike the parent."""
    asked, first = flat(prompt), spaced(next(sentences(prompt), []))
    long = LONG_RUN * (2 if IDEOGRAPH.search(first) else 1)
    if len(asked.split()) < long:
        return False
    opens = len(first.split()) >= long and answer.startswith(first) and not parent.startswith(first)
    only = len(answer.split()) >= long and answer in asked
    return only or opens or (asked in answer and asked not in parent)


@lru_cache(maxsize=64)
def _sentences_of(templates: tuple[str, ...]) -> list[list[str]]:
    return [sentence for template in templates for part in PLACEHOLDER.split(template) for sentence in sentences(part)]


@lru_cache(maxsize=64)
def _labels(templates: tuple[str, ...]) -> frozenset[str]:
    """Lines such as '[End of response]', by which a template separates its parts."""
    return frozenset(label.strip() for template in templates for label in _LABEL.findall(template))


def _runs(sentence: list[str]) -> Iterator[str]:
    """A sentence's runs of words that are long enough to be an echo."""
    unit = 2 if sum(map(bool, map(IDEOGRAPH.match, sentence))) > len(sentence) / 2 else 1
    length = len(sentence)
    if length < (SHORT_RUN - 1) * unit:
        return
    needed = min(LONG_RUN * unit, max(SHORT_RUN * unit, -(-length * 6 // 10)), length)
    for first in range(length - needed + 1):
        yield spaced(sentence[first : first + needed])
