"""Explains how a response breaks a constraint, with the counts and words needed to fix it.

One function per kind, called for a response that IFEval's checker rejected. Counts use the checker's own patterns
(the same regular expressions), so that the numbers agree with the verdict. Where the checker counts otherwise than a
reader would (docs/prompts.md lists where), the explanation says how it counts, and not what is untrue of the text.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from factory.verifier.checkers import (
    NO_LANGUAGE,
    detect_language,
    language_name,
    split_sentences,
    split_words,
)

_SHOWN = 5  # the most offending words named
_GUESSED_WORDS = 8  # below, langdetect is often wrong


def explain_failure(kind: str, kwargs: dict[str, Any], text: str) -> str:
    """One to three sentences on how `text` fails."""
    explain = _EXPLANATIONS.get(kind)
    if explain is None:  # IFBench's, which measure and so need no advice
        asked = f" ({', '.join(f'{name}: {value}' for name, value in kwargs.items())})" if kwargs else ""
        return f"The response does not follow {kind}{asked}."
    return explain(kwargs, text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _quote(words: Sequence[str]) -> str:
    named = ", ".join(f'"{word}"' for word in words[:_SHOWN])
    return f"{named} and {len(words) - _SHOWN} more" if len(words) > _SHOWN else named


def _compare(found: int, noun: str, relation: str, asked: int) -> str:
    """The response has 4 sentences, but less than 3 were asked for: take out at least 2."""
    fix = f"add at least {asked - found}" if relation == "at least" else f"take out at least {found - asked + 1}"
    return f"The response has {_count(found, noun)}, but {relation} {asked} were asked for: {fix}."


def _exactly(found: int, noun: str, asked: int) -> str:
    fix = f"add {asked - found}" if found < asked else f"take out {found - asked}"
    return f"The response has {_count(found, noun)}, but exactly {asked} were asked for: {fix}."


def _occurrences(word: str, text: str) -> list[str]:
    return re.findall(re.escape(word.strip()), text, flags=re.IGNORECASE)


def _keywords(kwargs: dict[str, Any], text: str) -> str:
    missing = [word for word in kwargs["keywords"] if not _occurrences(word, text)]
    return f"The response does not contain {_quote(missing)}, which it was asked to use: work it in."


def _keyword_frequency(kwargs: dict[str, Any], text: str) -> str:
    found, asked, relation = (
        len(_occurrences(kwargs["keyword"], text)),
        kwargs["frequency"],
        kwargs["relation"],
    )
    fix = "use it more often" if relation == "at least" else "use another word"
    never = relation == "less than" and asked == 1
    wanted = "it should not appear at all" if never else f"{relation} {asked} were asked for"
    inside = " (counted inside longer words, too)" if _is_inside(kwargs["keyword"], text) else ""
    return f'The word "{kwargs["keyword"]}" appears {_count(found, "time")}{inside}, but {wanted}: {fix}.'


def _is_inside(word: str, text: str) -> bool:
    """Whether some of a word's occurrences are parts of longer words."""
    plain = re.escape(word.strip())
    return bool(re.search(rf"[^\W\d_]{plain}|{plain}[^\W\d_]", text, flags=re.IGNORECASE)) and word.isascii()


def _forbidden_words(kwargs: dict[str, Any], text: str) -> str:
    counts = {
        word: len(re.findall(rf"\b{re.escape(word)}\b", text, flags=re.IGNORECASE))
        for word in kwargs["forbidden_words"]
    }
    used = [f'"{word}" ({_count(number, "time")})' for word, number in counts.items() if number]
    return f"The response uses {' and '.join(used)}, which was forbidden: use other words."


def _letter_frequency(kwargs: dict[str, Any], text: str) -> str:
    letter, asked, relation = (
        kwargs["letter"].lower(),
        kwargs["let_frequency"],
        kwargs["let_relation"],
    )
    found = Counter(text.lower())[letter]
    fix = f'use more words with "{letter}"' if relation == "at least" else f'use words without "{letter}"'
    counted = f'The letter "{letter}" appears {_count(found, "time")}'
    return f"{counted}, but {relation} {asked} were asked for: {fix}."


def _language(kwargs: dict[str, Any], text: str) -> str:
    asked = language_name(kwargs["language"])
    return f"The response {_read_as(text)}, but it should be in {asked}: write all of it in {asked}."


