"""How long the pages of `factory view` take on a large lake.

    python -m benchmarks.view_pages make LAKE --nodes 1000000    # a few minutes and gigabytes
    python -m benchmarks.view_pages time LAKE

Trees have 19 nodes, but one has 200 and one 20,000; each node has an answer of 60 words, a verdict of the verifier and three
votes. Goals at 1 million nodes: the first page in 300 ms, a facet in 500 ms, a tree of 200 nodes in 500 ms. A page is asked
once before it is timed five times, as the second visitor sees it; `first` is that first time. A page on which something was
not counted in its time says how often it was `stopped`: then its time says nothing.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import quote

from starlette.testclient import TestClient

from factory.view.app import make_app
from factory.view.readers import Readers
from schemas.tables import Model, Run
from stores.lake import Lake
from tests.rows import row

SIZE, LARGE, HUGE = 19, 200, 20_000
KINDS = "['length_constraints:number_words', 'keywords:existence', 'detectable_format:title', 'change_case:english_lowercase']"
WORDS = "['amber', 'bridge', 'candle', 'delta', 'ember', 'forest', 'garden', 'harbour', 'island', 'meadow', 'north', 'orchard']"
TEXT = f"list_reduce([{WORDS}[1 + (hash(n * 64 + w) % 12)::INT] FOR w IN range(60)], lambda a, b: a || ' ' || b)"

STATEMENTS = {
    "trees_of_nodes": f"""
        CREATE TEMP TABLE made AS
        SELECT n, CASE WHEN n < {HUGE} THEN 0 WHEN n < {HUGE + LARGE} THEN 1 ELSE 2 + (n - {HUGE + LARGE}) // {SIZE} END AS t,
          CASE WHEN n < {HUGE} THEN n WHEN n < {HUGE + LARGE} THEN n - {HUGE} ELSE (n - {HUGE + LARGE}) % {SIZE} END AS visit,
          sha256('node' || n) AS node_id, sha256('answer' || n) AS response_id, (hash(n) % 1000) / 1000 AS luck
        FROM range($nodes) AS r(n)""",
    "prompts": f"""
        INSERT INTO lake.prompts BY NAME
        SELECT sha256('prompt' || t) AS prompt_id, [{{'role': 'user', 'content': any_value({TEXT})}}] AS messages, 'en' AS language,
          'bench' AS source, [{{'id': {KINDS}[1 + t % 4], 'kwargs': '{{}}'}}] AS constraints
        FROM (SELECT t, min(n) AS n FROM made GROUP BY t) GROUP BY t""",
    "run_prompts": """
        INSERT INTO lake.run_prompts BY NAME
        SELECT sha256('taken' || t) AS run_prompt_id, 'run-' || t % 3 AS run_id, sha256('prompt' || t) AS prompt_id, t AS position,
          false AS evolved
        FROM (SELECT DISTINCT t FROM made)""",
    "responses": f"""
        INSERT INTO lake.responses BY NAME
        SELECT response_id, 'run-' || t % 3 AS run_id, sha256('prompt' || t) AS prompt_id,
          CASE WHEN visit = 0 THEN 'sampled' ELSE 'refined' END AS kind, {TEXT} AS text,
          CASE WHEN visit = 0 THEN 'sample' ELSE 'search' END AS stage,
          CASE WHEN visit = 0 THEN 'actor' ELSE 'refiner' END AS model_id, 'stop' AS finish_reason, 80 + n % 40 AS tokens,
          CASE WHEN n % 11 = 0 THEN 'echo' END AS flaw, sha256('call' || n) AS call_id
        FROM made ORDER BY response_id""",
    "calls": """
        INSERT INTO lake.calls BY NAME
        SELECT sha256('call' || n) AS call_id, 'run-' || t % 3 AS run_id, sha256('request' || n) AS request_hash,
          CASE WHEN visit = 0 THEN 'sample' ELSE 'search' END AS stage, CASE WHEN visit = 0 THEN 'actor' ELSE 'refiner' END AS role,
          sha256('prompt' || t) AS prompt_id, [response_id] AS response_ids,
          CASE WHEN visit = 0 THEN 'actor' ELSE 'refiner' END AS model_id, 'http://127.0.0.1:8000/v1' AS endpoint,
          '' AS messages_hash, '{}' AS parameters, n AS seed, 1 AS choices, 200 AS prompt_tokens, 100 AS completion_tokens,
          0.5 AS latency_s, 0 AS retries, ['stop'] AS finish_reasons, false AS from_journal,
          TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_milliseconds(n * 10) AS started_at
        FROM made""",
    "judgements": """
        INSERT INTO lake.judgements BY NAME
        SELECT sha256(concat_ws('/', response_id, judge, vote)) AS judgement_id, 'run-' || t % 3 AS run_id,
          sha256('prompt' || t) AS prompt_id, response_id, judge, judge AS kind, judge = 'votes' AS decides,
          CASE WHEN judge = 'votes' THEN 'refiner' END AS model_id, vote,
          CASE WHEN luck > 0.8 OR (vote = 1 AND n % 3 = 0) THEN 'yes' ELSE 'no' END AS verdict,
          CASE WHEN luck > 0.8 OR (vote = 1 AND n % 3 = 0) THEN 1.0 ELSE 0.0 END AS value,
          'It follows some of what it was asked to do, vote ' || vote AS critique
        FROM made, (VALUES ('votes', 0), ('votes', 1), ('votes', 2), ('verifier', 0)) AS v(judge, vote)
        ORDER BY response_id""",
    "trees": """
        INSERT INTO lake.trees BY NAME
        SELECT sha256('tree' || t) AS tree_id, 'run-' || t % 3 AS run_id, sha256('prompt' || t) AS prompt_id, 'search' AS stage,
          arg_min(response_id, visit) AS root_response_id, 'bfs' AS strategy,
          '{"branch": 3, "keep": 2, "depth": 3, "threshold": 0.5, "budget": 18}' AS parameters,
          CASE WHEN max(luck) > 0.97 THEN 'accepted' ELSE 'exhausted' END AS outcome, count(*) - 1 AS nodes_expanded,
          CASE WHEN max(luck) > 0.97 THEN arg_max(node_id, luck) END AS accepted_node_id
        FROM made GROUP BY t""",
    "nodes": f"""
        INSERT INTO lake.nodes BY NAME
        SELECT node_id, sha256('tree' || t) AS tree_id, 'run-' || t % 3 AS run_id, sha256('prompt' || t) AS prompt_id,
          CASE WHEN visit > 0 THEN sha256('node' || (n - visit + (visit - 1) // 3)) END AS parent_node_id,
          CASE WHEN visit = 0 THEN 0 ELSE 1 + floor(log(3, 2 * (visit - 1) + 1.0001))::BIGINT END AS depth, visit, response_id,
          response_id AS judged_response_id, CASE WHEN n % 11 = 0 THEN 'echo' END AS flaw, round(luck, 2) AS value,
          CASE WHEN visit = 0 THEN 'open' WHEN luck > 0.97 THEN 'accepted' WHEN luck < 0.4 THEN 'pruned' ELSE 'open' END AS state,
          sha256('call' || n) AS call_id,
          CASE WHEN visit > 0 THEN 'Reflection: it needs more.' || chr(10) || 'Refined response:' || chr(10) || {TEXT} END AS output
        FROM made""",
    "pairs": """
        INSERT INTO lake.pairs BY NAME
        SELECT sha256('pair' || tree_id) AS pair_id, run_id, prompt_id, response_id AS chosen_response_id, root_response_id AS
          rejected_response_id, 1.0 AS chosen_value, 0.0 AS rejected_value, 'refined_over_failed' AS source, tree_id,
          node_id, round((hash(tree_id) % 100) / 100, 2) AS similarity, 0.5 + (hash(tree_id) % 150) / 100 AS length_ratio,
          3 AS shared_prefix_words
        FROM lake.trees JOIN lake.nodes USING (tree_id, run_id, prompt_id) WHERE node_id = accepted_node_id""",
}  # fmt: skip


def make(where: Path, nodes: int) -> None:
    """Makes a lake with so many nodes."""
    with Lake.open(where, create=True) as lake:
        runs = [
            row(Run, f"e{at}", run_id=f"run-{at}", status="finished", recipe_name="spar", purpose="data")
            for at in range(3)
        ]
        lake.append([*runs, row(Model, "actor", name="actor"), row(Model, "refiner", name="refiner")], message="bench")
        lake.connection.execute("SET threads = 2")
        for name, statement in STATEMENTS.items():
            began = time.monotonic()
            lake.connection.execute(statement, {"nodes": nodes} if "$nodes" in statement else {})
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)


def time_pages(where: Path) -> None:
    """Prints each page's time: the first, and the median and slowest of five more."""
    readers = Readers(str(where))
    app = make_app(readers, frozenset({"127.0.0.1:8360"}))
    client = TestClient(app, "http://127.0.0.1:8360")
    with readers.lake() as lake:
        ids = lake.query(
            "SELECT arg_min(tree_id, abs(nodes_expanded - $large)) AS large, arg_max(tree_id, nodes_expanded) AS huge, "
            "any_value(run_id) AS run, any_value(prompt_id) AS prompt FROM trees",
            {"large": LARGE - 1},
        ).to_pylist()[0]
        pair = lake.query("SELECT min(pair_id) AS id FROM pairs").to_pylist()[0]["id"]
    pages = {
        "first page": "/",
        "its figures": "/?figures=1",
        "trees": "/trees",
        "trees, filtered": "/trees?outcome=accepted&run=run-1",
        "trees, sorted": "/trees?order=highest+value",
        "a facet: outcome": "/trees?part=outcome",
        "a facet: flaw": "/trees?part=flaw",
        "a histogram: value": "/trees?part=value",
        f"tree of {LARGE} nodes": f"/tree/{ids['large']}",
        f"tree of {HUGE:,} nodes": f"/tree/{ids['huge']}",
        "answers to a prompt": f"/prompt/{ids['prompt']}",
        "run": f"/run/{ids['run']}",
        "pairs": "/pairs",
        "pairs' facets": "/pairs?facets=1",
        "pair": f"/pair/{pair}",
        "review": "/review",
        "corpus": "/corpus",
        "corpus' facets": "/corpus?facets=1",
        "compare": "/compare?a=run:run-0&b=run:run-1",
        "its result": "/compare?a=run:run-0&b=run:run-1&result=1",
        "SQL: count(*) of nodes": "/sql?sql=" + quote("SELECT count(*) FROM nodes"),
    }
    print(f"{'page':28} {'status':>6} {'first ms':>9} {'median ms':>9} {'slowest ms':>10} {'KB':>7}")
    for name, address in pages.items():
        took, stopped = [], 0
        for _ in range(6):
            began = time.monotonic()
            answer = client.get(address)
            took.append(1000 * (time.monotonic() - began))
            stopped += "was stopped" in answer.text
        rest = took[1:]
        print(
            f"{name:28} {answer.status_code:6} {took[0]:9.0f} {statistics.median(rest):9.0f} {max(rest):10.0f} "
            f"{len(answer.content) / 1000:7.0f}" + (f"  stopped {stopped} times" if stopped else ""),
            flush=True,
        )
    readers.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "time"))
    parser.add_argument("lake", type=Path)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    given = parser.parse_args(arguments)
    if given.what == "make":
        make(given.lake, given.nodes)
    else:
        time_pages(given.lake)


if __name__ == "__main__":
    main(sys.argv[1:])
