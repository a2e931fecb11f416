"""Extras: each is documented, a sentence names no other, and tests install no vLLM."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def test_every_extra_is_in_the_table_of_extras() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("## Extras")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == EXTRAS.keys() - {"test"}


def test_every_extra_that_a_sentence_names_exists() -> None:
    texts = [file for folder in ("factory", "trainers", "stores", "docs") for file in (ROOT / folder).rglob("*.*")]
    named = {
        extra
        for file in [ROOT / "README.md", *texts]
        if file.suffix in (".py", ".md")
        for found in re.findall(r"(?:preference-factory|\{PACKAGE\}|'\.)\[([a-z,]+)\]", file.read_text("utf-8"))
        for extra in found.split(",")
    }
    assert {"train", "ray", "otel", "batch", "vllm"} <= named <= EXTRAS.keys()


def test_all_fits_into_one_environment() -> None:
    (included,) = EXTRAS["all"]
    assert set(re.findall(r"\w+", included.partition("[")[2])) == EXTRAS.keys() - {"test", "all", "vllm"}
    assert not [package for package in EXTRAS["test"] if package.startswith("vllm")]
    for extra in ("otel", "ray", "batch"):
        assert set(EXTRAS[extra]) <= set(EXTRAS["test"])
