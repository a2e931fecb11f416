"""Commands that publish to the Hugging Face Hub, and fetch from it."""

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.options import LakeOption
from schemas.errors import FactoryError

RepoArgument = Annotated[str, typer.Argument(metavar="USER/REPO", help="A repository on the Hub.")]
PrivateOption = Annotated[bool, typer.Option("--private", help="If the repository is new, make it private.")]
RevisionOption = Annotated[str | None, typer.Option(help="A branch instead of the main one.")]
DryRunOption = Annotated[
    Path | None,
    typer.Option(
        "--dry-run", metavar="OUT", help="Write card and files to this folder, show the card, upload nothing."
    ),
]
ModelLicenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model-licence", metavar="MODEL=LICENCE", help="The licence of a model that is not known by its name."
    ),
]


def publish(
    name: Annotated[str, typer.Argument(metavar="SET", help="A training set, such as spar_dpo@1.")],
    repo: RepoArgument,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    dry_run: DryRunOption = None,
    with_lineage: Annotated[
        bool,
        typer.Option(
            "--with-lineage", help="Also publish the prompts, answers, trees, judgements and calls behind it."
        ),
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Publish even if this check fails; the card says so.")
    ] = None,
    note: Annotated[
        str | None, typer.Option(help="What changed and why; needed if a version is already published.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Evaluation sets to look for: ifeval, ifbench or a file; by default, the cached ones."
        ),
    ] = None,
    model_licence: ModelLicenceOption = None,
    lake: LakeOption = "lake",
) -> None:
    """Publish a training set on the Hugging Face Hub, with a card made from its rows.

    Refused if the audit fails, a licence is unknown, or a reviewer rejects rows. Needs HF_TOKEN or `hf auth login`.
    """
    from factory.audit.checks import default_thresholds, stricter
    from factory.monitor.audit import telling
    from factory.publishing.hub import Place
    from factory.publishing.publish import Asked, lock_name, publish
    from factory.publishing.report import print_published
    from factory.reruns.lock import lock_of
    from factory.reruns.lock_file import lock_text
    from factory.runs.audit_settings import settings_of_set
    from stores.lake import Lake
    from stores.training_sets import find_training_set

    place = Place(repo, "dataset", revision)

    def locked(lake: Lake, reference: str) -> str:
        return lock_text(lock_of(lake, reference), lock_name(reference))

    with Lake.open(lake) as opened, telling("publishing") as tell:
        theirs = settings_of_set(opened, find_training_set(opened, name)).thresholds
        usual = {check: value for check, value in default_thresholds().items() if check in theirs}
        asked = Asked(
            place=place,
            private=private,
            lineage=with_lineage,
            allowed=tuple(allow or ()),
            note=note,
            against=None if against is None else tuple(against),
            thresholds=stricter(usual, theirs),
            model_licences=licences(model_licence),
        )
        done = publish(opened, name, asked, tell, out=dry_run, lock=locked)
    print_published(done, place, dry_run)


def pull(
    repo: RepoArgument,
    revision: Annotated[str | None, typer.Option(help="A branch, a commit, or a version's tag, such as v1.")] = None,
    lake: LakeOption = "lake",
) -> None:
    """Make a lake from a published training set, for `factory view`, `sql`, `tree`, `verify` and `train` to open.

    Everything fetched is checked, down to the set's fingerprint; nothing in it runs.
    """
    from factory.monitor.audit import telling
    from factory.publishing.hub import Place
    from factory.publishing.pull import pull
    from factory.publishing.report import print_pulled

    with telling("pulling") as tell:
        pulled = pull(Place(repo, "dataset", revision), lake, tell)
    print_pulled(pulled, repo, lake)


def publish_model(
    training_run: Annotated[str, typer.Argument(metavar="TRAINING_RUN", help="Its id, or the model folder's name.")],
    repo: RepoArgument,
    private: PrivateOption = False,
    revision: RevisionOption = None,
    weights: Annotated[
        Path | None, typer.Option(help="The model's folder; by default, models/NAME here or in the lake.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="USER/REPO", help="Where its training set is published.")
    ] = None,
    dry_run: DryRunOption = None,
    with_lineage: Annotated[
        bool,
        typer.Option("--with-lineage", help="Of an online training, also publish each answer and its reward."),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="licences, model_licences: publish even if one is unknown; secrets, personal_data: even if the lineage has any.",
        ),
    ] = None,
    model_licence: ModelLicenceOption = None,
    lake: LakeOption = "lake",
) -> None:
    """Publish a trained model on the Hugging Face Hub: safetensors and a card with its data, settings and evaluations."""
    from factory.monitor.audit import telling
    from factory.publishing.hub import Place
    from factory.publishing.model import AskedModel, publish_model
    from factory.publishing.report import print_model
    from stores.lake import Lake

    place = Place(repo, "model", revision)
    asked = AskedModel(place, private, dataset, tuple(allow or ()), licences(model_licence), with_lineage)
    with Lake.open(lake) as opened, telling("publishing") as tell:
        done = publish_model(opened, training_run, weights, asked, tell, out=dry_run)
    print_model(done, place, dry_run)


def licences(given: list[str] | None) -> dict[str, str]:
    """Parses `MODEL=LICENCE` words; a model's name may hold `=`."""
    found = {}
    for word in given or []:
        name, equals, licence = word.rpartition("=")
        if not equals or not name or not licence:
            raise FactoryError(f"--model-licence {word!r} must be MODEL=LICENCE, as in my-model=Apache-2.0")
        found[name] = licence
    return found
