"""A reply is checked to its last field: what is odd becomes None with a note, and no shape ends in a traceback."""

import json
from typing import Any

import pytest

from factory.inference.failures import Failure, read_document
from factory.inference.journal import Choice, Reply
from factory.inference.replies import read_completion
from factory.inference.values import read_json

NAN = float("nan")


def read(choice: Any = None, *, usage: Any = None, **message: Any) -> Choice:
    """The only choice of a reply with this message."""
    message = {"role": "assistant", "content": "Tea."} | message
    (found,), _, _ = read_completion({"choices": [choice or {"message": message}], "usage": usage})
    return found


def as_choice(text: str = "Tea.", **more: Any) -> dict[str, Any]:
    return {"message": {"content": text}, **more}


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"type": "stop"}, "finish_reason is an object"),
        (["stop"], "finish_reason is a list"),
        (7, "finish_reason is 7"),
        (True, "finish_reason is True"),
        (NAN, "finish_reason is nan"),
        ("x" * 100_000, f"finish_reason is the text '{'x' * 40}'"),
        ("stop\x1b[31m", r"finish_reason is the text 'stop\x1b[31m'"),
        ("\ud83d", r"finish_reason is the text '\ud83d'"),
    ],
    ids=lambda odd: repr(odd)[:20],
)
def test_an_odd_finish_reason_is_none_with_a_note(odd: Any, said: str) -> None:
    found = read(as_choice(finish_reason=odd))
    assert (found.text, found.finish_reason, found.note) == ("Tea.", None, said)


@pytest.mark.parametrize("missing", [None, ""])
def test_a_finish_reason_that_is_not_there_is_none_without_a_note(missing: Any) -> None:
    assert read(as_choice(finish_reason=missing)) == Choice("Tea.", None, None)


@pytest.mark.parametrize(
    "odd", [NAN, float("inf"), -1, 10**30, 1.5, "12", [3], {"a": 1}, True], ids=lambda odd: repr(odd)[:20]
)
def test_odd_token_counts_are_none_with_a_note(odd: Any) -> None:
    usage = {"prompt_tokens": odd, "completion_tokens": odd}
    choices, prompt_tokens, completion_tokens = read_completion({"choices": [as_choice()], "usage": usage})
    assert (prompt_tokens, completion_tokens, choices[0].tokens) == (None, None, None)
    assert choices[0].note is not None
    assert "prompt_tokens is " in choices[0].note and "completion_tokens is " in choices[0].note


@pytest.mark.parametrize("usage", [[], "x", 3, NAN])
def test_an_odd_usage_is_unknown(usage: Any) -> None:
    assert "usage is " in (read(usage=usage).note or "")


def test_a_count_that_is_a_whole_number_is_taken_and_a_missing_one_is_unknown() -> None:
    usage = {"prompt_tokens": 12.0, "completion_tokens": None}
    choices, *counts = read_completion({"choices": [as_choice()], "usage": usage})
    assert counts == [12, None] and choices[0].note is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "no chat completion"),
        ([], "no chat completion"),
        ("text", "no chat completion"),
        ({}, "no chat completion"),
        ({"choices": None}, "no chat completion"),
        ({"choices": {"0": as_choice()}}, "no chat completion"),
        ({"choices": []}, "no choices"),
        ({"choices": [None]}, "a choice that is missing"),
        ({"choices": ["Tea."]}, "a choice that is the text 'Tea.'"),
        ({"choices": [{}]}, "a message that is missing"),
        ({"choices": [{"message": "Tea."}]}, "a message that is the text 'Tea.'"),
        ({"choices": [as_choice(3)]}, "content that is 3"),  # type: ignore[arg-type]
        ({"choices": [as_choice({"text": "Tea."})]}, "content that is an object"),  # type: ignore[arg-type]
        (
            {"choices": [as_choice([{"type": "image_url", "image_url": {}}])]},  # type: ignore[arg-type]
            "content that is a list with image_url",
        ),
        ({"choices": [as_choice([3])]}, "content that is a list with 3"),  # type: ignore[arg-type]
        ({"choices": [as_choice([{"type": ["text"]}])]}, "a part whose type is a list"),  # type: ignore[arg-type]
        ({"choices": [as_choice([{"type": "text"}])]}, "a text part whose text is missing"),  # type: ignore[arg-type]
    ],
    ids=lambda document: repr(document)[:40],
)
def test_what_is_no_completion_is_named(document: Any, said: str) -> None:
    with pytest.raises(Failure, match="answered in JSON, but with ") as failed:
        read_completion(document)
    assert said in failed.value.said and failed.value.kind == "garbage"


