"""The same run gives the same tables as before the rebuild, except for what was renamed: fingerprints of 14 runs.

`data/results_of_0_1_0.json` holds, for each run of `spar` against the scripted endpoint, the number of rows of every
table and training set and a SHA-256 over them. They were recorded with commit 90ac7ba (schema version 2). Today's
rows are converted to their form then, and the run gets the id it had then, which all other ids hash.

One rule is left out, since it changes which node is accepted: of equal nodes the most like the root, where 0.1.0 took
the first (`tests/test_flawed_answers.py` tests the rule). None of the recorded answers has a flaw.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.recipes.reading import load_recipe
from factory.runs.loop import run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification, run_of
from factory.search import tree_search
from stores.lake import Lake
from stores.training_sets import NoRows, build_training_set
from tests.runs import VOLATILE, answer, spar_overrides
from tests.scripted_endpoint import running_endpoint

RECORDED = json.loads((Path(__file__).parent / "data" / "results_of_0_1_0.json").read_text("utf-8"))
Row = dict[str, Any]


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def old_call(row: Row) -> Row:
    return without(row, "role", "response_ids", "reasonings", "note") | {
        "response_id": next(iter(row["response_ids"]), None)
    }


def old_judgement(row: Row) -> Row:
    names = ("kind", "points", "value", "pass_points", "probabilities", "item_id", "weight")
    return without(row, *names) | {"score": row["points"]}


def old_pair(row: Row) -> Row:
    sources = {"refined_over_failed": "tree", "passing_over_failing": "sampling"}
    return without(row, "pair_id") | {"source": sources[row["source"]]}


AS_THEN: dict[str, Callable[[Row], Row]] = {
    "calls": old_call,
    "responses": lambda row: without(row, "stage", "logprobs", "flaw"),
    "judgements": old_judgement,
    "trees": lambda row: without(row, "stage"),
    "pairs": old_pair,
}


def canonical(rows: Iterable[Row]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in rows)


def digest(rows: Iterable[Row]) -> dict[str, Any]:
    lines = canonical(rows)
    return {"rows": len(lines), "sha256": hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()}


def rows_of(lake: Lake, table: str) -> list[Row]:
    rows = (without(row, *VOLATILE) for row in lake.query(f"SELECT * FROM {table}").to_pylist())
    return [AS_THEN.get(table, lambda row: row)(row) for row in rows]


def training_set_rows(lake: Lake, name: str, run_id: str) -> dict[str, Any] | None:
    try:
        built = build_training_set(lake, name, {}, [run_id])
    except NoRows:
        return None
    sides = (("train", built.train), ("held_out", built.held_out))
    return digest({"split": split, **without(row, "pair_id")} for split, part in sides for row in part.to_pylist())


@pytest.mark.parametrize("recorded", RECORDED["variants"], ids=lambda recorded: recorded["name"])
def test_a_run_gives_the_rows_that_it_gave_before_the_rebuilding(
    tmp_path: Path, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_search, "likeness_to_root", lambda tree, node: 0.0)
    with running_endpoint(answer) as endpoint:
        overrides = spar_overrides(endpoint.url, recorded["limit"]) | recorded["overrides"]
        spec = RunSpecification(load_recipe("spar", overrides), recorded["seed"])
        of_then = replace(run_of(spec), run_id=recorded["run_id"])
        run_recipe(replace(spec, begun=of_then), str(tmp_path / "lake"), Progress())
    with Lake.open(tmp_path / "lake") as lake:
        tables = {table: digest(rows_of(lake, table)) for table in recorded["tables"]}
        assert tables == recorded["tables"]
        sets = {name: training_set_rows(lake, name, recorded["run_id"]) for name in recorded["training_sets"]}
    # Among a prompt's pairs of equal value the smallest pair_id is taken, and pair_id hashes the pairing's name.
    by_new_ids = {"spar_dpo"} if recorded["name"] == "every_root" else set()
    assert without(sets, *by_new_ids) == without(recorded["training_sets"], *by_new_ids)
