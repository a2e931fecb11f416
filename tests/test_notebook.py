"""The notebook runs from start to end without a browser, on what a lake holds, and changes nothing."""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from schemas.tables import Run
from stores.lake import Lake
from tests.exports import sets as sets
from tests.rows import row
from tests.sets import tree

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "explore.py"
if os.environ.get("CI") != "true":
    pytest.importorskip("marimo", reason="marimo is not installed: pip install 'preference-factory[notebook]'")


def explored(lake: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], dict[str, Any]]:
    """What the cells show, and the names that they define."""
    monkeypatch.setenv("FACTORY_LAKE", str(lake))
    found = importlib.util.spec_from_file_location("explore", NOTEBOOK)
    assert found is not None and found.loader is not None
    notebook = importlib.util.module_from_spec(found)
    found.loader.exec_module(notebook)
    outputs, names = notebook.app.run()
    return list(outputs), dict(names)


def files(folder: Path) -> dict[Path, bytes]:
    """Contents, without those that SQLite keeps beside a catalog while it is open."""
    kept = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(("-shm", "-wal")))
    return {file: file.read_bytes() for file in kept}


def test_its_figures_are_the_lake_s(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(sets)
    outputs, found = explored(sets, monkeypatch)
    assert found["runs"].select("run_id", "trees", "accepted", "acceptance").rows() == [("run", 6, 6, 1.0)]
    assert found["likeness"].rows() == [("refined_over_failed", 0.5, 6)]
    assert found["nodes"]["state"].to_list() == ["open", "· open"] and found["nodes"]["value"].null_count() == 2
    assert found["pairs"].height == 6 and found["drift"]["run_id"].to_list() == ["run"]
    # Of the six pairs one is a tie; the others' values are 0.75 apart.
    assert found["suspicious"].filter(found["suspicious"]["close"])["pair_id"].to_list() == ["tie±"]
    shown = " ".join(output.text for output in outputs if hasattr(output, "text"))
    assert shown.count("<svg") == 2 + bool(found["long"].height) and "Pairs by suspicion" in shown
    with pytest.raises(duckdb.Error):
        found["connection"].execute("DELETE FROM pairs")
    found["lake"].close()
    assert files(sets) == before


def test_names_from_a_lake_are_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = '<a href="x">y</a><script>alert(1)</script>\x1b[31m'
    with Lake.open(tmp_path / "lake", create=True) as lake:
        rows = [row(Run, "event", run_id=name, recipe="{}", recipe_name=name, purpose="data")]
        made = tree(1, {"r": "n", "ra": "y"}, "ra")
        lake.append([*rows, *(replace(one, run_id=name) for one in made)], message="by hand")
    outputs, found = explored(tmp_path / "lake", monkeypatch)
    found["lake"].close()
    plots = [output.text for output in outputs if hasattr(output, "text") and "<svg" in output.text]
    assert plots and not [text for text in plots if "<script" in text or "<a " in text or "\x1b" in text]


def test_addresses_in_texts_are_neither_links_nor_pictures(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    _, found = explored(sets, monkeypatch)
    found["lake"].close()
    texts = ["see HTTPS://evil.example/x.png?q=1", "http://evil.example", "data:image/svg+xml,x", "a: b", None]
    shown = found["shown"](pl.DataFrame({"text": texts, "n": range(5)}))["text"].to_list()
    # What the tables of marimo 0.25.2 look for.
    assert not [text for text in shown if text and re.search(r"(?i)https?://\S|^data:image/", text)]
    assert shown[3:] == texts[3:] and "evil.example/x.png?q=1" in shown[0]


@pytest.mark.parametrize("empty", [True, False])
def test_it_runs_as_a_script(empty_lake: Path, sets: Path, tmp_path: Path, empty: bool) -> None:
    command = [sys.executable, str(NOTEBOOK), "--lake", str(empty_lake if empty else sets)]
    environment = {**os.environ, "PYTHONPATH": str(NOTEBOOK.parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_a_lake_that_is_not_there_is_told(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(NOTEBOOK.parents[1])}
    command = [sys.executable, str(NOTEBOOK), "--lake", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "none" in done.stderr and not (tmp_path / "none").exists()
