"""An endpoint's replies: the answers of a chat completion, the thinking beside them, and what is odd about them.

What fails is in `failures.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factory.inference.failures import Failure, one_line
from factory.inference.journal import Choice
from factory.inference.logprobs import read_tokens
from factory.inference.thinking import joined, split_thinking
from factory.inference.values import is_blank, shape_of, storable, tokens_or_none, word_or_none

_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""of a message: vLLM, SGLang, DeepSeek and llama.cpp; OpenRouter, vLLM and Ollama; others"""


Completion = tuple[list[Choice], int | None, int | None]
"""choices in order, prompt tokens, completion tokens"""


def read_completion(document: Any) -> Completion:
    """The choices of a chat completion in order, its prompt tokens and its completion tokens.

    Only what would lose an answer is a failure; any other odd value becomes None, and a choice's `note` names it.

    Raises:
        Failure: the document is not a chat completion, or a choice has no readable message.
    """
    found = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise _not_an_answer("no chat completion")
    if not found:
        raise _not_an_answer("no choices")
    notes: list[str] = []
    usage = document.get("usage")
    if not isinstance(usage, dict):
        if usage is not None:
            notes.append(f"usage is {shape_of(usage)}")
        usage = {}
    prompt_tokens = tokens_or_none(usage.get("prompt_tokens"), "prompt_tokens", notes)
    completion_tokens = tokens_or_none(usage.get("completion_tokens"), "completion_tokens", notes)
    choices = [_read_choice(choice) for choice in _in_order(found, notes)]
    if len(choices) == 1:
        choices = [replace(choices[0], tokens=completion_tokens)]
    if notes:
        choices[0] = replace(choices[0], note="; ".join([*notes, *filter(None, [choices[0].note])]))
    return choices, prompt_tokens, completion_tokens


def _not_an_answer(what: str) -> Failure:
    return Failure(f"answered in JSON, but with {what}")


def _in_order(found: list[Any], notes: list[str]) -> list[dict[str, Any]]:
    """The choices by `index`, if each has its own; else as they stand."""
    for choice in found:
        if not isinstance(choice, dict):
            raise _not_an_answer(f"a choice that is {shape_of(choice)}")
    given = [choice.get("index") for choice in found]
    if all(index is None for index in given):
        return found
    if not all(isinstance(index, int) and not isinstance(index, bool) for index in given):
        notes.append("the choices' indexes are no whole numbers")
    elif len(set(given)) < len(given):
        notes.append("several choices have one index")
    else:
        return sorted(found, key=lambda choice: int(choice["index"]))
    return found


def _read_choice(choice: dict[str, Any]) -> Choice:
    notes: list[str] = []
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _not_an_answer(f"a message that is {shape_of(message)}")
    finish_reason = word_or_none(choice.get("finish_reason"), "finish_reason", notes)
    content, thoughts, refusals = _content(message.get("content"))
    within, text = split_thinking(storable(content, notes))
    reasoning = joined(list(dict.fromkeys([_fields(message, notes), *thoughts, within])))
    if finish_reason == "content_filter" and not is_blank(text):
        notes.append(f"a content filter cut the answer off: {one_line(text)!r}")
        text = ""
    if is_blank(text):
        notes.append(_why_empty(message, refusals, reasoning, finish_reason))
        text = ""
    elif message.get("tool_calls") or message.get("function_call"):
        notes.append("it also calls tools, which are not kept")
    logprobs = read_tokens(choice.get("logprobs"), text, notes)
    return Choice(text, finish_reason, None, logprobs, storable(reasoning), "; ".join(notes) or None)


def _content(content: Any) -> tuple[str, list[str], list[str]]:
    """The text of a message's `content`, and the thinking and refusals among its parts."""
    if content is None:
        return "", [], []
    if isinstance(content, str):
        return content, [], []
    if not isinstance(content, list):
        raise _not_an_answer(f"content that is {shape_of(content)}")
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for part in content:
        kind, said = _part(part)
        {"text": texts, "thinking": thoughts, "refusal": refusals}[kind].append(said)
    return "".join(texts), thoughts, refusals


_KINDS = {"text": "text", "output_text": "text", "refusal": "refusal"} | dict.fromkeys(
    ("thinking", "reasoning", "reasoning_text", "summary_text", "redacted_thinking"), "thinking"
)


def _part(part: Any) -> tuple[str, str]:
    """What a part of a content list is (text, thinking or refusal), and its text."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, dict):
        raise _not_an_answer(f"content that is a list with {shape_of(part)}")
    named = part.get("type", "text")
    kind = _KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        named = one_line(named)[:40] if isinstance(named, str) else f"a part whose type is {shape_of(named)}"
        raise _not_an_answer(f"content that is a list with {named}")
    if kind == "thinking":
        said = next((part[key] for key in ("thinking", "reasoning", "text", "summary", "content") if part.get(key)), "")
        return kind, _thought(said, [])
    said = part.get("text", part.get("refusal"))
    if not isinstance(said, str):
        raise _not_an_answer(f"content that is a list with a {named} part whose text is {shape_of(said)}")
    return kind, said


def _fields(message: dict[str, Any], notes: list[str]) -> str:
    """The thinking in a message's own fields; several servers send the same one twice, under its old and new name."""
    thoughts: list[str] = []
    for name in _THINKING_FIELDS:
        found: list[str] = []
        thought = _thought(message.get(name), found)
        notes += [f"{name} {said}" for said in found]
        if thought and thought not in thoughts:
            thoughts.append(thought)
    if not thoughts and (details := message.get("reasoning_details")):
        thoughts.append(_thought(details, []))  # OpenRouter
    return joined(thoughts)


def _thought(found: Any, notes: list[str], depth: int = 0) -> str:
    """Thinking as text, whichever way it is nested; what is neither text nor made of it is left out with a note."""
    if found is None:
        return ""
    if isinstance(found, str):
        return found
    if isinstance(found, list) and depth < 4:
        return "".join(_thought(part, notes, depth + 1) for part in found)
    if isinstance(found, dict) and depth < 4:
        keys = ("text", "thinking", "reasoning", "summary", "content")
        return _thought(next((found[key] for key in keys if found.get(key)), None), notes, depth + 1)
    notes.append(f"is {shape_of(found)}")
    return ""


def _why_empty(message: dict[str, Any], refusals: Sequence[str], reasoning: str, finish_reason: str | None) -> str:
    """Why a choice has no text, in a few words."""
    ended = f" (finish_reason {finish_reason})" if finish_reason else ""
    refusal = message.get("refusal") or " ".join(refusals)
    if isinstance(refusal, str) and refusal.strip():
        return f"no text, but a refusal: {one_line(storable(refusal))!r}"
    if message.get("tool_calls") or message.get("function_call"):
        return f"no text, but a call of tools{ended}"
    if reasoning:
        return f"no text, only thinking{ended}"
    return f"no text{ended}"
