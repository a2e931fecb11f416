"""Thinking is split off a text by one rule, and a text that only speaks of thinking is left alone."""

import random

import pytest

from factory.inference.thinking import split_thinking

ANSWER = "Tea warms you."


@pytest.mark.parametrize(
    ("text", "thinking"),
    [
        ("<think>a, b</think>", "a, b"),
        ("<think>\na\n</think>\n\n", "a"),
        ("  \n<THINK>a</Think>  ", "a"),
        ("\ufeff<think>a</think>", "a"),
        ("<thinking>a</thinking>", "a"),
        ("<reasoning>a</reasoning>\n", "a"),
        ("<thought>a</thought>", "a"),
        ("<seed:think>a</seed:think>", "a"),
        ("[THINK]a[/THINK]", "a"),
        ("◁think▷a◁/think▷", "a"),
        ("<|begin_of_thought|>a<|end_of_thought|>", "a"),
        ("<think>a</think>\n<think>b</think>", "a\n\nb"),
        ("<think></think>\n\n", ""),
        ("a</think>\n", "a"),
        ("a\n</think>\n\n</think>\n", "a"),
        ("<think>a <think>b</think> c</think>", "a <think>b\n\nc"),
        ("<think>I must not write `</think>` yet</think>", "I must not write `</think>` yet"),
        ('<think>say "tea"</think>', 'say "tea"'),
        ("<think>a</thinking>", "a"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>", "a"),
    ],
)
def test_what_stands_before_the_answer_is_thinking(text: str, thinking: str) -> None:
    assert split_thinking(text + ANSWER) == (thinking, ANSWER)


@pytest.mark.parametrize(
    "text",
    ["<think>a", "<think>a</think>", "a</think> \n", "<think>a</think><think>b", "<|channel|>analysis<|message|>a"],
)
def test_thinking_alone_leaves_no_answer(text: str) -> None:
    thinking, answer = split_thinking(text)
    assert thinking.startswith("a") and answer == ""


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        "",
        "  kept as it is\n",
        "Write <think> and </think> around it.",
        "Models write:\n\n<think>\na\n</think>\n\nbefore the answer.",
        "The tag `</think>` ends it.",
        'It ends with "</think>".',
        "An open <think> tag.",
        "I think</b> so < think > <thinks>a</thinks>",
        "Use <|channel|>final<|message|> for it.",
    ],
)
def test_an_answer_that_speaks_of_thinking_is_left_as_it_is(text: str) -> None:
    assert split_thinking(text) == ("", text)


def test_splitting_an_answer_again_changes_nothing() -> None:
    rng = random.Random(1)
    pieces = [
        "<think>",
        "</think>",
        " ",
        "a",
        "`",
        "\n",
        "[THINK]",
        "[/THINK]",
        "<|channel|>final<|message|>",
        "b",
        '"',
    ]
    pieces += ["<|channel|>analysis<|message|>", "<|end|>", "</reasoning>"]
    for _ in range(5000):
        _, answer = split_thinking("".join(rng.choices(pieces, k=rng.randint(1, 9))))
        assert split_thinking(answer) == ("", answer)


@pytest.mark.parametrize(
    "repeated", ["<think>", "</think>", "<think></think>", "a</think>", "<think " + " " * 50, "<|channel|>a<|message|>"]
)
def test_a_hostile_text_is_split_in_one_pass(repeated: str) -> None:
    split_thinking(repeated * 100_000)  # a rule that starts again at every tag would take hours
