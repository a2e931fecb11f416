"""Prints what an export wrote, how it is used, and what it could not hold."""

from rich.console import Console
from rich.text import Text

from factory.exporting.export import PAGE, Exported
from factory.monitor.plain_text import counted, visible


def print_exported(exported: Exported, console: Console) -> None:
    row = exported.training_set
    of = Text.assemble((visible(f"{row.name}@{row.version}"), "bold"), f" for {exported.format.title}")
    console.print(of, soft_wrap=True)
    for form in exported.forms:
        for file, count in form.rows.items():
            if count:
                console.print(Text(visible(f"wrote {exported.folder / file}: {counted(count, 'row')}")), soft_wrap=True)
    for said in exported.sentences():
        console.print(Text(said, "yellow"), soft_wrap=True)
    console.print(Text(visible(f"how to use it: {exported.folder / PAGE}")), soft_wrap=True)
    for form in exported.forms:
        console.print(Text(f"    {form.layout.use(form.written)}"), soft_wrap=True)
