"""Reads what models write about claims: lists of claims, questions, verdicts and short answers. Pure."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from factory.inference.journal import Choice
from factory.inference.logprobs import opening_probabilities
from schemas.tables import Evidence

LABELS = ("true", "false", "unknown")
_ITEM = re.compile(r"\s*+(?:[-•‣–—·]|\*(?!\*)|[（(]?\d{1,3}[.):）、](?!\d))\s*+(.*\w.*)")
_BOLD = re.compile(r"\*\*(.+?)\*\*|__(.+?)__")
_NONE = re.compile(r"\W*(?:none|n/a|nothing|no (?:factual |verifiable |atomic )*claims?\b.*|无|没有)\W*", re.IGNORECASE)
_QUOTES = "\"'“”„‚‘’«»`"
_WORD = re.compile(r"(?<!\w)(not\s+|n't\s+)?(true|false|unknown)\b", re.IGNORECASE)
_OPENING = re.compile(r"[\W_]*(true|false|unknown)\b", re.IGNORECASE)
_ARTICLES = re.compile(r"^(?:the|a|an)\s+")
_SENTENCE_END = re.compile(r"(?<=[^\W\d]{3}[.!?])\s|(?<=[。！？])")


def read_claims(text: str, finish_reason: str | None = None) -> list[str]:
    """The claims that a reply lists, in order, equal ones once; none if it lists none.

    A list is a JSON list of texts, lines with a bullet or number, or several lines that are sentences. The last line of
    a reply that was cut off is left out: half a claim says something else.
    """
    found = _json_list(text)
    if found is None:
        lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
        if finish_reason == "length":
            lines = lines[:-1]
        items = [match[1] for line in lines if (match := _ITEM.fullmatch(line))]
        if not items:
            # One line without a mark may as well say that there are no claims.
            items = [line for line in lines if line.rstrip()[-1] in ".!。"]
            items = items if len(items) > 1 else []
        found = items
    cleaned = [_plain(item) for item in found]
    kept = [claim for claim in cleaned if claim and not claim.endswith((":", "：")) and not _NONE.fullmatch(claim)]
    first: dict[str, str] = {}
    for claim in kept:
        first.setdefault(claim.casefold(), claim)
    return list(first.values())


def _json_list(text: str) -> list[str] | None:
    start, end = text.find("["), text.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return None
    # JSON can spell half an emoji, which has no UTF-8 encoding.
    return [item.encode("utf-8", "replace").decode() for item in found]


def _plain(item: str) -> str:
    item = _BOLD.sub(lambda found: found[1] or found[2], item).strip()
    return item.strip(_QUOTES).strip() if item[:1] in _QUOTES else item


def read_question(text: str) -> str | None:
    """The first line that is a question, else the first line; None: the reply is empty."""
    lines = [_plain(re.sub(r"^\W*question\s*:\s*", "", line, flags=re.IGNORECASE)) for line in text.splitlines()]
    lines = [line for line in lines if line]
    return next((line for line in lines if line.endswith(("?", "？"))), lines[0] if lines else None)


def read_support(choices: Sequence[Choice], required: bool = False) -> float | None:
    """The probability that a claim is true among true and false, from the votes' mean shares of the labels.

    None if no vote can be read, or if 'unknown', that the passages do not say it, has at least half of the votes.

    Args:
        required: a vote without log-probabilities cannot be read.
    """
    read = [shares for choice in choices if (choice.logprobs or not required) and (shares := _shares(choice))]
    if not read:
        return None
    true, false, unknown = (sum(shares.get(label, 0.0) for shares in read) for label in LABELS)
    return None if unknown >= true + false else true / (true + false)


def _shares(choice: Choice) -> dict[str, float] | None:
    """Of one vote: by label, the probabilities as the first word, else 1 for the label written."""
    if choice.logprobs and (shares := opening_probabilities(choice.logprobs, LABELS)):
        return shares
    if opening := _OPENING.match(choice.text):
        return {opening[1].lower(): 1.0}
    written = {(bool(found[1]), found[2].lower()) for found in _WORD.finditer(choice.text)}
    if len(written) != 1:
        return None
    ((negated, label),) = written
    return None if negated else {label: 1.0}


def group_answers(texts: Iterable[str]) -> list[Evidence]:
    """Short answers in groups of equal ones, the largest first; weight: the group's share of the answers that say anything.

    Equal: but for case, punctuation, an article before them, and what follows the first sentence or line. A group is
    shown as its most frequent wording.
    """
    groups: dict[str, Counter[str]] = {}
    for text in texts:
        short = _SENTENCE_END.split((text.strip().splitlines() or [""])[0], maxsplit=1)[0].strip()
        if normal := normalised(short):
            groups.setdefault(normal, Counter())[short] += 1
    total = sum(counter.total() for counter in groups.values())
    ranked = sorted(groups.items(), key=lambda group: (-group[1].total(), group[0]))
    return [
        Evidence(None, min(counter, key=lambda text: (-counter[text], text)), counter.total() / total)
        for _, counter in ranked
    ]


def normalised(answer: str) -> str:
    """An answer without case, punctuation and a leading article, as SQuAD compares answers."""
    words = " ".join(re.sub(r"[\W_]+", " ", answer.casefold()).split())
    return _ARTICLES.sub("", words)
