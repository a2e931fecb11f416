"""Reads yes or no out of what a judge wrote, in its own words, in several languages, or in JSON.

SPaR's code takes the first 'yes' or 'no' after 'Final Judgement', which turns some verdicts round ('Yes/No', 'There is no
fault'). Here the last marker after any thinking counts, the word must open or close its line or stand in quotes, and a
verdict that holds both words is none.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_THOUGHT = re.compile(
    r"\A.*</\s*(?:think|thinking|thought|reasoning)\s*>|<(?:think|thinking|thought|reasoning)>.*\Z", re.S | re.I
)


def without_thinking(text: str) -> str:
    """The text with its thinking (`<think>…</think>`, or up to a closing tag alone) as spaces, so that positions stay."""
    return _THOUGHT.sub(lambda thought: " " * len(thought[0]), text)


_FINAL = r"(?:judge?ments?|verdict|decision|conclusion|assessment|evaluation|ruling|answer|result)"
_MARKERS = tuple(  # the surest first: others count only where these are missing
    re.compile(marker, re.IGNORECASE | re.MULTILINE)
    for marker in (
        r"final[\W_]{1,9}judge?ment"
        r"|最[终終](?:的)?(?:判断|判定|判决|裁决|评判|评价|結論|结论|评估|評価|判斷)|최종\s*(?:판단|판정|결론|평가)"
        r"|(?:endgültiges|abschließendes|finales) urteil|endurteil|eindoordeel"
        r"|(?:jugement|verdict|veredicto|veredito|juicio|giudizio|verdetto|julgamento|d[ée]cisi[oó]n|conclusi[oó]n)e?"
        r"[\W_]{1,9}(?:finale?|definitiv[oa]|définitif)\b"
        r"|(?:итоговый|окончательный|финальный) вердикт|(?:итоговое|окончательное) (?:решение|суждение)",
        rf"(?:final|overall)[\W_]{{1,9}}{_FINAL}",
        r"^(?:[^\w\n]|_){0,9}(?:(?:my|the|in)\s+)?(?:judge?ment|verdict|conclusion|decision|ruling|result"
        r"|urteil|jugement|veredicto|veredito|verdetto|giudizio|вердикт|判断|结论|判定|判定結果)\W{0,3}[:：=\-–—]"
        r"|<(?:verdict|judge?ment|answer)>",
    )
)
_COPULA = re.compile(r"[\"'*_`\s\])]*(?:(?:is|ist|est|es|è|é)\b|[是为為は](?=[\s:：\"'“「否不はい]))?", re.IGNORECASE)
_MARKUP = re.compile(r"\\[a-zA-Z]+|</?\w+>")
_CLOSING_TAG = re.compile(r"</\w+>")
_OFFERED = re.compile(r"\s*[(\[][^)\]\n]{1,40}?(?:/|\||\bor\b|或)[^)\]\n]{1,40}[)\]]", re.IGNORECASE)
"""(Yes/No): what may be answered"""

_EDGE = r"(?<![^\W_])(?:{})(?![^\W_])"  # an underscore is no letter here: _No_
_YES = re.compile(_EDGE.format("yes|ja|oui|sí|sì|sim|да|はい|예|네|是"), re.IGNORECASE)
_NO = re.compile(_EDGE.format("no|nein|non|nee|não|нет|いいえ|아니요|아니오|否"), re.IGNORECASE)
_EITHER = f"{_YES.pattern}|{_NO.pattern}"
_OPENING = {
    "no": re.compile(
        r"(?:no(?=[\W_]*$|\s*[^\w\s]|_|\s+(?:because|as|since|the|it|this|there|due|for)\b)|n(?=[\W_]*$)|nein|non|nee|não|нет|"
        r"not (?:met|satisfied|pass|passed|followed|fulfilled|compliant)|(?:does not|doesn['’]t) (?:meet|pass|follow|satisfy|comply)|"
        r"fail(?:s|ed)?|false|unmet|incorrect|rejected)(?![^\W_])"
        r"|いいえ|아니[요오]|不是|[不未](?:符合|通过|通過|满足|滿足|合格|达标)|否(?![定则則])",
        re.IGNORECASE,
    ),
    "yes": re.compile(
        r"(?:yes|y(?=[\W_]*$)|met|pass(?:es|ed)?|true|satisfied|correct|accepted|meets (?:all|every)|ja|oui|sí|sì|si|sim|да)(?![^\W_])"
        r"|はい|예(?!\w)|네(?!\w)|是(?![否不\u4e00-\u9fff])|符合|通过|通過|满足|滿足|合格",
        re.IGNORECASE,
    ),
}
_MARKS = {"no": re.compile(r"[❌✗✘]"), "yes": re.compile(r"[✅✓✔]")}
_CHOICE = re.compile(r"[\W_]*(?:/|\||\bor\b|\boder\b|\bou\b|或|还是|\bif\b|\bwenn\b|如果)|\s*[否不]", re.IGNORECASE)
_STANDS_OUT = re.compile(rf"[\"'“‘*_\[(](?:{_EITHER})[\"'”’*_\])]|(?:{_EITHER})[\W_]*$", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|isn['’]t|cannot|can['’]t|never)\b[^.;:\n]{0,12}\b(?:yes|no)\b", re.IGNORECASE)
_CORRECTION = re.compile(r"[\W_]*(yes|no)(?=[\W_]*$|\s*[.,:;!—–-])", re.IGNORECASE)


def read_yes_or_no(text: str) -> str | None:
    """`yes` or `no` after the last marker ('Final Judgement', 'Final verdict', '最终判断'); None: not readable."""
    text = _CLOSING_TAG.sub(" ", without_thinking(text))
    for marker in _MARKERS:
        *_, last = [None, *marker.finditer(text)]
        if last is not None:
            rest = (
                _OFFERED.sub("", text[last.end() :], count=1)
                if _OFFERED.match(text, last.end())
                else text[last.end() :]
            )
            return _after_marker(_COPULA.sub("", rest, count=1))
    return None


def bare(text: str) -> str:
    """The text with thinking, LaTeX commands and tags as spaces, so that positions stay."""
    return _MARKUP.sub(lambda mark: " " * len(mark[0]), without_thinking(text))


def _after_marker(rest: str) -> str | None:
    """The verdict in the marker's own line, or where that holds no word, one that opens the next line with words."""
    own, *others = _MARKUP.sub(" ", rest).split("\n")
    found = None
    if _has_words(own):
        found = _in_line(own, whole=True)
    else:
        others = [line for line in others if _has_words(line)]
        found = _in_line(others.pop(0), whole=False) if others else None
    corrections = {word[1].lower() for line in others if (word := _CORRECTION.match(line))}
    return None if corrections - {found} else found


