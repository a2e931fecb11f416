"""python -m benchmarks.build_at_scale

Makes a lake of a million search nodes in a temporary folder, builds spar_dpo and spar_rft from it, each in
a fresh process, and prints the seconds and peak memory of both. `--lake DIR` keeps the lake (about 6 GB,
twice that while it is made) and reuses it next time; `--nodes N` makes a smaller one.

The trees have SPaR's shape (branch 3, keep 2, depth 3; arXiv:2412.11605), every answer has five votes, and
the texts are as long as a model's: 600 to 1500 characters. The texts are noise, made by SQL from hashes, so
the lake is the same every time.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from factory.templates.rendering import load_template
from schemas.columns import columns
from schemas.tables import TABLES, Run
from stores.lake import Lake
from stores.maintenance import compact
from stores.training_sets import build_training_set

NAMES = ("spar_dpo", "spar_rft")
RUN_ID = "spar-at-scale"
NODES_A_TREE = 7.48
TREES_A_COMMIT = 2_000
"""Small enough that the lake's files come from merging, as a run's do."""

# Of 100 trees, 55 are accepted at the first level, 32 at the second, and 8 of the other 13 at the third.
# A tree's nodes are numbered in order of visit: 0 | 1..3 | 4..6 of 1, 7..9 of 2 | 10..12 of 4, 13..15 of 7.
_MACROS = """
CREATE TEMP MACRO draw(what, id) AS (hash(what, id) % 1000003)::BIGINT;
CREATE TEMP MACRO id_of(kind, tree, i) AS md5(concat_ws('-', kind, tree, i));
CREATE TEMP MACRO sentences_of(kind, id, count) AS array_to_string(list_transform(range(count),
  lambda k: getvariable('sentences')[1 + (hash(kind, id, k) % 65536)::BIGINT]), ' ');
CREATE TEMP MACRO words_of(kind, id) AS sentences_of(kind, id, 6 + draw(kind, id) % 9);
CREATE TEMP MACRO size_of(tree) AS CASE WHEN draw('size', tree) % 100 < 55 THEN 4
  WHEN draw('size', tree) % 100 < 87 THEN 10 ELSE 16 END;
CREATE TEMP MACRO is_accepted(tree) AS draw('size', tree) % 100 < 95;
CREATE TEMP MACRO accepted_at(tree) AS CASE size_of(tree) WHEN 4 THEN 3 WHEN 10 THEN 8 ELSE 14 END;
CREATE TEMP MACRO parent_of(i) AS [NULL, 0, 0, 0, 1, 1, 1, 2, 2, 2, 4, 4, 4, 7, 7, 7][i + 1];
CREATE TEMP MACRO depth_of(i) AS CASE WHEN i = 0 THEN 0 WHEN i < 4 THEN 1 WHEN i < 10 THEN 2 ELSE 3 END;
CREATE TEMP MACRO yes_of_node(tree, i) AS CASE WHEN is_accepted(tree) AND i = accepted_at(tree)
  THEN 3 + draw('yes', tree) % 3 WHEN i = 0 THEN draw('root', tree) % 3 ELSE draw('no', tree * 16 + i) % 3 END;
CREATE TEMP MACRO yes_of_answer(tree, i) AS CASE WHEN i = 0 THEN draw('root', tree) % 3
  ELSE draw('answer', tree * 16 + i) % 6 END;
CREATE TEMP MACRO vote_of_no(tree, yes) AS list_filter(range(5), lambda vote: (vote + tree) % 5 >= yes)[1];
"""

# Each fills one table with the trees $first <= tree < $after, columns by name; unnamed columns are filled in.
_ROWS = {
    "prompts": """
SELECT id_of('prompt', tree, 0) AS prompt_id, [{'role': 'user', 'content': sentences_of('prompt', tree, 4)}] AS messages,
  'en' AS language, 'noise' AS source, [] AS constraints
FROM range($first, $after) AS t(tree)""",
    "run_prompts": """
SELECT id_of('run_prompt', tree, 0) AS run_prompt_id, id_of('prompt', tree, 0) AS prompt_id, tree AS position,
  false AS evolved
