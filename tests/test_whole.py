"""What is written for users appears whole: files and folders aside first, versions one by one, whoever else is writing."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from schemas.errors import FactoryError
from schemas.tables import TrainingSet
from stores.lake import Lake
from stores.training_sets import build_training_set, write_parquet
from stores.whole import whole_file, whole_folder
from tests.sets import RUN, answer, pair, prompts

SET_ROWS = [
    RUN,
    *prompts(*range(12)),
    *(answer(f"{side}{n}", f"p{n}") for n in range(12) for side in ("good", "bad")),
    *(pair(f"pair{n}", f"p{n}", f"good{n}", f"bad{n}") for n in range(12)),
]


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def prompts_in(file: Path) -> set[str]:
    return {turns[0]["content"] for turns in pyarrow.parquet.read_table(file).column("prompt").to_pylist()}


# Files


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    with whole_file(target) as part:
        part.write_text("first")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), whole_file(target) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "first" and names_in(tmp_path) == ["rows.csv"]


def test_a_link_keeps_leading_to_the_file_that_changes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    with whole_file(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "new"


def test_a_device_is_written_to_as_it_is() -> None:
    with whole_file(Path("/dev/null")) as part:
        part.write_text("gone")
    assert Path("/dev/null").is_char_device()


# Folders


def test_a_folder_takes_the_place_of_the_earlier_one_with_all_its_files(tmp_path: Path) -> None:
    for names in (("a", "b"), ("a",), ("b",)):
        with whole_folder(tmp_path / "out" / "set", ("a", "b")) as made:
            for name in names:
                (made / name).write_text(name)
        assert names_in(tmp_path / "out" / "set") == list(names)
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out" / "set", ("a", "b")) as made:
        (made / "a").write_text("half")
        raise ZeroDivisionError
    assert names_in(tmp_path / "out" / "set") == ["b"] and names_in(tmp_path / "out") == ["set"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused = pytest.raises(FactoryError, match=r"holds other files \(thesis.tex\).*give a new folder")
    with refused, whole_folder(tmp_path, ("a",)):
        raise AssertionError("never entered")
    assert names_in(tmp_path) == ["thesis.tex"]


def test_a_folder_that_cannot_be_exchanged_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("old")

    def no_exchange(*paths: Path) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("stores.whole._exchange", no_exchange)
    refused = pytest.raises(FactoryError, match="cannot be replaced as a whole")
    with refused, whole_folder(tmp_path / "set", ("a",)) as made:
        (made / "a").write_text("new")
    assert (tmp_path / "set" / "a").read_text() == "old" and names_in(tmp_path) == ["set"]


def test_a_set_built_twice_into_one_folder_leaves_no_held_out_row_of_the_first(lake: Lake, tmp_path: Path) -> None:
    lake.append(SET_ROWS, message="by hand")
    for held_out, names in ((0.5, ["test.parquet", "train.parquet"]), (0, ["train.parquet"]), (1, ["test.parquet"])):
        built = build_training_set(lake, "spar_dpo", {"held_out": held_out}, ["run"])
        files = write_parquet(built, tmp_path / "out")
        assert names_in(tmp_path / "out") == names == sorted(file.name for file in files)


WRITES = """
import sys
from pathlib import Path
from stores.whole import whole_folder
for number in range(1_000_000):
    with whole_folder(Path(sys.argv[1]), ("train", "test")) as made:
        for name in ("train", "test"):
            (made / name).write_text(str(number))
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_point_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    for pause_s in (0.0, 0.003, 0.007, 0.011, 0.02):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path / "set")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline()
            time.sleep(pause_s)
            writer.kill()
        train, test = ((tmp_path / "set" / name).read_text() for name in ("train", "test"))
        assert train == test and names_in(tmp_path / "set") == ["test", "train"]


# Versions


def start_building(place: str, out: Path, *held_out: float) -> "subprocess.Popen[str]":
    script = (
        "import sys\nfrom stores.lake import Lake\n"
        "from stores.training_sets import build_training_set, write_parquet\n"
        "from pathlib import Path\n"
        "with Lake.open(sys.argv[1]) as lake:\n"
        "    print('open', flush=True); sys.stdin.readline()\n"
        "    for share in sys.argv[3:]:\n"
        "        built = build_training_set(lake, 'spar_dpo', {'held_out': float(share)}, ['run'])\n"
        "        write_parquet(built, Path(sys.argv[2], f'{built.row.name}@{built.row.version}'))\n"
        "        write_parquet(built, Path(sys.argv[2], 'one for all'))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, place, str(out), *map(str, held_out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_four_builds_at_once_get_versions_and_folders_of_their_own(place: str, tmp_path: Path) -> None:
    out = tmp_path / "sets"
    with Lake.open(place, create=True) as lake:
        lake.append(SET_ROWS, message="by hand")
    builders = [start_building(place, out, 0.25 * n) for n in range(4)]
    try:
        for builder in builders:
            assert builder.stdout is not None and builder.stdout.readline() == "open\n"
        for builder in builders:
            assert builder.stdin is not None
            builder.stdin.write("\n")
            builder.stdin.flush()
        for builder in builders:
            builder.communicate()
            assert builder.returncode == 0
    finally:
        for builder in builders:
            builder.kill()
    with Lake.open(place) as lake:
        rows = lake.read(TrainingSet)
        assert len({row.fingerprint for row in rows}) == len(rows) >= 4
        assert sorted(row.version for row in rows) == list(range(1, len(rows) + 1))
        folders = {f"{row.name}@{row.version}": row for row in rows}
        for name, row in folders.items():
            counts: dict[str, Any] = {
                file.stem: pyarrow.parquet.read_metadata(file).num_rows for file in (out / name).iterdir()
            }
            assert (counts.get("train", 0), counts.get("test", 0)) == (row.train_rows, row.held_out_rows)
    sides = [prompts_in(file) for file in (out / "one for all").iterdir()]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 12
    assert names_in(out) == sorted([*folders, "one for all"])
