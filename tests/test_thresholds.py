"""A threshold that no figure could be on the other side of (NaN, infinite, too large) is refused in a sentence."""

import json
from pathlib import Path

import pytest

from factory.audit.audit import AuditSettings, Options, audit_training_set, examination
from factory.audit.checks import check_names
from factory.cli.main import main
from factory.recipes.reading import load_recipe
from factory.runs.audit_settings import settings_of
from schemas.errors import FactoryError
from schemas.tables import Run
from stores.lake import Lake
from tests.rows import row

ODD = [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400)]
ROOT = Path(__file__).parents[1]
SAID = "the threshold of longer_chosen is .*: give a finite number"


@pytest.mark.parametrize("value", ODD, ids=["nan", "inf", "-inf", "huge", "-huge"])
def test_it_is_refused_wherever_it_comes_from(lake: Lake, value: float) -> None:
    with pytest.raises(FactoryError, match=f"audit: {SAID}"):
        check_names({"longer_chosen": value}, "audit")
    with pytest.raises(FactoryError, match=SAID):
        examination(lake, AuditSettings({"longer_chosen": value}, ()), ())
    with pytest.raises(FactoryError, match=f"--threshold: {SAID}"):
        audit_training_set(lake, "none@1", Options({"longer_chosen": value}))
    recipe = json.dumps({"audit": {"longer_chosen": value}})  # NaN and Infinity, as Python reads and writes them
    lake.append([row(Run, "event", run_id="run", recipe=recipe)], message="by hand")
    with pytest.raises(FactoryError, match=f"the recipe of run run: audit: {SAID}"):
        settings_of(lake, ["run"])


@pytest.mark.parametrize("word", [".nan", ".inf", "-.inf", "1" + "0" * 400, "1e999"])
def test_it_is_refused_on_the_command_line_and_in_a_recipe(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Lake.open(tmp_path / "lake", create=True).close()
    for command in (["audit", "none@1"], ["build", "spar_dpo"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--threshold", f"longer_chosen={word}", "--lake", str(tmp_path / "lake")])
        errors = capsys.readouterr().err
        assert ended.value.code == 1 and "longer_chosen" in errors and "number" in errors and "Traceback" not in errors
    (tmp_path / "mine.yaml").write_text(
        f"{(ROOT / 'factory' / 'recipes' / 'spar.yaml').read_text('utf-8')}\naudit: {{longer_chosen: {word}}}\n"
    )
    with pytest.raises(FactoryError, match=r"longer_chosen"):
        load_recipe(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("text", ["2026-99-99", "1" * 5000], ids=["no date", "thousands of digits"])
def test_yaml_that_holds_no_value_is_told_in_a_sentence(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "spar", "-o", f"stages.sample.n={text}", "--lake", str(tmp_path / "lake")])
    errors = capsys.readouterr().err
    assert "the value is not YAML" in errors and "Traceback" not in errors
    (tmp_path / "mine.yaml").write_text(f"name: mine\nprompts: {{limit: {text}}}\n")
    with pytest.raises(FactoryError, match=r"mine\.yaml is not YAML"):
        load_recipe(str(tmp_path / "mine.yaml"))
