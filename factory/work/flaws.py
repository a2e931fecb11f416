"""What is wrong with an answer whatever a judge says: judges often pass a text that is cut off or repeats the question.

A flaw is found without a model, from the text and what its writer was shown. The rules prefer missing a flaw to seeing
one that is not there: a shared run of words counts only if neither the prompt nor the text that was refined holds it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from factory.inference.values import is_blank
from stores.likeness import words


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


def flaw_of(text: str, finish_reason: str | None, refined: Refined | None = None) -> str | None:
    """The first flaw of an answer; None: no flaw.

    Args:
        refined: for a refined answer, what it was made from.
    Returns:
        empty, repetitive, unended, or for a refined answer unchanged, echo or preamble; `responses.flaw` explains each.
    """
    if is_blank(text):
        return "empty"
    if finish_reason == "repetition" or repeats_itself(text):
        return "repetitive"
    if finish_reason == "length":
        return "unended"
    if refined is None:
        return None
    if text.strip() == refined.parent.strip():
        return "unchanged"
    if refined.parent_flaw == "unended" and words(text)[-5:] == words(refined.parent)[-5:]:
        return "unended"  # the refiner kept the end that was cut off
    if echoes(text, refined):
        return "echo"
    return "preamble" if opens_with_preamble(text) and not opens_with_preamble(refined.parent) else None


def repeats_itself(text: str) -> bool:
    """Whether a text ends in a loop: fewer than half of its last 200 four-word sequences are distinct."""
    last = words(text)[-203:]
    runs = [tuple(last[i : i + 4]) for i in range(len(last) - 3)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2


_CHANGED = (
    r"(?:revised|refined|rewritten|re-written|reworded|improved|corrected|updated|mended|modified|edited|fixed|polished|"
    r"adjusted|rephrased|amended|new|better|shorter|longer)"
)
_ANSWER = r"(?:response|answer|version|rewrite|revision|refinement|reply|text|draft)"
_PIECE = rf"(?:{_ANSWER[3:-1]}|letter|e-?mail|message|note|story|poem|essay|paragraphs?|sentences?|list|summary|review)"
_CHANGED_ZH = (
    r"(?:修改|改写|改寫|修订|修訂|修正|重写|重寫|润色|潤色|改进|改進|优化|優化|完善|更新|精炼|精簡|精简|调整|調整|更正)"
)
_PIECE_ZH = r"(?:回答|回复|回覆|答复|答案|版本|文本|文字|内容|內容|文章|句子|段落|版)"
_PREAMBLES = (
    # Here is the revised response: / Below is a shorter version without commas:
    rf"(?:here(?:['’]?s| is| are)|below (?:is|are)|the following is|this is) (?:(?:an?|the|my|your) )?"
    rf"(?:[^\s.]+ ){{0,2}}?(?:{_CHANGED} (?:[^\s.]+ ){{0,2}}?{_PIECE}|{_ANSWER} {_CHANGED})\b",
    r"(?:here(?:['’]?s| is)|below is|the following is) (?:an?|the|my|your) (?:[^\s.]+ )?"
    r"(?:response|answer|version|rewrite|revision|refinement)\b[^.\n]{0,80}[:\n]",
    # Refined answer: / My revised version of the letter:
    rf"(?:the |my |your )?{_CHANGED} {_PIECE}\b(?: (?:is|of|with|that)\b[^.\n]{{0,60}})?[\s*_\"')\]]{{0,4}}[:：\n]",
    # I have rewritten the response so that …
    rf"(?:i|we)(?:['’]ve| have)? (?:now )?(?:{_CHANGED[3:-1]}|rewrote|changed) (?:the|your|my|this) (?:[^\s.]+ ){{0,2}}?{_ANSWER}\b",
    # The response has been revised …
    rf"(?:the|this|your) (?:[^\s.]+ )?{_ANSWER} (?:has been|was|is now|should be|can be) {_CHANGED}",
    # 以下是修改后的回答： / 改进版： / 我已经把回答改写了
    rf"(?:以下|下面|这|這)(?:就)?[是为為][^。！？\n]{{0,8}}?{_CHANGED_ZH}(?:[后後过過]的?|[之的]?{_PIECE_ZH})",
    rf"(?:经过?|經過?)?{_CHANGED_ZH}(?:[后後过過])?[之的]?{_PIECE_ZH}[^。！？，,\n]{{0,6}}[：:\n]",
    rf"我(?:已经|已經|已)?(?:对|對|将|將|把)?(?:[^。！？\n]{{0,6}}{_PIECE_ZH}[^。！？\n]{{0,8}}{_CHANGED_ZH}"
    rf"|{_CHANGED_ZH}了?[^。！？\n]{{0,6}}{_PIECE_ZH})",
    # Japanese, German, French, Spanish
    r"(?:以下|こちら)[はが][^。\n]{0,20}(?:修正|改善|書き直|改訂)",
    r"hier ist [^.\n]{0,20}(?:überarbeitete|verbesserte|korrigierte|geänderte)\w? (?:antwort|version|fassung|text)",
    r"voici [^.\n]{0,20}(?:réponse|version|texte) (?:révisée?|corrigée?|améliorée?|modifiée?)",
    r"(?:aquí está|aquí tienes|esta es) [^.\n]{0,20}(?:respuesta|versión|texto) (?:revisad|corregid|mejorad|modificad)",
)
_OBLIGING = (
    # Sure, here's a note that …:
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|got it|no problem|understood|my apologies|i apologi[sz]e)\b"
    r"[^\n]{0,40}?\b(?:here(?:['’]?s| is| are)|below (?:is|are))\b",
    r"(?:好的|当然|當然|没问题|沒問題|明白了?)(?:可以)?[，,。！!：:\s]{0,3}(?:这是|這是|以下|下面)",
)
_DECORATION = r"[\s*#_>\"'“”\-\[(【]*"
_PREAMBLE = re.compile(
    rf"{_DECORATION}(?:(?:sure|certainly|of course|okay|ok|好的)[,.!，。！]?\s*)?(?:{'|'.join(_PREAMBLES)})"
    rf"|{_DECORATION}(?:{'|'.join(_OBLIGING)})",
    re.IGNORECASE,
)


def opens_with_preamble(text: str) -> bool:
    """Whether a text begins by talking about the rewriting: 'Here is the revised response:', '以下是修改后的回答：'."""
    return _PREAMBLE.match(text) is not None


_PLACEHOLDER = re.compile(r"\{\w+\}")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")
_QUOTED = re.compile(
    r"\"[^\"\n]{0,400}\"|“[^”\n]{0,400}”|「[^」\n]{0,400}」|『[^』\n]{0,400}』|«[^»\n]{0,400}»|(?<!\w)['‘][^'’\n]{0,400}['’](?!\w)"
)
_NOT_A_WORD = re.compile(r"[\W_]+")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff\u3040-\u30ff]")
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
LONG_RUN, SHORT_RUN = 8, 5
"""Words in a row that make an echo: 8, or 60% of a shorter sentence but at least 5. An ideograph counts as half a word."""


def echoes(text: str, refined: Refined) -> bool:
    """Whether an answer repeats the prompt as a whole, the critique, or the judge's or refiner's instruction.

    A critique's sentence must speak of the answer or the task: a fact it states may well be needed in the answer.
    What it quotes is left out, as it may be the very words to use.
    """
    known = f"{refined.prompt}\n{refined.parent}"
    if any(label in text and label not in known for label in _labels(refined.templates)):
        return True
    written = {found[1].lower() for found in _MARKER.finditer(text)} - {
        found[1].lower() for found in _MARKER.finditer(known)
    }
    if any(marker in template.lower() for marker in written for template in refined.templates):
        return True
    answer, given, parent = _flat(text), _flat(known), _flat(refined.parent)
    if not _REPEATING.search(refined.prompt) and _repeats_prompt(refined.prompt, answer, parent):
        return True
    for sentence in _sentences_of(refined.templates):
        if any(run in answer and run not in given for run in _runs(sentence)):
            return True
    for sentence in _sentences(_QUOTED.sub("\n", refined.critique)):
        if _OF_THE_TASK.search(_spaced(sentence)) and any(
            run in answer and run not in given and _OF_THE_TASK.search(run) for run in _runs(sentence)
        ):
            return True
    return False


def _repeats_prompt(prompt: str, answer: str, parent: str) -> bool:
    """Whether an answer is only words of the prompt, holds all of it, or opens with its first sentence, unlike the parent."""
    asked, first = _flat(prompt), _spaced(next(_sentences(prompt), []))
    long = LONG_RUN * (2 if _IDEOGRAPH.search(first) else 1)
    if len(asked.split()) < long:
        return False
    opens = len(first.split()) >= long and answer.startswith(first) and not parent.startswith(first)
    only = len(answer.split()) >= long and answer in asked
    return only or opens or (asked in answer and asked not in parent)


def _flat(text: str) -> str:
    """A text's words in lower case between single spaces: a run of words is found as a substring."""
    return _spaced(_normal(text))


