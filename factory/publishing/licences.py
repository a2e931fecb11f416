"""The licence of a published set: what its prompts', references' and models' licences allow together."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence as the Hub's metadata has it."""

    identifiers: tuple[str, ...]
    """the Hub's; several: each part stays under its own"""
    name: str | None = None
    """of `other`: what it is"""

    @property
    def words(self) -> str:
        return " and ".join(self.identifiers) + (f" ({self.name})" if self.name else "")

    @property
    def metadata(self) -> dict[str, Any]:
        one = self.identifiers[0] if len(self.identifiers) == 1 else list(self.identifiers)
        return {"license": one} | ({"license_name": self.name} if self.name else {})


def licence_of_model(name: str, given: Mapping[str, str]) -> str | None:
    """A model's licence by its name; None: it is not known.

    Args:
        given: licences that the publisher names, by model.
    """
    if name in given:
        return given[name]
    for known in _table()["models"]:
        if re.search(known["match"], name, re.IGNORECASE):
            return str(known["licence"])
    return None


def hub_id_of(base: str) -> str | None:
    """The Hub's id of a model that a training names (embedded:NAME, OWNER/NAME or OWNER/NAME@REVISION); None: it has none."""
    known: dict[str, str] = _table()["hub_ids"]
    plain = base.partition("@")[0]
    return known.get(base) or (
        plain if plain.count("/") == 1 and not plain.startswith(("/", ".", "embedded:")) else None
    )


def together(licences: Iterable[str | None]) -> Licence:
    """The licence of what was made from all of these.

    Public-domain material asks for nothing beside another licence. What is left stays under each of its licences: none of
    them is dropped, since nobody but their owners could.
    """
    given = set(licences)
    if not given or None in given or UNKNOWN in given:
        return Licence((UNKNOWN,))
    named = {hub_identifier(str(one)): str(one) for one in given}
    kept = {hub: own for hub, own in named.items() if hub not in _table()["public_domain"]} or named
    odd = sorted(own for hub, own in ((hub_identifier(str(one)), str(one)) for one in given) if hub == "other")
    identifiers = tuple(sorted(kept))
    return Licence(identifiers, " and ".join(odd).lower().replace(" ", "-") if odd and odd != ["other"] else None)


def hub_identifier(licence: str) -> str:
    """The Hub's name of an SPDX identifier; `other` if it has none."""
    lower = licence.strip().lower()
    lower = str(_table()["aliases"].get(lower, lower))
    return lower if lower in _table()["hub"] else "other"


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    return table