def _read_as(text: str) -> str:
    code = detect_language(text)
    if code == NO_LANGUAGE:
        return "is in no language"
    name = language_name(code)
    read = f"reads as {name}" if name != code else f"reads as another language (code {code})"
    return f"{read} (a guess: a text of a few words is often misread)" if len(text.split()) < _GUESSED_WORDS else read


def _sentences(kwargs: dict[str, Any], text: str) -> str:
    return _compare(len(split_sentences(text)), "sentence", kwargs["relation"], kwargs["num_sentences"])


def _words(kwargs: dict[str, Any], text: str) -> str:
    found = re.findall(r"\w+", text)
    counted = _compare(len(found), "word", kwargs["relation"], kwargs["num_words"])
    if any("\u3040" <= letter <= "\u9fff" for letter in text):
        return f"{counted} (Letters without a space or mark between them are counted as one word.)"
    if len(found) != len(text.split()):
        return f'{counted} (Words are counted without marks: "don\'t" and "well-known" are two each.)'
    return counted


def _paragraphs(kwargs: dict[str, Any], text: str) -> str:
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    if not all(parts[1:-1]):
        return "There is no text between two dividers ***: write some, or take out a divider."
    counted = _exactly(sum(map(bool, parts)), "paragraph", kwargs["num_paragraphs"])
    return f"{counted} Paragraphs are divided by *** and by nothing else."


def _nth_paragraph(kwargs: dict[str, Any], text: str) -> str:
    if "\r\n" in text:
        return "Its lines end in carriage returns, which hide its paragraphs from the checker: write plain line breaks."
    parts = text.split("\n\n")
    filled = [part for part in parts if part.strip()]
    asked, nth = kwargs["num_paragraphs"], kwargs["nth_paragraph"]
    sentences = []
    if len(filled) != asked:
        sentences.append(_exactly(len(filled), "paragraph", asked))
    if len(filled) != len(parts):
        sentences.append("There are more blank lines than one between two paragraphs, or some at the edges.")
    elif nth <= len(parts):
        first = parts[nth - 1].split()[0]
        if re.split(r"[.,?!'\"]", first.lstrip("'").lstrip('"'))[0].lower() != kwargs["first_word"].lower():
            sentences.append(f'Paragraph {nth} starts with "{first}" instead of "{kwargs["first_word"]}".')
    return " ".join([*sentences, "Separate paragraphs by exactly one blank line."])


def _placeholders(kwargs: dict[str, Any], text: str) -> str:
    found = re.findall(r"\[.*?\]", text)
    counted = _compare(len(found), "placeholder", "at least", kwargs["num_placeholders"])
    return f"{counted} Write them like [address]."


def _postscript(kwargs: dict[str, Any], text: str) -> str:
    marker = kwargs["postscript_marker"]
    other = " of this kind" if re.search(r"\bp\.?\s?s\b", text, flags=re.IGNORECASE) else ""
    return f'The response has no postscript{other}: add one at the end that starts with "{marker}".'


def _bullets(kwargs: dict[str, Any], text: str) -> str:
    found = len(re.findall(r"^\s*\*[^\*].*$", text, flags=re.MULTILINE)) + len(
        re.findall(r"^\s*-.*$", text, flags=re.MULTILINE)
    )
    counted = _exactly(found, "bullet point", kwargs["num_bullets"])
    rules = ' A line such as "---" is counted, too.' if re.search(r"^\s*-[-\s]*$", text, flags=re.MULTILINE) else ""
    return f'{counted} Each is a line that starts with "* ".{rules}'


def _constrained_response(kwargs: dict[str, Any], text: str) -> str:
    return (
        'The response has none of the sentences "My answer is yes.", "My answer is no." and '
        '"My answer is maybe.": put one of them in, exactly as it stands.'
    )


def _highlights(kwargs: dict[str, Any], text: str) -> str:
    single = [part for part in re.findall(r"\*[^\n\*]*\*", text) if part.strip("*").strip()]
    double = [
        part for part in re.findall(r"\*\*[^\n\*]*\*\*", text) if part.removeprefix("**").removesuffix("**").strip()
    ]
    found = len(single) + len(double)
    counted = _compare(found, "highlighted part", "at least", kwargs["num_highlights"])
    return f"{counted} Write them *like this*."


