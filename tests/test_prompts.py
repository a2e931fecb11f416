"""Prompts are streamed from any of the sources, and an error names file and line."""

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.prompts import sources as prompts
from factory.prompts.sources import read_prompts
from factory.recipes.recipe import PromptSettings
from schemas.errors import FactoryError
from schemas.tables import Constraint, Message, Prompt

ROWS = [
    {"prompt": "Write about tea.", "language": "en"},
    {"prompt": "Write about rain.", "system": "Be brief.", "reference": "It rains."},
    {"prompt": 'Two lines:\n"quoted", and 茶.', "subject": "tea", "licence": "MIT"},
]


def read(source: Path | str, **settings: Any) -> list[Prompt]:
    return list(read_prompts(PromptSettings(source=str(source), **settings), seed=0))


def write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif file.suffix == ".csv":
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, names)
            writer.writeheader()
            writer.writerows(rows)
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows]), file)
    return file


def sentence(source: Path | str, **settings: Any) -> str:
    with pytest.raises(FactoryError) as caught:
        read(source, **settings)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_file_of_each_kind_gives_the_same_prompts(tmp_path: Path, kind: str) -> None:
    tea, rain, lines = read(write(tmp_path / f"mine.{kind}", ROWS))
    assert (tea.messages, tea.language, tea.reference) == ([Message("user", "Write about tea.")], "en", None)
    assert rain.messages == [Message("system", "Be brief."), Message("user", "Write about rain.")]
    assert rain.reference == "It rains."
    assert (lines.messages[0].content, lines.subject, lines.licence) == (ROWS[2]["prompt"], "tea", "MIT")
    assert tea.source == lines.source and tea.source.startswith(f"mine.{kind}#sha256:")


def test_equal_prompts_have_one_id_whatever_the_file(tmp_path: Path) -> None:
    ids = [[p.prompt_id for p in read(write(tmp_path / f"a.{kind}", ROWS))] for kind in ("jsonl", "csv", "parquet")]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 3


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip), min_size=1, max_size=5))
def test_any_text_comes_through_json_unchanged(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    file = write(tmp_path_factory.mktemp("texts") / "a.jsonl", [{"prompt": text} for text in texts])
    assert [p.messages[0].content for p in read(file)] == texts


def test_a_local_folder_of_parquet_is_read_as_a_dataset(tmp_path: Path) -> None:
    write(tmp_path / "train-00000.parquet", ROWS)
    found = read(f"datasets:{tmp_path}", limit=2)
    assert [p.messages[-1].content for p in found] == [row["prompt"] for row in ROWS[:2]]
    assert found[0].source == f"datasets:{tmp_path}/train"


def test_a_split_that_a_dataset_lacks_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train-00000.parquet", ROWS)
    assert "(split 'tset') cannot be loaded: Bad split: tset" in sentence(f"datasets:{tmp_path}", split="tset")


def test_the_bundled_prompts_are_there() -> None:
    assert [p.source for p in read("bundled", limit=2)] == ["bundled:v1"] * 2


def test_a_language_leaves_out_the_prompts_of_others_before_the_limit_counts() -> None:
    chinese = [p for p in read("bundled") if p.language == "zh"]
    assert len(chinese) > 2 and read("bundled", language="zh", limit=2) == chinese[:2]


def test_columns_are_mapped(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [{"question": "Why?", "answer": "So."}])
    (found,) = read(file, columns={"prompt": "question", "reference": "answer"})
    assert (found.messages, found.reference) == ([Message("user", "Why?")], "So.")


def test_a_conversation_comes_in_with_its_turns_and_its_system_prompt(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "And?"},
    ]
    expected = [Message(**turn) for turn in turns]
    for file in (tmp_path / "a.jsonl", tmp_path / "a.parquet"):
        assert read(write(file, [{"messages": turns}]))[0].messages == expected
    assert read(write(tmp_path / "a.csv", [{"messages": json.dumps(turns)}]))[0].messages == expected


def test_constraints_come_in_with_arguments_as_object_or_text(tmp_path: Path) -> None:
    id = "length_constraints:number_words"
    kwargs = {"relation": "at least", "num_words": 5}
    rows: list[dict[str, Any]] = [
        {"prompt": "a", "constraints": [{"id": id, "kwargs": kwargs}]},
        {"prompt": "a", "constraints": json.dumps([{"id": id, "kwargs": json.dumps(kwargs)}])},
    ]
    one, other = read(write(tmp_path / "a.jsonl", rows))
    assert one.constraints == [Constraint(id, '{"num_words":5,"relation":"at least"}')]
    assert one == other


