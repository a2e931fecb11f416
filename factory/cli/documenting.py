"""`factory documents`: corpora against which claims are checked."""

from typing import Annotated

import typer

from factory.cli.importing import telling
from factory.cli.options import LakeOption, assignments
from factory.monitor.console import Console
from schemas.errors import FactoryError


def documents(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Files or folders: .jsonl, .csv, .parquet (also .gz and .zst), .txt, .md; by default, lists what is there.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the corpus; by default, that of the file or folder.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier of the documents.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", "-c", metavar="OURS=THEIRS", help="Name a column: -c text=body")
    ] = None,
    lake: LakeOption = "lake",
) -> None:
    """Import documents (columns text and title) that stage claims checks answers against, or list those of a lake.

    All files become rows in one commit, or none; importing one again adds nothing.
    """
    from rich.text import Text

    from factory.documents.importing import import_documents, list_sources
    from factory.monitor.plain_text import counted, visible
    from factory.monitor.table import table_of

    console = Console()
    if not files:
        found = list_sources(lake)
        if not found.num_rows:
            raise FactoryError(f"lake {lake} has no documents: import some with `factory documents FILE...`")
        table_of(found, console, found.num_rows, found.num_rows)
        return
    names = {ours: str(theirs) for ours, theirs in assignments(column).items()}
    try:
        with telling() as tell:
            imported = import_documents(lake, list(dict.fromkeys(files)), source, licence, names, tell)
    except KeyboardInterrupt:
        raise FactoryError("stopped; nothing was imported") from None
    for one in imported:
        new = "all there before" if not one.added else f"{one.added:,} new"
        left_out = f"; {counted(one.empty, 'row')} without a text left out" if one.empty else ""
        said = f"{visible(one.source)}: {counted(one.documents, 'document')}, {new}{left_out}"
        console.print(Text(said), soft_wrap=True)