def _sections(kwargs: dict[str, Any], text: str) -> str:
    mark = kwargs["section_spliter"].strip()
    found = len(re.findall(rf"\s?{re.escape(mark)}\s?\d+\s?", text))
    counted = _compare(found, "section", "at least", kwargs["num_sections"])
    return f'{counted} Begin each with "{mark}" and its number, like "{mark} 1".'


def _json(kwargs: dict[str, Any], text: str) -> str:
    plain = text.strip()
    for prefix in ("```json", "```Json", "```JSON", "```"):
        plain = plain.removeprefix(prefix)
    try:
        json.loads(plain.removesuffix("```").strip())
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number with thousands of digits, endless brackets
        where = str(error)
    return f"The response is not valid JSON ({where}): write a JSON object and no text around it."


def _title(kwargs: dict[str, Any], text: str) -> str:
    return "The response has no title in double angle brackets: add one like <<title>>, on one line."


def _two_responses(kwargs: dict[str, Any], text: str) -> str:
    parts = [part.strip() for part in text.split("******")]
    answers = [part for part in parts if part]
    if len(answers) == 2 and answers[0] == answers[1]:
        return "The two answers are the same: change one of them."
    if not all(parts[1:-1]):
        return "Between two rows of asterisks is no answer: put ****** once, between the answers."
    counted = f"The response has {_count(len(answers), 'answer')}"
    return f"{counted}, but exactly 2 were asked for, with ****** between them."


def _repeat_prompt(kwargs: dict[str, Any], text: str) -> str:
    request = kwargs["prompt_to_repeat"].strip()
    start = text.strip()[: len(request)]
    same = next(
        (i for i, (a, b) in enumerate(zip(request.lower(), start.lower(), strict=False)) if a != b),
        len(start),
    )
    begin = f'right up to "{request[max(0, same - 30) : same]}"' if same else "wrong from its first letter"
    return f'The response does not repeat the request first (it is {begin}): start with "{request}".'


def _end(kwargs: dict[str, Any], text: str) -> str:
    return (
        f'The response ends with "{text.strip()[-40:]}", but its last words should be '
        f'"{kwargs["end_phrase"].strip()}" with nothing after them.'
    )


def _capital_words(kwargs: dict[str, Any], text: str) -> str:
    capitals = [word for word in split_words(text) if word.isupper()]
    counted = _compare(len(capitals), "all-capital word", kwargs["capital_relation"], kwargs["capital_frequency"])
    return f"{counted} Found: {_quote(capitals)}." if capitals else counted


def _english_capital(kwargs: dict[str, Any], text: str) -> str:
    return _english_case(text, "capital", [word for word in re.findall(r"\w+", text) if word != word.upper()])


def _english_lowercase(kwargs: dict[str, Any], text: str) -> str:
    return _english_case(text, "lower-case", [word for word in re.findall(r"\w+", text) if word != word.lower()])


def _english_case(text: str, case: str, others: list[str]) -> str:
    if others:
        return (
            f"The response should be in {case} letters only, but {_count(len(others), 'word')} "
            f"{'is' if len(others) == 1 else 'are'} not: {_quote(others)}."
        )
    wanted = f"English sentences in {case} letters"
    return f"The response {_read_as(text)}, but it should be in English: write {wanted}."


def _no_comma(kwargs: dict[str, Any], text: str) -> str:
    places = re.findall(r"\S*,", text)
    counted = f"The response has {_count(text.count(','), 'comma')}, at {_quote(places)}"
    return f"{counted}, but none is allowed: take them out or use full stops."


def _quotation(kwargs: dict[str, Any], text: str) -> str:
    plain = text.strip()
    missing = [side for side, letter in (("start", plain[0]), ("end", plain[-1])) if letter != '"']
    where = " and at the ".join(missing) or "end"  # a lone quotation mark is both
    curly = any(letter in "“”„«»「」" for letter in (plain[0], plain[-1]))
    kind = "straight double quotation mark" if curly else "double quotation mark"
    return f'The response has no {kind} at the {where}: put " at start and end.'


_EXPLANATIONS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _quotation,
}
