"""`factory verify --quick` (the ids of these rows are made up): every damaged, missing or cut file is named with the rows it holds, and no set is built from it."""

import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import FactoryError
from schemas.tables import Judgement, Response
from stores.checksums import data_files, keep_checksums, refuse_damage, verify_files
from stores.lake import Lake
from stores.maintenance import compact
from stores.training_sets import build_training_set, read_training_set
from tests.command_line import told
from tests.rows import row
from tests.sets import RUN, answer, pair, prompts

SET_ROWS = [
    RUN,
    *prompts(1),
    answer("good", "p1", "nobody said this before"),
    answer("bad", "p1"),
    pair("a", "p1", "good", "bad"),
]


def flip(file: Path, at: bytes) -> None:
    """Flips a bit of the last of these bytes, where the file has them first."""
    content = bytearray(file.read_bytes())
    where = bytes(content).index(at) + len(at) - 1
    content[where] ^= 1
    file.write_bytes(content)


def data_file(lake: Lake, table: str) -> Path:
    assert lake.place.folder is not None
    (file,) = (lake.place.folder / "data" / "main" / table).glob("*.parquet")
    return file


def test_every_file_has_a_checksum_once_it_is_kept_and_none_outlives_its_file(place: str) -> None:
    with Lake.open(place, create=True) as lake:
        for number in range(3):
            lake.append([row(Response, f"{number}-{n}") for n in range(30)], message="a file")
        assert {file.sha256 for file in data_files(lake)} == {None}
        keep_checksums(lake)
        before = data_files(lake)
        assert all(file.sha256 for file in before)
        assert {(file.table_name, file.rows) for file in before} == {("responses", 30), ("schema_version", 1)}
        found = verify_files(lake)
        assert (found.damages, found.unsure, found.compared) == ([], None, found.files)
        refuse_damage(lake)
        compact(lake)
        keep_checksums(lake)
        assert {file.path for file in data_files(lake) if file.current} - {file.path for file in before}
        assert all(file.sha256 for file in data_files(lake)) and not verify_files(lake).damages


def test_an_object_that_has_changed_is_found(bucket: str, postgres: str) -> None:
    where = f"postgresql://{postgres}?data_path={bucket}/damaged&metadata_schema=damaged"
    with Lake.open(where, create=True) as lake:
        lake.append([row(Response, "a")], message="a file")
        keep_checksums(lake)
        (file,) = (file for file in data_files(lake) if file.table_name == "responses")
        lake.connection.execute(f"COPY (SELECT 1) TO '{lake.place.data_path}{file.path}' (FORMAT parquet)")
        (damage,) = verify_files(lake).damages
        assert damage.path == file.path and damage.holds == "1 rows of responses"


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (lambda file: flip(file, b"nobody said"), "differs from what was written"),
    "missing": (Path.unlink, "is missing"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "of its"),
    "emptied": (lambda file: file.write_bytes(b""), "has 0 of its"),
}


