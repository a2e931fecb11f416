"""What the tests of runs share: SPaR against the scripted endpoint, and lakes compared row by row."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.mock_endpoint import answer_factory
from factory.monitor.telemetry import exporting
from factory.recipes.reading import load_recipe
from factory.runs.loop import Execution, run_recipe
from factory.runs.progress import Progress
from factory.runs.specification import RunSpecification
from schemas.tables import TABLES
from stores.lake import Lake
from stores.sql import sql
from tests.scripted_endpoint import Request

# What may differ between two identical runs: when, how long, how often, from where.
VOLATILE = {"latency_s", "started_at", "retries", "from_journal", "endpoint", "origin"}

PRICES = {f"models__{role}__{kind}_price": 2.0 for role in ("actor", "refiner") for kind in ("prompt", "completion")}


def answer(request: Request) -> Any:
    """The default script with a harsh judge, so that most prompts get a tree."""
    return answer_factory(request, yes_rate=0.35, words=12)


def spar_overrides(url: str, prompts: int, **changes: Any) -> dict[str, Any]:
    fixed = {
        "models.actor.endpoint": url,
        "models.refiner.endpoint": url,
        "prompts.limit": prompts,
    }
    return fixed | {key.replace("__", "."): value for key, value in changes.items()}


def spar_specification(url: str, prompts: int = 6, seed: int = 0, **changes: Any) -> RunSpecification:
    return RunSpecification(load_recipe("spar", spar_overrides(url, prompts, **changes)), seed)


def run_spar(lake: Path, url: str, prompts: int = 6, seed: int = 0, **changes: Any) -> tuple[str, Progress]:
    progress = Progress()
    spec = spar_specification(url, prompts, seed, **changes)
    return run_recipe(spec, str(lake), progress, Execution(observe=exporting)), progress


def start_command(lake: Path, url: str, prompts: int, **changes: Any) -> subprocess.Popen[str]:
    """`factory run spar` in its own process."""
    words = [f"{key}={value}" for key, value in spar_overrides(url, prompts, **changes).items()]
    overrides = [word for pair in words for word in ("-o", pair)]
    return subprocess.Popen(
        [sys.executable, "-m", "factory.cli.main", "run", "spar", "--lake", str(lake), *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def tables(lake: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Every table but `runs`, without what may differ, ordered by id."""
    found = {}
    with Lake.open(lake) as opened:
        for name in TABLES:
            if name != "runs":
                rows = opened.query(f"SELECT * FROM {name} ORDER BY 1").to_pylist()
                found[name] = [{key: row[key] for key in row.keys() - VOLATILE} for row in rows]
    return found


def assert_same_tables(one: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]) -> None:
    for name, rows in one.items():
        ids = [next(iter(row.values())) for row in rows]
        assert len(rows) == len(other[name]), f"{name}: {len(rows)} rows, {len(other[name])}"
        assert rows == other[name], name
        assert len(ids) == len(rows)


def assert_sound(lake: Path | str) -> None:
    """Ids are the hashes of what they stand for, rows that are named are there, and every call's messages can be rendered."""
    with Lake.open(lake) as opened:
        for name in ("ids", "references", "repeated"):
            assert opened.query(sql(f"verify/{name}")).to_pylist() == [], name
        wrong = "SELECT call_id, messages FROM call_messages WHERE sha256(to_json(messages)::VARCHAR) <> messages_hash"
        assert opened.query(wrong).to_pylist() == []


def assert_ids_unique(lake: Path | str) -> None:
    with Lake.open(lake) as opened:
        for name, table in TABLES.items():
            key = next(iter(table.__dataclass_fields__))
            counts = opened.query(f"SELECT count(*) AS rows, count(DISTINCT {key}) AS ids FROM {name}").to_pylist()[0]
            assert counts["rows"] == counts["ids"], name
