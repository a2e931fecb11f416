"""A lake's pages asked in this process, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

from starlette.testclient import TestClient

from tests import views
from tests.views import HOST

ORIGIN = {"origin": f"http://{HOST}"}


@contextmanager
def pages_of(where: Path | str) -> Iterator[TestClient]:
    """A client that follows redirects, as a browser does."""
    with views.pages_of(where) as client:
        client.follow_redirects = True
        yield client


class _Markup(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_markup(page: str) -> _Markup:
    """The page's tags, attributes and texts as a parser sees them."""
    found = _Markup()
    found.feed(page)
    return found


def check_harmless(page: str) -> None:
    """Nothing from a row has become markup: no script but the page's own file, no handler, no address that runs."""
    found = read_markup(page)
    assert found.tags.count("script") == 1 and not {"iframe", "object", "embed", "img", "base"} & set(found.tags)
    for name, value in found.attributes:
        assert not name.startswith("on") and name != "style"
        if name in ("href", "src", "action", "data-load"):
            assert value.startswith(("/", "#", "?")) and not value.startswith("//"), value
