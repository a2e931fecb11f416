"""Whether an answer talks to its writer: a line of the prompt's constraints, the critique or a template in other words.

Small models write 'The very last words of the answer must be …' or 'Your response has no postscript.' where an answer is
wanted. Such a sentence speaks of the answer's form, and is like one that its writer was shown.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice

from rapidfuzz.distance import Levenshtein

from factory.work.sentences import IDEOGRAPH, PLACEHOLDER, QUOTED, SENTENCE_END, plain_words, sentences, spaced

LEAST_WORDS, OPENING, RUN, SIMILAR, COVERED = 4, 3, 5, 0.75, 0.75
"""Words of a clause that is compared; words with which a line opens as a template does; words in a row that are a copy;
likeness of two clauses, word by word; share of a clause's words that one sentence shown holds. An ideograph is half a word."""

MOST_CLAUSES, LONGEST_CLAUSE = 100, 80
"""Clauses, and words of each, that are compared on either side: what a broken model writes may have thousands, and each is
compared with each."""

_ANSWER = r"(?:answer|response|reply|text)"
_FORM = (
    rf"(?:{_ANSWER}|words?|sentences?|paragraphs?|placeholders?|postscript|bullet points?|bullets?|sections?|commas?|title|"
    r"(?:square|angle|angular) brackets|quotation marks?|capital letters?|letters?|asterisks?|divider|markdown|json|"
    r"requirements?|constraints?|instructions?|critique|times)"
)
_IMPERATIVE = (
    r"(?:add|use|include|leave|put|write|rewrite|give|keep|take|remove|replace|work|contain|highlight|divide|repeat|"
    r"end|start|begin|mend|change|make)"
)
_OF_ANSWER = (  # the answer must …, your response has …, this text does not contain …
    rf" (?:your|the|this|my|whole|original) {_ANSWER} (?:above )?(?:must|should|shall|has|have|had|contains?|needs?|uses?|"
    r"includes?|ends?|starts?|begins?|meets?|misses|lacks?|does|can|may|will|is (?:not|in)|appears?) "
)
_SPEAKS = re.compile(
    rf"{_OF_ANSWER}"
    # do not use …, you can add …: at the sentence's beginning, or told to 'you'
    rf"|^ (?:please |now |remember |also |and |but )?(?:you (?:can|could|must|should|may|have to|need to) (?:also )?)?"
    rf"(?:do not |don t |never )?{_IMPERATIVE} (?:.* )?{_FORM} "
    # the word should appear …; at least 3 were asked for
    r"| (?:word|words|letter|letters|placeholders|sentences|paragraphs|sections) (?:\w+ ){0,2}(?:must|should|appears?) "
    r"| (?:was|were|is|are) (?:asked|requested|required) (?:for|to) "
    r"|(?:(?:你|您) 的|该|本|整 个) ?(?:回 答|回 复|答 案|文 本)|(?:回 答|回 复|答 案) (?:中 |里 |的 .*)?(?:必 须|应 当|应 该|不 要|需 要|缺 少|没 有|至 少|要)"
    r"|^ (?:请 )?(?:至 少 |正 好 )|^ 请 (?:先 |在 |把 |用 |给 |不 要 )|^ 不 要 (?:使 用|出 现)"
)
_HOPES = re.compile(rf" i hope (?:that )?(?:this|my|the) (?:\w+ )?{_ANSWER} meets ")
"""'I hope this response meets your expectations' is told to whoever asked, unless the task is to answer somebody."""
_IS_QUOTED = re.compile(
    rf"\W*(?:(?:the|your|my|this) (?:{_ANSWER}|word|last words?|title) (?:is|are|(?:must|should) be):?|(?:你的|该)?回答(?:必须)?是[：:]?)"
    rf"\s*(?P<quoted>{QUOTED.pattern})\W*",
    re.IGNORECASE,
)
"""a whole text such as 'The answer is "support".': the word to use, and no answer"""
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an the of to in is are be it its that this with and or for your you my i as at by on so but not must should "
        "can could may will has have had contain contains include includes",
    )
)
_ANSWERS = frozenset(("response", "reply", "text"))
_NUMBERS = frozenset(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
_FORM_WORDS = re.compile(
    rf" {_FORM} | (?:回 答|回 复|答 案|文 本|词|句|段|要 点|标 题|占 位 符|附 记|括 号|引 号|星 号|分 隔 符|部 分|要 求|最 后) "
)
_IMPERATIVE_FORM = re.compile(rf"^ {_IMPERATIVE} (?:.* )?{_FORM} $")
_ABOUT_ANSWER = re.compile(_OF_ANSWER)
_CLAUSE_END = re.compile(r"[,:;](?=\s|$)|[，：；]")
_LISTED = re.compile(r"^\s*(?:[-*•+]|\d+[.)])")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a writer was shown that speaks of the answer."""

    clauses: tuple[tuple[str, ...], ...]
    contents: tuple[frozenset[str], ...]
    """the words of each whole sentence"""
    openings: frozenset[tuple[str, ...]]
    """the first words of what a template tells to do"""
    quoted: frozenset[str]
    """what rules and critique have in quotation marks, and the task has not"""
    about: frozenset[str]
    """words of the task itself: a sentence of form that uses one of them may well be its answer"""


def rewords(
    text: str, parent: str, prompt: str, critique: str, templates: tuple[str, ...], *, repeats_prompt: bool = False
) -> bool:
    """Whether a sentence of the text tells its writer what to write, as the prompt, critique or templates did.

    What the parent says in a similar way, and what stands in quotation marks, is not looked at.

    Args:
        repeats_prompt: whether the prompt asks to be repeated; its sentences are then not compared.
    """
    spoken = _bounded(found for found in _clauses(text) if _SPEAKS.search(spaced(found)))
    shown = _shown(prompt, critique, templates, repeats_prompt)
    if (whole := _IS_QUOTED.fullmatch(text)) and _unquoted(whole["quoted"]) in shown.quoted:
        return True
    before = list(_clauses(parent, 1))
    known = {word for found in before for word in found}
    for line in text.splitlines():
        opening = tuple(plain_words(line)[:OPENING]) if not _LISTED.match(line) else ()
        if opening in shown.openings and not {opening[0], opening[-1]} & (known | shown.about):
            return True
    for found in spoken:
        if any(_similar(found, old) or spaced(found) in spaced(old) for old in before):
            continue
        if _HOPES.search(spaced(found)) and not {"reply", "respond", "answer", "response"} & shown.about:
            return True
        if any(_copies(found, source) for source in shown.clauses) or _is_covered(found, shown, known):
            return True
    return False


def _clauses(text: str, least: int = LEAST_WORDS) -> Iterator[list[str]]:
    """The words of each part of a sentence outside quotation marks; those of fewer words than `least` are left out."""
    for found in sentences(_CLAUSE_END.sub("\n", QUOTED.sub(" ", text))):
        if len(found) >= least * _unit(found):
            yield found


def _bounded(clauses: Iterator[list[str]]) -> list[list[str]]:
    return [found[:LONGEST_CLAUSE] for found in islice(clauses, MOST_CLAUSES)]


@lru_cache(maxsize=64)
def _shown(prompt: str, critique: str, templates: tuple[str, ...], repeats_prompt: bool) -> _Shown:
    asked = [part for part in SENTENCE_END.split(QUOTED.sub(" ", prompt)) if part.strip()]
    quoted = {found[0] for found in QUOTED.finditer(f"{prompt}\n{critique}")}
    task = next(iter(prompt.splitlines()), "")
    # The first sentence is the task, however it is worded: 'Write a text to my brother.'
    rules = [part for part in asked[1:] if any(_SPEAKS.search(spaced(found)) for found in _clauses(part))]
    fixed = [part for template in templates for part in PLACEHOLDER.split(template)]
    told = "\n".join([*fixed, *([] if repeats_prompt else rules), critique])
    return _Shown(
        tuple(map(tuple, _bounded(found for found in _clauses(told) if _names_form(found)))),
        tuple(map(frozenset, map(_content, _bounded(s for s in sentences(QUOTED.sub(" ", told)) if _names_form(s))))),
        frozenset(
            tuple(found[:OPENING])
            for part in fixed
            for found in _clauses(part)
            if _IMPERATIVE_FORM.match(spaced(found[:OPENING]))
        ),
        frozenset(_unquoted(found) for found in quoted if found not in task),
        frozenset(word for part in asked if part not in rules for word in plain_words(part)),
    )


def _unquoted(quoted: str) -> str:
    return " ".join(plain_words(quoted))


def _copies(found: Sequence[str], source: Sequence[str]) -> bool:
    """Whether a clause is nearly the same as one that was shown, or shares a run of words about the form with it."""
    return _similar(found, source) or _names_form(_longest_run(found, source, RUN * _unit(found)))


def _similar(one: Sequence[str], other: Sequence[str]) -> bool:
    return Levenshtein.normalized_similarity(one, other, score_cutoff=SIMILAR) >= SIMILAR


def _names_form(found: Sequence[str]) -> bool:
    return _FORM_WORDS.search(spaced(found)) is not None


def _longest_run(one: Sequence[str], other: Sequence[str], least: int) -> Sequence[str]:
    """The longest run of words that both hold; empty if shorter than `least`."""
    match = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    return one[match.a : match.a + match.size] if match.size >= least else []


def _is_covered(found: Sequence[str], shown: _Shown, known: set[str]) -> bool:
    """Whether one sentence shown holds nearly all words of a clause, and neither task nor parent names the form it names."""
    forms = {word for word in found if _FORM_WORDS.match(spaced([word]))}
    if not _names_form(found) or forms & shown.about or forms & known:
        return False
    content = _content(found)
    least = 2 if _ABOUT_ANSWER.search(spaced(found)) else 3
    return len(content) >= least and any(len(content & told) >= COVERED * len(content) for told in shown.contents)


def _content(found: Sequence[str]) -> set[str]:
    return {_same(word) for word in found if word not in _COMMON and not IDEOGRAPH.match(word)}


def _same(word: str) -> str:
    """A word without its plural, numbers all alike, and the words for the answer as one."""
    if word.isdigit() or word in _NUMBERS:
        return "#"
    if word in _ANSWERS:
        return "answer"
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _unit(found: Sequence[str]) -> int:
    return 2 if sum(map(bool, map(IDEOGRAPH.match, found))) > len(found) / 2 else 1