def test_choices_are_in_the_order_of_their_indexes() -> None:
    texts = ["a", "b", "c"]
    given = [as_choice(text, index=index) for text, index in zip(texts, (2, 0, 1), strict=True)]
    assert [choice.text for choice in read_completion({"choices": given})[0]] == ["b", "c", "a"]
    for odd in ([0, 0, 1], [0, None, 1], ["2", "1", "0"], [True, False, 3]):
        given = [as_choice(text, index=index) for text, index in zip(texts, odd, strict=True)]
        choices, _, _ = read_completion({"choices": given})
        assert [choice.text for choice in choices] == texts and "index" in (choices[0].note or "")


def test_parts_are_joined_and_thinking_among_them_is_thinking() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [thinking, {"type": "text", "text": "Tea "}, "warms ", {"type": "output_text", "text": "you."}]
    found = read(content=parts)
    assert (found.text, found.reasoning, found.note) == ("Tea warms you.", "hm", None)


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": {"content": "hm"}},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"content": "<think>hm</think>\nTea."},
        {"content": "<think>hm</think>\nTea.", "reasoning_content": "hm"},
        {"content": "hm</think>\nTea.", "reasoning_content": ""},
    ],
    ids=repr,
)
def test_thinking_is_kept_beside_the_answer(message: dict[str, Any]) -> None:
    assert read(**message) == Choice("Tea.", None, None, None, "hm")


@pytest.mark.parametrize("odd", [3, NAN, True, [[[[[["deep"]]]]]]])
def test_odd_thinking_is_left_out_with_a_note(odd: Any) -> None:
    found = read(reasoning_content=odd)
    assert (found.text, found.reasoning) == ("Tea.", "") and "reasoning_content is " in (found.note or "")


@pytest.mark.parametrize(
    ("message", "finish_reason", "said"),
    [
        ({"content": None}, "stop", "no text (finish_reason stop)"),
        ({"content": ""}, None, "no text"),
        ({"content": " \n\u200b\u00a0"}, None, "no text"),
        ({"content": []}, None, "no text"),
        ({"content": None, "reasoning_content": "hm"}, "length", "no text, only thinking (finish_reason length)"),
        ({"content": "<think>hm"}, "length", "no text, only thinking (finish_reason length)"),
        ({"content": "hm</think>"}, "stop", "no text, only thinking (finish_reason stop)"),
        ({"content": None, "refusal": "I can't."}, "stop", 'no text, but a refusal: "I can\'t."'),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "stop", "no text, but a refusal: 'No.'"),
        (
            {"content": None, "tool_calls": [{}]},
            "tool_calls",
            "no text, but a call of tools (finish_reason tool_calls)",
        ),
        ({"content": None}, "content_filter", "no text (finish_reason content_filter)"),
        ({"content": "Tea wa"}, "content_filter", "a content filter cut the answer off: 'Tea wa'"),
    ],
    ids=repr,
)
def test_a_reply_without_an_answer_says_why(message: dict[str, Any], finish_reason: str | None, said: str) -> None:
    found = read({"message": message, "finish_reason": finish_reason})
    assert (found.text, found.finish_reason) == ("", finish_reason)
    assert said in (found.note or "")


