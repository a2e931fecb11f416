"""Imports point one way: schemas knows nobody, stores knows schemas, factory and trainers know both of them."""

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
MODULES = [file for package in MAY_KNOW for file in sorted((ROOT / package).rglob("*.py"))]


def imported(text: str) -> Iterator[str]:
    """The first names of all imports, those inside functions and `import_module("...")` as well."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=module, level=level):
                # A relative import stays in its package only one level deep: we have none, and want none.
                yield "." * level + (module or "").partition(".")[0]
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name.partition(".")[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    package = module.relative_to(ROOT).parts[0]
    known = set(imported(module.read_text("utf-8")))
    assert not {name for name in known if name.startswith(".")}
    assert known & OURS <= MAY_KNOW[package]


def test_an_import_inside_a_function_is_seen() -> None:
    hidden = "def f():\n    from factory.runs.loop import x\n    import importlib\n    importlib.import_module('trainers.dpo')\n"
    assert {"factory", "trainers"} <= set(imported(hidden))
