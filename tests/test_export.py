"""`factory export`: whole or not there, nobody's own files are replaced, and each refusal is a sentence."""

import subprocess
from pathlib import Path

import pytest

from factory.exporting.export import export
from factory.exporting.formats import FORMATS
from schemas.errors import FactoryError
from schemas.tables import Message, Prompt, TrainingSet
from stores.lake import Lake
from stores.training_sets import build_training_set
from tests.command_line import told
from tests.exports import exported
from tests.exports import sets as sets
from tests.rows import asked, row
from tests.sets import RUN, answer, pair


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_command_writes_the_files_and_says_what_they_do_not_hold(
    sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "spar"
    code, shown, _ = told(capfd, "export", "spar_dpo@1", "--to", "llamafactory", "-o", out, "--lake", sets)
    assert code == 0
    assert files(out) == {"train.jsonl", "test.jsonl", "dataset_info.json", "llamafactory.yaml", "EXPORT.md"}
    assert f"wrote {out / 'train.jsonl'}: 5 rows" in shown and f"wrote {out / 'test.jsonl'}: 1 row\n" in shown
    assert "LLaMA-Factory: 1 row with equal values of both sides, or equal sides (ties)" in shown
    assert "llamafactory-cli train llamafactory.yaml" in shown
    assert [file for file in (tmp_path / "new").iterdir() if file != out] == []


def test_the_default_folder_is_in_the_lake_s(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Lake.open(tmp_path / "lake", create=True) as lake:
        lake.append([RUN, *one_pair()], message="by hand")
        build_training_set(lake, "spar_dpo", {"held_out": 0}, ["run"])
    code, _, _ = told(capfd, "export", "spar_dpo", "--to", "openrlhf", "--lake", tmp_path / "lake")
    assert code == 0 and files(tmp_path / "lake" / "exports" / "spar_dpo-1-openrlhf") == {
        "train.jsonl",
        "openrlhf.sh",
        "EXPORT.md",
    }


def test_several_formats_go_into_folders_of_their_own(
    sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--to", "trl", "--to", "csv", "--to", "trl", "-o", tmp_path / "out", "--lake", sets)
    code, shown, _ = told(capfd, "export", "spar_dpo@1", *words)
    assert code == 0 and files(tmp_path / "out") == {"trl", "csv"}
    for file in ("trl/train.parquet", "csv/train.csv"):
        assert shown.count(f"wrote {tmp_path / 'out' / file}: 5 rows") == 1
    code, _, errors = told(capfd, "export", "spar_dpo@1", "--to", "trl", "--to", "cvs", *words[-4:])
    assert code == 1 and "did you mean 'csv'?" in errors


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ("llama-factory", "did you mean 'llamafactory'?"),
        ("NeMo_RL", "did you mean 'nemo-rl'?"),
        ("zzz", "it takes trl, llama"),
    ],
)
def test_an_unknown_format_is_told_with_the_nearest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], given: str, offered: str
) -> None:
    code, _, errors = told(capfd, "export", "x@1", "--to", given, "--lake", tmp_path / "none")
    assert code == 1 and f"there is no format {given!r} to export to: {offered}" in errors
    assert not (tmp_path / "none").exists()


