"""What an address gives a page, read and checked."""

from urllib.parse import quote

from starlette.requests import Request

from schemas.errors import FactoryError
from schemas.streams import visible


def text_of_query(request: Request, name: str) -> str | None:
    """A parameter of the address; None: not given, or empty, as a form sends a field that nobody filled in."""
    return request.query_params.get(name) or None


def number_of(request: Request, name: str, *, least: int) -> int | None:
    """A whole number of the address.

    Raises:
        FactoryError: it is no number, or less than `least`.
    """
    given = text_of_query(request, name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) >= least):
        raise FactoryError(f"{name} in the address has to be a whole number from {least}, not {visible(given)[:40]!r}")
    return int(given)


def address_part(text: str) -> str:
    """A text as one part of an address's path, or as the value of a parameter."""
    return quote(text, safe="")
