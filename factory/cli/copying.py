"""Commands that copy a lake, and that free space it no longer needs."""

from collections import defaultdict
from typing import Annotated

import typer

from factory.cli.options import LakeOption
from factory.monitor.console import Console, progress


def clone(
    lake: Annotated[str, typer.Argument(metavar="LAKE", help="The lake to copy: a folder or a PostgreSQL URL.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A new folder, or postgresql://host/db?data_path=… (a folder or s3://…)."
        ),
    ],
) -> None:
    """Copy a lake with all its snapshots; every training set is read back and checked before the copy appears.

    Trained models and the Parquet files of sets are not copied; a folder's journal of answers is.
    """
    from rich.text import Text

    from stores.cloning import clone as clone_lake

    with progress(Console(stderr=True)) as tell:
        sets = clone_lake(lake, target, tell)
    read = f", {', '.join(sets)} read back to the same fingerprints" if sets else ""
    Console().print(Text(f"copied {lake} to {target}{read}"), soft_wrap=True)


def gc(
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove what is listed; by default, nothing is removed.")
    ] = False,
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Leave newer files alone: they may be about to be committed.")
    ] = 24,
    files: Annotated[bool, typer.Option("--files", help="List every file and folder.")] = False,
    lake: LakeOption = "lake",
) -> None:
    """List what a lake no longer needs and, with --delete, remove it. What a snapshot needs, pinned or not, always stays.

    Files of expired snapshots (`factory expire`), files and folders of processes that were killed, and models in the lake's
    folder whose training is not in the lake.
    """
    from rich.text import Text

    from factory.monitor.plain_text import visible
    from stores.lake import Lake
    from stores.reclaiming import find_scrap, reclaim

    console = Console()
    with Lake.open(lake) as opened, progress(Console(stderr=True)) as tell:
        tell("listing the lake's files")
        found = (reclaim if delete else find_scrap)(opened, older_than_hours * 3600)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for scrap in found:
        groups[scrap.of or "the lake's folder", scrap.why].append(scrap.size_bytes)
        if files:
            console.print(Text(visible(f"{scrap.path}: {scrap.size_bytes:,} bytes, {scrap.why}")), soft_wrap=True)
    for (of, why), sizes in sorted(groups.items()):
        console.print(Text(visible(f"{of}: {len(sizes):,} {why}, {sum(sizes):,} bytes")), soft_wrap=True)
    size = f"{sum(scrap.size_bytes for scrap in found):,} bytes in {len(found):,} files and folders"
    if not found:
        console.print("nothing to remove")
    elif delete:
        console.print(Text(f"freed {size}"), soft_wrap=True)
    else:
        console.print(Text(f"would free {size}: --delete removes them"), soft_wrap=True)
