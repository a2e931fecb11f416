"""The defaults of all settings that a run's id hashes: `python -m tests.defaults > tests/data/defaults.json`."""

import json
from typing import Any

import msgspec

from factory.prompts.settings import PromptSettings
from factory.recipes.reading import all_settings
from factory.recipes.recipe import DEFAULTS_VERSION
from schemas.settings import default_of


def all_defaults() -> dict[str, Any]:
    """The version of the defaults, and every default by section and name."""
    sections = {"prompts": PromptSettings, **all_settings()}
    return {
        "version": DEFAULTS_VERSION,
        "settings": {
            section: {
                field.name: msgspec.to_builtins(default_of(field))
                for field in msgspec.structs.fields(settings)
                if not field.required
            }
            for section, settings in sections.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(all_defaults(), indent=1))
