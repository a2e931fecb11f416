"""The README's lines for a plain DuckDB shell, in a process that knows nothing of this package, beside the lake."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from stores.lake import Lake
from tests.sets import RUN, answer, prompts

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
SHELL = """
import sys, duckdb
shell = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for statement in sys.argv[1:]:
    rows = shell.execute(statement).fetchall()
print(rows)
"""


def readme_lines() -> str:
    found = re.search(r"```sql\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def extension_files() -> str:
    """What INSTALL and LOAD do, without the network: the same extensions from their wheels."""
    statements = []
    for name in ("ducklake", "sqlite_scanner"):
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        assert package is not None and package.origin is not None
        file = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        statements.append(f"LOAD '{file}';")
    return " ".join(statements)


def in_a_shell(folder: Path, *statements: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", SHELL, *statements], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made(folder: Path) -> None:
    with Lake.open(folder / "lake", create=True) as lake:
        lake.append([RUN, *prompts(1), answer("a", "p1", "hello")], message="by hand")


@pytest.mark.parametrize("moved", [False, True], ids=["where it was made", "moved"])
def test_the_lines_of_the_readme_read_a_lake_and_its_views(tmp_path: Path, moved: bool) -> None:
    (tmp_path / "here").mkdir()
    made(tmp_path / "here")
    folder = tmp_path / "here"
    if moved:
        folder = folder.rename(tmp_path / "there")
    views = subprocess.run(
        [sys.executable, "-m", "factory.cli.main", "views"], capture_output=True, text=True, check=True
    )
    first, *rest = readme_lines().splitlines()
    assert first == "INSTALL ducklake; INSTALL sqlite; LOAD ducklake; LOAD sqlite;"
    lines = [extension_files(), *rest]
    assert in_a_shell(folder, *lines, "SELECT text FROM responses") == "[('hello',)]"
    assert in_a_shell(folder, *lines, views.stdout, "SELECT run_id FROM current_runs") == "[('run',)]"


def test_a_new_lake_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    made(tmp_path)
    for file in (tmp_path / "lake").rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file
    attached = "ATTACH 'ducklake:sqlite:catalog.sqlite' AS lake (READ_ONLY)"  # the data's place is the catalog's own
    rows = in_a_shell(tmp_path / "lake", extension_files(), attached, "SELECT text FROM lake.responses")
    assert rows == "[('hello',)]"
