"""Lock files from a lake: `lock_of` is what `factory lock` calls and, for the folder of a publication, `factory publish`."""

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from factory.reruns.finding import find_training_run
from factory.reruns.lock_file import Lock, LockedModel, LockedRun, LockedSet, LockedTraining
from schemas.errors import FactoryError
from schemas.objectives import OBJECTIVES
from schemas.tables import Model, Run, TrainingRun, TrainingSet
from stores.faults import verify
from stores.lake import Lake
from stores.training_sets import find_training_set, pinned_rows

READING = ("preference-factory", "duckdb", "duckdb-extension-ducklake", "pyarrow", "polars")
"""packages that read a set's rows"""


def lock_of(lake: Lake, name: str) -> Lock:
    """The lock of a training set (NAME or NAME@VERSION), or of a model (its name, its folder's, or its training's id).

    Raises:
        FactoryError: there is neither, or the set's rows do not match its fingerprint.
    """
    sets = set(lake.query("SELECT name FROM training_sets").column(0).to_pylist())
    if name.partition("@")[0] in sets:
        return lock_of_set(lake, find_training_set(lake, name))
    return lock_of_training(lake, find_training_run(lake, name))


def lock_of_set(lake: Lake, row: TrainingSet, training: LockedTraining | None = None) -> Lock:
    """
    Raises:
        FactoryError: the set's rows do not match its fingerprint.
    """
    locked = locked_set(lake, row, pinned_rows(lake, row))
    run_ids = [str(run) for run in locked.parameters.get("run_ids", [])]
    runs = lake.read(
        Run,
        "run_event_id IN (SELECT run_event_id FROM current_runs WHERE list_contains($ids, run_id))",
        {"ids": run_ids},
    )
    models = lake.read(
        Model, "model_id IN (SELECT model_id FROM calls WHERE list_contains($ids, run_id))", {"ids": run_ids}
    )
    packages = versions(READING) if training is None else training.package_versions
    return Lock(
        format=1,
        made_by=f"preference-factory {version('preference-factory')}",
        packages=packages,
        container=container(packages, trains=training is not None),
        training_set=locked,
        training=training,
        models=[_locked_model(model) for model in models],
        runs=[_locked_run(run, lake) for run in runs],
    )


def lock_of_training(lake: Lake, run: TrainingRun) -> Lock:
    """
    Raises:
        FactoryError: its set is gone, or the set's rows do not match its fingerprint.
    """
    return lock_of_set(lake, set_of(lake, run), locked_training(lake, run))


def set_of(lake: Lake, run: TrainingRun) -> TrainingSet:
    """The row of the set that was trained on."""
    found = lake.read(TrainingSet, "training_set_id = $id", {"id": run.training_set_id})
    if not found:
        raise FactoryError(
            f"training {run.training_run_id} names a training set that lake {lake.place.where} does not have: see "
            f"{verify(lake.place.where)}"
        )
    return found[0]


def locked_training(lake: Lake, run: TrainingRun) -> LockedTraining:
    """What decides a training, of its row and its models' rows."""
    models = {
        model.model_id: _locked_model(model)
        for model in lake.read(
            Model, "list_contains($ids, model_id)", {"ids": [run.start_model_id, run.reference_model_id]}
        )
    }
    other = run.reference_model_id if run.reference_model_id != run.start_model_id else None
    if run.objective not in OBJECTIVES:
        raise FactoryError(
            f"training {run.training_run_id} has an objective {run.objective[:40]!r} that no trainer has"
        )
    plain = {
        name: getattr(run, name)
        for name in LockedTraining.__struct_fields__
        if name not in ("start", "reference", "configuration")
    }
    return LockedTraining(
        **plain,
        start=models.get(run.start_model_id or ""),
        reference=models.get(other or ""),
        configuration=_plain(run.configuration, f"training {run.training_run_id}", lake),
    )


def versions(names: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def container(packages: Mapping[str, str], *, trains: bool) -> str:
    """A command that starts a shell with the same packages, where the project, which no index has, lies beside the file."""
    python = ".".join(packages.get("python", platform.python_version()).split(".")[:2])
    ours = f"'./preference-factory{'[train]' if trains else ''}'"
    pinned = [f"{name}=={number}" for name, number in packages.items() if name not in ("python", "preference-factory")]
    install = f"pip install {' '.join(pinned)} {ours} && bash"
    clone = f"a clone of preference-factory, version {version('preference-factory')}, in this folder"
    return f'docker run --rm -it -v $PWD:/work -w /work python:{python}-slim bash -c "{install}"  # with {clone}'


def locked_set(lake: Lake, row: TrainingSet, rows: pa.Table) -> LockedSet:
    """
    Args:
        rows: all of the set, in order, with the column `split`.
    Raises:
        FactoryError: the row cannot be read.
    """
    parameters = _plain(row.parameters, f"training set {row.name}@{row.version}", lake)
    plain = {
        name: getattr(row, name)
        for name in LockedSet.__struct_fields__
        if name not in ("columns", "stretches", "parameters")
    }
    return LockedSet(
        **plain, columns=rows.column_names, stretches=stretches_of(rows.column("split")), parameters=parameters
    )


def stretches_of(split: pa.ChunkedArray) -> list[int]:
    """Lengths of the stretches of one split: of train first (perhaps 0), then held out, and so on by turns."""
    lengths = [0]
    for value in split.to_pylist():
        if (value == "train") == (len(lengths) % 2 == 1):
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def _locked_run(run: Run, lake: Lake) -> LockedRun:
    what = f"run {run.run_id}"
    plain = {name: getattr(run, name) for name in LockedRun.__struct_fields__ if name not in ("parameters", "recipe")}
    return LockedRun(**plain, parameters=_plain(run.parameters, what, lake), recipe=_plain(run.recipe, what, lake))


def _locked_model(model: Model) -> LockedModel:
    return LockedModel(**{name: getattr(model, name) for name in LockedModel.__struct_fields__})


def _plain(text: str, what: str, lake: Lake) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FactoryError(f"{what} has a row whose JSON cannot be read: see {verify(lake.place.where)}")
    return found
