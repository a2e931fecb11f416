"""The pages on methods: every recipe that trains is listed, every link leads somewhere, every command is one, and the values
of settings are those of recipes and presets."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from factory.cli.commands import app
from factory.loops.reading import trainer_of
from factory.recipes.reading import RECIPES, load_recipe
from factory.recipes.recipe import Recipe
from scripts.compare_methods import trained_recipes
from scripts.methods_table import BEGIN, END
from stores.parameters import defaults
from stores.training_sets import training_set_sql
from trainers.settings import PRESETS, load_settings

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "method.md", DOCS / "methods.md", *sorted((DOCS / "methods").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for block in re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["factory"]:
                options = {option for parameter in commands[words[1]].params for option in parameter.opts}
                given = {word for word in words[2:] if word.startswith("-") and word != "-"}
                assert given <= options, line


def test_the_list_has_every_recipe_that_trains_and_room_for_the_figures() -> None:
    page = (DOCS / "methods.md").read_text("utf-8")
    assert set(trained_recipes()) == set(
        re.findall(r"^\| `(\w+)` \|.*\|.*\|.*\|.*\|$", page.split("## Measured")[0], re.MULTILINE)
    )
    assert page.index(BEGIN) < page.index(END)


RECIPES_OF = {
    page: re.findall(
        rf"^\| `(\w+)` \|.*\(methods/{page}\.md\) \|$", (DOCS / "methods.md").read_text("utf-8"), re.MULTILINE
    )
    for page in (file.stem for file in sorted((DOCS / "methods").glob("*.md")))
}
NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:e-?\d+)?)(%?)(?!\w)")
SAID = {True: {"yes", "on", "true"}, False: {"no", "off", "false"}, None: {"none"}}


def rows_of(page: str) -> Iterator[tuple[str, list[str], str]]:
    """The settings' rows: what is set, the keys in full, and the cell whose values hold here."""
    text = (DOCS / "methods" / f"{page}.md").read_text("utf-8").partition("\n## Settings\n")[2].partition("\n## ")[0]
    header, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert header[:2] == ["setting", "key"] and header[3:] == ["here"], header
    for setting, names, there, here in rows:
        keys: list[str] = []
        for name in re.findall(r"`([\w.]+)`", names):
            keys.append(keys[-1].rpartition(".")[0] + name if name.startswith(".") else name)
        assert keys or names == "–", f"{setting}: name the setting's key, or '–' if it is none"
        yield setting, keys, there if here.partition(";")[0] == "the same" else here


def values_of(recipe: Recipe, key: str) -> list[Any]:
    """A key's values in a recipe: of each model that it trains, for a preset's; none where the recipe has no such stage or
    training."""
    section, _, name = key.rpartition(".")
    trainings = recipe.trainings()
    if section.startswith("stages."):
        return [getattr(entry.settings, name) for entry in recipe.stages if f"stages.{entry.name}" == section]
    if section.startswith("train."):
        return [getattr(trainings[section.removeprefix("train.")], name)]
    if section:
        kind = import_module(f"trainers.{section}").SETTINGS
        configs = [one.configs for one in trainings.values() if trainer_of(one) == section]
        return [getattr(load_settings(kind, section, config), name) for config in configs]
    if name == "data":
        return [recipe.data]
    sets = [defaults(training_set_sql(one.set)) | one.parameters for one in trainings.values()]
    return [given[name] for given in [*sets, *(pairing.parameters for pairing in recipe.pairings())] if name in given]


def says(part: str, value: Any) -> bool:
    """Whether a part of a cell gives this value and no other number: '5', 'top-p 0.9', '`linear` down to 0', '2 and 0.1'."""
    values = value if isinstance(value, tuple) else (value,)
    words = set(re.findall(r"\w+", part.lower()))
    if values[0] is None or isinstance(values[0], bool):
        return bool(SAID[value] & words)
    if isinstance(values[0], str):
        return set(values) <= words
    return [float(digits) / (100 if percent else 1) for digits, percent in NUMBER.findall(part)] == list(values)


def given_in_files(recipe: str) -> set[str]:
    """The keys of the numbers that a recipe gives its stages, and of all that its presets say for its trainings."""
    document = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text("utf-8"))
    keys = {
        f"stages.{stage.get('name', stage['stage'])}.{key}"
        for stage in document["stages"]
        for key, value in stage.items()
        if isinstance(value, int | float)
    }
    for training in load_recipe(recipe).trainings().values():
        for preset in training.configs:
            section = trainer_of(training)
            given = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text("utf-8"))[section]
            keys |= {f"{section}.{key}" for key in given}
    return keys


@pytest.mark.parametrize("page", sorted(RECIPES_OF))
def test_the_settings_of_a_page_are_those_of_recipe_and_preset(page: str) -> None:
    recipes = {name: load_recipe(name) for name in RECIPES_OF[page]}
    shown: dict[str, set[str]] = {name: set() for name in recipes}
    for setting, keys, cell in rows_of(page):
        parts = re.sub(r"\s*\([^)]*\)", "", cell).partition(";")[0].split(", ")
        named = [name for name in re.findall(r"`(\w+)`", setting) if name in recipes] or list(recipes)
        if not keys:
            assert not NUMBER.search(cell), f"{setting}: a value without its key: {cell}"
            continue
        assert len(parts) == len(keys), f"{setting}: {len(keys)} keys and {len(parts)} values: {cell}"
        for key, part in zip(keys, parts, strict=True):
            values = {name: values_of(recipes[name], key) for name in named}
            assert any(values.values()), f"{setting}: no recipe of the page has {key}"
            for name, found in values.items():
                assert all(says(part, value) for value in found), f"{setting}: {key} is {found} in {name}, not {part!r}"
                shown[name].add(key)
    for name in recipes:
        assert given_in_files(name) <= shown[name], f"settings of {name} that the page does not show"


def test_a_page_that_says_another_value_is_told_from_one_that_says_it() -> None:
    assert says("top-p 0.9", 0.9) and not says("top-p 0.9", 0.95)
    assert says("the 40% with the widest gap", 0.4) and not says("the 40% with the widest gap", 0.5)
    assert says("RMSProp", "rmsprop") and not says("RMSProp", "adamw")
    assert says("`sigmoid` and `sft`", ("sigmoid", "sft")) and not says("`sigmoid_norm`", ("sigmoid",))
    assert says("1 and 0.1", (1.0, 0.1)) and not says("1 or 2", 1)
    assert says("off", False) and not says("off", True) and says("none", None) and not says("none", 3)
