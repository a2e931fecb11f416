"""`factory view`: the lake in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import LakeOption
from factory.monitor.console import Console


def view(
    where: Annotated[str | None, typer.Argument(metavar="WHERE", help="The lake; the same as --lake.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; if it is in use, the next free one.")] = 8360,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs --token.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name by which browsers reach this machine.")
    ] = None,
    token: Annotated[
        bool, typer.Option("--token", help="Ask browsers for a token, which is generated and printed once.")
    ] = False,
    browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    queries: Annotated[Path | None, typer.Option(help="Folder of ready-made .sql queries for the console.")] = None,
    lake: LakeOption = "lake",
) -> None:
    """Look at a lake in the browser: runs, search trees, pairs, SQL, reviews; also while a run writes to it."""
    from factory.view.serving import serve

    console = Console()
    serve(
        where or lake,
        host,
        port,
        tuple(name or ()),
        lambda words: console.print(words, soft_wrap=True),
        with_token=token,
        show=browser,
        queries=queries,
    )
