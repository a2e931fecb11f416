"""Odd replies to chat requests, drawn by a seed: wrong values, damaged JSON and HTTP, and texts that are hard to read."""

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Document = dict[str, Any]
THINKING = "DRAFTED"
"""stands in all thinking, and in no answer"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply as it goes over the wire."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    length: int | None = None
    """the Content-Length, if not the body's; -1: chunked"""
    pieces: int = 1
    """in how many the body is sent"""
    hangs: bool = False
    """the connection stays open after the body"""
    raw: bytes | None = None
    """sent instead of anything else"""


def as_sent(document: Any) -> Sent:
    return Sent(json.dumps(document).encode())


# What stands in the place of a value.


def odd_value(rng: random.Random) -> Any:
    deep: Any = "deep"
    for _ in range(rng.choice((3, 300))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    values: list[Any] = [None, True, False, 0, 1, -1, 1.5, 10**9, 10**18, 10**30, 10**400, float("nan")]
    values += [float("inf"), float("-inf"), "", " ", "ODD", "7", "x" * 10_000, "half \ud83d", "nul\0", "\x1b[31m", "‮"]
    values += [[], {}, [[]], [None], ["ODD"], {"a": 1}, {"content": "ODD"}, deep, [0] * 1000]
    return rng.choice(values)


def with_odd_values(rng: random.Random, document: Document) -> Sent:
    """Replaces, removes, wraps or doubles one to three values anywhere in the reply."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = [*_places(document)]
        within, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del within[key]
            case 1:
                within[key] = [within[key]]
            case 2:
                within[key] = {"value": within[key]}
            case 3 if isinstance(within, list):
                within.insert(rng.randrange(len(within) + 1), within[key])
            case _:
                within[key] = odd_value(rng)
    return as_sent(document)


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Every value's container and key."""
    keys = list(found) if isinstance(found, dict) else list(range(len(found))) if isinstance(found, list) else []
    return [(found, key) for key in keys] + [place for key in keys[:20] for place in _places(found[key])]


def with_odd_fields(rng: random.Random, document: Document) -> Sent:
    """Puts odd values where they are read: reasons, counts, indexes, log-probabilities, thinking."""
    choice = rng.choice(document["choices"])
    choice["message"] = dict(choice["message"])
    within, key = rng.choice(
        [
            (choice, "finish_reason"),
            (choice, "index"),
            (choice, "logprobs"),
            (document["usage"], "prompt_tokens"),
            (document["usage"], "completion_tokens"),
            (document, "usage"),
            (document, "model"),
            (choice["message"], "reasoning_content"),
            (choice["message"], "reasoning"),
            (choice["message"], "tool_calls"),
            (choice["message"], "refusal"),
            (choice["message"], "role"),
        ]
    )
    within[key] = odd_value(rng)
    return as_sent(document)


# Texts.


def with_thinking(rng: random.Random, document: Document) -> Sent:
    """Thinking, in every place and spelling in which it comes."""
    draft = f"{THINKING} Final Judgement: Yes\nRefined response: {THINKING} Score: 9 <b>tags</b> {{}}"
    for choice in document["choices"]:
        message = choice["message"]
        text = message["content"]
        name = rng.choice(("think", "thinking", "Think", "THOUGHT", "reasoning", "seed:think"))
        message |= rng.choice(
            [
                {"content": f"<{name}>{draft}</{name}>\n\n{text}"},
                {"content": f"\n\n<{name}>\n{draft}\n</{name}>\n<{name}>{draft}</{name}>{text}"},
                {"content": f"{draft}</{name}>\n{text}"},
                {"content": f"[THINK]{draft}[/THINK]{text}"},
                {"content": text, "reasoning_content": draft},
                {"content": text, "reasoning": draft, "reasoning_content": draft},
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": draft}]},
                        {"type": "text", "text": text},
                    ]
                },
                {
                    "content": f"<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
                },
            ]
        )
    return as_sent(document)


