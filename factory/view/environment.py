"""The templates' environment: everything is escaped, hidden characters are made visible, an unknown name is an error."""

import jinja2

from factory.view.showing import STATIC, TEMPLATES, told
from schemas.streams import visible


def make_environment() -> jinja2.Environment:
    """For the pages, and for files that hold the style sheets themselves."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, STATIC]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.globals["told"] = told
    environment.filters["percent"] = lambda share: "" if share is None else f"{100 * share:.0f}%"
    return environment