def test_characters_that_no_table_can_hold_are_replaced_with_a_note() -> None:
    found = read(content="half \ud83d of it,\0 and tea", reasoning_content="\ud83d\0")
    assert found.text == "half ? of it,\ufffd and tea"
    assert found.note == "characters that cannot be stored, replaced: 2"
    assert found.reasoning.encode() and "\0" not in found.reasoning


def given(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "top_logprobs": [{"token": token, "logprob": -0.5}]}


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("<think>9 or 7</think>\n\n7", ["<think>", "9", " or ", "7", "</think>", "\n\n", "7", "<|im_end|>"]),
        ("9 or 7</think>7", ["9", " or ", "7", "</think>", "7", ""]),
        ("7", ["<think>", "7", "</think>", "\n\n", "7", "<|7|>"]),  # the server has split it off
        ("7", ["7", "<|7|>"]),
    ],
)
def test_log_probabilities_of_thinking_are_not_the_answers(content: str, tokens: list[str]) -> None:
    logprobs = {"content": [given(token) | {"logprob": -float(i)} for i, token in enumerate(tokens)]}
    found = read({"message": {"content": content}, "logprobs": logprobs})
    at = max(i for i, token in enumerate(tokens) if token == "7")
    assert found.text == "7" and found.logprobs is not None
    assert (found.logprobs[0].token, found.logprobs[0].logprob) == ("7", -float(at))


def test_log_probabilities_that_cannot_be_read_are_none_with_a_note() -> None:
    found = read(as_choice(logprobs={"content": [{"token": "Tea.", "logprob": NAN}]}))
    assert (found.logprobs, found.note) == (None, "logprobs cannot be read")
    assert read(as_choice(logprobs={"content": None})).note is None


# JSON


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"choices":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"\xff\xfe\xfd",
        b'{"choices": [',
        b"",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_cannot_be_parsed_is_garbage(content: bytes) -> None:
    with pytest.raises(Failure, match="answered with "):
        read_completion(read_document(200, {}, content, "none"))


def test_numbers_of_thousands_of_digits_and_no_numbers_are_read_as_odd_values() -> None:
    usage = '"usage": {"prompt_tokens": ' + "9" * 5000 + ', "completion_tokens": NaN}'
    content = '{"choices": [{"message": {"content": "Tea."}}], ' + usage + "}"
    (found,), *counts = read_completion(read_document(200, {}, content.encode(), "none"))
    assert (found.text, counts) == ("Tea.", [None, None])
    assert found.note == "prompt_tokens is inf; completion_tokens is nan"


def test_a_key_that_is_there_twice_counts_only_if_both_say_the_same() -> None:
    assert read_json('{"a": [1], "a": [1]}') == {"a": [1]}
    reason = '{"choices": [{"message": {"content": "Tea."}, "finish_reason": "stop", "finish_reason": "length"}]}'
    assert read_completion(read_json(reason))[0] == [Choice("Tea.", None, None, note="finish_reason is there twice")]
    for text in ('{"content": "Tea.", "content": "Coffee."}', '{"content": null, "content": "Coffee."}'):
        with pytest.raises(Failure, match="content that is there twice"):
            read_completion(read_json(f'{{"choices": [{{"message": {text}}}]}}'))


def test_a_reply_has_each_note_once_and_thinking_only_where_there_is_any() -> None:
    choices = [Choice("a", None, None, note="x"), Choice("b", None, None, None, "hm", "x"), Choice("c", None, None)]
    reply = Reply(choices, None, None, None, 0, "http://one/v1")
    assert (reply.note, reply.reasonings) == ("x", ["", "hm", ""])
    assert Reply(choices[2:], None, None, None, 0, "http://one/v1").reasonings is None
    assert Reply.from_json(reply.as_json()) == reply
    assert json.loads(reply.as_json())["choices"][2] == {"text": "c", "finish_reason": None, "tokens": None}
