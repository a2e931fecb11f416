"""python -m benchmarks.win_rates --prompts 1000000

Makes a lake in which every two of 5 answers to each prompt were compared in both orders (20 comparisons a prompt), in a
temporary folder, and asks it by SQL, each in a fresh process: `scan` reads the columns of the comparisons that win rates
need, once; `win_rates` is that view; `best_over_worst` is the pairing, with every answer's text. Prints seconds, processor
seconds, the ratio to the scan's seconds, and peak memory. Of the comparisons, 1 in 1,000 cannot be read. `--lake DIR` keeps the lake (about 6 GB, twice that while it is made).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from schemas.columns import columns
from schemas.tables import TABLES, Run
from stores.lake import Lake
from stores.maintenance import compact
from stores.pairing import load_pairing
from tests.rows import row

RUN_ID = "compared"
ANSWERS = 5
PROMPTS_A_COMMIT = 50_000

_MACROS = """
CREATE TEMP MACRO id_of(kind, prompt, i) AS md5(concat_ws('-', kind, prompt, i));
CREATE TEMP MACRO draw(prompt, i) AS (hash(prompt, i) % 1000003)::BIGINT / 1000003;
"""
_ROWS = {
    "responses": f"""
SELECT id_of('answer', prompt, i) AS response_id, id_of('prompt', prompt, 0) AS prompt_id, 'sampled' AS kind,
  repeat(md5(concat_ws('-', prompt, i)) || ' ', 12) AS text, 'sample' AS stage, i AS choice_index
FROM range($first, $after) AS p(prompt), range({ANSWERS}) AS a(i)""",
    "comparisons": f"""
SELECT id_of('comparison', prompt, i * {ANSWERS} + j) AS comparison_id, id_of('prompt', prompt, 0) AS prompt_id,
  'compare' AS stage, id_of('answer', prompt, i) AS first_response_id, id_of('answer', prompt, j) AS second_response_id,
  CASE WHEN draw(prompt, 100 + i * {ANSWERS} + j) > 0.001 THEN 1 / (1 + exp(draw(prompt, j) - draw(prompt, i))) END AS probability
FROM range($first, $after) AS p(prompt), range({ANSWERS}) AS a(i), range({ANSWERS}) AS b(j)
WHERE i <> j""",
}
_ASKED = {
    "scan": "SELECT count(first_response_id), count(second_response_id), count(prompt_id), count(stage), sum(probability) "
    "FROM comparisons WHERE run_id = $run_id",
    "win_rates": "SELECT count(*), sum(win_rate) FROM win_rates WHERE run_id = $run_id",
    "best_over_worst": "",
}


def make_lake(folder: Path, prompts: int) -> None:
    """A finished run's answers and comparisons, committed in slices."""
    with Lake.open(folder, create=True) as lake:
        lake.append([row(Run, "run", run_id=RUN_ID, status="finished", purpose="data")], message="the run")
        lake.connection.execute(_MACROS)
        for first in range(0, prompts, PROMPTS_A_COMMIT):
            lake.connection.execute("BEGIN")
            for table, rows in _ROWS.items():
                lake.connection.execute(
                    f"INSERT INTO lake.{table} BY NAME SELECT *, {_filler(table)} FROM ({rows})",
                    {"first": first, "after": min(first + PROMPTS_A_COMMIT, prompts)},
                )
            lake.connection.execute("COMMIT")
        compact(lake)


def _filler(table: str) -> str:
    """The columns that the table's rows do not name."""
    missing = [c for c in columns(TABLES[table]) if f" AS {c.name}" not in _ROWS[table]]
    empty = {"VARCHAR": "''", "VARCHAR[]": "[]", "BIGINT": "0"}
    given = {"run_id": f"'{RUN_ID}'"}
    return ", ".join(f"{given.get(c.name, 'NULL' if c.nullable else empty[c.sql])} AS {c.name}" for c in missing)


def ask(name: str, folder: Path) -> None:
    with Lake.open(folder) as lake:
        pairing = load_pairing("best_over_worst")
        query = (
            _ASKED[name]
            or f"SELECT count(*), sum(chosen_value - rejected_value) FROM ({pairing.sql.rstrip().rstrip(';')})"
        )
        given = {"run_id": RUN_ID} if _ASKED[name] else {**pairing.parameters, "run_id": RUN_ID, "prompt_ids": None}
        started, worked = time.perf_counter(), time.process_time()
        found = lake.query(query, given).to_pylist()[0]
        print(time.perf_counter() - started, time.process_time() - worked, *found.values(), flush=True)


def measure(name: str, folder: Path) -> tuple[float, float, str, float]:
    """Seconds and processor seconds of a query, its figures, and peak GiB of its process."""
    words = [sys.executable, "-m", "benchmarks.win_rates", "--lake", str(folder), "--ask", name]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    seconds, worked, *figures = said.split()
    return float(seconds), float(worked), " ".join(figures), used.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.win_rates")
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--lake", type=Path, help="where the lake is kept; made if missing")
    parser.add_argument("--ask", choices=_ASKED, help="ask only this one, in this process")
    options = parser.parse_args()
    if options.ask:
        ask(options.ask, options.lake)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.lake or Path(temporary) / "lake"
        if not folder.exists():
            make_lake(folder, options.prompts)
        load = os.getloadavg()[0]
        figures = {name: measure(name, folder) for name in _ASKED}
    scan_s = figures["scan"][0]
    for name, (seconds, worked, found, gibibytes) in figures.items():
        print(
            f"{name:<16} {seconds:6.2f} s ({worked:6.2f} s of processor time), {seconds / scan_s:5.1f} times the scan, {gibibytes:.2f} GiB: {found}"
        )
    print(f"load {load:.1f} before")


if __name__ == "__main__":
    main()
