"""Commands that write what a repetition needs, and that repeat trainings and runs."""

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import LakeOption, LogFormatOption, OverrideOption, assignments
from factory.monitor.console import Console, progress
from schemas.errors import FactoryError

DIFFERENT = 4
"""The exit code of a repetition that came out different; 1 is an error, 2 a misspelt option, 3 a training that diverged."""


def lock(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A training set, such as spar_dpo@1, or a trained model.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; by default, NAME.lock.yaml in this folder.")
    ] = None,
    lake: LakeOption = "lake",
) -> None:
    """Write a lock file: everything that determines a training set or a model, so that another machine can make it again.

    There, `factory rerun FILE` makes it from the lake or from the published dataset alone.
    """
    from rich.text import Text

    from factory.reruns.lock import lock_of
    from factory.reruns.lock_file import write_lock
    from stores.lake import Lake

    with Lake.open(lake) as opened, progress(Console(stderr=True)) as tell:
        tell(f"reading the rows of {name}")
        made = lock_of(opened, name)
    of_set = made.training_set
    called = f"{of_set.name}@{of_set.version}" if made.training is None else made.training.output or name
    file = out or Path(f"{Path(called).name}.lock.yaml")
    write_lock(made, file)
    Console().print(Text(f"wrote {file}: {called}, fingerprint {of_set.fingerprint[:12]}"), soft_wrap=True)


def rerun(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A training (its id, or its model), a run's id, or a lock file."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="The model that training started from, if not found: a folder, .gguf file or hub id."),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Likewise, the training's reference model.")] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|ENDPOINT", help="Likewise, the reward model or judge that paid an online training."
        ),
    ] = None,
    original: Annotated[
        Path | None, typer.Option(help="Folder of the original model, to report by how much the weights differ.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Keep the repetition's model in this folder; by default, it is removed.")
    ] = None,
    launch: Annotated[
        str | None, typer.Option(help="Command that starts the trainer: 'accelerate launch --num_processes 8'.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATASET", help="For a lock file: the published dataset, a folder or a hub id."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="For a run: keep the repetition's lake in this folder; by default, it is removed."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="For a run: ask everything again, even what the journal can answer.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="For a run: ask no model; what the journal cannot answer is left out.")
    ] = False,
    log_format: LogFormatOption = None,
    override: OverrideOption = None,
    lake: LakeOption = "lake",
) -> None:
    """Repeat a training or a run, and report whether it comes out the same.

    Exit code 0: identical. 4: different; the report says where and why. The outcome is a row of `reruns`.
    """
    from rich.text import Text

    from factory.monitor.display import watch
    from factory.monitor.plain_text import visible
    from factory.reruns.repeating import rerun as rerun_in
    from factory.reruns.repeating import rerun_lock
    from factory.reruns.runs import Asked
    from factory.reruns.training import Choices
    from stores.lake import Lake

    choices = Choices(model, reference, reward, original, output, launch)

    def say(words: str) -> None:
        Console().print(Text(visible(words)), soft_wrap=True)

    file = Path(what)
    if file.suffix in (".yaml", ".yml", ".json") or file.is_file():
        if into is not None or anew or offline or override:
            raise FactoryError(
                "--into, --anew, --offline and -o are for runs: a lock file is about a training set or a model"
            )
        if data is not None and not (Path(lake) / "catalog.sqlite").exists() and "://" not in lake:
            same = rerun_lock(file, None, data, choices, say)
        else:
            with Lake.open(lake) as opened:
                same = rerun_lock(file, opened, data, choices, say)
    else:
        if data is not None:
            raise FactoryError("--data is for a lock file: `factory lock NAME` writes one")
        with Lake.open(lake) as opened:
            of_run = Asked(into, assignments(override), anew, offline)
            same = rerun_in(opened, what, choices, of_run, lambda progress: watch(progress, log_format), say)
    if not same:
        raise typer.Exit(DIFFERENT)
