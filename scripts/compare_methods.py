"""Compares methods on the same prompts: data made, one epoch of training each, and one Markdown table of what it took.

    python -m scripts.compare_methods                                         # every recipe that trains, in ./methods
    python -m scripts.compare_methods --recipes spin,sppo,spar --prompts 24 --max-tokens 128
    python -m scripts.compare_methods --model http://localhost:8000/v1 --no-train
    python -m scripts.compare_methods --settings scripts/embedded.yaml        # a small model on two cores
    python -m scripts.compare_methods -o delta.models.stronger.endpoint=http://localhost:8000/v1
    python -m scripts.compare_methods --page docs/methods.md                  # also writes the table into the page

The prompts are bundled ones. Each gets a reference answer, which SPIN needs: the best of eight by the verifier, or give
--source FILE with prompts that have some. Where people must compare (pairing `two_answers`), preferences are imported
instead: the verifier's best of those eight over its worst, or give --preferences FILE. All recipes share a lake and its
journal: answers that two methods ask for in the same way are paid for once, and counted for both. Started again, it goes
on where it was stopped.

Each figure is read from rows, but peak memory, which is that of the trainer's process. A method that fails has its reason in
place of its figures.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from factory.cli.options import assignments
from factory.evaluation.intervals import mean
from factory.importing.importer import Options, import_files
from factory.loops.rewards import judge_settings
from factory.loops.training import DIVERGED, Training, command_of, weights_of
from factory.monitor.display import watch
from factory.prompts.settings import PromptSettings
from factory.publishing.beside import file_name
from factory.recipes.reading import RECIPES, load_recipe
from factory.recipes.recipe import Recipe
from factory.recipes.training import RoleTraining
from factory.runs.loop import run_on
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.errors import FactoryError
from schemas.ids import online_run_id
from schemas.objectives import TRAINER
from schemas.streams import visible
from schemas.tables import TrainingRun
from scripts.methods_table import put_in_page, table
from stores.lake import Lake
from stores.parameters import defaults
from stores.training_sets import build_training_set, training_set_sql

REFERENCES = "best_of_n_sft"
"""the recipe whose best answers become references"""
BY_PEOPLE = "two_answers"
"""the pairing whose pairs people must compare"""

_MADE = """
SELECT (SELECT count(*) FROM run_prompts WHERE run_id = $run AND NOT evolved) AS prompts,
  (SELECT count(*) FROM responses WHERE run_id = $run AND kind = 'sampled') AS answers,
  (SELECT count(*) FROM responses WHERE run_id = $run AND kind = 'reference') AS "references",
  (SELECT count(*) FROM responses WHERE run_id = $run AND kind = 'imported') AS "imported answers",
  (SELECT count(*) FROM judgements WHERE run_id = $run) AS judgements,
  (SELECT count(*) FROM comparisons WHERE run_id = $run) AS comparisons,
  (SELECT count(*) FROM nodes AS n JOIN trees AS t USING (tree_id) WHERE t.run_id = $run AND parent_node_id IS NOT NULL)
    AS refinements,
  (SELECT count(*) FROM claims WHERE run_id = $run) AS claims,
  (SELECT count(*) FROM checklist_items WHERE run_id = $run) AS "checklist items",
  (SELECT count(*) FROM meta_judgements WHERE run_id = $run) AS "comparisons of judgements",
  (SELECT count(*) FROM pairs WHERE run_id = $run) AS pairs,
  (SELECT count(DISTINCT prompt_id) FROM pairs WHERE run_id = $run) AS "prompts with a pair"
"""
_PAID = """
SELECT count(*) AS requests, if(requests = 0, 0, sum(prompt_tokens))::BIGINT AS read,
  if(requests = 0, 0, sum(completion_tokens))::BIGINT AS written
