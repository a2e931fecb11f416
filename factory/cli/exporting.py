"""`factory export`: training sets for other trainers."""

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import LakeOption
from factory.monitor.console import Console


def export(
    name: Annotated[
        str, typer.Argument(metavar="NAME@V", help="A training set, such as spar_dpo@1; without a version, the newest.")
    ],
    to: Annotated[
        list[str],
        typer.Option(
            metavar="FORMAT",
            help="trl, llamafactory, axolotl, openrlhf, verl, nemo-rl, jsonl, csv or parquet (repeat it for several).",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder to write to (with several formats, FOLDER/FORMAT); by default, in the lake's exports.",
        ),
    ] = None,
    lake: LakeOption = "lake",
) -> None:
    """Write a training set as the files that another trainer reads, and report what they cannot hold."""
    from factory.exporting.export import export as export_set
    from factory.exporting.formats import format_named
    from factory.exporting.printing import print_exported
    from factory.monitor.audit import telling
    from stores.lake import Lake

    formats = list(dict.fromkeys(to))
    for one in formats:
        format_named(one)  # a misspelt format is told before anything of the lake
    with Lake.open(lake) as opened:
        for one in formats:
            folder = out / one if out is not None and len(formats) > 1 else out
            with telling("exporting") as tell:
                exported = export_set(opened, name, one, folder, tell)
            print_exported(exported, Console())
