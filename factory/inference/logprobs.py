"""Log-probabilities of the tokens of an answer, as an endpoint gives them, and what judges read from them.

An endpoint lists a few alternatives of each token, the likeliest. Whatever is not among them counts as never written.
"""

import codecs
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DIGITS = re.compile("[0-9]*")
ABOVE_ZERO = 1e-3
"""Engines round: a log-probability may lie this much above 0."""
DECIMALS = 6
"""Engines compute in 32 bits, which hold no more; the journal would hold the noise behind them."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer. The texts of all tokens, joined, begin with the text of the answer."""

    token: str
    logprob: float
    top: dict[str, float] = field(default_factory=dict)
    """the alternatives with their log-probabilities, this token among them; empty: none were given"""

    def as_plain(self) -> dict[str, Any]:
        """For JSON; `top` is left out where it is empty."""
        plain: dict[str, Any] = {"token": self.token, "logprob": self.logprob}
        return plain | {"top": self.top} if self.top else plain


def read_tokens(logprobs: Any, text: str) -> list[TokenLogprob] | None:
    """The tokens of a choice's text.

    Args:
        logprobs: the choice's `logprobs`, in OpenAI's shape.
    Returns:
        None where there are none, their shape is odd, a value is not a log-probability, or they do not spell the text.
    """
    if logprobs is None:
        return None
    try:
        content = logprobs["content"]
        spelled = _texts(content)
        tokens = [_token(item, token) for item, token in zip(content, spelled, strict=True)]
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        return None
    return _from_text_on(tokens, text)


def encodable(text: str) -> str:
    """Half an emoji, as some models emit, has no UTF-8 and could not be written down."""
    return text.encode("utf-8", "replace").decode()


def _texts(content: list[Any]) -> list[str]:
    """Each token's text. One that ends inside a character is empty there; the last part has the whole of it."""
    if not all(isinstance(item.get("bytes"), list) for item in content):
        return [encodable(item["token"]) for item in content]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [decoder.decode(bytes(item["bytes"])) for item in content]


def _token(item: dict[str, Any], text: str) -> TokenLogprob:
    logprob = _logprob(item["logprob"])
    top: dict[str, float] = {}
    for alternative in item.get("top_logprobs") or ():
        # Two tokens may have one text, as '1' may with and without the mark of a word's beginning.
        spelled, value = encodable(alternative["token"]), _logprob(alternative["logprob"])
        top[spelled] = min(_sum_of(top[spelled], value), 0.0) if spelled in top else value
    if top:
        top.setdefault(encodable(item["token"]), logprob)
    return TokenLogprob(text, logprob, top)


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value > ABOVE_ZERO:
        raise ValueError(f"{value!r} is not a log-probability")
    return min(round(float(value), DECIMALS), 0.0)


def _sum_of(one: float, other: float) -> float:
    most = max(one, other)
    return most + math.log(math.exp(one - most) + math.exp(other - most))


def _from_text_on(tokens: list[TokenLogprob], text: str) -> list[TokenLogprob] | None:
    """The tokens from the text's first character on: endpoints cut off a reasoning before it, and white space."""
    joined = "".join(token.token for token in tokens)
    before = joined.rfind(text) if text else 0
    place = _at(tokens, before) if before > 0 else None
    if place is None:
        return None if before < 0 else tokens
    index, within = place
    first = tokens[index]
    return [TokenLogprob(first.token[within:], first.logprob, first.top), *tokens[index + 1 :]]


def label_probabilities(
    tokens: Sequence[TokenLogprob], text_offset_of_label: int, labels: Sequence[str]
) -> dict[str, float] | None:
    """How probable each label was at the place where one of them was written.

    Reads the alternatives of the token in which the label begins. White space around them does not matter: ' 1' and '1'
    add up. An alternative that begins one label only ('fir', of first and second) counts as that label. Limits: labels
    that begin with the same token cannot be told apart and are not found (for numbers there is `digit_expectation`);
    an alternative that goes on after its label ('1.') is not counted.

    Args:
        text_offset_of_label: where the label's first character stands in the text of the answer.
    Returns:
        The labels found among the alternatives, with probabilities that add up to 1; None where the endpoint gave no
        alternatives, or none of the labels was written there.
    """
    place = _at(tokens, text_offset_of_label)
    if place is None:
        return None
    token, within = tokens[place[0]], place[1]
    if _label(token.token[within:], labels) is None:
        return None
    found: dict[str, float] = {}
    for written, probability in _alternatives(token, within):
        label = _label(written, labels)
        if label is not None:
            found[label] = found.get(label, 0.0) + probability
    return _normalised(found)


