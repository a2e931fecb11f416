"""`factory verify`: looks at every file of a lake, and names those that are damaged or missing."""

import time

from rich.console import Console
from rich.text import Text

from factory.monitor.plain_text import counted, visible
from schemas.errors import FactoryError
from stores.checksums import verify_files
from stores.lake import Lake

QUIET_S = 2.0
"""A lake that takes no longer is verified without showing progress."""


def verify_and_report(lake: Lake, console: Console) -> None:
    """Prints a line for each damaged file, and what was compared.

    Raises:
        FactoryError: a file is damaged or missing.
    """
    started_s = time.monotonic()
    with console.status("") as status:
        status.stop()

        def show(done: int, all: int) -> None:
            if time.monotonic() - started_s > QUIET_S and console.is_terminal:
                status.update(f"{done:,} of {counted(all, 'file')}")
                status.start()

        found = verify_files(lake, show)
    for damage in found.damages:
        console.print(Text(visible(f"{damage.path} {damage.fault}: {damage.holds}"), "red"), soft_wrap=True)
    new = found.files - found.compared
    words = f"{counted(found.compared, 'file')} compared with their checksums"
    if new:
        words += f", {new:,} without one read from start to end"
    console.print(Text(words), soft_wrap=True)
    if found.unsure is not None:
        console.print(Text(f"the catalog was not compared: {found.unsure}", "yellow"), soft_wrap=True)
    where = lake.place.where
    if found.damages:
        raise FactoryError(
            f"lake {where} has {counted(len(found.damages), 'file')} damaged or missing: restore what is named above from a "
            "backup of the lake; a training set built now would contain the damage"
        )
    console.print(Text(f"lake {where} is whole"), soft_wrap=True)
