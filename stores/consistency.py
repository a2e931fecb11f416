"""Whether a lake's rows agree with one another: ids, trees, pairs, references, pinned sets; and what depends on those that
do not.

The ids of runs and evaluations, which hash settings without their defaults, are derived where they are made.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from schemas.errors import FactoryError
from schemas.ids import content_id, prompt_id
from schemas.tables import Prompt, Rerun, Response, TrainingRun, TrainingSet
from stores.checksums import DataFile
from stores.lake import Lake
from stores.sql import sql
from stores.training_sets import read_training_set

QUERIES = {"ids": "ids", "repeated": "repeated ids", "trees": "trees", "pairs": "pairs", "references": "references"}
"""by the name of the query in stores/sql/verify/: what it looks at"""
_AT_ONCE = 10_000
UNREADABLE = (FactoryError, duckdb.Error, pa.ArrowException, UnicodeDecodeError)
"""how rows of a damaged file fail"""
_OTHER_ID = "its id is not the hash of what it stands for"

_EDITED = """
SELECT r.response_id, r.run_id, p.chosen_response_id, r.text
FROM responses AS r JOIN reviews AS v ON v.edited_response_id = r.response_id JOIN pairs AS p ON p.pair_id = v.pair_id
WHERE kind = 'edited' AND list_contains($ids, r.response_id)
"""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with rows of a table."""

    table: str
    fault: str
    """as in: names a call that is not there"""
    ids: tuple[str, ...]
    """empty: they could not be compared, as a file is damaged"""

    def in_words(self) -> str:
        """As in: 2 rows of responses: names a call that is not there; the first is 8c7b…"""
        if not self.ids:
            return f"{self.table}: {self.fault}"
        if len(self.ids) == 1:
            return f"{self.table} {self.ids[0]} {self.fault}"
        return f"{len(self.ids):,} rows of {self.table}: each {self.fault}; the first is {min(self.ids)}"


@dataclass(frozen=True, slots=True)
class Dependent:
    """A training set in which a fault may show, and what was made of it."""

    name: str
    trainings: tuple[str, ...]
    models: tuple[str, ...]

    def in_words(self) -> str:
        made = [f"training {each}" for each in self.trainings] + [f"model {each}" for each in self.models]
        return f"training set {self.name}{', ' if made else ''}{', '.join(made)}"


def check_rows(lake: Lake, tell: Tell) -> list[Fault]:
    """Compares the rows of the newest snapshot with one another.

    Args:
        tell: receives what is looked at.
    """
    found: list[Fault] = []
    with lake.one_snapshot():
        for name, what in QUERIES.items():
            tell(what)
            try:
                rows = lake.query(sql(f"verify/{name}"))
                found += _grouped(_without_harmless(lake, rows) if name == "ids" else rows)
            except UNREADABLE as error:
                found.append(Fault(what, f"cannot be compared ({' '.join(str(error).split())})", ()))
        tell("ids of trainings")
        try:
            found += _ids_of_trainings(lake)
        except UNREADABLE as error:
            found.append(Fault("trainings", f"cannot be compared ({' '.join(str(error).split())})", ()))
    return found


def other_ids(table: str, own: Mapping[str, bool]) -> list[Fault]:
    """
    Args:
        own: the rows' ids, and whether each row has the ids that its content gives.
    """
    wrong = tuple(id for id, right in own.items() if not right)
    return [Fault(table, _OTHER_ID, wrong)] if wrong else []


def check_sets(lake: Lake, tell: Tell) -> list[Fault]:
    """Reads every pinned training set again."""
    found = []
    for row in lake.read(TrainingSet):
        name = f"{row.name}@{row.version}"
        tell(f"training set {name}")
        try:
            read = read_training_set(lake, name)
        except UNREADABLE as error:
            said = " ".join(str(error).split()).removeprefix(f"training set {name} ")
            found.append(
                Fault("training_sets", f"{name} cannot be read as it was built: {said}", (row.training_set_id,))
            )
            continue
        counts = (read.train.num_rows, read.held_out.num_rows)
        if counts != (row.train_rows, row.held_out_rows):
            fault = f"{name} counts other rows than it has ({counts[0]:,} to train on, {counts[1]:,} held out)"
            found.append(Fault("training_sets", fault, (row.training_set_id,)))
    return found


def dependents(lake: Lake, faults: Iterable[Fault], files: Iterable[DataFile]) -> list[Dependent]:
    """The sets that were built of rows with a fault, or at a snapshot that needs a damaged file, and what was made of them.

    Raises:
        FactoryError, duckdb.Error: the rows that would tell cannot be read.
    """
    runs: set[str] = set()
    sets: set[str] = set()
    for fault in faults:
        sets |= set(_sets_of(lake, fault))
        runs |= set(_runs_of(lake, fault))
    for row in lake.read(TrainingSet):
        at = row.snapshot
        needs = any(f.begin_snapshot <= at and (f.end_snapshot is None or at < f.end_snapshot) for f in files)
        if needs or not runs.isdisjoint(_runs_in(row)):
            sets.add(row.training_set_id)
    rows = lake.query(sql("verify/dependents"), {"sets": sorted(sets)}).to_pylist()
    named: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for each in rows:
        trainings, models = named.setdefault(each["set_name"], ({}, {}))
        trainings |= {each["training_run_id"]: None} if each["training_run_id"] else {}
        models |= {each["model_name"]: None} if each["model_name"] else {}
    return [Dependent(name, tuple(trainings), tuple(models)) for name, (trainings, models) in named.items()]