def digit_expectation(
    tokens: Sequence[TokenLogprob], offset: int, least: int = 1, most: int = 10
) -> tuple[dict[str, float], float] | None:
    """How probable each whole number was where one was written, and the sum of i·P(i) (arXiv:2309.00267, direct RLAIF).

    Many tokenizers write 10 as '1' and '0'. Where the answer itself took '1', the next token's alternatives say how
    P('1') divides into 1 and 10; where it has none, all of it goes to what was written. Limits: where the answer took
    another digit and no alternative is 10 as a whole, nobody knows how P('1') divides, so it is left out (a scale of
    single digits has no such trouble); numbers that are not among the alternatives count as impossible.

    Args:
        offset: where the number's first digit stands in the text of the answer.
        least: at least 0.
    Returns:
        The numbers found, as text, with probabilities that add up to 1, and the expectation; None where the endpoint
        gave no alternatives, or no digit stands there.
    """
    place = _at(tokens, offset)
    if place is None:
        return None
    index, within = place
    chosen, options = tokens[index].token[within:], _alternatives(tokens[index], within)
    if not _digits(chosen):
        return None
    labels = [str(number) for number in range(least, most + 1)]
    found = dict.fromkeys(labels, 0.0)
    before, weight = "", 1.0  # the digits written so far, and how probable they were
    while True:
        followed = _share_out(before, weight, options, chosen, found)
        if not followed:
            break
        before, weight, index = before + chosen, weight * followed, index + 1
        if index == len(tokens) or not tokens[index].top:
            written = before + _digits("".join(token.token for token in tokens[index:]))
            if written in found:
                found[written] += weight
            break
        chosen = tokens[index].token
        options = [(written, math.exp(logprob)) for written, logprob in tokens[index].top.items()]
        if before in found:  # whatever is not among the alternatives ends the number
            found[before] += weight * max(0.0, 1 - sum(probability for _, probability in options))
    probabilities = _normalised({label: probability for label, probability in found.items() if probability > 0})
    if probabilities is None:
        return None
    return probabilities, sum(int(label) * probability for label, probability in probabilities.items())


def _share_out(
    before: str, weight: float, options: list[tuple[str, float]], chosen: str, found: dict[str, float]
) -> float:
    """Adds to each number what the alternatives after `before` give it.

    Returns:
        How probable the token was that the answer took, if a longer number can begin with it: the next one decides.
    """
    followed = 0.0
    for written, probability in options:
        number = before + _digits(written)
        longer = {label for label in found if label.startswith(number)} - {number}
        if written and written == _digits(written) and longer:  # an empty one is the end of the answer
            if written == chosen:
                followed += probability
                continue
            if not any(before + _digits(other) in longer for other, _ in options):
                continue
        if number in found:
            found[number] += weight * probability
    return followed


def _digits(written: str) -> str:
    """The digits that a text begins with."""
    match = DIGITS.match(written)
    return match[0] if match else ""


def _at(tokens: Sequence[TokenLogprob], offset: int) -> tuple[int, int] | None:
    """Which token a character of the text stands in, and where in it; None: the text ends before."""
    start = 0
    for index, token in enumerate(tokens):
        if start <= offset < start + len(token.token):
            return index, offset - start
        start += len(token.token)
    return None


def _alternatives(token: TokenLogprob, within: int) -> list[tuple[str, float]]:
    """What each alternative writes from a place in the token on, with its probability."""
    glued = token.token[:within].strip()
    found = []
    for alternative, logprob in token.top.items():
        written = alternative.lstrip()
        if written.startswith(glued):
            found.append((written.removeprefix(glued).lstrip(), math.exp(logprob)))
    return found


def _label(written: str, labels: Sequence[str]) -> str | None:
    written = written.strip()
    if written in labels:
        return written
    begun = [label for label in labels if label.startswith(written)] if written else []
    return begun[0] if len(begun) == 1 else None


def _normalised(found: dict[str, float]) -> dict[str, float] | None:
    total = sum(found.values())
    return {label: probability / total for label, probability in found.items()} if total > 0 else None
