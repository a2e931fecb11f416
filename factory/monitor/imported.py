"""Prints what an import added."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from factory.importing.importer import ImportedSource
from factory.monitor.plain_text import counted, visible

_SHOWN = (("prompts", "prompt"), ("responses", "response"), ("judgements", "score"), ("pairs", "pair"))


def print_imported(imported: Sequence[ImportedSource], at_lake: str, console: Console) -> None:
    """Prints each source's rows, and the command that builds a training set of them.

    Args:
        at_lake: the --lake option of that command.
    """
    for one in imported:
        name = visible(one.source)
        if not one.samples:
            console.print(Text(f"{name}: imported before as {one.run_id}: nothing added"), soft_wrap=True)
            continue
        rows = ", ".join(counted(one.rows.get(table, 0), noun) for table, noun in _SHOWN)
        console.print(Text(f"{name}: {counted(one.samples, 'row')} as run {one.run_id}: {rows}"), soft_wrap=True)
        if one.scores:
            scores = ", ".join(f"{visible(judge)} {number:,}" for judge, number in sorted(one.scores.items()))
            console.print(Text(f"  scores: {scores}"), soft_wrap=True)
        if one.scores and not one.rows.get("pairs") and one.rows.get("responses", 0) > one.rows.get("prompts", 0):
            hint = "  no pairs: no score here is known to say which answer is best, or all tie: --best-by names one"
            console.print(Text(hint, "yellow"), soft_wrap=True)
        if one.equal:
            left_out = f"  {counted(one.equal, 'preference')} left out: the sides are equal, or one is empty"
            console.print(Text(left_out, "yellow"), soft_wrap=True)
    if any(one.rows.get("pairs") for one in imported):
        console.print(Text(f"`factory build imported_dpo{at_lake}` makes a training set of the pairs"), soft_wrap=True)
