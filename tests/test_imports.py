"""Imports point one way: between the packages, and between the folders of factory/ in the order of FLOORS."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_KNOW = {
    "schemas": {"schemas"},
    "stores": {"schemas", "stores"},
    "factory": {"schemas", "stores", "factory"},
    "trainers": {"schemas", "stores", "trainers"},
}
OURS = {*MAY_KNOW, "tests", "benchmarks"}
FLOORS = (
    "inference",  # the bottom
    "verifier",
    "prompts",
    "importing",
    "documents",
    "templates",
    "work",
    "judges",
    "search",
    "stages",
    "audit",
    "recipes",
    "runs",
    "evaluation",
    "loops",
    "monitor",
    "batch",
    "view",
    "exporting",
    "publishing",
    "reruns",
    "cli",
)
"""The folders of factory/: each may import those before it, as docs/architecture.md draws it."""
MODULES = [file for package in MAY_KNOW for file in sorted((ROOT / package).rglob("*.py"))]


def imported_modules(text: str) -> Iterator[str]:
    """The modules of all imports, those inside functions and `import_module("...")` as well."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, level=level):
                # A relative import stays in its package only one level deep: we have none, and want none.
                yield "." * level + (module or "")
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def imported(text: str) -> Iterator[str]:
    """The first names of all imports."""
    for module in imported_modules(text):
        yield "." * (len(module) - len(module.lstrip("."))) + module.lstrip(".").partition(".")[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    package = module.relative_to(ROOT).parts[0]
    known = set(imported(module.read_text("utf-8")))
    assert not {name for name in known if name.startswith(".")}
    assert known & OURS <= MAY_KNOW[package]


def room_of(module: str) -> str | None:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if package == "factory" else None


@pytest.mark.parametrize(
    "module", sorted((ROOT / "factory").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_no_import_runs_up_between_the_rooms_of_factory(module: Path) -> None:
    parts = module.relative_to(ROOT).parts
    if len(parts) < 3:
        return  # factory/__init__.py
    floor = FLOORS.index(parts[1])
    rooms = {room for name in imported_modules(module.read_text("utf-8")) if (room := room_of(name))}
    assert {room for room in rooms if FLOORS.index(room) > floor} == set()


def test_the_rooms_are_those_that_the_page_on_architecture_draws() -> None:
    rooms = {folder.name for folder in (ROOT / "factory").iterdir() if (folder / "__init__.py").is_file()}
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert rooms == set(FLOORS)
    places = [page.index(f"`factory/{room}/`") for room in FLOORS]
    assert places == sorted(places)


def test_no_file_is_longer_than_400_lines() -> None:
    files = [file for folder in OURS for file in (ROOT / folder).rglob("*.py")]
    assert {str(file.relative_to(ROOT)) for file in files if len(file.read_text("utf-8").splitlines()) > 400} == set()


def test_an_import_inside_a_function_is_seen() -> None:
    hidden = "def f():\n    from factory.runs.loop import x\n    import importlib\n    importlib.import_module('trainers.dpo')\n"
    assert {"factory", "trainers"} <= set(imported(hidden))
