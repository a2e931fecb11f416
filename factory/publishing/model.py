"""Publishes a trained model: its safetensors, tokenizer and settings, and a card made from the training's rows."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from factory.inference.folders import folder_sha256
from factory.publishing.facts import model_licence
from factory.publishing.folder import folder_to_publish, size_of
from factory.publishing.hub import Place, There, check_private, check_token, look, upload
from factory.publishing.licences import Licence, hub_id_of, together
from factory.publishing.lineage import without_addresses
from factory.publishing.manifest import MANIFEST, read_manifest
from factory.publishing.paid import paid, paid_lineage, write_lineage
from factory.publishing.rendering import render
from schemas.errors import FactoryError, nearest
from schemas.objectives import objective_of
from schemas.tables import Model, TrainingRun, TrainingSet
from stores.lake import Lake
from stores.sql import sql

MARK = "training_run.json"
"""By it, a repository is known to be one of these."""
_TAKEN = (".safetensors", ".safetensors.index.json")
_NAMED = frozenset(
    {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
        "chat_template.jinja", "adapter_config.json",
    }
)  # fmt: skip
"""Files of a model that hold no code: no pickle, no program, no checkpoint is ever published."""
_CHECKS = ("licences", "model_licences", "secrets", "personal_data")
"""what may refuse a model, and be allowed"""
_FROM_WHERE = ("_name_or_path", "name_or_path", "base_model_name_or_path")
_SETTINGS_BYTES = 1 << 20
"""A larger JSON file is a tokenizer or an index, and names no path."""
_UNSET: tuple[object, ...] = (None, "", [], {})
"""values of a setting that says nothing"""
_LABELS = {
    "margin": "log p(chosen) - log p(rejected), nats",
    "accuracy": "share of pairs whose chosen answer is the likelier one",
    "reward_accuracy": "share of pairs whose margin grew",
    "chosen_log_prob": "log p per token of chosen answers, nats",
    "loss": "loss, nats per token",
    "reward_margin": "reward of the chosen answer less that of the rejected one",
    "preferred": "share of pairs whose chosen answer has the higher reward",
    "preference_loss": "-log p of the preferences, nats",
    "reward": "mean reward of an answer to a held-out prompt",
}
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AskedModel:
    """What a model's publisher asks for."""

    place: Place
    private: bool = False
    dataset: str | None = None
    """where its training set is published"""
    allowed: tuple[str, ...] = ()
    model_licences: Mapping[str, str] | None = None
    lineage: bool = False
    """whether to publish what an online training answered and paid, too"""


@dataclass(frozen=True, slots=True)
class DoneModel:
    """A model's publication."""

    name: str
    card: str
    files: int
    size_bytes: int
    kept_back: list[str]
    """files of its folder that are not published"""
    commit: str | None


def publish_model(
    lake: Lake, name: str, weights: Path | None, asked: AskedModel, tell: Tell, *, out: Path | None = None
) -> DoneModel:
    """Publishes the model of a training, or writes what would be published.

    Args:
        name: the training's id or a prefix of it, or the last name of the model's folder.
        weights: the folder; None: models/NAME here or in the lake, or NAME here.
    Raises:
        FactoryError: no such training or folder, other weights than it made, an unknown licence, or a fault of the Hub.
    """
    for one in asked.allowed:
        if one not in _CHECKS:
            raise FactoryError(f"--allow: there is no check {one!r} of a model: {nearest(one, _CHECKS)}")
    run = find_training_run(lake, name)
    folder = _folder_of(lake, run, weights)
    there = There(None, {})
    if out is None:
        check_token()
        tell(f"looking at {asked.place.repo}")
        there = look(asked.place, (), marks=(MARK,))
        check_private(asked.place, there, asked.private)
    tell("hashing the weights")
    if folder_sha256(folder) != run.weights_sha256:
        raise FactoryError(
            f"{folder} does not hold the weights of training {run.training_run_id}: their SHA-256 differs"
        )
    row = _set_of(lake, run)
    if asked.dataset is not None:
        _check_dataset(asked.dataset, row)
    lineage = paid_lineage(lake, run, f"{row.name}@{row.version}", asked.allowed) if asked.lineage else {}
    card = model_card(lake, run, row, asked, lineage)
    with folder_to_publish(out, MARK) as made:
        kept = _write(folder, made, card, run)
        if lineage:
            write_lineage(lineage, made)
        files, size = size_of(made)
        commit = None
        if out is None:
            tell(f"uploading {files} files, {size / 1e6:,.1f} MB, to {asked.place.repo}")
            commit = upload(
                asked.place,
                made,
                private=asked.private,
                message=str(run.output),
                tag=None,
                head=there.head,
                tell=tell,
            )
    return DoneModel(str(run.output), card, files, size, kept, commit)


