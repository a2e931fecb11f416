"""Rows of the shapes that data sets have: ShareGPT, dialogues with their answers, preferences, IFEval; or a clear refusal."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from factory.prompts.settings import PromptSettings
from factory.prompts.sources import read_prompts
from schemas.errors import FactoryError
from schemas.tables import Constraint, Message, Prompt

ASKED = [Message("user", "Why does ice float?")]
USER = {"role": "user", "content": "Why does ice float?"}
ANSWER = {"role": "assistant", "content": "It is less dense."}
CALL = {"id": "t1", "type": "function", "function": {"name": "opening_hours", "arguments": "{}"}}


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(folder: Path, *rows: dict[str, Any], **settings: Any) -> list[Prompt]:
    return list(read_prompts(PromptSettings(source=str(jsonl(folder, *rows)), **settings), seed=0))


def sentence(folder: Path, *rows: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(FactoryError) as caught:
        read(folder, *rows, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {
            "conversations": [
                {"from": "human", "value": "Why does ice float?"},
                {"from": "gpt", "value": ANSWER["content"]},
            ]
        },
        {
            "conversation": [
                {"from": "USER", "value": "Why does ice float?"},
                {"from": "bot", "value": ANSWER["content"]},
            ]
        },
        {"messages": [USER, ANSWER]},
        {"prompt": [USER, ANSWER]},
        {"messages": [USER], "reference": ANSWER["content"]},
        {"prompt": "Why does ice float?", "messages": [USER, ANSWER], "chosen": [USER, ANSWER], "score_chosen": 8.0},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why does "}, "ice float?"]}, ANSWER]},
    ],
)
def test_a_closing_answer_becomes_the_reference(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = read(tmp_path, row)
    assert (found.messages, found.reference) == (ASKED, "It is less dense.")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": "Because."}]},
        {"prompt": USER["content"], "chosen": "It is less dense.", "rejected": "Because."},
        {"chosen": [USER, ANSWER], "rejected": [USER, {"role": "assistant", "content": "Because."}]},
        {"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]},
        {
            "chosen": "\n\nHuman: Why does ice float?\n\nAssistant: It is less dense.",
            "rejected": "\n\nHuman: Why does ice float?\n\nAssistant: Because.",
        },
        {"prompt": "\n\nHuman: Why does ice float?\n\nAssistant:", "chosen": " It is.", "rejected": " So."},
        {"prompt": json.dumps([USER])},
        {"chosen": json.dumps([USER, ANSWER]), "rejected": json.dumps([USER, {**ANSWER, "content": "So."}])},
        {"messages": [USER], "tools": "[]"},
        {"instruction": USER["content"], "completions": [{"model": "m", "response": "It is."}]},
        {"context": [USER], "response1": "It is.", "response2": "So.", "overall_preference": -1},
        {"messages": [{**USER, "tool_calls": None, "name": "", "weight": float("nan")}]},
    ],
)
def test_a_preference_or_scored_row_gives_its_question(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = read(tmp_path, row)
    assert (found.messages, found.reference) == (ASKED, None)


def test_a_column_that_the_user_names_wins(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "messages": [USER, ANSWER], "talk": [USER], "answer": "So."}
    (found,) = read(tmp_path, row, columns={"prompt": "prompt"})
    assert (found.messages, found.reference) == ([Message("user", "Why?")], None)
    (found,) = read(tmp_path, row, columns={"messages": "talk", "reference": "answer"})
    assert (found.messages, found.reference) == (ASKED, "So.")
    (found,) = read(tmp_path, row, columns={"reference": "answer"})
    assert found.reference == "So."


def test_keys_and_roles_of_turns_are_mapped(tmp_path: Path) -> None:
    row = {"talk": [{"who": "Customer", "said": "Why does ice float?"}, {"who": "Agent", "said": "It is."}]}
    keys = {"role": "who", "content": "said", "user": "Customer", "assistant": "Agent"}
    (found,) = read(tmp_path, row, columns={"messages": "talk"}, keys=keys)
    assert (found.messages, found.reference) == (ASKED, "It is.")
    said = sentence(tmp_path, row, columns={"messages": "talk"})
    assert (
        "talk, turn 1: there is no 'role' and no 'content', only who, said: name the keys with -o prompts.keys.role"
        in said
    )
    assert "prompts.keys: unknown key 'rol': did you mean 'role'?" in sentence(tmp_path, row, keys={"rol": "who"})


def test_a_system_prompt_in_a_column_stands_before_the_dialogue(tmp_path: Path) -> None:
    (found,) = read(tmp_path, {"system": "Be brief.", "messages": [USER]})
    assert found.messages == [Message("system", "Be brief."), *ASKED]
    other = {"role": "developer", "content": "Be long."}
    assert "both the column system and the first turn" in sentence(
        tmp_path, {"system": "Be brief.", "messages": [other, USER]}
    )


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, USER], "turn 2: tool_calls are not kept"),
        ([USER, {"role": "tool", "tool_call_id": "t1", "content": "9"}, USER], "turn 2: a turn of role 'tool' is not"),
        ([{**USER, "tool_call_id": "t1"}], "turn 1: tool_call_id is not kept"),
        ([{**USER, "name": "Ann", "weight": 0}], "turn 1: name and weight are not kept"),
        ([{**USER, "images": ["a.png"]}], "turn 1: images are not kept"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}], "a list of image_url parts"),
        ([{"role": "user", "content": [{"type": "text"}]}], "content is a list with a part that has no text"),
        ([{"role": "user", "content": None}], "turn 1: the content of this user's turn is null"),
        ([{"role": "narrator", "content": "x"}], "turn 1: a turn of role 'narrator' is not kept"),
        (["hello"], "turn 1: this is 'hello', not an object"),
        ([{"text": "hello"}], "there is no 'role' and no 'content', only text"),
        ([{"role": "user", "content": "half \ud83d"}], "turn 1: the text has half a surrogate pair (half an emoji, U+D83D) at character 6"),
        ([USER, {"role": "system", "content": "x"}], "the prompt is empty: it ends with a turn of the system"),
        ([ANSWER, ANSWER], "it ends with a turn of the assistant before the assistant's last"),
        ({"role": "user"}, "messages must be a list of turns, got {'role': 'user'}"),
        (repr([USER]), "messages is a list as Python prints it, not JSON"),
        ("hello", "messages is not JSON (Expecting value at character 1)"),
    ],
)  # fmt: skip
def test_what_a_dialogue_cannot_keep_is_refused_by_name(tmp_path: Path, turns: Any, said: str) -> None:
    found = sentence(tmp_path, {"prompt": "a"}, {"messages": turns})
    assert found.startswith(f"{tmp_path / 'mine.jsonl'}, line 2: ") and said in found


def test_a_field_may_be_left_out_if_the_user_says_so(tmp_path: Path) -> None:
    row = {"messages": [{**USER, "weight": 1}], "tools": [{"type": "function"}]}
    assert "tools are not kept" in sentence(tmp_path, row)
    assert read(tmp_path, row, leave_out=["tools", "weight"])[0].messages == ASKED


def test_two_different_references_are_refused(tmp_path: Path) -> None:
    row = {"messages": [USER, ANSWER], "reference": "So."}
    assert "both the column reference and the assistant's last turn" in sentence(tmp_path, row)
    assert read(tmp_path, row, columns={"reference": "reference"})[0].reference == "So."


def test_nan_is_null(tmp_path: Path) -> None:
    (tmp_path / "nan.jsonl").write_text('{"prompt": "a", "system": NaN, "language": -Infinity}\n')
    table = pa.table({"prompt": ["a"], "system": [float("nan")]})
    pyarrow.parquet.write_table(table, tmp_path / "nan.parquet")
    for file in ("nan.jsonl", "nan.parquet"):
        (found,) = read_prompts(PromptSettings(source=str(tmp_path / file)), seed=0)
        assert (found.messages, found.language) == ([Message("user", "a")], None)


@pytest.mark.parametrize("columns", [{}, {"constraints": "instruction_id_list"}])
def test_the_columns_of_ifeval_are_constraints(tmp_path: Path, columns: dict[str, str]) -> None:
    rows = [
        {"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {
            "prompt": "b",
            "instruction_id_list": ["length_constraints:number_words"],
            "kwargs": [{"relation": "at least", "num_words": 30.0, "language": None}],
        },
    ]
    one, other = read(tmp_path, *rows, columns=columns)
    assert one.constraints == [Constraint("punctuation:no_comma", "{}")]
    assert other.constraints == [
        Constraint("length_constraints:number_words", '{"num_words":30,"relation":"at least"}')
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(read_prompts(PromptSettings(source=str(tmp_path / "a.parquet"), columns=columns), seed=0)) == [
        *(type(p)(**{**_fields(p), "source": _source(tmp_path / "a.parquet")}) for p in (one, other))
    ]


def _fields(prompt: Prompt) -> dict[str, Any]:
    return {name: getattr(prompt, name) for name in Prompt.__dataclass_fields__}


def _source(file: Path) -> str:
    (found, *_) = read_prompts(PromptSettings(source=str(file), limit=1), seed=0)
    return found.source


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "kwargs must be a list of 1 objects"),
        ({"instruction_id_list": [3], "kwargs": [{}]}, "instruction_id_list must be a list of IFEval's ids, got [3]"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [3]}, "kwargs must be a list of objects, got 3"),
        ({"constraints": [{"id": "keywords:existence", "kwargs": {"keywords": ["\ud83d"]}}]}, "kwargs has half a surr"),
    ],
)
def test_broken_constraints_are_refused(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    assert said in sentence(tmp_path, {"prompt": "a", **row})