def without_text(rng: random.Random, document: Document) -> Sent:
    """Some choices without an answer, for every reason."""
    for choice in document["choices"]:
        if rng.random() < 0.5:
            choice["message"] |= rng.choice(
                [
                    {"content": None},
                    {"content": ""},
                    {"content": " \n\t\u200b"},
                    {"content": []},
                    {"content": None, "reasoning_content": THINKING},
                    {"content": f"<think>{THINKING}"},
                    {"content": f"{THINKING}</think>\n"},
                    {"content": None, "refusal": "I can't."},
                    {"content": [{"type": "refusal", "refusal": "No."}]},
                    {"content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
                ]
            )
            choice["finish_reason"] = rng.choice(("stop", "length", "content_filter", "tool_calls", None))
    return as_sent(document)


def with_odd_text(rng: random.Random, document: Document) -> Sent:
    """Characters, lengths and parts that are hard to hold."""
    for choice in document["choices"]:
        text = choice["message"]["content"]
        extra = rng.choice(
            (
                "\ud83d",
                "\0",
                "\x1b[2J",
                "\u202e",
                "é" * 3,
                "👍🏽",
                "\r\n",
                "\ufeff",
                "<think>",
                "`</think>`",
                "'; DROP TABLE",
                "{0}",
            )
        )
        choice["message"]["content"] = rng.choice(
            (
                f"{text} {extra}",
                f"{text}{extra * 200}",
                [{"type": "text", "text": text}, extra],
                [text, {"type": "image_url"}],
            )
        )
    return as_sent(document)


def with_odd_choices(rng: random.Random, document: Document) -> Sent:
    """Too few, too many, in another order, none, or another shape of list."""
    choices = document["choices"]
    document["choices"] = rng.choice(
        [
            choices[:1],
            choices * 3,
            choices[::-1],
            [],
            None,
            {"0": choices[0]},
            [choices],
            [*choices, None],
            [{}],
            choices[0],
        ]
    )
    return as_sent(document)


# JSON and HTTP.


def with_damaged_json(rng: random.Random, document: Document) -> Sent:
    sent = as_sent(document)
    body, cut = sent.body, rng.randrange(len(sent.body))
    flipped = bytearray(body)
    for _ in range(rng.choice((1, 2, 20))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    twice = body.replace(b'"finish_reason": "stop"', b'"finish_reason": "length", "finish_reason": "stop"')
    nested = b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    digits = body.replace(b'"prompt_tokens": ', b'"prompt_tokens": ' + b"9" * 5000, 1)
    bodies = (
        body[:cut],
        bytes(flipped),
        twice,
        nested,
        digits,
        b"[" * 200_000,
        b"",
        b"null",
        b"[]",
        b"\xef\xbb\xbf" + body,
    )
    bodies += (body + b"}", json.dumps(document).encode("utf-16"), body.replace(b"e", b"\xff", 1), b"true", b'"text"')
    return replace(sent, body=rng.choice(bodies))


def with_damaged_http(rng: random.Random, document: Document) -> Sent:
    sent = as_sent(document)
    size = len(sent.body)
    json_type = ("Content-Type", "application/json")
    packed = gzip.compress(sent.body)
    events = b"".join(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n' for _ in range(5)) + b"data: [DONE]\n\n"
    return rng.choice(
        [
            replace(sent, pieces=rng.randint(2, 40)),
            replace(sent, pieces=rng.randint(2, 40), length=-1),
            replace(sent, length=size + 100),  # cut off
            replace(sent, length=size // 2),
            replace(sent, headers=(("Content-Type", "text/html; charset=\xff"),)),
            replace(sent, headers=()),
            replace(sent, headers=(json_type, ("Content-Encoding", "gzip")), body=packed),
            replace(sent, headers=(json_type, ("Content-Encoding", "gzip"))),  # it is not
            replace(sent, headers=(json_type, ("Content-Encoding", "gzip")), body=packed[: len(packed) // 2]),
            replace(sent, headers=(json_type, ("X-Long", "x" * 20_000))),
            replace(sent, body=events, headers=(("Content-Type", "text/event-stream"),)),
            replace(sent, body=b"<html><title>Sign in</title></html>", headers=(("Content-Type", "text/html"),)),
            replace(sent, raw=rng.choice((b"", b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 999999 ?\r\n\r\n", b"HTTP/1.1 200"))),
            replace(sent, status=302, headers=(("Location", "/v1/chat/completions"),)),
        ]
    )


def with_status(rng: random.Random, document: Document) -> Sent:
    waits = ("0", "0.01", "-1", "²", "9" * 400, "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "nan")
    headers = (("Content-Type", "application/json"), ("Retry-After", rng.choice(waits)))
    error: Any = {
        "error": {"message": "overloaded \ud83d\0", "type": "server_error", "code": rng.choice((429, None, [], "x"))}
    }
    error = rng.choice(
        (error, {"error": "no"}, {"detail": [{"loc": ["body"], "msg": 3}]}, [error], {"message": odd_value(rng)})
    )
    status = rng.choices(
        (200, 429, 500, 502, 503, 529, 408, 409, 425, 599, 413, 422), (4, 4, 4, 4, 4, 2, 1, 1, 1, 1, 0.1, 0.1)
    )
    return Sent(json.dumps(error).encode(), status[0], headers)


def that_hangs(rng: random.Random, document: Document) -> Sent:
    sent = as_sent(document)
    return replace(sent, body=sent.body[: rng.randrange(len(sent.body))], hangs=True, length=len(sent.body))


KINDS: dict[Callable[[random.Random, Document], Sent], float] = {
    with_odd_values: 25,
    with_odd_fields: 20,
    with_thinking: 14,
    without_text: 8,
    with_odd_text: 10,
    with_odd_choices: 5,
    with_damaged_json: 8,
    with_damaged_http: 6,
    with_status: 4,
    that_hangs: 0.1,
}
"""and how often of about a hundred"""


def draw(rng: random.Random, document: Document) -> tuple[str, Sent]:
    """A kind of oddity, by its name, and a reply made odd in that way."""
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    return kind.__name__, kind(rng, document)