def find_training_run(lake: Lake, name: str) -> TrainingRun:
    """The finished training with this id, prefix of one, or model's name; of several of one name, the newest.

    Raises:
        FactoryError: there is none, several have the prefix, or it diverged.
    """
    found = lake.read(TrainingRun, "starts_with(training_run_id, $n) OR output = $n", {"n": name}) if name else []
    named = [run for run in found if run.output == name]
    if not found or (len(found) > 1 and not named):
        known = [f"{run.training_run_id[:12]} ({run.output})" for run in lake.read(TrainingRun) if run.output]
        fault = "no training" if not found else "more than one training"
        raise FactoryError(f"{fault} in lake {lake.place.where} is {name!r}: it has {', '.join(known[:8]) or 'none'}")
    run = max(named or found, key=lambda run: run.ended_at)
    if run.weights_sha256 is None:
        raise FactoryError(f"training {run.training_run_id} diverged and gave no model ({run.reason})")
    return run


def model_card(
    lake: Lake, run: TrainingRun, row: TrainingSet, asked: AskedModel, lineage: Mapping[str, pa.Table]
) -> str:
    """The model's README.md.

    Args:
        lineage: what is published beside the weights, by table.
    Raises:
        FactoryError: a licence is not known, and that is not allowed.
    """
    model = _trained(lake, run)
    metrics, settings = json.loads(run.metrics), json.loads(without_addresses(run.configuration))
    figures = lake.query(
        sql("publishing/measured"), {"models": [model.model_id] if model else [], "role": None}
    ).to_pylist()
    licence = _licence(lake, run, row, asked, lineage)
    reference = lake.read(Model, "model_id = $id", {"id": run.reference_model_id}) if run.reference_model_id else []
    before, after = metrics.get("before") or {}, metrics.get("after") or {}
    return render(
        "model_card.jinja",
        metadata=yaml.safe_dump(_metadata(run, asked, licence, figures), sort_keys=False, allow_unicode=True),
        run=run,
        row=row,
        reference=f"{row.name}@{row.version}",
        reference_model=reference[0].name if reference else None,
        method=objective_of(run.objective).method,
        dataset=asked.dataset,
        licence=licence,
        code_version=version("preference-factory"),
        seconds=(run.ended_at - run.started_at).total_seconds(),
        first_loss=run.loss_curve[0] if run.loss_curve else None,
        last_loss=run.loss_curve[-1] if run.loss_curve else None,
        warnings=[str(warning).rstrip(".") for warning in metrics.get("warnings", [])],
        compared=[
            {"name": label, "before": before[name], "after": after[name]}
            for name, label in _LABELS.items()
            if name in before and name in after
        ],
        paid=paid(lake, run),
        repo=asked.place.repo,
        lineage={name: rows.num_rows for name, rows in lineage.items()},
        evaluations=figures,
        settings={name: value for name, value in settings.items() if value is not False and value not in _UNSET},
    )


def _metadata(run: TrainingRun, asked: AskedModel, licence: Licence, figures: list[dict[str, Any]]) -> dict[str, Any]:
    """The YAML: `model-index` is where the Hub looks for evaluations."""
    task = objective_of(run.objective).task
    made: dict[str, Any] = {
        **licence.metadata,
        "library_name": "transformers",
        "pipeline_tag": task,
        "tags": ["preference-factory", run.objective, "trl"],
    }
    if (base := hub_id_of(run.base_model)) is not None:
        made["base_model"] = base
    if asked.dataset is not None:
        made["datasets"] = [asked.dataset]
    if figures:
        results = [
            {
                "task": {"type": task},
                "dataset": {"name": one["benchmark"], "type": one["benchmark"], "revision": one["prompts_hash"]},
                "metrics": [{"type": one["metric"], "name": one["metric"], "value": one["value"]}],
            }
            for one in figures
        ]
        made["model-index"] = [{"name": run.output, "results": results}]
    return made