def _runs_in(row: TrainingSet) -> list[str]:
    try:
        runs = json.loads(row.parameters).get("run_ids")
    except (ValueError, AttributeError, RecursionError):
        return []
    return [run for run in runs if isinstance(run, str)] if isinstance(runs, list) else []


def _sets_of(lake: Lake, fault: Fault) -> list[str]:
    """The sets whose own row, training or model has a fault."""
    of_training = "SELECT DISTINCT training_set_id FROM training_runs WHERE list_contains($ids, training_run_id)"
    texts = {
        "training_runs": of_training,
        "models": f"{of_training.partition('WHERE')[0]} JOIN models USING (training_run_id) WHERE list_contains($ids, model_id)",
    }
    if fault.table == "training_sets":
        return list(fault.ids)
    if fault.table not in texts:
        return []
    sets: list[str] = lake.query(f"{texts[fault.table]} ORDER BY 1", {"ids": list(fault.ids)}).column(0).to_pylist()
    return sets


def _runs_of(lake: Lake, fault: Fault) -> list[str]:
    """The runs whose rows have a fault."""
    of_run = {
        "prompts": "SELECT DISTINCT run_id FROM run_prompts WHERE list_contains($ids, prompt_id)",
        "models": "SELECT DISTINCT run_id FROM calls WHERE list_contains($ids, model_id)",
        "runs": "SELECT DISTINCT run_id FROM runs WHERE list_contains($ids, run_event_id)",
    }
    keys = {
        "run_prompts": "run_prompt_id", "calls": "call_id", "responses": "response_id", "judgements": "judgement_id",
        "comparisons": "comparison_id", "trees": "tree_id", "nodes": "node_id", "pairs": "pair_id", "checks": "check_id",
        "claims": "claim_id", "checklist_items": "item_id", "meta_judgements": "meta_judgement_id",
    }  # fmt: skip
    if fault.table in keys:
        text = f"SELECT DISTINCT run_id FROM {fault.table} WHERE list_contains($ids, {keys[fault.table]})"
    elif fault.table in of_run:
        text = of_run[fault.table]
    else:
        return []
    runs: list[str] = lake.query(f"{text} ORDER BY 1", {"ids": list(fault.ids[:_AT_ONCE])}).column(0).to_pylist()
    return runs


def _grouped(rows: pa.Table) -> Iterator[Fault]:
    found: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows.to_pylist():
        found.setdefault((row["table_name"], row["fault"]), {})[row["id"]] = None
    for (table, fault), ids in sorted(found.items()):
        yield Fault(table, fault, tuple(ids))


def _without_harmless(lake: Lake, rows: pa.Table) -> pa.Table:
    """Without the rows whose id is right by Python's JSON: DuckDB writes control characters otherwise."""
    right: set[str] = set()
    for start in range(0, rows.num_rows, _AT_ONCE):
        ids = rows.column("id").slice(start, _AT_ONCE).to_pylist()
        whole = "messages IS NOT NULL AND constraints IS NOT NULL"
        for prompt in lake.read(Prompt, f"{whole} AND list_contains($ids, prompt_id)", {"ids": ids}):
            asked = (prompt.messages, prompt.constraints, prompt.reference, prompt.evolved_from)
            right |= {prompt.prompt_id} if prompt_id(*asked) == prompt.prompt_id else set()
        for r in lake.read(Response, "kind = 'imported' AND list_contains($ids, response_id)", {"ids": ids}):
            own = content_id("response", r.run_id, "imported", r.prompt_id, r.model_id, r.text)
            right |= {r.response_id} if own == r.response_id else set()
        for id, run_id, *edited in lake.connection.execute(_EDITED, {"ids": ids}).fetchall():
            right |= {id} if content_id("response", run_id, "edited", *edited) == id else set()
    return rows.filter(pa.array([id not in right for id in rows.column("id").to_pylist()], pa.bool_()))


def _ids_of_trainings(lake: Lake) -> list[Fault]:
    trainings = {
        run.training_run_id: run.training_run_id
        == content_id(
            "training run",
            run.training_set_id,
            run.base_weights_sha256,
            run.configuration,
            run.seed,
            run.started_at.isoformat(),
        )
        for run in lake.read(TrainingRun, "started_at IS NOT NULL")
    }
    reruns = {
        row.rerun_id: row.rerun_id == content_id("rerun", row.training_run_id, row.run_id, row.started_at.isoformat())
        for row in lake.read(Rerun, "started_at IS NOT NULL")
    }
    return other_ids("training_runs", trainings) + other_ids("reruns", reruns)
