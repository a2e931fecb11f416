"""python -m benchmarks.lake_growth --calls 100000 1000000

How a lake's size slows a run: at each number of calls, the seconds to commit 5,000 more (each commit checks which ids
exist), the seconds to query pending prompts, and the bytes per call on disk. `--lake` names a place other than a
temporary folder, such as one behind PostgreSQL with an object store. Calls are made by SQL from hashes, six per prompt,
as SPaR asks for answers and votes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from factory.recipes.reading import load_recipe
from factory.runs.pending import pending_prompts
from schemas.ids import content_id
from schemas.tables import Call
from stores.lake import Lake

RUN_ID = "growing"
COMMIT_ROWS = 5_000
FILE_ROWS = 100_000
CALLS_A_PROMPT = 6

# `Call`s of a judge, with 128-bit ids like the factory's.
_FILL = """
INSERT INTO lake.calls BY NAME
SELECT md5('call' || i) AS call_id, $run AS run_id, md5('request' || i) AS request_hash, 'judge' AS stage,
  md5('prompt' || i // 6) AS prompt_id, [md5('response' || i)] AS response_ids, 'judge' AS template,
  md5('model') AS model_id, 'http://localhost:8000/v1' AS endpoint, sha256('messages' || i) AS messages_hash,
  '{"max_tokens":2048,"temperature":0.7,"top_p":1.0}' AS parameters, (hash(i) % 2147483648)::INTEGER AS seed,
  5 AS choices, (300 + hash(i) % 700)::INTEGER AS prompt_tokens, (500 + hash(i) % 1000)::INTEGER AS completion_tokens,
  (hash(i) % 100000) / 1000 AS latency_s, 0 AS retries, ['stop', 'stop', 'stop', 'stop', 'stop'] AS finish_reasons,
  NULL AS error, false AS from_journal, now() + to_milliseconds(i) AS started_at
FROM range($first, $after) AS t(i)
"""
_PROMPTS = """
INSERT INTO lake.run_prompts BY NAME
SELECT md5('taken' || p) AS run_prompt_id, $run AS run_id, md5('prompt' || p) AS prompt_id, p AS position,
  false AS evolved
FROM range($first, $after) AS t(p)
"""


def fill(lake: Lake, first: int, after: int) -> None:
    for start in range(first, after, FILE_ROWS):
        end = min(start + FILE_ROWS, after)
        lake.connection.execute(_FILL, {"run": RUN_ID, "first": start, "after": end})
        prompts = {"first": start // CALLS_A_PROMPT, "after": end // CALLS_A_PROMPT}
        lake.connection.execute(_PROMPTS, {"run": RUN_ID, **prompts})


def more_calls(lake: Lake) -> list[Call]:
    """Calls not in the lake."""
    (like,) = lake.read(Call, "call_id = md5('call0')")
    now = datetime.now(UTC)
    return [
        replace(like, call_id=content_id("call", now.isoformat(), i), request_hash=content_id("request", i))
        for i in range(COMMIT_ROWS)
    ]


def seconds_of(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake_growth")
    parser.add_argument("--calls", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--lake", help="where the lake is made; else in a temporary folder")
    options = parser.parse_args()
    recipe = load_recipe("spar")
    with tempfile.TemporaryDirectory() as folder, Lake.open(options.lake or f"{folder}/lake", create=True) as lake:
        reached = 0
        for calls in options.calls:
            fill(lake, reached, calls)
            reached = calls
            batches = [more_calls(lake) for _ in range(3)]
            commit_s = statistics.median(
                seconds_of(lambda b=batch: lake.append(b, message="more")) for batch in batches
            )
            left_s = seconds_of(lambda: pending_prompts(lake, RUN_ID, recipe))
            size = lake.query("SELECT sum(file_size_bytes) FROM ducklake_table_info('lake') WHERE table_name = 'calls'")
            rows = lake.counts()["calls"]
            print(
                f"{calls:,} calls: a commit of {COMMIT_ROWS:,} {commit_s:.2f} s, pending prompts {left_s:.2f} s, "
                f"{size.column(0)[0].as_py() / rows:.0f} bytes per call",
                flush=True,
            )


if __name__ == "__main__":
    main()
