"""`factory tree --node`, `factory tree`, `factory pair` and `factory report` at the command line."""

from pathlib import Path
from typing import Any

import pytest

from factory.cli.main import main
from stores.lake import Lake
from tests.views import run_lake

__all__ = ["run_lake"]


def said(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return (int(ended.value.code or 0), *capfd.readouterr())


@pytest.fixture
def accepted(run_lake: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("FACTORY_LAKE", str(run_lake))
    monkeypatch.setenv("COLUMNS", "200")
    with Lake.open(run_lake, read_only=True) as lake:
        query = "SELECT tree_id, visit, node_id, parent_node_id FROM nodes WHERE state = 'accepted' ORDER BY depth DESC, 1 LIMIT 1"
        found: dict[str, Any] = lake.query(query).to_pylist()[0]
    return found


def test_a_node_is_shown_in_full_by_its_number_or_its_id(
    accepted: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    for given in (accepted["visit"], f"#{accepted['visit']}", accepted["node_id"][:10]):
        code, shown, _ = said(capfd, "tree", accepted["tree_id"][:12], "--node", given, "--diff", "root", "--sets")
        assert code == 0 and f"#{accepted['visit']} accepted: its value is above the threshold 0.5" in shown
        assert "root →" in shown and "[-" in shown and "{+" in shown and accepted["node_id"] in shown
        assert "judge votes" in shown and "passed" in shown
        assert "in no training set, because no training set has been built from this run" in shown


def test_white_space_is_shown_on_demand(accepted: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    given = ("tree", accepted["tree_id"], "--node", accepted["visit"])
    assert "·" not in said(capfd, *given)[1] and "·" in said(capfd, *given, "--space")[1]


def test_a_tree_says_why_each_node_was_kept_and_what_it_cost(
    accepted: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = said(capfd, "tree", accepted["tree_id"])
    assert code == 0 and "accepted: its value is above the threshold 0.5" in shown and "●" in shown
    assert "of them on the accepted path" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tree", "{}", "--node", "999"], "has no node '999': give a number from 0 to"),
        (["tree", "{}", "--node", "1", "--diff", "sideways"], "give parent or root or accepted"),
        (["report", "another"], "runs has no row whose run_id is 'another'"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(
    accepted: dict[str, Any], capfd: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    code, _, errors = said(capfd, *(word.format(accepted["tree_id"]) for word in words))
    assert code == 1 and told in errors


def test_an_id_that_is_nearly_right_names_the_right_one(
    accepted: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = said(capfd, "tree", accepted["tree_id"][:-2] + "zz")
    assert code == 1 and accepted["tree_id"] in errors


def test_a_report_is_written_whole(accepted: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code, shown, _ = said(capfd, "report", "spar", "-o", out)
    assert code == 0 and f"wrote {out}: {out.stat().st_size:,} bytes" in shown
    assert (
        out.read_text("utf-8").startswith("<!doctype html>") and f"tree-{accepted['tree_id'][:12]}" in out.read_text()
    )
    code, _, errors = said(capfd, "report", "spar", "-o", tmp_path / "no" / "where.html")
    assert code == 1 and "Traceback" not in errors
