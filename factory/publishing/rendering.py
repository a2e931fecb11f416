"""Fills the card's templates: whatever comes from a row is text, never Markdown or HTML."""

import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from factory.monitor.plain_text import counted
from schemas.streams import visible

TEMPLATES = Path(__file__).parent / "templates"
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~$!])")
_LINKED = re.compile(r"(?i)\b(https?|ftp|mailto|javascript|data)(:)|(www)(\.)")


class Plain(str):
    """Text that stands on the page as it is."""

    __slots__ = ()


def render(template: str, **values: Any) -> str:
    """The template's text, each value in it escaped unless a filter has made it `Plain`.

    Raises:
        jinja2.UndefinedError: a value is missing.
    """
    return re.sub(r"\n{3,}", "\n\n", _environment().get_template(template).render(**values)).strip() + "\n"


def escaped(value: Any) -> Plain:
    """A value as text within a line of Markdown."""
    if isinstance(value, Plain):
        return value
    line = re.sub(r"\s+", " ", visible(str(value)))
    # An address in a row is no link: a zero-width joiner would hide, an entity does not.
    return Plain(
        _LINKED.sub(lambda m: f"{m[1] or m[3]}&#{ord(m[2] or m[4])};", _MARKUP.sub(r"\\\1", escape(line, quote=False)))
    )


def code(value: Any) -> Plain:
    """A value within backticks or a block of code, on one line."""
    return Plain(" ".join(visible(str(value)).replace("`", "'").split()))


def _code_block(value: Any) -> Plain:
    return Plain(visible(str(value)).replace("```", "'''").strip())


def _quote(value: Any) -> Plain:
    return Plain("\n> ".join(escaped(line) for line in str(value).splitlines()))


def figure(value: float | None) -> Plain:
    """A figure with four significant digits."""
    return Plain("not known" if value is None else f"{value:.4g}")


def _interval(ends: tuple[float | None, float | None]) -> Plain:
    return Plain("" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}")


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, and `finalize` does it
    )
    made.filters |= {
        "counted": lambda count, noun: Plain(counted(count, noun)),
        "n": lambda count: Plain(f"{count:,}"),
        "known": lambda count: Plain("not known" if count is None else f"{count:,}"),
        "percent": lambda share: Plain("not known" if share is None else f"{share:.1%}"),
        "figure": figure,
        "interval": _interval,
        "plain": Plain,
        "code": code,
        "code_block": _code_block,
        "quote": _quote,
        "quoted": lambda text: Plain(json.dumps(str(text))),
    }
    return made