def _normal(text: str) -> list[str]:
    return words(_NOT_A_WORD.sub(" ", text.lower()))


def _spaced(found: list[str]) -> str:
    return f" {' '.join(found)} "


def _sentences(text: str) -> Iterator[list[str]]:
    """The words of each sentence."""
    for part in _SENTENCE_END.split(text):
        if found := _normal(part):
            yield found


@lru_cache(maxsize=64)
def _sentences_of(templates: tuple[str, ...]) -> list[list[str]]:
    return [
        sentence for template in templates for part in _PLACEHOLDER.split(template) for sentence in _sentences(part)
    ]


@lru_cache(maxsize=64)
def _labels(templates: tuple[str, ...]) -> frozenset[str]:
    """Lines such as '[End of response]', by which a template separates its parts."""
    return frozenset(label.strip() for template in templates for label in _LABEL.findall(template))


def _runs(sentence: list[str]) -> Iterator[str]:
    """A sentence's runs of words that are long enough to be an echo."""
    unit = 2 if sum(map(bool, map(_IDEOGRAPH.match, sentence))) > len(sentence) / 2 else 1
    length = len(sentence)
    if length < (SHORT_RUN - 1) * unit:
        return
    needed = min(LONG_RUN * unit, max(SHORT_RUN * unit, -(-length * 6 // 10)), length)
    for first in range(length - needed + 1):
        yield _spaced(sentence[first : first + needed])
