"""`factory import`: preference and scored data of others become rows."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from factory.cli.options import LakeOption, assignments, at_lake
from factory.monitor.console import Console
from schemas.errors import FactoryError

SILENT_S = 2.0
LINE_EVERY_S = 30.0


def import_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files or folders: .jsonl, .csv, .parquet, also .gz and .zst."),
    ],
    lake: LakeOption = "lake",
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Import only the first N rows of each.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier, for rows that name no licence.")] = None,
    best_by: Annotated[
        str | None, typer.Option(help="The score by which a prompt's best and worst answers become a pair.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", "-c", metavar="OURS=THEIRS", help="Name a column: -c chosen=better")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="OURS=THEIRS", help="Name a key of turns: --key role=who")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A field of dialogues that may be dropped; repeat it for several.")
    ] = None,
) -> None:
    """Import preferences and scores (TRL, UltraFeedback, HelpSteer): prompts, responses, judgements and pairs.

    No model is asked. All files become rows in one commit, or none; importing one again adds nothing.
    """
    from factory.importing.importer import Options, import_files
    from factory.monitor.imported import print_imported
    from factory.prompts.settings import PromptSettings

    def texts(given: list[str] | None) -> dict[str, str]:
        return {name: str(value) for name, value in assignments(given).items()}

    sources = [
        PromptSettings(source=file, limit=limit, columns=texts(column), keys=texts(key), leave_out=leave_out or [])
        for file in dict.fromkeys(files)
    ]
    try:
        with telling() as tell:
            imported = import_files(lake, sources, Options(licence, best_by), tell)
    except KeyboardInterrupt:
        raise FactoryError("stopped; nothing was imported") from None
    except FactoryError as error:
        raise FactoryError(_to_type(str(error))) from error
    print_imported(imported, at_lake(lake), Console())


def _to_type(said: str) -> str:
    """A sentence about a recipe's settings, with this command's options instead."""
    for setting, option in (
        ("-o prompts.columns.", "-c "),
        ("-o prompts.keys.", "--key "),
        ("prompts.columns.", "-c "),
    ):
        said = said.replace(setting, option)
    return re.sub(
        r"-o 'prompts\.leave_out=\[([^]]*)\]'",
        lambda found: " ".join(f"--leave-out {name}" for name in found[1].split(", ")),
        said,
    )


@contextmanager
def telling() -> Iterator[Any]:
    """Tells how far an import is, on stderr, if it takes longer than two seconds."""
    console = Console(stderr=True)
    status = console.status("")
    last_s = time.monotonic() + SILENT_S - LINE_EVERY_S
    first_s = time.monotonic() + SILENT_S

    def tell(what: str, rows: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s < first_s:
            return
        if console.is_terminal:
            status.update(f"{rows:,} {what}")
            status.start()
        elif now_s - last_s >= LINE_EVERY_S:
            last_s = now_s
            console.print(f"import: {rows:,} {what}")

    try:
        yield tell
    finally:
        status.stop()