FROM range($first, $after) AS t(tree)""",
    "responses": """
SELECT CASE WHEN kind = 'sampled' THEN id_of('answer', tree, i) ELSE id_of('refined', tree, i) END AS response_id,
  id_of('prompt', tree, 0) AS prompt_id, kind, words_of(kind, tree * 16 + i) AS text, i AS choice_index,
  'stop' AS finish_reason, 250 AS tokens
FROM (
  SELECT tree, i, 'sampled' AS kind FROM range($first, $after) AS t(tree), range(5) AS c(i)
  UNION ALL
  SELECT tree, i, 'refined' FROM range($first, $after) AS t(tree), range(1, 16) AS c(i) WHERE i < size_of(tree)
)""",
    "judgements": """
SELECT id_of(what || '-vote', tree, i * 8 + vote) AS judgement_id, id_of('prompt', tree, 0) AS prompt_id,
  id_of(what, tree, i) AS response_id, 'votes' AS judge, 'votes' AS kind, true AS decides, vote,
  CASE WHEN (vote + tree) % 5 < CASE what WHEN 'answer' THEN yes_of_answer(tree, i) ELSE yes_of_node(tree, i) END
    THEN 'yes' ELSE 'no' END AS verdict,
  (verdict = 'yes')::DOUBLE AS value,
  words_of(what || '-vote', (tree * 16 + i) * 8 + vote) AS critique
FROM (
  SELECT tree, i, 'answer' AS what FROM range($first, $after) AS t(tree), range(5) AS c(i)
  UNION ALL
  SELECT tree, i, 'refined' FROM range($first, $after) AS t(tree), range(1, 16) AS c(i) WHERE i < size_of(tree)
), range(5) AS v(vote)""",
    "trees": """
SELECT id_of('tree', tree, 0) AS tree_id, id_of('prompt', tree, 0) AS prompt_id,
  id_of('answer', tree, 0) AS root_response_id, 'search' AS stage, 'bfs' AS strategy, '{}' AS parameters,
  CASE WHEN is_accepted(tree) THEN 'accepted' ELSE 'exhausted' END AS outcome, size_of(tree) - 1 AS nodes_expanded,
  CASE WHEN is_accepted(tree) THEN id_of('node', tree, accepted_at(tree)) END AS accepted_node_id
FROM range($first, $after) AS t(tree)""",
    "nodes": """
SELECT id_of('node', tree, i) AS node_id, id_of('tree', tree, 0) AS tree_id, id_of('prompt', tree, 0) AS prompt_id,
  CASE WHEN i > 0 THEN id_of('node', tree, parent_of(i)) END AS parent_node_id, depth_of(i) AS depth, i AS visit,
  CASE WHEN i = 0 THEN id_of('answer', tree, 0) ELSE id_of('refined', tree, i) END AS response_id,
  response_id AS judged_response_id,
  -- The first vote of no, of which the parent's five always have one.
  CASE WHEN parent_of(i) = 0 THEN id_of('answer-vote', tree, vote_of_no(tree, yes_of_answer(tree, 0)))
    WHEN i > 0 THEN id_of('refined-vote', tree, parent_of(i) * 8 + vote_of_no(tree, yes_of_node(tree, parent_of(i))))
  END AS critique_judgement_id,
  sentences_of('reflection', tree * 16 + i, 2) AS reflection,
  CASE WHEN i > 0 THEN concat('Reflection: ', sentences_of('reflection', tree * 16 + i, 2), chr(10), 'Refined response:',
    chr(10), words_of('refined', tree * 16 + i)) END AS output,
  yes_of_node(tree, i) / 5 AS value, 'open' AS state
FROM range($first, $after) AS t(tree), range(16) AS c(i)
WHERE i < size_of(tree)""",
    "pairs": """
