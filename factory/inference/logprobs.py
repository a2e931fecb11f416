"""Log-probabilities of an answer's tokens, as endpoints return them, and what judges read from them.

An endpoint lists the few likeliest alternatives to each token. All others count as impossible.
"""

import codecs
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from factory.inference.thinking import split_thinking
from factory.inference.values import storable

DIGITS = re.compile("[0-9]*")
ABOVE_ZERO = 1e-3
"""Engines round, so a log-probability may be this much above 0."""
UNREADABLE = "logprobs cannot be read"
DECIMALS = 6
"""Engines compute in 32 bits; further decimals would fill the journal with noise."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer. The joined texts of all tokens start with the answer's text."""

    token: str
    logprob: float
    top: dict[str, float] = field(default_factory=dict)
    """log-probability by alternative, this token included; empty: none were returned"""

    def as_plain(self) -> dict[str, Any]:
        """For JSON; omits an empty `top`."""
        plain: dict[str, Any] = {"token": self.token, "logprob": self.logprob}
        return plain | {"top": self.top} if self.top else plain

    @classmethod
    def from_plain(cls, plain: Any) -> Self:
        """Reads the output of `as_plain`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is something else.
        """
        top = {storable(text): _logprob(value) for text, value in plain.get("top", {}).items()}
        return cls(storable(plain["token"]), _logprob(plain["logprob"]), top)


def read_tokens(logprobs: Any, text: str, notes: list[str] | None = None) -> list[TokenLogprob] | None:
    """The tokens of a choice's text; those of the thinking before it are left out.

    Args:
        logprobs: the choice's `logprobs`, in OpenAI's shape.
        text: the answer without its thinking.
        notes: receives why they cannot be used, if they are there.
    Returns:
        None if there are none, they are malformed, a value is not a log-probability, or they do not spell the text.
    """
    if logprobs is None or not text:
        return None
    tokens = _read(logprobs, text)
    if tokens is None and notes is not None and logprobs != {"content": None} and logprobs != {}:
        notes.append(UNREADABLE)
    return tokens


def _read(logprobs: Any, text: str) -> list[TokenLogprob] | None:
    try:
        content = logprobs["content"]
        spelled = _texts(content)
        tokens = [_token(item, token) for item, token in zip(content, spelled, strict=True)]
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        return None
    return _from_text_on(tokens, text)


def read_stored(stored: Any, text: str, notes: list[str]) -> list[TokenLogprob] | None:
    """The tokens of a text, as a journal holds them: `as_plain` of each; see `read_tokens`."""
    if stored is None or not text:
        return None
    try:
        tokens = _from_text_on([TokenLogprob.from_plain(token) for token in stored], text)
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        tokens = None
    if tokens is None:
        notes.append(UNREADABLE)
    return tokens


def _texts(content: list[Any]) -> list[str]:
    """Each token's text. A character split across tokens belongs to the last of them."""
    if not all(isinstance(item.get("bytes"), list) for item in content):
        return [storable(item["token"]) for item in content]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [storable(decoder.decode(bytes(item["bytes"]))) for item in content]


def _token(item: dict[str, Any], text: str) -> TokenLogprob:
    logprob = _logprob(item["logprob"])
    top: dict[str, float] = {}
    for alternative in item.get("top_logprobs") or ():
        # Two tokens may have the same text, such as '1' with and without the marker for the start of a word.
        spelled, value = storable(alternative["token"]), _logprob(alternative["logprob"])
        top[spelled] = min(_sum_of(top[spelled], value), 0.0) if spelled in top else value
    if top:
        top.setdefault(storable(item["token"]), logprob)
    return TokenLogprob(text, logprob, top)


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value > ABOVE_ZERO:
        raise ValueError(f"{value!r} is not a log-probability")
    return min(round(float(value), DECIMALS), 0.0)


def _sum_of(one: float, other: float) -> float:
    most = max(one, other)
    return most + math.log(math.exp(one - most) + math.exp(other - most))


def _from_text_on(tokens: list[TokenLogprob], text: str) -> list[TokenLogprob] | None:
    """The tokens from the text's first character on: endpoints cut off leading thinking and white space."""
    spelled = "".join(token.token for token in tokens)
    _, answer = split_thinking(spelled)
    # Tokens that end the thinking may have no text; the last place is then right, as thinking may quote the answer.
    start = len(spelled) - len(answer.lstrip())
    start = start if spelled.startswith(text, start) else spelled.rfind(text)
    if start < 0:
        return None
    if start == 0:
        return tokens
    place = _at(tokens, start)
    if place is None:
        return None
    index, within = place
    first = tokens[index]
    return [TokenLogprob(first.token[within:], first.logprob, first.top), *tokens[index + 1 :]]