def _has_words(line: str) -> bool:
    return bool(re.search(r"[^\W_]", line)) or any(mark.search(line) for mark in _MARKS.values())


def _in_line(line: str, *, whole: bool) -> str | None:
    """A line's verdict, unless it holds both words.

    Args:
        whole: whether the word may also close the line or stand in quotes, instead of opening it.
    """
    both = [word for word, found in (("yes", _YES), ("no", _NO)) if found.search(line)]
    if len(both) == 2:
        return None
    start = re.match(r"[\W_]*", line)
    begun = line[start.end() :] if start else line
    for word, opening in _OPENING.items():
        found = opening.match(begun)
        if found is not None:
            return None if _CHOICE.match(begun[found.end() :]) or both not in ([], [word]) else word
    marks = [word for word, mark in _MARKS.items() if mark.search(line)]
    if len(marks) == 1 and not re.search(r"[^\W_]", line):
        return marks[0]
    return both[0] if whole and both and _STANDS_OUT.search(line) and not _DENIED.search(line) else None


_VERDICT_KEYS = re.compile(r"(?:final[\W_]*)?(?:verdict|judge?ment|decision|answer|result|passed)", re.IGNORECASE)
_MOST_OBJECTS = 200


def read_json_verdict(text: str) -> tuple[str, str] | None:
    """`yes` or `no` and the critique of the last JSON object with a verdict, in a fence or among other words.

    The critique is the whole text where the object has none. None: not readable.
    """
    read = None
    for found in json_objects(without_thinking(text)):
        verdicts = {_word_of(value) for key, value in found.items() if _VERDICT_KEYS.fullmatch(key.strip())}
        if verdicts:
            critique = next((value for key, value in found.items() if key.strip().lower() == "critique"), text)
            critique = text if isinstance(critique, list | dict) else critique
            (word,) = verdicts if len(verdicts) == 1 else (None,)
            read = (word, critique) if word and isinstance(critique, str) else None
    return read


def _word_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _in_line(value.strip(), whole=False) if isinstance(value, str) else None


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in a text, in order."""
    decoder, at = json.JSONDecoder(strict=False), text.find("{")
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            return
        try:
            found, end = decoder.raw_decode(text, at)
            yield found
        except (ValueError, RecursionError):  # RecursionError: thousands of open brackets
            end = at + 1
        at = text.find("{", end)