def _licence(
    lake: Lake, run: TrainingRun, row: TrainingSet, asked: AskedModel, lineage: Mapping[str, pa.Table]
) -> Licence:
    given = asked.model_licences or {}
    starts = lake.read(Model, "model_id = $id", {"id": run.start_model_id}) if run.start_model_id else []
    name = starts[0].name if starts else run.base_model.removeprefix("embedded:")
    base = model_licence(lake, name, starts[0].training_run_id if starts else None, given)
    if base is None and "model_licences" not in asked.allowed:
        raise FactoryError(
            f"{run.output} is not published: the licence of {name}, from which it was trained, is not known: name it with "
            f"--model-licence {name}=LICENCE, or publish it as unknown with --allow model_licences"
        )
    judges = [] if "models" not in lineage else lineage["models"].select(["name", "training_run_id"]).to_pylist()
    judged = {one["name"]: model_licence(lake, one["name"], one["training_run_id"], given) for one in judges}
    unknown = next((name for name, licence in judged.items() if licence is None), None)
    if unknown is not None and "model_licences" not in asked.allowed:
        raise FactoryError(
            f"{run.output} is not published: the licence of {unknown}, which judged the answers of its lineage, is not known: "
            f"name it with --model-licence {unknown}=LICENCE, leave --with-lineage out, or publish it as unknown with --allow "
            "model_licences"
        )
    runs = json.loads(row.parameters).get("run_ids") or []
    prompts = lake.query(sql("publishing/prompt_licences"), {"runs": runs}).column(0).to_pylist()
    if None in prompts and "licences" not in asked.allowed:
        raise FactoryError(
            f"{run.output} is not published: the licence of some of its training prompts is not known (table prompts): publish "
            "it as unknown with --allow licences"
        )
    return together([base, *prompts, *judged.values()])


def _trained(lake: Lake, run: TrainingRun) -> Model | None:
    found = lake.read(Model, "training_run_id = $id", {"id": run.training_run_id})
    return found[0] if found else None


def _set_of(lake: Lake, run: TrainingRun) -> TrainingSet:
    found = lake.read(TrainingSet, "training_set_id = $id", {"id": run.training_set_id})
    if not found:
        raise FactoryError(
            f"training {run.training_run_id} names a training set that the lake does not have: see `factory verify`"
        )
    return found[0]


def _folder_of(lake: Lake, run: TrainingRun, weights: Path | None) -> Path:
    """The model's folder: the one given, else where `factory train` and `factory loop` write it."""
    places = [Path("models"), *([lake.place.folder / "models"] if lake.place.folder is not None else []), Path()]
    tried = [weights] if weights is not None else [place / str(run.output) for place in places]
    for folder in tried:
        if folder.is_dir() and any(folder.glob("*.safetensors")):
            return folder
    raise FactoryError(
        f"there is no model in {' or '.join(map(str, tried))}: say where {run.output} is, as in --weights models/{run.output}"
    )


def _check_dataset(repo: str, row: TrainingSet) -> None:
    """Raises:
    FactoryError: what is published there is another set.
    """
    there = look(Place(repo, "dataset"), (MANIFEST,))
    text = there.files.get(MANIFEST)
    found = read_manifest(text, repo).training_set.fingerprint if text is not None else "nothing"
    if found != row.fingerprint:
        raise FactoryError(
            f"--dataset {repo} holds {found[:12]}, and the model was trained on {row.name}@{row.version} with the fingerprint "
            f"{row.fingerprint[:12]}: publish that set first, or name where it is"
        )


def _copy(file: Path, to: Path, base: str) -> None:
    """Copies a file; where a setting says from which path a model was loaded, it names the model instead."""
    if file.suffix != ".json" or file.stat().st_size > _SETTINGS_BYTES:
        shutil.copyfile(file, to)
        return
    try:
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FactoryError(f"{file} is not JSON: copy the model's folder again") from error
    named = [key for key in _FROM_WHERE if isinstance(found, dict) and isinstance(found.get(key), str)]
    if not named:
        shutil.copyfile(file, to)
        return
    to.write_text(json.dumps({**found, **dict.fromkeys(named, base)}, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _write(folder: Path, made: Path, card: str, run: TrainingRun) -> list[str]:
    """Copies what may be published; returns what stays."""
    kept_back = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() or name == "README.md":
            continue
        is_taken = (file.name.endswith(_TAKEN) or file.name in _NAMED) and not file.is_symlink()
        if is_taken and name.count("/") <= 1:
            (made / name).parent.mkdir(exist_ok=True)
            _copy(file, made / name, run.base_model)
        else:
            kept_back.append(name)
    (made / "README.md").write_text(card, "utf-8")
    told = {"training_run_id": run.training_run_id, "weights_sha256": run.weights_sha256}
    (made / MARK).write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return kept_back