def label_probabilities(
    tokens: Sequence[TokenLogprob], text_offset_of_label: int, labels: Sequence[str]
) -> dict[str, float] | None:
    """The probability of each label at the position where one of them was written.

    Reads the alternatives of the token in which the label starts. White space around them is ignored: ' 1' and '1'
    add up. An alternative that starts only one label ('fir', of first and second) counts as that label. Limits: labels
    that start with the same token cannot be distinguished and are not found (for numbers, use `digit_expectation`);
    an alternative that continues past its label ('1.') is not counted.

    Args:
        text_offset_of_label: the position of the label's first character in the answer's text.
    Returns:
        The labels found among the alternatives, with probabilities that add up to 1; None if the endpoint returned no
        alternatives, or no label was written there.
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


def opening_probabilities(tokens: Sequence[TokenLogprob], labels: Sequence[str]) -> dict[str, float] | None:
    """The probability of each label as the first word of an answer, whichever word was written there.

    Reads the alternatives of the first token that is more than white space. Case is ignored, and an alternative that
    starts only one label ('y', of yes and no) counts as that label.

    Args:
        labels: in lower case.
    Returns:
        The labels found among the alternatives, with probabilities that add up to 1; None if none is.
    """
    first = next((token for token in tokens if token.token.strip()), None)
    found: dict[str, float] = {}
    for written, logprob in first.top.items() if first is not None else ():
        label = _label(written.lower(), labels)
        if label is not None:
            found[label] = found.get(label, 0.0) + math.exp(logprob)
    return _normalised(found)


def digit_expectation(
    tokens: Sequence[TokenLogprob], offset: int, least: int = 1, most: int = 10
) -> tuple[dict[str, float], float] | None:
    """The probability of each whole number where one was written, and the sum i·P(i) (arXiv:2309.00267, direct RLAIF).

    Many tokenizers write 10 as '1' and '0'. If the answer itself has '1', the next token's alternatives tell how
    P('1') splits into 1 and 10; if it has none, all of P('1') goes to the number written. Limits: if the answer has
    another digit and no alternative is 10 as a whole, the split of P('1') is unknown, so it is left out (scales of
    single digits are not affected); numbers that are not among the alternatives count as impossible.

    Args:
        offset: the position of the number's first digit in the answer's text.
        least: 0 or more.
    Returns:
        The numbers found, as text, with probabilities that add up to 1, and the expectation; None if the endpoint
        returned no alternatives, or no digit was written there.
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
    before, weight = "", 1.0  # the digits so far, and their probability
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
        if before in found:  # every token not among the alternatives ends the number
            found[before] += weight * max(0.0, 1 - sum(probability for _, probability in options))
    probabilities = _normalised({label: probability for label, probability in found.items() if probability > 0})
    if probabilities is None:
        return None
    return probabilities, sum(int(label) * probability for label, probability in probabilities.items())


def _share_out(
    before: str, weight: float, options: list[tuple[str, float]], chosen: str, found: dict[str, float]
) -> float:
    """Adds to each number the probability of the alternatives after `before` that write it.

    Returns:
        The probability of the answer's own token if a longer number can start with it: the next token decides.
    """
    followed = 0.0
    for written, probability in options:
        number = before + _digits(written)
        longer = {label for label in found if label.startswith(number)} - {number}
        if written and written == _digits(written) and longer:  # empty text ends the answer
            if written == chosen:
                followed += probability
                continue
            if not any(before + _digits(other) in longer for other, _ in options):
                continue
        if number in found:
            found[number] += weight * probability
    return followed


def _digits(written: str) -> str:
    """The leading digits of a text."""
    match = DIGITS.match(written)
    return match[0] if match else ""


def _at(tokens: Sequence[TokenLogprob], offset: int) -> tuple[int, int] | None:
    """The token that contains a character of the text, and the position within it; None: past the end."""
    start = 0
    for index, token in enumerate(tokens):
        if start <= offset < start + len(token.token):
            return index, offset - start
        start += len(token.token)
    return None


def _alternatives(token: TokenLogprob, within: int) -> list[tuple[str, float]]:
    """The text of each alternative from position `within` on, with its probability."""
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