def test_an_unknown_set_and_a_folder_that_is_a_file_are_told(
    sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = told(capfd, "export", "spar_dpo@7", "--to", "trl", "-o", tmp_path / "a", "--lake", sets)
    assert code == 1 and "has no training set spar_dpo@7: did you mean 'spar_dpo@1'?" in errors
    for name, way in (
        ("nix", "it has odd@1, spar_dpo@1, spar_rft@1"),
        ("imported_dpo", "`factory build imported_dpo` makes one"),
    ):
        code, _, errors = told(capfd, "export", name, "--to", "trl", "-o", tmp_path / "a", "--lake", sets)
        assert code == 1 and f"has no training set {name}: {way}" in " ".join(errors.split())
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("mine")
    code, _, errors = told(capfd, "export", "spar_dpo@1", "--to", "trl", "-o", tmp_path / "file", "--lake", sets)
    assert code == 1 and "Traceback" not in errors and (tmp_path / "file").read_text() == "mine"


def test_an_export_replaces_another_as_a_whole_and_nothing_else(sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for to in FORMATS:
        exported(sets, "spar_rft@1", to, out)
    assert files(out) == {"train.parquet", "test.parquet", "EXPORT.md"}
    before = (out / "train.parquet").read_bytes()
    with pytest.raises(FactoryError, match="verl cannot"), Lake.open(sets) as lake:
        export(lake, "odd@1", "verl", out, fail)
    assert (out / "train.parquet").read_bytes() == before and files(tmp_path) == {"out"}
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FactoryError, match=r"holds other files \(notes.txt\)"):
        exported(sets, "spar_dpo@1", "trl", out)


def fail(words: str) -> None:
    raise FactoryError("verl cannot")


def test_somebody_s_own_files_of_the_same_names_are_not_replaced(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(FactoryError, match=r"holds other files \(dataset_info.json\)"):
        exported(sets, "spar_dpo@1", "llamafactory", tmp_path)
    assert (tmp_path / "dataset_info.json").read_text() == "{}"


def one_pair() -> list[object]:
    """A pair whose prompt has a system turn."""
    messages = [Message("system", "Be short."), *asked("Name a fish.")]
    return [row(Prompt, "p", messages=messages), answer("w", "p"), answer("l", "p"), pair("x", "p", "w", "l")]


def test_a_set_of_which_no_row_fits_is_refused_with_the_reason(tmp_path: Path) -> None:
    with Lake.open(tmp_path / "lake", create=True) as lake:
        lake.append([RUN, *one_pair()], message="by hand")
        build_training_set(lake, "spar_dpo", {"held_out": 0}, ["run"])
        with pytest.raises(
            FactoryError, match=r"no row to train on is left \(verl \(pairs of texts\): 1 row with a system turn"
        ):
            export(lake, "spar_dpo@1", "verl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_mean_nothing_to_a_shell_or_a_trainer(tmp_path: Path) -> None:
    odd = tmp_path / "a,b $(touch x); c.sql"
    odd.write_text(
        "-- In: $run_ids VARCHAR[].\n-- Out: preference; one.\nSELECT 'train' AS split, q.messages AS prompt, "
        "[assistant_turn('a')] AS chosen, [assistant_turn('b')] AS rejected FROM prompts AS q WHERE len($run_ids) > 0 "
        "ORDER BY prompt_id"
    )
    with Lake.open(tmp_path / "lake", create=True) as lake:
        lake.append([RUN, *one_pair()], message="by hand")
        build_training_set(lake, str(odd), {}, ["run"])
        (built,) = lake.read(TrainingSet)
        for to in ("llamafactory", "openrlhf", "axolotl"):
            made = export(lake, built.name, to, tmp_path / to)
            text = "".join(file.read_text("utf-8") for file in made.folder.iterdir())
            assert "touch" in text and not set(",@$(;") & set(made.forms[0].written.name)
            assert "$(" not in text and str(tmp_path) not in text


def test_openrlhf_s_script_is_a_command_with_its_flags(sets: Path, tmp_path: Path) -> None:
    exported(sets, "spar_dpo@1", "openrlhf", tmp_path / "a@b,c")
    tried = 'deepspeed() { printf "%s\\n" "$@"; }; . ./openrlhf.sh'
    done = subprocess.run(
        ["bash", "-c", tried, "bash", "--model.beta", "0.1"],
        cwd=tmp_path / "a@b,c",
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split("\n")[:-1]
    assert words[:4] == ["--module", "openrlhf.cli.train_dpo", "--data.dataset", "train.jsonl"]
    assert words[-2:] == ["--model.beta", "0.1"] and not any(" " in word for word in words)
