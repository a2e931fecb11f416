"""Recipes for people and editors: a list, one recipe's keys with types and sources, and the JSON schema."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from factory.recipes.reading import RECIPES, all_settings, load_recipe
from factory.recipes.recipe import Recipe
from schemas.settings import Settings, described

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = "#/$defs/{name}"


def print_recipes(console: Console) -> None:
    """Prints the bundled recipes, one per line."""
    table = Table("recipe", "what it does", "stages", "training sets", box=None, header_style="dim")
    for file in sorted(RECIPES.glob("*.yaml")):
        recipe = load_recipe(file.stem)
        stages = ", ".join(entry.name for entry in recipe.stages)
        table.add_row(recipe.name, recipe.description, stages, ", ".join(recipe.training_sets))
    console.print(table)
    console.print(Text("factory recipes NAME lists every key of a recipe", "dim"))


def print_recipe(name: str, console: Console) -> None:
    """Prints every key of a recipe: value, type and bounds, overridden default, meaning and source.

    Raises:
        FactoryError: see `load_recipe`.
    """
    recipe = load_recipe(name)
    console.print(Text.assemble((recipe.name, "bold"), f": {recipe.description}"))
    for path, settings in _sections(recipe):
        console.print()
        console.print(Text(path, "bold cyan"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for setting in described(type(settings)):
            value = getattr(settings, setting.name)
            changed = not setting.required and value != setting.default
            default = f", default {_plain(setting.default) or 'none'}" if changed else ""
            source = f" [{setting.source}]" if setting.source else ""
            told = Text(f"{setting.type}{default}: {setting.meaning}{source}", "dim")
            given = Text(_plain(value) or "none", "bold" if changed or setting.required else "")
            grid.add_row(f"  {setting.name}", Text.assemble(given, "  ", told))
        console.print(grid)


def _sections(recipe: Recipe) -> Iterator[tuple[str, Settings]]:
    for role, model in recipe.models.items():
        yield f"models.{role}", model
    yield "prompts", recipe.prompts
    for entry in recipe.stages:
        yield f"stages.{entry.name}", entry.settings
    yield "budget", recipe.budget


def _plain(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, str) else json.dumps(msgspec.to_builtins(value))


def recipe_schema() -> str:
    """The JSON schema of a recipe, for editors that validate and complete YAML."""
    (_,), definitions = msgspec.json.schema_components([Recipe], ref_template=REFERENCE)
    entries = []
    for name, settings in all_settings().items():
        (found,), below = msgspec.json.schema_components([settings], ref_template=REFERENCE)
        body = below[found["$ref"].rpartition("/")[2]]
        given = {"stage": {"const": name.partition(" ")[0]}, "name": {"type": "string"}}
        entries.append({**body, "title": name, "properties": {**given, **body["properties"]}, "required": ["stage"]})
    recipe = definitions.pop("Recipe")
    recipe["properties"]["stages"] = {"type": "array", "items": {"anyOf": entries}, "minItems": 1}
    used = {
        name: body
        for name, body in definitions.items()
        if name in ("ModelSettings", "VllmSettings", "PromptSettings", "BudgetSettings", "AnswerSettings")
    }
    return json.dumps({"$schema": DIALECT, **recipe, "title": "recipe", "$defs": used}, indent=2)