@pytest.mark.parametrize(("damage", "fault"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_and_nothing_is_built_from_it(
    lake: Lake, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], fault: str
) -> None:
    lake.append(SET_ROWS, message="by hand")
    where = lake.place.where
    assert told(capsys, "build", "spar_dpo", "--lake", where)[0] == 0
    code, said, _ = told(capsys, "verify", where, "--quick")
    assert code == 0 and f"lake {where} is whole" in said
    file = data_file(lake, "responses")
    damage(file)
    code, said, errors = told(capsys, "verify", "--quick", "--lake", where)
    (line,) = [line for line in said.splitlines() if file.name in line]
    assert code == 1 and fault in line and line.endswith(": 2 rows of responses")
    assert f"lake {where} has 1 file damaged or missing" in errors and "restore" in errors
    code, _, errors = told(capsys, "build", "spar_dpo", "-p", "held_out=0.5", "--lake", where)
    assert code == 1 and file.name in errors and "factory verify" in errors and "backup" in errors
    with pytest.raises(FactoryError, match="factory verify") as refused:
        read_training_set(lake, "spar_dpo@1")
    assert "`factory build" not in str(refused.value)


def test_a_flipped_bit_that_still_decompresses_changes_no_set_in_silence(lake: Lake) -> None:
    lake.append(SET_ROWS, message="by hand")
    build_training_set(lake, "spar_dpo", {"held_out": 0}, ["run"])
    keep_checksums(lake)
    flip(data_file(lake, "responses"), b"nobody said")
    with Lake.open(lake.place.where) as opened:
        assert (
            "nobody saie this before" in opened.query("SELECT text FROM responses").column(0).to_pylist()
        )  # DuckDB notices nothing
        assert opened.connection.execute("SELECT count(*) FROM responses").fetchall() == [(2,)]
        with pytest.raises(FactoryError, match=r"differs from what was written.*`factory verify --lake"):
            refuse_damage(opened)
        with pytest.raises(FactoryError, match=r"data may be damaged.*`factory verify --lake"):
            read_training_set(opened, "spar_dpo@1")


def test_a_file_without_a_checksum_is_read_from_start_to_end(lake: Lake) -> None:
    lake.append([row(Response, str(n), text=f"text {n}" * 200) for n in range(50)], message="by hand")
    file = data_file(lake, "responses")
    content = bytearray(file.read_bytes())
    content[100:400] = random.Random(1).randbytes(300)
    file.write_bytes(content)
    found = verify_files(lake)
    (damage,) = found.damages
    assert damage.fault.startswith("cannot be read") and found.compared == 0
    assert all(file.sha256 is None for file in data_files(lake))  # what is damaged does not become the truth


def test_a_catalog_whose_rows_have_changed_is_found(lake: Lake, tmp_path: Path) -> None:
    lake.append(SET_ROWS, message="by hand")
    keep_checksums(lake)
    where = lake.place.where
    lake.close()
    shutil.copytree(where, tmp_path / "damaged")
    # A bound that is off hides rows without a word: DuckDB skips the file.
    with closing(sqlite3.connect(tmp_path / "damaged" / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE ducklake_file_column_stats SET max_value = 'a' WHERE max_value = 'good'")
    with Lake.open(tmp_path / "damaged") as damaged:
        assert [damage.path for damage in verify_files(damaged).damages] == ["catalog.sqlite"]
        with pytest.raises(FactoryError, match=r"catalog\.sqlite differs from what was written"):
            refuse_damage(damaged)
    with Lake.open(where) as whole:
        whole.append(prompts(2), message="later")
        found = verify_files(whole)
        assert found.damages == [] and found.unsure is not None
        assert verify_files(whole).unsure is None


@pytest.mark.parametrize("value", [1e300, "many", b"\xff"])
@pytest.mark.parametrize(
    "column",
    [
        *(f"ducklake_data_file.{name}" for name in ("file_size_bytes", "record_count", "row_id_start", "table_id")),
        "ducklake_table_column_stats.max_value",  # as text: DuckLake reads it as the column's type
        "ducklake_table_column_stats.contains_null",
        "ducklake_schema.end_snapshot",  # read while the lake is opened
    ],
)
def test_a_value_of_another_type_in_the_catalog_is_damage_told_in_a_sentence(
    lake: Lake, column: str, value: object
) -> None:
    lake.append([row(Judgement, "j", decides=True)], message="by hand")
    where = lake.place.where
    lake.close()
    table, _, name = column.partition(".")
    with closing(sqlite3.connect(f"{where}/catalog.sqlite")) as catalog, catalog:
        catalog.execute(f"UPDATE {table} SET {name} = ?", [value])
    with pytest.raises(FactoryError, match="may be damaged"), Lake.open(where) as damaged:
        damaged.query("SELECT * FROM judgements ORDER BY ALL")


def test_a_name_in_a_file_that_has_changed_is_damage_told_in_a_sentence(lake: Lake) -> None:
    lake.append([row(Judgement, "j", probabilities={"yes": 0.5})], message="by hand")
    before = lake.query("SELECT * FROM judgements").to_pylist()
    file = data_file(lake, "judgements")
    whole, told_of = file.read_bytes(), 0
    for found in re.finditer(rb"key|value|probabilities", whole):
        content = bytearray(whole)
        content[found.end() - 1] ^= 1
        file.write_bytes(content)
        with Lake.open(lake.place.where) as opened:
            try:
                assert opened.query("SELECT * FROM judgements").to_pylist() == before
            except FactoryError as error:
                assert "data of lake" in str(error) and "may be damaged" in str(error)
                told_of += 1
    assert told_of >= 2