FROM calls WHERE run_id = $run AND error IS NULL
"""
_REWARDS = """
SELECT avg(reward) AS reward FROM rewards WHERE run_id = $run AND step > 0 GROUP BY step ORDER BY step
"""
_BEST = """
SELECT p.messages[-1].content AS prompt, [c.id for c in p.constraints] AS instruction_id_list,
  [c.kwargs::JSON for c in p.constraints] AS kwargs, r.text AS reference
FROM ranked_answers([$run], NULL, NULL) AS a
JOIN responses AS r USING (response_id)
JOIN prompts AS p ON p.prompt_id = a.prompt_id
JOIN (FROM run_prompts WHERE run_id = $run) AS taken ON taken.prompt_id = a.prompt_id
QUALIFY row_number() OVER (PARTITION BY a.prompt_id ORDER BY a.flaw IS NOT NULL, rank DESC, response_id) = 1
ORDER BY position
"""
_PREFERRED = """
SELECT p.messages[-1].content AS prompt, arg_max(r.text, (rank, r.response_id)) AS chosen,
  arg_min(r.text, (rank, r.response_id)) AS rejected
FROM ranked_answers([$run], NULL, NULL) AS a
JOIN responses AS r USING (response_id)
JOIN prompts AS p ON p.prompt_id = a.prompt_id
GROUP BY ALL
HAVING max(rank) > min(rank)
ORDER BY prompt
"""


def trained_recipes() -> list[str]:
    """The bundled recipes that say how a model is trained, but `demo`, which is a smaller `spar`."""
    return [
        file.stem for file in sorted(RECIPES.glob("*.yaml")) if load_recipe(file.stem).train and file.stem != "demo"
    ]


def names_of(options: argparse.Namespace) -> list[str]:
    """The recipes to compare, by name or file."""
    return options.recipes.split(",") if options.recipes else trained_recipes()


def changes_of(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By recipe, the settings that the user changes.

    Raises:
        FactoryError: the file is none of settings, or a recipe is unknown.
    """
    changes: dict[str, dict[str, Any]] = {}
    if options.settings:
        try:
            changes = yaml.safe_load(options.settings.read_text("utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise FactoryError(f"{options.settings} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(changes, dict) or not all(isinstance(settings, dict) for settings in changes.values()):
        raise FactoryError(f"{options.settings} must be a mapping of recipes, each to a mapping of its settings")
    for key, value in assignments(options.override).items():
        name, _, rest = key.partition(".")
        changes[name] = {**changes.get(name, {}), rest: value}
    known = {file.stem for file in RECIPES.glob("*.yaml")} | {Path(name).stem for name in names_of(options)}
    if unknown := sorted(set(changes) - known):
        raise FactoryError(
            f"settings are given for {', '.join(unknown)}, and there is no such recipe: name one of {', '.join(sorted(known))}"
        )
    return changes


def recipe_for(name: str, options: argparse.Namespace, source: str) -> Recipe:
    """A recipe on the shared prompts, none of whose models writes more than the most tokens."""
    plain = load_recipe(name)
    changes: dict[str, Any] = {"prompts.source": source, "prompts.limit": options.prompts}
    if source == "bundled":
        changes["prompts.language"] = "en"
    for entry in plain.stages:
        most = getattr(entry.settings, "max_tokens", None)
        if most is not None:
            changes[f"stages.{entry.name}.max_tokens"] = min(most, options.max_tokens)
    if options.model:
        changes |= {f"models.{role}.endpoint": options.model for role in plain.models}
    return load_recipe(name, changes | changes_of(options).get(Path(name).stem, {}))


def run(lake: Lake, recipe: Recipe) -> str:
    progress = Progress()
    with watch(progress):
        return run_on(lake, RunSpecification(recipe), progress)


def references(lake: Lake, options: argparse.Namespace) -> str:
    """The run whose answers, eight to a prompt, the verifier has judged."""
    return run(lake, recipe_for(REFERENCES, options, "bundled"))


def prompts_with_references(lake: Lake, options: argparse.Namespace) -> str:
    """A file of the bundled prompts, each with the best of eight answers as its reference; made once."""
    file: Path = options.out / "prompts.jsonl"
    if not file.exists():
        rows = lake.query(_BEST, {"run": references(lake, options)}).to_pylist()
        for row in rows:
            row["kwargs"] = list(map(json.loads, row["kwargs"]))
        write(file, "".join(f"{json.dumps(row)}\n" for row in rows))
    return str(file)


def imported_preferences(lake: Lake, options: argparse.Namespace) -> str:
    """The run of imported preferences, for recipes that learn from people's."""
    file: Path = Path(options.preferences) if options.preferences else options.out / "preferences.jsonl"
    if not file.exists():
        rows = lake.query(_PREFERRED, {"run": references(lake, options)}).to_pylist()
        write(file, "".join(f"{json.dumps(row)}\n" for row in rows))
    [imported] = import_files(
        str(options.out / "lake"), [PromptSettings(source=str(file), limit=options.prompts)], Options(), lambda *_: None
    )
    return imported.run_id


def figures_of_data(lake: Lake, run_id: str, given: int) -> dict[str, Any]:
    (made,) = lake.query(_MADE, {"run": run_id}).to_pylist()
    (paid,) = lake.query(_PAID, {"run": run_id}).to_pylist()
    return {**made, **paid, "run": run_id, "prompts given": given}


def build(lake: Lake, run_id: str, training: RoleTraining) -> tuple[str, dict[str, Any]]:
    """Pins a role's training set, with every row in the training split; returns its reference and its figures."""
    query = training_set_sql(training.set)
    all_rows = {"held_out": 0} if "held_out" in defaults(query) else {}
    built = build_training_set(lake, training.set, {**all_rows, **training.parameters}, [run_id])
    alike = built.train.column("similarity").drop_null().to_pylist() if "similarity" in built.train.column_names else []
    reference = f"{built.row.name}@{built.row.version}"
    trainer = training.trainer or TRAINER[built.row.format]
    likeness = asdict(mean(alike))
    return reference, {"trainer": trainer, "rows": built.train.num_rows, "likeness": likeness}


def train(
    lake: Lake,
    recipe: Recipe,
    run_id: str,
    role: str,
    reference: str,
    trainer: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Trains for one epoch; the figures of the training's row, and the peak memory of its process in bytes."""
    models, training = options.out / "models", recipe.trainings()[role]
    output = models / f"{run_id}-{role}"
    settings: dict[str, Any] = {"epochs": 1}
    reward = None
    if training.reward in recipe.trainings():
        reward = models / f"{run_id}-{training.reward}"
    elif training.reward is not None:
        settings |= {"reward": judge_settings(recipe, training.reward)}
    last = options.out / f"one-epoch-{recipe.name}-{role}.yaml"
    write(last, yaml.safe_dump({trainer: settings}))
    asked = Training(
        trainer,
        reference,
        weights_of(options.start),
        None,
        output,
        0,
        (*training.configs, options.config, str(last)),
        reward,
        training.allow_other_template,
    )
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    process = subprocess.Popen(
        command_of(lake.place.where, asked, None), env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = [line for line in process.stderr if not print(line, end="", file=sys.stderr)]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that it is not waited for again
    if process.returncode not in (0, DIVERGED):
        raise FactoryError(said[-1].removeprefix("error: ").strip() if said else f"exit code {process.returncode}")
    of_set = "training_set_id IN (SELECT training_set_id FROM training_sets WHERE name || '@' || version = $set)"
    mine = f"(output = $output OR status = 'diverged') AND {of_set}"
    rows = lake.read(TrainingRun, mine, {"output": output.name, "set": reference})
    if not rows:
        raise FactoryError("the training has written no row")
    row = max(rows, key=lambda one: one.ended_at)
    online = {"run": online_run_id(row.training_run_id)}
    rewards = lake.query(_REWARDS, online).column("reward").to_pylist()
    (paid,) = lake.query(_PAID, online).to_pylist()
    return {
        "loss": row.loss_curve,
        "reward": rewards,
        "requests": paid["requests"],
        "status": row.status,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def compare(lake: Lake, name: str, options: argparse.Namespace, source: str) -> dict[str, Any]:
    """A method's figures; what is there already is not made again, unless its recipe has changed."""
    file: Path = options.out / "figures" / f"{Path(name).stem}.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {"trainings": {}}
    found.pop("reason", None)
    try:
        recipe = recipe_for(name, options, source)
        for part in (recipe.name, *recipe.trainings()):
            file_name(part)  # of its models' folders, and a cell of the table
        by_people = BY_PEOPLE in (recipe.pairs or ())
        run_id = imported_preferences(lake, options) if by_people else run(lake, recipe)
        if found.get("data", {}).get("run") != run_id:
            found = {"data": figures_of_data(lake, run_id, options.prompts), "trainings": {}}
        for role, training in recipe.trainings().items():
            if role not in found["trainings"] or (options.train and "loss" not in found["trainings"][role]):
                reference, figures = build(lake, run_id, training)
                if options.train:
                    figures |= train(lake, recipe, run_id, role, reference, figures["trainer"], options)
                found["trainings"][role] = figures
                write(file, json.dumps(found, indent=1))
    except FactoryError as error:
        found["reason"] = str(error)
        print(f"{name}: {visible(str(error))}", file=sys.stderr)
    write(file, json.dumps(found, indent=1))
    return found


def write(file: Path, text: str) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, "utf-8")
    part.replace(file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.compare_methods")
    parser.add_argument("--out", type=Path, default=Path("methods"), help="folder of the lake, figures and models")
    parser.add_argument("--recipes", help="names or files, with commas; none: every bundled recipe that trains")
    parser.add_argument("--prompts", type=int, default=24, help="how many")
    parser.add_argument("--max-tokens", type=int, default=128, help="the most that a model writes at once")
    parser.add_argument("--source", help="a file of prompts with references, instead of the bundled ones")
    parser.add_argument("--preferences", help="a file of preferences to import, instead of the verifier's")
    parser.add_argument("--model", help="endpoint of every model, instead of the recipes' own")
    parser.add_argument("--start", default="embedded:smollm2-135m", help="the model that training starts from")
    parser.add_argument("--config", default="small-cpu", help="trainer's preset or file, after the method's own")
    parser.add_argument("--no-train", dest="train", action="store_false", help="data alone")
    parser.add_argument("--page", type=Path, help="a page that the table is also written into")
    parser.add_argument("--settings", type=Path, help="a YAML file: by recipe, its settings")
    parser.add_argument("-o", dest="override", action="append", metavar="RECIPE.KEY=VALUE", help="a recipe's setting")
    options = parser.parse_args(arguments)
    # What a recipe is told is in its run's id.
    asked = {
        name: str(getattr(options, name))
        for name in ("prompts", "max_tokens", "source", "preferences", "model", "start", "config")
    }
    settings = options.out / "settings.json"
    if settings.exists() and json.loads(settings.read_text("utf-8")) != asked:
        raise FactoryError(f"{options.out} was begun with other options ({settings}): give those, or another --out")
    write(settings, json.dumps(asked, indent=1))
    changes_of(options)
    with Lake.open(options.out / "lake", create=True) as lake:
        source = options.source or prompts_with_references(lake, options)
        found = {file_name(Path(name).stem): compare(lake, name, options, source) for name in names_of(options)}
    text = table(found)
    write(options.out / "table.md", text)
    if options.page:
        put_in_page(options.page, text)
    print(text)


if __name__ == "__main__":
    try:
        main()
    except FactoryError as error:
        raise SystemExit(f"error: {visible(str(error))}") from None