SELECT id_of('pair', tree, 0) AS pair_id, id_of('prompt', tree, 0) AS prompt_id,
  id_of('refined', tree, accepted_at(tree)) AS chosen_response_id, id_of('answer', tree, 0) AS rejected_response_id,
  yes_of_node(tree, accepted_at(tree)) / 5 AS chosen_value, yes_of_answer(tree, 0) / 5 AS rejected_value,
  'refined_over_failed' AS source, id_of('tree', tree, 0) AS tree_id, id_of('node', tree, accepted_at(tree)) AS node_id,
  0.5 + draw('similarity', tree) % 50 / 100 AS similarity, 1.0 AS length_ratio, 3 AS shared_prefix_words
FROM range($first, $after) AS t(tree)
WHERE is_accepted(tree)""",
}


def make_lake(folder: Path, nodes: int) -> None:
    """A finished run of `nodes` search nodes, committed in slices of its trees."""
    trees = round(nodes / NODES_A_TREE)
    with Lake.open(folder, create=True) as lake:
        lake.append([_run()], message="the run")
        lake.connection.execute("SET VARIABLE sentences = $sentences", {"sentences": _sentences()})
        lake.connection.execute(_MACROS)
        for first in range(0, trees, TREES_A_COMMIT):
            lake.connection.execute("BEGIN")
            for table, rows in _ROWS.items():
                lake.connection.execute(
                    f"INSERT INTO lake.{table} BY NAME SELECT *, {_filler(table)} FROM ({rows})",
                    {"first": first, "after": min(first + TREES_A_COMMIT, trees)},
                )
            lake.connection.execute("COMMIT")
        compact(lake)


def _sentences() -> list[str]:
    """Sentences of invented words, some frequent, most rare, so that they compress like language."""
    chance = random.Random(0)
    syllables = ["ka", "lo", "mi", "ren", "tas", "vor", "el", "in", "qu", "ash", "tem", "bri", "nol", "dra", "wi"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(4000)]
    frequencies = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    return [
        " ".join(chance.choices(words, cum_weights=frequencies, k=chance.randint(10, 18))).capitalize() + "."
        for _ in range(65536)
    ]


def _filler(table: str) -> str:
    """The columns the table's rows do not name."""
    missing = [c.name for c in columns(TABLES[table]) if f" AS {c.name}" not in _ROWS[table] and c.name != "vote"]
    return (
        ", ".join(f"'{RUN_ID}' AS run_id" if name == "run_id" else f"NULL AS {name}" for name in missing) or "0 AS none"
    )


def _run() -> Run:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(
        run_event_id="run",
        run_id=RUN_ID,
        attempt=0,
        status="finished",
        reason=None,
        recipe_name="spar",
        purpose="data",
        recipe="{}",
        recipe_hash="",
        templates={name: load_template(name) for name in ("judge", "refine")},
        pairings={},
        parameters="{}",
        seed=0,
        iteration=0,
        parent_run_id=None,
        code_version="",
        package_versions={},
        started_at=now,
        ended_at=now,
    )


def measure(name: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak GiB of a process that builds one training set, from start to end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.build_at_scale", "--lake", str(folder), "--build", name]
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"building {name} failed")
    return time.perf_counter() - started, used.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build_at_scale")
    parser.add_argument("--nodes", type=int, default=1_000_000, help="search nodes of the lake")
    parser.add_argument("--lake", type=Path, help="where the lake is kept; made if missing")
    parser.add_argument("--build", choices=NAMES, help="build only this one, in this process")
    options = parser.parse_args()
    if options.build:
        with Lake.open(options.lake) as lake:
            built = build_training_set(lake, options.build, {}, [RUN_ID])
        print(f"{built.row.name}: {built.row.train_rows} + {built.row.held_out_rows} rows")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.lake or Path(temporary) / "lake"
        if not folder.exists():
            make_lake(folder, options.nodes)
        with Lake.open(folder) as lake:
            print(", ".join(f"{rows:,} {table}" for table, rows in lake.counts().items() if rows))
        figures = {name: measure(name, folder) for name in NAMES}
    for name, (seconds, gibibytes) in figures.items():
        print(f"{name}: {seconds:.1f} s, {gibibytes:.2f} GiB")
    print(
        f"together: {sum(seconds for seconds, _ in figures.values()):.1f} s, "
        f"{max(gibibytes for _, gibibytes in figures.values()):.2f} GiB at most"
    )


if __name__ == "__main__":
    main()
