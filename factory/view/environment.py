"""The templates' environment: everything is escaped and of bounded length, hidden characters are made visible, an
unknown name is an error."""

from typing import Any

import jinja2

from factory.monitor.plain_text import counted
from factory.view.showing import STATIC, TEMPLATES, told
from schemas.streams import visible

CHARACTERS_PRINTED = 50_000
"""of any one value: a row of somebody else may hold a megabyte anywhere, in a name or an id"""


def make_environment() -> jinja2.Environment:
    """For the pages, and for files that hold the style sheets themselves."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, STATIC]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.globals |= {"told": told, "counted": counted}
    environment.filters["percent"] = lambda share: "" if share is None else f"{100 * share:.0f}%"
    return environment


def _printed(value: Any) -> Any:
    if type(value) is not str:
        return value
    if len(value) > CHARACTERS_PRINTED:
        value = f"{value[:CHARACTERS_PRINTED]}… (cut)"
    return visible(value)
