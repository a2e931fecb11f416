"""Files of prompts: packed, in folders, as CSV of any kind; and the actual cause where one cannot be read."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from factory.prompts.packing import content_of
from factory.prompts.settings import PromptSettings
from factory.prompts.sources import read_prompts
from factory.recipes.reading import load_recipe
from factory.runs.specification import RunSpecification, run_of
from schemas.errors import FactoryError

LINES = b'{"prompt": "one"}\n{"prompt": "two"}\n'


def texts(source: Path, **settings: Any) -> list[str]:
    return [p.messages[-1].content for p in read_prompts(PromptSettings(source=str(source), **settings), seed=0)]


def sentence(source: Path, **settings: Any) -> str:
    with pytest.raises(FactoryError) as caught:
        texts(source, **settings)
    return str(caught.value)


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def test_gzip_and_zstd_are_read_whatever_the_name(tmp_path: Path) -> None:
    for name, data in (
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl.zst", zstd(LINES)),
        ("two.jsonl.zst", zstd(LINES[:18]) + zstd(LINES[18:])),
        ("plain-name.jsonl", gzip.compress(LINES)),
        ("a.csv.gz", gzip.compress(b"prompt\none\ntwo\n")),
    ):
        (tmp_path / name).write_bytes(data)
        assert texts(tmp_path / name) == ["one", "two"], name


def test_a_packed_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"prompt": f"{n} {n * 7919 % 1009}"}).encode() + b"\n" for n in range(20_000))
    for name, data in (("a.jsonl.gz", gzip.compress(lines)), ("a.jsonl.zst", zstd(lines))):
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        assert f"{name} is damaged or cut off after line" in sentence(tmp_path / name)
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b not gzip")
    assert "a.jsonl.gz is damaged or cut off after line 0" in sentence(tmp_path / "a.jsonl.gz")


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pa.table({"prompt": ["two"]}), tmp_path / "data" / "b.parquet")
    (tmp_path / "data" / "a.jsonl").write_bytes(b'{"prompt": "one"}\n')
    (tmp_path / "z.csv").write_bytes(b"prompt\nthree\n")
    (tmp_path / "README.md").write_text("not rows")
    (tmp_path / "info.json").write_text("{}")
    (tmp_path / ".cache.jsonl").write_text("broken")
    assert texts(tmp_path) == ["one", "two", "three"]
    (tmp_path / "data" / "a.jsonl").write_bytes(b'{"prompt": "one"}\n{"question": "?"}\n')
    assert sentence(tmp_path).startswith(f"{tmp_path / 'data' / 'a.jsonl'}, line 2: the prompt is empty: there is no")


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not rows")
    assert f"folder {tmp_path} has no file that ends in .jsonl" in sentence(tmp_path)


def test_a_run_of_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    def run_id() -> str:
        return run_of(RunSpecification(load_recipe("spar", {"prompts.source": str(tmp_path)}))).run_id

    (tmp_path / "a.jsonl").write_bytes(LINES)
    first, digest = run_id(), content_of(tmp_path)
    assert run_id() == first
    (tmp_path / "a.jsonl").write_bytes(LINES[:18])
    assert run_id() != first and content_of(tmp_path) != digest


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_csv_is_found(tmp_path: Path, delimiter: str) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as opened:
        rows = csv.writer(opened, delimiter=delimiter)
        rows.writerows([["id", "question", "subject"], ["1", "a, b; c | d\te", "tea"]])
    assert texts(tmp_path / "a.csv", columns={"prompt": "question"}) == ["a, b; c | d\te"]
    assert "only id, question, subject" in sentence(tmp_path / "a.csv")


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    for name, data in {
        "excel.csv": b'\xef\xbb\xbfsep=;\r\nprompt;subject\r\n"one\r\nmore";tea\r\n',
        "mac.csv": b"prompt,subject\rone\rtwo,tea\r",
        "tab.tsv": b"prompt\tsubject\none, or two\t\n",
        "comma.csv": b"a;b,prompt\nx,one\n",
        "spaces.csv": b"subject; prompt\ntea;one\n",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert texts(tmp_path / "excel.csv") == ["one\r\nmore"]
    assert texts(tmp_path / "mac.csv") == ["one", "two"]
    assert texts(tmp_path / "tab.tsv") == ["one, or two"]
    assert texts(tmp_path / "comma.csv") == texts(tmp_path / "spaces.csv") == ["one"]


def test_a_cell_may_have_any_length(tmp_path: Path) -> None:
    long = "words of a long report. " * 8_000
    with (tmp_path / "a.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([["prompt"], [long], ["b"]])
    assert texts(tmp_path / "a.csv") == [long, "b"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'prompt\na\n"never closed\nb\nc\n', "line 3: this is not CSV (a quotation mark is never closed)"),
        (b"prompt,subject\na,b\na,b,c\n", "line 3: this row has 3 cells, but the header names 2: quote cells that hold ','"),
        (b"prompt,prompt\na,b\n", "line 1: the header names column 'prompt' twice"),
        (b'prompt,messages\na,\n,"[1"\n', "line 3: messages is not JSON"),
        ('prompt\na\n'.encode("utf-16"), "line 1: this is UTF-16 or UTF-32, not UTF-8: save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_csv_is_said_with_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    assert f"a.csv, {said}" in sentence(tmp_path / "a.csv")


def test_fewer_cells_than_columns_are_nulls(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt,subject\na\n")
    assert texts(tmp_path / "a.csv") == ["a"]


def test_json_files_hold_a_list_or_lines(tmp_path: Path) -> None:
    for name, data in {
        "list.json": b'\xef\xbb\xbf[\n{"prompt": "one"},\n{"prompt": "two"}\n]',
        "lines.json": LINES,
        "list.json.gz": gzip.compress(b'[{"prompt": "one"}, {"prompt": "two"}]'),
        "lines.ndjson": LINES,
    }.items():
        (tmp_path / name).write_bytes(data)
        assert texts(tmp_path / name) == ["one", "two"], name
    (tmp_path / "a.json").write_text('[{"prompt": "one"}, 3]')
    assert "a.json, item 2: an item must be a JSON object" in sentence(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{\n"data": []\n}')
    assert "a.json: this is neither a list of objects nor one object per line" in sentence(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text('[\n{"prompt": "one"}\n]')
    assert "a.jsonl, line 1: this is one JSON text over several lines: name the file .json" in sentence(
        tmp_path / "a.jsonl"
    )


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": ' + "[" * 100_000,
        '{"prompt": "a", "constraints": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
        json.dumps({"prompt": "a", "messages": "[" * 100_000}),
        json.dumps({"prompt": "a", "constraints": [{"id": "keywords:existence", "kwargs": "[" * 100_000}]}),
    ],
)
def test_a_line_that_is_nested_too_deep_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n' + line + "\n")
    assert "a.jsonl, line 2: " in (said := sentence(tmp_path / "a.jsonl"))
    assert "nested too deep to be read" in said


@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 950, 990])
def test_no_depth_ends_in_a_traceback(tmp_path: Path, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    kwargs = f'{{"keywords": {nested}}}'
    (tmp_path / "a.jsonl").write_text(
        f'{{"prompt": "a", "constraints": [{{"id": "keywords:existence", "kwargs": {kwargs}}}]}}'
    )
    assert "a.jsonl, line 1: " in sentence(tmp_path / "a.jsonl")


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"prompt": [f"text {n * 7919 % 1009}" for n in range(5_000)]}), file)
    data = bytearray(file.read_bytes())
    data[10:2_000] = b"\xff" * 1_990
    file.write_bytes(data)
    assert "a.parquet" in sentence(file)


def test_packed_parquet_and_odd_names_of_files(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"prompt": ["one"]}), tmp_path / "a.parquet")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert "packed with gzip or zstd, in which Parquet cannot be read" in sentence(tmp_path / "a.parquet.gz")
    odd = tmp_path / "caf\udce9.jsonl"  # bytes that are not UTF-8
    odd.write_bytes(LINES)
    (found, *_) = read_prompts(PromptSettings(source=str(odd)), seed=0)
    assert found.source.startswith("caf?.jsonl#sha256:")


def test_text_in_parquet_that_is_not_utf8_is_named_by_its_row(tmp_path: Path) -> None:
    data = pa.array([b"one", b"caf\xe9"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, data.buffers())
    pyarrow.parquet.write_table(pa.table({"prompt": text}), tmp_path / "a.parquet")
    assert "a.parquet, row 1: a text is not UTF-8" in sentence(tmp_path / "a.parquet")
