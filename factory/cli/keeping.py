"""Commands that use a lake's rows, or maintain the lake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import LakeOption, ThresholdOption, assignments, thresholds
from factory.monitor.console import Console
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES, in_words

_WITH_REFERENCE = " and ".join(name for name, objective in OBJECTIVES.items() if objective.reference)


def build(
    name: Annotated[
        str | None, typer.Argument(help="A bundled training set or a .sql file; by default, those the recipe names.")
    ] = None,
    run_id: Annotated[list[str] | None, typer.Option("--run", help="Use these runs; by default, all.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="A parameter of the training set: -p min_similarity=0.5"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the Parquet files; by default, in the lake.")] = None,
    threshold: ThresholdOption = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Build even if this check fails; the set's row records it."),
    ] = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="Leave out prompts that overlap with ifeval, ifbench or a file; NAME.removed keeps them.",
        ),
    ] = None,
    lake: LakeOption = "lake",
) -> None:
    """Build a training set from the newest snapshot, pin the snapshot and write Parquet."""
    from factory.audit.audit import AuditSettings
    from factory.monitor.build import build_and_report
    from stores.lake import Lake

    asked = AuditSettings(thresholds(threshold), tuple(decontaminate or ()))
    with Lake.open(lake) as opened:
        build_and_report(opened, name, assignments(parameter), run_id, out, Console(), asked, allow or ())


def train(
    context: typer.Context,
    objective: Annotated[str, typer.Argument(help=f"{in_words()}.")],
    training_set: Annotated[
        str, typer.Option("--set", help="A training set, such as spar_dpo@1; without a version, the newest.")
    ],
    model: Annotated[
        str, typer.Option(help="What training starts from: embedded:NAME, a folder, a .gguf file or a hub id.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            help=f"{_WITH_REFERENCE}: the reference model, in the same form as --model; by default, the same model."
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="A preset (small-cpu, sppo, ...) or a YAML file; may be repeated: of each key the last wins."
        ),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="online: the reward model's folder, instead of the reward in its settings.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the trained model.")] = None,
    seed: Annotated[int, typer.Option(help="The trainer's seed.")] = 0,
    allow_other_template: Annotated[
        bool,
        typer.Option("--allow-other-template", help="Train even if the answers were made with another chat template."),
    ] = False,
    lake: LakeOption = "lake",
) -> None:
    """Train on a pinned training set, in a separate process.

    Repeated after a kill, it continues from its checkpoint. Exit code 3: it diverged, and leaves no model.
    """
    import subprocess

    from factory.loops.training import Training, command_of, weights_of

    if objective not in OBJECTIVES:
        raise FactoryError(f"there is no objective {objective!r}: give {in_words()}")
    if reference is not None and not OBJECTIVES[objective].reference:
        raise FactoryError(
            f"--reference is for {_WITH_REFERENCE}: {objective} compares with no other model; leave it out"
        )
    if reward is not None and OBJECTIVES[objective].format != "prompt":
        raise FactoryError(f"--reward is for online: {objective} pays for no answers; leave it out")
    asked = Training(
        objective,
        training_set,
        weights_of(model),
        None if reference is None else weights_of(reference),
        output,
        seed,
        tuple(config or ()),
        None if reward is None else Path(weights_of(reward).path),
        allow_other_template,
    )
    command = command_of(lake, asked, None)
    command += ["--debug"] if context.find_root().params["debug"] else []
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def compact(lake: LakeOption = "lake") -> None:
    """Merge small files; no row changes."""
    from stores.checksums import keep_checksums
    from stores.lake import Lake
    from stores.maintenance import compact as compact_lake

    with Lake.open(lake) as opened:
        compact_lake(opened)
        keep_checksums(opened)


def expire(
    older_than_days: Annotated[float, typer.Option(min=0, help="Expire snapshots older than this many days.")],
    lake: LakeOption = "lake",
) -> None:
    """Delete old snapshots, but never one that a training set pins."""
    from stores.checksums import keep_checksums
    from stores.lake import Lake
    from stores.maintenance import expire as expire_snapshots

    with Lake.open(lake) as opened:
        expired = expire_snapshots(opened, datetime.now(UTC) - timedelta(days=older_than_days))
        keep_checksums(opened)
    Console().print(f"{len(expired)} snapshots expired")


def migrate(lake: LakeOption = "lake") -> None:
    """Migrate a lake from an earlier version; its old catalog is kept until the result is verified."""
    from stores.migrate import migrate as migrate_lake

    console = Console()
    migrate_lake(lake, lambda words: console.print(words, soft_wrap=True))


def verify(
    where: Annotated[str | None, typer.Argument(metavar="WHERE", help="The lake; the same as --lake.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check only the files and the catalog.")] = False,
    lake: LakeOption = "lake",
) -> None:
    """Check a whole lake, and name what is wrong, with its table and file, and what depends on it.

    Files must be as they were written (checksums), every id the hash of what it stands for, trees well formed; pairs must
    lead back to their prompts, and every pinned training set must read back to its fingerprint.
    """
    from factory.monitor.verify import verify_and_report
    from stores.lake import Lake

    with Lake.open(where or lake) as opened:
        verify_and_report(opened, Console(), quick=quick)
