"""`factory verify`: looks at every file and row of a lake, and names what is wrong with what depends on it."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from factory.evaluation import rows
from factory.monitor.console import progress
from factory.monitor.plain_text import counted, visible
from factory.runs import specification as runs
from schemas.errors import FactoryError
from schemas.tables import Evaluation, Run
from stores.checksums import Verified, verify_files
from stores.consistency import UNREADABLE, Fault, check_rows, check_sets, dependents, other_ids
from stores.lake import Lake


def verify_and_report(lake: Lake, console: Console, *, quick: bool = False) -> None:
    """Prints a line for each damaged file and each kind of wrong row, what depends on them, and what was compared.

    Args:
        quick: looks at the files and the catalog alone.
    Raises:
        FactoryError: something is wrong.
    """
    faults: list[Fault] = []
    with progress(console) as tell:
        found = verify_files(lake, lambda done, all: tell(f"{done:,} of {counted(all, 'file')}"))
        if not quick:
            faults = _all_faults(lake, tell)
    _print_files(found, console)
    unread = [fault for fault in faults if not fault.ids] if found.damages else []
    for fault in faults:
        if fault not in unread:
            console.print(Text(visible(fault.in_words()), "red"), soft_wrap=True)
    if unread:
        of = ", ".join(fault.table for fault in unread)
        console.print(Text(f"not compared, as files are damaged: {of}", "yellow"), soft_wrap=True)
    faults = [fault for fault in faults if fault not in unread]
    if not quick:
        console.print(Text(f"{counted(len(faults), 'fault')} in rows, trees, pairs and pinned sets"), soft_wrap=True)
    where = lake.place.where
    if not found.damages and not faults:
        console.print(Text(f"lake {where} is whole"), soft_wrap=True)
        return
    if not quick:
        _print_dependents(lake, found, faults, console)
    if found.damages:
        raise FactoryError(
            f"lake {where} has {counted(len(found.damages), 'file')} damaged or missing: restore what is named above from a "
            "backup of the lake; a training set built now would contain the damage"
        )
    raise FactoryError(
        f"lake {where} has rows that cannot be as they were written ({counted(len(faults), 'fault')}): restore the lake from "
        "a backup, and do not train on what is named above"
    )


def _all_faults(lake: Lake, tell: Callable[[str], None]) -> list[Fault]:
    faults = check_rows(lake, tell)
    tell("ids of runs and evaluations")
    try:
        faults += other_ids("runs", {run.run_event_id: runs.has_own_id(run) for run in lake.read(Run)})
        faults += other_ids("evaluations", {row.evaluation_id: rows.has_own_id(row) for row in lake.read(Evaluation)})
    except UNREADABLE as error:
        faults.append(Fault("runs", f"cannot be compared ({' '.join(str(error).split())})", ()))
    try:
        return faults + check_sets(lake, tell)
    except UNREADABLE as error:
        return [*faults, Fault("training_sets", f"cannot be read ({' '.join(str(error).split())})", ())]


def _print_files(found: Verified, console: Console) -> None:
    for damage in found.damages:
        console.print(Text(visible(f"{damage.path} {damage.fault}: {damage.holds}"), "red"), soft_wrap=True)
    new = found.files - found.compared
    words = f"{counted(found.compared, 'file')} compared with their checksums"
    if new:
        words += f", {new:,} without one read from start to end"
    console.print(Text(words), soft_wrap=True)
    if found.unsure is not None:
        console.print(Text(f"the catalog was not compared: {found.unsure}", "yellow"), soft_wrap=True)


def _print_dependents(lake: Lake, found: Verified, faults: list[Fault], console: Console) -> None:
    files = [damage.file for damage in found.damages if damage.file is not None]
    try:
        depending = dependents(lake, faults, files)
    except UNREADABLE:
        console.print(Text("what depends on it cannot be told: the rows that would tell are damaged", "yellow"))
        return
    for each in depending:
        console.print(Text(visible(f"depends on it: {each.in_words()}"), "yellow"), soft_wrap=True)
    if not depending:
        console.print(Text("no training set depends on it"), soft_wrap=True)