def test_a_limit_reads_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = itertools.count()

    def endless(name: str, split: str) -> Any:
        for number in taken:
            yield f"row {number}", {"prompt": f"prompt {number}"}

    monkeypatch.setattr(prompts, "_dataset_rows", endless)
    assert len(read("datasets:endless", limit=3)) == 3
    assert next(taken) <= 4
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "a"}\nbroken\n')
    assert len(read(file, limit=1)) == 1


def test_blank_lines_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\n\n  \n{"prompt": "b"}\n')
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfprompt\na\n\nb\n")
    for file in ("a.jsonl", "a.csv"):
        assert [p.messages[0].content for p in read(tmp_path / file)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"prompt": "c"', "this is not JSON (Expecting ',' delimiter at character 15): fix or remove the line"),
        ('["c"]', "a line must be a JSON object"),
        ('{"prompt": " \\n "}', "the prompt is empty"),
        ('{"prompt": null}', "the prompt is empty"),
        ('{"prompt": 3}', "the prompt must be text or a list of turns, got 3"),
        ('{"prompt": "a", "language": 3}', "language must be text, got 3"),
        (
            '{"prompt": "half an emoji \\ud83d"}',
            "prompt has half a surrogate pair (half an emoji, U+D83D) at character 15",
        ),
        ('{"messages": [{"role": "user"}]}', "messages, turn 1: the content of this user's turn is null"),
        ('{"messages": [{"role": "user", "content": 3}]}', "messages, turn 1: content must be text, got 3"),
        ('{"messages": []}', "the prompt is empty"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "it has no turn before the assistant's last"),
        ('{"prompt": "a", "constraints": [{"kwargs": {}}]}', "constraints must be a list of objects with 'id'"),
        (
            '{"prompt": "a", "constraints": [{"id": "length_constraints:nmber_words"}]}',
            "length_constraints:nmber_words",
        ),
    ],
)
def test_a_broken_line_is_named_with_file_and_number(tmp_path: Path, line: str, fault: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(f'{{"prompt": "a"}}\n\n{line}\n{{"prompt": "z"}}\n')
    assert sentence(file).startswith(f"{file}, line 3: ")
    assert fault in sentence(file)


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n')
    assert "a.jsonl, line 2: this is not UTF-8 (byte 0xe9 at byte 16): save it as UTF-8" in sentence(
        tmp_path / "a.jsonl"
    )
    (tmp_path / "a.csv").write_bytes(b"prompt\ncaf\xe9\n")
    assert "a.csv, line 2: this is not UTF-8 (byte 0xe9 at byte 4)" in sentence(tmp_path / "a.csv")


def test_lines_of_csv_are_counted_where_a_value_goes_over_several(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,language\n"one\ntwo\nthree",en\n,en\n')
    assert sentence(tmp_path / "a.csv").startswith(f"{tmp_path / 'a.csv'}, line 5: the prompt is empty")


def test_a_source_without_a_prompt_column_says_what_it_has(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [{"question": "Why?", "answer": "So."}])
    found = sentence(file)
    assert "line 2: there is no column 'prompt' or 'messages', only question, answer" in found
    assert "-o prompts.columns.prompt=question" in found


def test_a_column_that_is_mapped_but_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", [{"prompt": "a", "answer": "b"}])
    assert "row 0: there is no column 'answr' (prompts.columns.reference): use one of prompt, answer" in sentence(
        file, columns={"reference": "answr"}
    )
    assert "unknown column 'promt': did you mean 'prompt'?" in sentence(file, columns={"promt": "a"})


def test_a_file_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    assert f"no prompt file {tmp_path / 'a.jsonl'}" in sentence(tmp_path / "a.jsonl")
    (tmp_path / "a.txt").write_text("a")
    assert "give one that ends in .jsonl, .ndjson, .json, .csv, .tsv, .parquet" in sentence(tmp_path / "a.txt")
    (tmp_path / "a.parquet").write_text("a")
    assert "a.parquet is not Parquet" in sentence(tmp_path / "a.parquet")
