"""The application: every page of `pages/`, behind the guard, over a few connections to one lake."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from factory.view import pages
from factory.view.environment import make_environment
from factory.view.errors import NotThere
from factory.view.facets import FACET_S
from factory.view.given import address_part
from factory.view.readers import Readers
from factory.view.security import HEADERS, Guard
from factory.view.showing import ENDINGS, STATIC, address, ending_of, is_file, order_of
from factory.view.stored_queries import stored_queries
from schemas.errors import FactoryError
from schemas.streams import visible

NAVIGATION = (
    ("/", "overview"), ("/trees", "trees"), ("/pairs", "pairs"), ("/review", "review"), ("/compare", "compare"),
    ("/corpus", "corpus"), ("/sql", "SQL"),
)  # fmt: skip


def make_app(
    readers: Readers,
    hosts: frozenset[str],
    token: str | None = None,
    cookie: str = "factory_view",
    queries: Path | None = None,
) -> Starlette:
    """The pages on a lake.

    Args:
        readers: connections to the lake; whoever made them closes them.
        hosts, token, cookie: see `security.Guard`.
        queries: a folder of ready-made queries beside this package's.
    """
    failures: dict[Any, Callable[[Request, Exception], Response]] = {
        HTTPException: _of_http,
        FactoryError: partial(_failed, status=400),
        NotThere: partial(_failed, status=404),
        duckdb.Error: partial(_failed, status=500),
        Exception: _broken,
    }
    app = Starlette(
        routes=[*_routes(), Mount("/static", StaticFiles(directory=STATIC))],
        middleware=[Middleware(Guard, hosts, token, cookie)],
        exception_handlers=failures,
    )
    app.state.readers = readers
    app.state.figures = {}
    app.state.stored_queries = stored_queries(queries)
    app.state.templates = _templates()
    return app


def _routes() -> list[Any]:
    """The routes of every module in `pages/`."""
    names = sorted(found.name for found in pkgutil.iter_modules(pages.__path__))
    return [route for name in names for route in importlib.import_module(f"{pages.__name__}.{name}").ROUTES]


def _templates() -> Jinja2Templates:
    environment = make_environment()
    paths = {path for path, _ in NAVIGATION}
    here = {route.path for route in _routes()}
    environment.globals |= {
        "navigation": [(path, name) for path, name in NAVIGATION if path in paths & here],
        "address": address,
        "ending_of": ending_of,
        "order_of": order_of,
        "endings": tuple(ENDINGS),
        "facet_s": FACET_S,
        "versions": {file.name: sha256(file.read_bytes()).hexdigest()[:12] for file in STATIC.iterdir()},
    }
    return Jinja2Templates(env=environment)


def _failed(request: Request, error: Exception, status: int) -> Response:
    sentence = visible(str(error).splitlines()[0] if isinstance(error, duckdb.Error) else str(error))
    if is_file(request):
        return JSONResponse({"error": sentence}, status)
    templates: Jinja2Templates = request.app.state.templates
    # Ids stand last in the addresses of pages about one row.
    beside = request.url.path.rpartition("/")[0]
    near = [(id, f"{beside}/{address_part(id)}") for id in getattr(error, "near", ())]
    title = "not there" if status == 404 else "not possible"
    context = {"title": title, "sentence": sentence, "near": near, "state": address(request), "tables": ()}
    return templates.TemplateResponse(request, "error.html", context, status_code=status)


def _broken(request: Request, error: Exception) -> Response:
    """A fault of this program's own; the server prints its traceback."""
    said = f"this page failed ({type(error).__name__}); the terminal of `factory view` shows where: please report it"
    answer = _failed(request, FactoryError(said), 500)
    answer.headers.update(HEADERS)  # Starlette answers this one outside of the guard
    return answer


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = (
        "there is no page at this address: the links above lead to all there are"
        if error.status_code == 404
        else error.detail
    )
    return _failed(request, FactoryError(said), error.status_code)
