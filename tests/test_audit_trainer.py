"""What is left of a pair behind a chat template and a limit on tokens."""

from typing import Any

from factory.audit.rows import Trainer
from factory.audit.truncation import as_trained
from tests.audits import a_set, answered, asked, finding, pairs


class Letters:
    """A tokenizer of one token a letter, whose template writes each role's first letter before its text."""

    def apply_chat_template(self, turns: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        return "".join(f"{turn['role'][0]}{turn['content'].strip()}" for turn in turns) + "a" * add_generation_prompt

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        assert not add_special_tokens  # the template has written them
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


def trained(chosen: str, rejected: str | None, max_tokens: int) -> Trainer:
    row: dict[str, Any] = {**pairs(1)[0], "prompt": asked("why"), "chosen": answered(chosen)}
    row["rejected"] = answered(rejected or "x")
    if rejected is None:
        row = {"split": "train", "prompt": row["prompt"], "completion": row["chosen"]}
    told: list[int] = []
    made = as_trained(a_set([row]).turns, Letters(), max_tokens, told.append)
    assert told == [1]
    return made


def test_lengths_are_of_the_whole_conversation_as_the_template_writes_it() -> None:
    (row,) = trained("abcdef", "abc", 100).rows.to_dicts()
    assert (row["prompt_tokens"], row["longest"], row["equal"]) == (len("uwhya"), len("uwhyaabcdef"), False)


def test_sides_that_differ_only_behind_the_limit_or_in_what_the_template_drops_are_equal() -> None:
    assert trained("abcdef", "abcxyz", 8).rows["equal"].to_list() == [True]
    assert trained("abcdef", "abcxyz", 9).rows["equal"].to_list() == [False]
    assert trained(" abc", "abc ", 100).rows["equal"].to_list() == [True]


def test_a_completion_is_never_equal_to_a_side_that_is_not_there() -> None:
    (row,) = trained("abcdef", None, 3).rows.to_dicts()
    assert (row["longest"], row["equal"]) == (len("uwhyaabcdef"), False)


def test_the_checks_say_how_much_is_cut_and_where() -> None:
    rows = pairs()
    given = a_set(rows, trainer=as_trained(a_set(rows).turns, Letters(), 200))
    found = finding("cut_by_trainer", given)
    assert found.status == "warn" and found.measured.figure == 1.0 and found.measured.detail["max_tokens"] == 200
    assert finding("equal_after_template", given).status == "pass"
    assert (
        finding("cut_by_trainer", a_set(rows, trainer=as_trained(a_set(rows).turns, Letters(), 9_000))).status == "pass"
    )
